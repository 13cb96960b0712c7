//! A server under load: a process of its own, and what the system says of it.

use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::sleep;

use crate::load::Connection;

/// Ticks in a second, in which Linux counts a process's time.
const TICKS: f64 = 100.0;

/// A running server.
pub(crate) struct Program {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Where it listens.
    pub address: SocketAddr,
    /// From its start until it was ready.
    pub ready: Duration,
}

impl Program {
    /// Starts Synapse on a data directory, as a user would, and waits until it is ready.
    pub(crate) async fn synapse(directory: &Path) -> io::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synapse"));
        command.arg("serve").env("SYNAPSE_DATA_DIR", directory.join("data")).env("SYNAPSE_MODEL_DIR", directory.join("models"));
        command.env("SYNAPSE_BACKEND_PORT", "0").env("SYNAPSE_MODEL_FETCH", "false");
        command.stderr(File::options().create(true).append(true).open(directory.join("log"))?);
        Self::start(command, "/readyz").await
    }

    /// Starts the bare server, which answers with the bytes of a file.
    pub(crate) async fn bare(answer: &Path) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare").arg(answer);
        Self::start(command, "/api/v1/agents").await
    }

    async fn start(mut command: Command, ready: &str) -> io::Result<Self> {
        let start = Instant::now();
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let Some(stdout) = child.stdout.take() else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next_line().await?.unwrap_or_default();
        let address =
            first.split(' ').find_map(|word| word.parse().ok()).ok_or_else(|| io::Error::other(format!("not started: {first}")))?;
        let request = format!("GET {ready} HTTP/1.1\r\nhost: bench\r\n\r\n");
        while Connection::open(address).await?.body(request.as_bytes()).await.is_err() {
            sleep(Duration::from_micros(500)).await;
        }
        Ok(Self { child, lines, address, ready: start.elapsed() })
    }

    /// Returns the API key that a first start prints.
    pub(crate) async fn key(&mut self) -> io::Result<String> {
        while let Some(line) = self.lines.next_line().await? {
            if let Some(start) = line.find("sk-syn-") {
                return Ok(line[start..].chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '-').collect());
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Returns the memory that is resident, in megabytes of a million bytes.
    pub(crate) fn memory(&self) -> io::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().map_err(io::Error::other)?;
        Ok(kibibytes * 1024.0 / 1e6)
    }

    /// Returns the processor time that was spent so far.
    pub(crate) fn processor_time(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        // The name in parentheses may hold blanks; user and system time are fields 14 and 15.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: f64 = fields.filter_map(|field| field.parse::<f64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks / TICKS))
    }

    /// Stops the program and waits for its end.
    pub(crate) async fn stop(mut self) -> io::Result<()> {
        if let Some(pid) = Pid::from_raw(i32::try_from(self.pid()).unwrap_or_default()) {
            kill_process(pid, Signal::TERM)?;
        }
        self.child.wait().await.map(drop)
    }

    /// Kills the program, which gets no chance to do anything.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.child.kill().await
    }

    fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}
