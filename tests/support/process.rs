//! The binary as a process: what it prints is read as it comes, and it is killed when it is dropped.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{PATIENCE, eventually};

/// A running server.
pub(crate) struct Process {
    child: Child,
    /// The lines of standard output that were not read yet.
    lines: Receiver<String>,
    errors: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// A start that failed.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) status: ExitStatus,
    pub(crate) errors: String,
}

/// How a process is started.
#[derive(Clone, Default)]
pub(crate) struct Start {
    /// A program that starts the binary, and its arguments; nothing where nobody else does.
    pub(crate) through: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// Returns the command with nothing of this process's environment.
pub(crate) fn command<S: AsRef<OsStr>>(arguments: &[S], Start { through, environment }: &Start) -> Command {
    let mut words = through.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_synapse")]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(arguments).env_clear().envs(environment.iter().cloned()).stdin(Stdio::null());
    command
}

impl Process {
    /// Starts a server and returns the line that says where it listens.
    pub(crate) fn serve(start: &Start) -> Result<(Self, String), Failed> {
        let mut child = command(&["serve"], start).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (BufReader::new(child.stdout.take().unwrap()), child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let text = Arc::new(Mutex::new(String::new()));
        let reader = std::thread::spawn({
            let text = text.clone();
            move || collect(errors, &text)
        });
        let mut process = Self { child, lines, errors: text, reader: Some(reader) };
        match process.lines.recv_timeout(PATIENCE) {
            Ok(line) if line.starts_with("listening on ") => Ok((process, line)),
            Ok(line) => panic!("the first line is `{line}`"),
            Err(_) => Err(process.failed()),
        }
    }

    /// Starts a server and kills it after a time, wherever its start is then.
    pub(crate) async fn serve_and_kill(start: &Start, after: Duration) {
        let mut child = command(&["serve"], start).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(after).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn failed(&mut self) -> Failed {
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        Failed { status, errors: self.errors() }
    }

    /// Returns what was printed to standard error so far.
    pub(crate) fn errors(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// Returns what is printed to standard output from now on until it holds `end`.
    pub(crate) fn output_until(&self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            text += &(self.lines.recv_timeout(PATIENCE).unwrap() + "\n");
        }
        text
    }

    /// Asks the process to stop.
    pub(crate) fn terminate(&self) {
        let killed = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap();
        assert!(killed.success());
    }

    /// Kills the process, which gets no chance to do anything.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells whether the process still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Returns the most memory that the process had so far, in bytes.
    #[cfg(target_os = "linux")]
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Waits until the process ends, and returns its exit code.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        let child = Mutex::new(&mut self.child);
        let status = eventually("the end of the process", async || child.lock().unwrap().try_wait().unwrap()).await;
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status.code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if std::thread::panicking() {
            eprintln!("--- what the server logged\n{}---", self.errors());
        }
    }
}

fn collect(mut errors: impl Read, text: &Mutex<String>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = errors.read(&mut bytes) {
        text.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
}
