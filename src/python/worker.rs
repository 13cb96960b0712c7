//! A worker: one interpreter, for one program.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::launch::{CPU_TIME, Launch, NO_INTERPRETER, NO_SANDBOX};
use super::program::{ANSWER_BYTES, Answer};
use super::{Fault, Raised};

/// The most bytes of what an interpreter says about its own end.
const LAST_WORDS_BYTES: u64 = 4 << 10;

/// A process that becomes an interpreter and waits for its program. Dropping it kills it, with everything that it started.
pub(super) struct Worker(Child);

/// The line that a worker answers.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Answered(Answer),
    Raised(Raised),
    Refused(Raised),
    OutOfMemory,
    TooMuchOutput,
}

impl Worker {
    /// Starts an interpreter, with nothing of this process's environment.
    pub(super) fn start(launcher: &Path, launch: &Launch) -> io::Result<Self> {
        let mut command = Command::new(launcher);
        launch.add_to(&mut command);
        // One arena: the C library reserves addresses for each, and they count as memory.
        command.env_clear().env("MALLOC_ARENA_MAX", "1").current_dir("/").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map(Self)
    }

    /// Returns itself, unless a signal ended it before it had anything to do.
    pub(super) fn unless_killed(mut self) -> Option<Self> {
        let killed = matches!(self.0.try_wait(), Ok(Some(status)) if status.signal().is_some());
        (!killed).then_some(self)
    }

    /// Runs a program, given as the line of its request.
    pub(super) async fn run(mut self, request: &[u8]) -> Result<Answer, Fault> {
        if let Some(mut input) = self.0.stdin.take() {
            // One that cannot be written to has ended, and its last words say why.
            let _ = input.write_all(request).await;
        }
        let mut line = Vec::new();
        if let Some(output) = self.0.stdout.take() {
            let most = ANSWER_BYTES as u64 + 1;
            BufReader::new(output.take(most)).read_until(b'\n', &mut line).await.map_err(Fault::NotStarted)?;
        }
        match line.last() {
            Some(b'\n') => read(&line),
            _ if line.len() > ANSWER_BYTES => Err(Fault::TooMuchOutput),
            _ => Err(self.end().await),
        }
    }

    /// Says why it ended without an answer.
    async fn end(&mut self) -> Fault {
        let mut words = Vec::new();
        if let Some(errors) = self.0.stderr.take() {
            let _ = errors.take(LAST_WORDS_BYTES).read_to_end(&mut words).await;
        }
        let words = String::from_utf8_lossy(&words).into_owned();
        match self.0.wait().await {
            Ok(status) if status.code() == Some(NO_SANDBOX.into()) => Fault::NoSandbox(words),
            Ok(status) if status.code() == Some(NO_INTERPRETER.into()) => {
                Fault::NoPython(format!("the interpreter does not start: {words}"))
            }
            Ok(status) if status.signal() == Some(Signal::XCPU.as_raw()) => Fault::OutOfTime(CPU_TIME),
            Ok(status) => Fault::Died(cause(status, &words)),
            Err(error) => Fault::NotStarted(error),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(group) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

fn read(line: &[u8]) -> Result<Answer, Fault> {
    match serde_json::from_slice(line) {
        Ok(Told::Answered(answer)) => Ok(answer),
        Ok(Told::Raised(raised)) => Err(Fault::Raised(raised)),
        Ok(Told::Refused(raised)) => Err(Fault::Refused(raised)),
        Ok(Told::OutOfMemory) => Err(Fault::OutOfMemory),
        Ok(Told::TooMuchOutput) => Err(Fault::TooMuchOutput),
        Err(_) => Err(Fault::Died("it wrote where only the answer is written".to_owned())),
    }
}

fn cause(status: ExitStatus, words: &str) -> String {
    let cause = match (status.signal(), status.code()) {
        (Some(signal), _) if signal == Signal::SEGV.as_raw() => "it crashed; recursion without end does that".to_owned(),
        (Some(signal), _) => format!("signal {signal}"),
        (None, code) => format!("exit code {}", code.unwrap_or_default()),
    };
    if words.is_empty() { cause } else { format!("{cause}: {words}") }
}
