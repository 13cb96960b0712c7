//! Finding the interpreter: it is asked itself, because a name may lead through links, shims and virtual environments.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::Fault;
use crate::config::PythonSettings;

/// The question, a program that every Python 3 understands.
const QUESTION: &str = include_str!("interpreter.py");

/// How long an interpreter may take to say where it is.
const QUESTION_TIME: Duration = Duration::from_secs(20);

/// The oldest version whose programs run, major and minor.
const OLDEST: (u32, u32) = (3, 9);

/// An interpreter that can be used.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Interpreter {
    /// The program itself, after every shim.
    pub(super) executable: PathBuf,
    version: (u32, u32, u32),
    /// What it must read to run: its library, its packages, and itself.
    pub(super) readable: Vec<PathBuf>,
}

impl Interpreter {
    /// Asks the interpreter of the settings what it is.
    pub(super) async fn find(settings: &PythonSettings) -> Result<Self, Fault> {
        let name = settings.interpreter.display();
        let asked = tokio::time::timeout(QUESTION_TIME, ask(settings)).await;
        let output = match asked {
            Err(_) => return Err(Fault::NoPython(format!("`{name}` did not say within {QUESTION_TIME:?} what it is"))),
            Ok(Err(error)) => return Err(Fault::NoPython(format!("`{name}` cannot be started: {error}"))),
            Ok(Ok(output)) => output,
        };
        let found: Self = serde_json::from_slice(&output.stdout).map_err(|_| Fault::NoPython(format!("`{name}` is no Python 3")))?;
        if (found.version.0, found.version.1) < OLDEST {
            return Err(Fault::NoPython(format!("`{name}` is Python {}", found.version())));
        }
        Ok(found)
    }

    /// Returns the version with points.
    pub(super) fn version(&self) -> String {
        let (major, minor, patch) = self.version;
        format!("{major}.{minor}.{patch}")
    }
}

async fn ask(settings: &PythonSettings) -> std::io::Result<Output> {
    let mut command = Command::new(&settings.interpreter);
    command.args(["-I", "-B", "-c", QUESTION]).env_clear().env("PATH", &settings.search_path);
    command.stdin(Stdio::null()).kill_on_drop(true).output().await
}
