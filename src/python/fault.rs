//! Why a program has no answer.

use std::io;
use std::time::Duration;

use serde::Deserialize;

use super::launch::MEMORY_BYTES;
use super::program::{ANSWER_BYTES, PRINTED_BYTES};

/// Why a program has no answer, for the one who wrote it to read.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The program raised an exception, or its result has no form in JSON.
    #[error("{}", .0.error)]
    Raised(Raised),
    /// The program raised an exception because the sandbox refused something.
    #[error("the sandbox has no files, no network and no other programs: {}", .0.error)]
    Refused(Raised),
    /// The program took too long.
    #[error("the program was stopped because it took longer than {} s", seconds(*.0))]
    OutOfTime(Duration),
    /// The program wanted more memory than there is for it.
    #[error("the program needs more memory than the {} MB it may have", MEMORY_BYTES >> 20)]
    OutOfMemory,
    /// The program printed or returned too much.
    #[error("the program printed more than {} MB or returned more than {} MB", PRINTED_BYTES >> 20, ANSWER_BYTES >> 20)]
    TooMuchOutput,
    /// The program, or what it gets, is larger than a worker takes.
    #[error("{what} has {size} bytes, and at most {most} are taken")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The most bytes.
        most: usize,
    },
    /// The interpreter ended without an answer: the program ended it or broke it.
    #[error("the program ended Python before it had an answer: {0}")]
    Died(String),
    /// No worker became free in time.
    #[error("all {0} workers for Python are busy, and none became free in time; try again later, or raise `SYNAPSE_PYTHON_WORKERS`")]
    Busy(usize),
    /// There is no interpreter that can be used.
    #[error("{0}; install Python 3.9 or newer, or name one with `SYNAPSE_PYTHON`")]
    NoPython(String),
    /// The kernel cannot confine a program.
    #[error(
        "this system has no sandbox for Python: {0}; with `SYNAPSE_UNSANDBOXED_PYTHON=1` programs run all the same, with rights of the server"
    )]
    NoSandbox(String),
    /// No worker could be started.
    #[error("no worker for Python could be started; try again later")]
    NotStarted(#[source] io::Error),
}

/// Rounds a time to tenths of a second.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

/// An exception that nobody caught.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Raised {
    /// Its type and message.
    pub error: String,
    /// What the program wrote to `sys.stderr`, and the traceback through its own lines, shortened from the front.
    pub traceback: String,
    /// What was printed until then.
    pub printed: String,
}
