//! People's Python: every program runs in a process of its own, inside a kernel sandbox, and is answered by a warm spare.

mod fault;
mod interpreter;
mod launch;
mod program;
#[cfg(target_os = "linux")]
mod sandbox;
mod spares;
#[cfg(target_os = "linux")]
mod system_calls;
mod worker;

use std::fmt::{Display, Formatter};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio::time::{Instant, timeout_at};

pub use fault::{Fault, Raised};
use interpreter::Interpreter;
pub use launch::{Launch, MEMORY_BYTES};
pub use program::{ANSWER_BYTES, Answer, INPUT_BYTES, PRINTED_BYTES, Program, SOURCE_BYTES};
use spares::Spares;
use worker::Worker;

use crate::config::PythonSettings;

/// How long the probe of [`Python::check`] may take.
const CHECK_TIME: Duration = Duration::from_secs(20);

/// Runs people's programs. Clones share everything; nothing is started before the first use.
#[derive(Clone)]
pub struct Python(Arc<Shared>);

struct Shared {
    settings: PythonSettings,
    /// The program that has the launcher as a hidden subcommand: this one.
    launcher: PathBuf,
    interpreter: OnceCell<Interpreter>,
    spares: OnceCell<Spares>,
    free: Semaphore,
}

/// What programs would run in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// The version of Python, for example `3.11.7`.
    pub version: String,
    /// The interpreter.
    pub executable: PathBuf,
    /// Whether the kernel confines it.
    pub sandboxed: bool,
}

impl Display for Readiness {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        let place = if self.sandboxed { "in a kernel sandbox" } else { "WITHOUT a whole sandbox, so with rights of this server" };
        write!(formatter, "Python {} (`{}`) runs {place}", self.version, self.executable.display())
    }
}

impl Python {
    /// Makes a Python whose workers are started through `launcher`, a program with our command line; see [`own_program`].
    pub fn new(settings: PythonSettings, launcher: PathBuf) -> Self {
        let free = Semaphore::new(settings.workers);
        Self(Arc::new(Shared { settings, launcher, interpreter: OnceCell::new(), spares: OnceCell::new(), free }))
    }

    /// Runs a program for at most `limit`, the wait for a free worker included. Dropping the future kills the program at once.
    pub async fn run(&self, program: &Program, limit: Duration) -> Result<Answer, Fault> {
        let deadline = Instant::now() + limit;
        let request = program.request()?;
        let free = timeout_at(deadline, self.0.free.acquire()).await.map_err(|_| Fault::Busy(self.0.settings.workers))?;
        let answer = async { self.spares().await?.take().await.map_err(Fault::NotStarted)?.run(&request).await };
        let answer = timeout_at(deadline, answer).await.unwrap_or(Err(Fault::OutOfTime(limit)));
        drop(free);
        answer
    }

    /// Tries it out: finds the interpreter and runs an empty program, beside the spares.
    pub async fn check(&self) -> Result<Readiness, Fault> {
        let interpreter = self.interpreter().await?;
        let ready = |sandboxed| Readiness { version: interpreter.version(), executable: interpreter.executable.clone(), sandboxed };
        match self.probe(false).await {
            Err(Fault::NoSandbox(_)) if self.0.settings.unsandboxed => self.probe(true).await.map(|()| ready(false)),
            outcome => outcome.map(|()| ready(true)),
        }
    }

    async fn probe(&self, unsandboxed: bool) -> Result<(), Fault> {
        let launch = Launch::new(self.interpreter().await?, unsandboxed);
        let request = Program::default().request()?;
        let answer = Worker::start(&self.0.launcher, &launch).map_err(Fault::NotStarted)?.run(&request);
        tokio::time::timeout(CHECK_TIME, answer).await.map_err(|_| Fault::OutOfTime(CHECK_TIME))?.map(drop)
    }

    async fn interpreter(&self) -> Result<&Interpreter, Fault> {
        self.0.interpreter.get_or_try_init(|| Interpreter::find(&self.0.settings)).await
    }

    async fn spares(&self) -> Result<&Spares, Fault> {
        let start = async {
            let launch = Launch::new(self.interpreter().await?, self.0.settings.unsandboxed);
            Spares::start(self.0.launcher.clone(), launch).map_err(Fault::NotStarted)
        };
        self.0.spares.get_or_try_init(|| start).await
    }
}

/// Returns this very program, to be started again; it is found even after an update has replaced its file.
pub fn own_program() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(Path::new("/proc/self/exe").to_owned()) } else { std::env::current_exe() }
}
