//! People's Python through the real launcher, in the real sandbox: what works, what is refused, and that the server never notices.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]
#![cfg(target_os = "linux")]

mod bombs;
mod corpus;
mod escapes;
mod kernels;
mod interpreters;
mod processes;
mod tools;
mod works;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Map, Value};
use synapse::config::{Config, PythonSettings};
use synapse::python::{Answer, Fault, Program, Python};

/// How long a program may take that is expected to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// How Python is run here: as on any machine, but a shim in front of it is asked once only.
fn settings() -> PythonSettings {
    static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();
    let settings = Config::from_environment().unwrap().python;
    let ask = || Command::new(&settings.interpreter).args(["-I", "-c", "import sys; print(sys.executable)"]).output().unwrap().stdout;
    let interpreter = INTERPRETER.get_or_init(|| String::from_utf8(ask()).unwrap().trim().into()).clone();
    PythonSettings { interpreter, ..settings }
}

fn python_with(settings: PythonSettings) -> Python {
    Python::new(settings, env!("CARGO_BIN_EXE_synapse").into())
}

fn python() -> Python {
    python_with(settings())
}

fn program(code: &str) -> Program {
    Program { file: "transform.py".to_owned(), code: code.to_owned(), names: Map::new() }
}

async fn run(code: &str) -> Result<Answer, Fault> {
    python().run(&program(code), PATIENCE).await
}

async fn result(code: &str) -> Value {
    run(code).await.unwrap().result
}

/// Writes a path as a literal of Python.
fn literal(path: &Path) -> String {
    format!("{:?}", path.to_str().unwrap())
}

/// Looks again and again until there is something to see.
async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
