//! Tool servers that are child processes: a clean environment, a process group of their own, and lines of a bounded length.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use rmcp::RoleClient;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use super::Setup;
use super::child_input::ChildInput;
use super::http::MESSAGE_BYTES;
use crate::definition::{McpServer, Reach, Settings};

/// How many lines that are no messages a server may print before its first one: some greet with a banner.
const BANNER_LINES: usize = 100;

/// How long a child may take to end, first by itself once its input is closed, then after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);

/// Variables that are not for the records of an operator who lists the commands that may run; those of the dynamic linker are none either.
const LEADING_ELSEWHERE: [&str; 5] = ["PATH", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV"];

/// Bytes of standard error that become log lines together.
const LOG_BYTES: usize = 4096;

/// Says why the operator does not let a server run; nothing for one that may, as every remote one.
pub(super) fn refusal(record: &McpServer, settings: &Settings) -> Option<String> {
    let Reach::Stdio { command, env, .. } = &record.reach else { return None };
    if !settings.flag("allow_stdio_mcp", false) {
        return Some(format!("it would start `{command}` on this machine; set `allow_stdio_mcp` to true in `settings.json` to let it"));
    }
    match settings.get("mcp_command_allowlist") {
        None => None,
        Some(Value::Array(allowed)) if allowed.is_empty() => None,
        Some(Value::Array(allowed)) if allowed.iter().any(|allowed| allowed == command) => {
            let name = env.iter().map(|(name, _)| name).find(|name| leads_elsewhere(name))?;
            Some(format!("its `env` sets `{name}`, with which `{command}` could run anything; remove it, or empty `mcp_command_allowlist`"))
        }
        Some(_) => Some(format!("the command `{command}` is not in `mcp_command_allowlist`; add it there")),
    }
}

/// Tells whether a variable could make a program that is allowed run one that is not.
fn leads_elsewhere(variable: &str) -> bool {
    LEADING_ELSEWHERE.contains(&variable) || variable.starts_with("LD_") || variable.starts_with("DYLD_")
}

/// Finds a program in our own `PATH`: that of a record must not change what its command means.
fn found(command: &str, environment: &[(&str, String)]) -> Result<PathBuf, String> {
    if command.contains('/') {
        return Ok(command.into());
    }
    let path = environment.iter().find(|(name, _)| *name == "PATH").map_or("", |(_, path)| path);
    let mut places = std::env::split_paths(path).filter(|place| place.is_absolute()).map(|place| place.join(command));
    let program = places.find(|program| program.is_file() && access(program, Access::EXEC_OK).is_ok());
    program.ok_or_else(|| format!("`{command}` cannot be started: no directory of `PATH` has it"))
}

/// A child that speaks the protocol over its standard input and output.
pub(super) struct ChildServer {
    messages: FramedRead<ChildStdout, LinesCodec>,
    input: ChildInput,
    group: Group,
    end: Arc<OnceLock<String>>,
    /// How many lines were no messages; nothing after the first message.
    banner: Option<usize>,
}

impl ChildServer {
    /// Starts the program. `end` will say why it came to its end.
    pub(super) fn start(server: &str, reach: &Reach, setup: &Setup, end: Arc<OnceLock<String>>) -> Result<Self, String> {
        let Reach::Stdio { command, args, env } = reach else { return Err("it is no program".to_owned()) };
        let mut program = Command::new(found(command, &setup.environment)?);
        program.args(args).env_clear().envs(setup.environment.iter().map(|(name, value)| (name, value)));
        program.envs(env.iter().map(|(name, value)| (name, value))).process_group(0);
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = program.spawn().map_err(|error| format!("`{command}` cannot be started: {error}"))?;
        let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let group = Group::of(child);
        let (Some(output), Some(errors)) = (output, errors) else { return Err("its output cannot be read".to_owned()) };
        tokio::spawn(log(server.to_owned(), errors));
        let messages = FramedRead::new(output, LinesCodec::new_with_max_length(MESSAGE_BYTES));
        Ok(Self { messages, input: ChildInput::new(input, end.clone()), group, end, banner: Some(0) })
    }

    /// Makes a message of a line; nothing for a blank line and for a banner.
    fn read(&mut self, line: &str) -> Result<Option<RxJsonRpcMessage<RoleClient>>, String> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        match (serde_json::from_str(line), &mut self.banner) {
            (Ok(message), _) => {
                self.banner = None;
                Ok(Some(message))
            }
            (Err(_), Some(lines)) if *lines < BANNER_LINES => {
                *lines += 1;
                Ok(None)
            }
            (Err(_), _) => Err("it printed something that is no message of the protocol".to_owned()),
        }
    }
}

