//! The launcher, a hidden subcommand: it limits and confines itself, and becomes the interpreter.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};

use super::interpreter::Interpreter;

/// The most memory of a program in bytes, as address space.
pub const MEMORY_BYTES: u64 = 512 << 20;

/// The most processor time, for a worker that outlives whoever watches it.
pub(super) const CPU_TIME: Duration = Duration::from_mins(10);

/// The most files open at once.
const OPEN_FILES: u64 = 64;

/// The stack of each thread in bytes; what is left of the memory bounds their number.
const STACK_BYTES: u64 = 8 << 20;

/// The exit code that says that this system has no sandbox.
pub(super) const NO_SANDBOX: u8 = 125;

/// The exit code that says that the interpreter cannot be started.
pub(super) const NO_INTERPRETER: u8 = 126;

/// What the interpreter runs: it waits for one program.
const WORKER: &str = include_str!("worker.py");

/// How an interpreter is started.
#[derive(Debug, Clone, clap::Args)]
pub struct Launch {
    /// The interpreter.
    executable: PathBuf,
    /// A file or a directory that it may read.
    #[arg(long)]
    read: Vec<PathBuf>,
    /// Goes on where the kernel has no sandbox.
    #[arg(long)]
    unsandboxed: bool,
}

impl Launch {
    /// Plans the start of an interpreter.
    pub(super) fn new(interpreter: &Interpreter, unsandboxed: bool) -> Self {
        Self { executable: interpreter.executable.clone(), read: interpreter.readable.clone(), unsandboxed }
    }

    /// Writes the command line that is read back into this plan.
    pub(super) fn add_to(&self, command: &mut tokio::process::Command) {
        command.arg("python-worker").args(self.unsandboxed.then_some("--unsandboxed"));
        command.args(self.read.iter().flat_map(|path| ["--read".as_ref(), path.as_os_str()])).arg("--").arg(&self.executable);
    }

    /// Becomes the interpreter; it returns only if that fails.
    pub fn become_python(&self) -> ExitCode {
        let mut python = Command::new(&self.executable);
        python.args(["-I", "-B", "-X", "utf8", "-c", WORKER]);
        if let Err(problem) = confine(&self.read)
            && !self.unsandboxed
        {
            eprint!("{problem}");
            return ExitCode::from(NO_SANDBOX);
        }
        // Last, because the launcher itself needs more: its allocator reserves addresses in advance.
        let memory = limit(Resource::As, MEMORY_BYTES);
        eprint!("{}", memory.err().unwrap_or_else(|| python.exec()));
        ExitCode::from(NO_INTERPRETER)
    }
}

/// Takes everything from this process that a program does not need.
fn confine(readable: &[PathBuf]) -> Result<(), String> {
    let limits = [
        (Resource::Cpu, CPU_TIME.as_secs()),
        (Resource::Fsize, 0),
        (Resource::Core, 0),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Stack, STACK_BYTES),
    ];
    limits.into_iter().try_for_each(|(resource, most)| limit(resource, most)).map_err(|error| format!("no limits can be set: {error}"))?;
    #[cfg(target_os = "linux")]
    return super::sandbox::enter(readable);
    #[cfg(not(target_os = "linux"))]
    return Err(format!("only Linux has one, and nothing keeps a program within {readable:?}"));
}

fn limit(resource: Resource, most: u64) -> std::io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}