impl Transport<RoleClient> for ChildServer {
    type Error = io::Error;

    fn send(&mut self, message: TxJsonRpcMessage<RoleClient>) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let line = serde_json::to_vec(&message).map(|mut line| {
            line.push(b'\n');
            line
        });
        let sent = line.map(|line| self.input.send(line));
        async move { sent?.await }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let next = tokio::select! {
                next = self.messages.next() => next,
                () = self.input.given_up() => return None,
            };
            let reason = match next {
                Some(Ok(line)) => match self.read(&line) {
                    Ok(Some(message)) => return Some(message),
                    Ok(None) => continue,
                    Err(reason) => reason,
                },
                Some(Err(LinesCodecError::MaxLineLengthExceeded)) => format!("it sent a message of more than {MESSAGE_BYTES} bytes"),
                Some(Err(LinesCodecError::Io(error))) if error.kind() == io::ErrorKind::InvalidData => {
                    "it sent bytes that are no UTF-8".to_owned()
                }
                Some(Err(LinesCodecError::Io(error))) => format!("its output cannot be read: {error}"),
                None => self.group.ended().await,
            };
            let _ = self.end.set(reason);
            return None;
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.input.close();
        self.group.end().await;
        Ok(())
    }
}

/// A child with everything that it started. Dropping it kills them all.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let id = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Self { child, id }
    }

    /// Waits a moment for the child to end and says how it did.
    async fn ended(&mut self) -> String {
        match timeout(GRACE, self.child.wait()).await {
            Ok(Ok(status)) => format!("it ended ({status})"),
            _ => "it closed its output".to_owned(),
        }
    }

    /// Lets the child end, more and more firmly.
    async fn end(&mut self) {
        if timeout(GRACE, self.child.wait()).await.is_err() {
            self.signal(Signal::TERM);
            let _ = timeout(GRACE, self.child.wait()).await;
        }
        self.kill();
        let _ = self.child.wait().await;
    }

    /// Kills whoever is left of the group, once: later its number may be somebody else's.
    fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.id = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            let _ = kill_process_group(id, signal); // fails only if nobody is left
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Writes what a child says on standard error to the log.
async fn log(server: String, mut errors: ChildStderr) {
    let mut bytes = [0; LOG_BYTES];
    while let Ok(length @ 1..) = errors.read(&mut bytes).await {
        for line in String::from_utf8_lossy(&bytes[..length]).lines() {
            tracing::debug!(server, line, "a tool server says");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(settings: &Value) -> Option<String> {
        refused_with(&[], settings)
    }

    fn refused_with(env: &[&str], settings: &Value) -> Option<String> {
        let env = env.iter().map(|name| ((*name).to_owned(), "/tmp/x".to_owned())).collect();
        let reach = Reach::Stdio { command: "npx".to_owned(), args: Vec::new(), env };
        let settings = settings.as_object().cloned().map(Settings::new).unwrap();
        refusal(&McpServer { name: "files".to_owned(), reach }, &settings)
    }

    #[test]
    fn a_program_runs_only_if_the_operator_says_so() {
        assert!(refused(&json!({})).unwrap().contains("`allow_stdio_mcp`"));
        assert!(refused(&json!({"allow_stdio_mcp": "true"})).unwrap().contains("`allow_stdio_mcp`"));
        assert_eq!(refused(&json!({"allow_stdio_mcp": true})), None);
        assert_eq!(refused(&json!({"allow_stdio_mcp": true, "mcp_command_allowlist": []})), None);
        assert_eq!(refused(&json!({"allow_stdio_mcp": true, "mcp_command_allowlist": ["npx"]})), None);
        for list in [json!(["/usr/bin/npx", "npx "]), json!("npx"), json!({"npx": true})] {
            let refusal = refused(&json!({"allow_stdio_mcp": true, "mcp_command_allowlist": list}));
            assert_eq!(refusal.unwrap(), "the command `npx` is not in `mcp_command_allowlist`; add it there");
        }
    }

    #[test]
    fn no_variable_leads_around_the_list_of_commands() {
        let listed = json!({"allow_stdio_mcp": true, "mcp_command_allowlist": ["npx"]});
        for name in ["PATH", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "NODE_OPTIONS", "PYTHONPATH", "PYTHONSTARTUP", "BASH_ENV"] {
            let refusal = refused_with(&["API_KEY", name], &listed).unwrap();
            assert!(refusal.starts_with(&format!("its `env` sets `{name}`")), "{refusal}");
            assert_eq!(refused_with(&[name], &json!({"allow_stdio_mcp": true, "mcp_command_allowlist": []})), None);
        }
        assert_eq!(refused_with(&["API_KEY", "MY_PATH"], &listed), None);
    }
}
