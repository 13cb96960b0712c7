//! A server with a data directory of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::process::{Start, command};
use super::{Client, Dialect, Failed, Process, eventually};

/// The id of the key that every server begins with.
pub(crate) const KEY_ID: &str = "0b0e5a3e-6f7f-4c62-9d5c-2d9d3c1f4a11";

/// What a server begins with.
pub(crate) struct Setup {
    directory: TempDir,
    start: Start,
    key: String,
    admin: String,
    settings: Value,
    /// What must not appear in the log.
    secrets: Vec<String>,
}

impl Setup {
    /// One agent without tools, `a1` or `Alpha`, that repeats what it hears.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let unlike_others = |what: &str| hex(&Sha256::digest(format!("{what} {}", directory.path().display())));
        let (key, admin) = (format!("sk-syn-{}", unlike_others("key")), format!("admin-{}", unlike_others("admin")));
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let environment = [
            ("HOME", path("home")),
            ("SYNAPSE_DATA_DIR", path("data")),
            ("SYNAPSE_MODEL_DIR", path("models")),
            ("SYNAPSE_MODEL_FETCH", "false".to_owned()),
            ("SYNAPSE_BACKEND_PORT", "0".to_owned()),
            ("SYNAPSE_ADMIN_TOKEN", admin.clone()),
            ("SYNAPSE_LOG", "info,synapse=trace".to_owned()),
        ];
        let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let start = Start { environment, ..Start::default() };
        std::fs::create_dir(directory.path().join("data")).unwrap();
        let secrets = vec![key.clone(), admin.clone()];
        let setup = Self { directory, start, key, admin, settings: json!({"model": "scripted.echo"}), secrets };
        setup.agents(json!([{"id": "a1", "name": "Alpha", "model": null, "description": "d", "tools": []}])).keys(&[])
    }

    /// Writes the agents.
    pub(crate) fn agents(self, agents: impl Into<Value>) -> Self {
        self.file("user_agents.json", agents.into().to_string())
    }

    /// Gives the agent every tool that there is.
    pub(crate) fn all_tools(self) -> Self {
        self.agents(json!([{"id": "a1", "name": "Alpha", "tools": ["all"]}]))
    }

    /// Writes the orchestrations.
    pub(crate) fn orchestrations(self, orchestrations: impl Into<Value>) -> Self {
        self.file("orchestrations.json", orchestrations.into().to_string())
    }

    /// Writes keys beside the one that every server begins with.
    pub(crate) fn keys(self, further: &[Value]) -> Self {
        let own = key_record(KEY_ID, &self.key);
        let keys: Vec<Value> = std::iter::once(own).chain(further.iter().cloned()).collect();
        self.file("api_keys.json", Value::Array(keys).to_string())
    }

    /// Sets a setting.
    pub(crate) fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings[name] = value.into();
        self
    }

    /// Lets the model of every agent play a script.
    pub(crate) fn script(self, script: Value) -> Self {
        self.setting("model", "scripted.it").setting("scripted", Value::from_iter([("it", script)]))
    }

    /// Lets the model of every agent be asked at an address.
    pub(crate) fn model(self, url: &str) -> Self {
        self.setting("model", "locv1.m").setting("local_compatible_base_url", url)
    }

    /// Sets a variable of the environment.
    #[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
    pub(crate) fn environment(mut self, name: &str, value: impl ToString) -> Self {
        self.start.environment.retain(|(known, _)| known != name);
        self.start.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Lets another program start the server.
    pub(crate) fn through(mut self, program: Vec<String>) -> Self {
        self.start.through = program;
        self
    }

    /// Names a text that must not appear in the log.
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secrets.push(secret.to_owned());
        self
    }

    /// Writes a file of the data directory.
    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.data_dir().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
        self
    }

    /// Returns the data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns a path beside the data directory.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Takes everything out of the data directory, as it is before a first start.
    pub(crate) fn empty(self) -> Self {
        std::fs::remove_dir_all(self.data_dir()).unwrap();
        self
    }

    /// Runs a command with this environment.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        command(arguments, &self.start).output().unwrap()
    }

    /// Starts the server.
    pub(crate) fn start(self) -> Server {
        self.try_start().unwrap_or_else(|failed| panic!("{}", failed.errors))
    }

    /// Starts the server, or tells why that failed.
    pub(crate) fn try_start(self) -> Result<Server, Failed> {
        let settings = self.data_dir().join("settings.json");
        if self.data_dir().exists() && !settings.exists() {
            std::fs::write(settings, self.settings.to_string()).unwrap();
        }
        let (process, line) = Process::serve(&self.start)?;
        Ok(Server {
            address: address(&line, "listening on "),
            line,
            key: self.key.clone(),
            admin: self.admin.clone(),
            process,
            setup: self,
        })
    }
}

/// Returns the record of a key in the key file.
pub(crate) fn key_record(id: &str, key: &str) -> Value {
    json!({
        "id": id, "name": "test", "key_hash": hex(&Sha256::digest(key)), "key_prefix": key.get(..12),
        "created_at": "2026-01-02T03:04:05Z", "last_used_at": null, "is_active": true,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn address(line: &str, before: &str) -> SocketAddr {
    line.split_once(before).and_then(|(_, rest)| rest.split(' ').next()).unwrap().parse().unwrap()
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    pub(crate) admin: String,
    pub(crate) process: Process,
    pub(crate) setup: Setup,
    line: String,
}

impl Server {
    /// Returns a client that holds a key.
    pub(crate) fn client(&self, dialect: Dialect) -> Client {
        Client::new(dialect, self.address).bearer(&self.key)
    }

    /// Returns a client that holds the admin token.
    pub(crate) fn admin(&self, dialect: Dialect) -> Client {
        self.client(dialect).bearer(&self.admin)
    }

    /// Returns the address of the gRPC-only listener.
    pub(crate) fn grpc_address(&self) -> SocketAddr {
        address(&self.line, "and on ")
    }

    /// Returns an address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the data directory.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.setup.data_dir()
    }

    /// Writes a file of the data directory.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        std::fs::write(self.data_dir().join(name), contents).unwrap();
    }

    /// Reads a file of the data directory.
    pub(crate) fn read(&self, name: impl AsRef<Path>) -> String {
        std::fs::read_to_string(self.data_dir().join(name)).unwrap()
    }

    /// Waits until the log holds a text, and returns the line that has it.
    pub(crate) async fn logged(&self, text: &str) -> String {
        let line = |log: String| log.lines().find(|line| line.contains(text)).map(str::to_owned);
        eventually(&format!("`{text}` in the log"), async || line(self.process.errors())).await
    }

    /// Tries to start another server on the same directory.
    pub(crate) fn second(&self) -> Failed {
        Process::serve(&self.setup.start).err().unwrap()
    }

    /// Begins a request with the server's key.
    pub(crate) fn request(&self, verb: &str, path: &str) -> reqwest::RequestBuilder {
        super::rest::http().request(verb.parse().unwrap(), self.url(path)).bearer_auth(&self.key)
    }

    /// Stops the server as an operator does, and starts it again with the same directory.
    pub(crate) async fn restart(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.ended().await, Some(0));
        self.start_again();
    }

    /// Starts a server that has ended again, with the same directory.
    pub(crate) fn start_again(&mut self) {
        self.try_start_again().unwrap();
    }

    /// Starts a server that has ended again, or tells why that failed.
    pub(crate) fn try_start_again(&mut self) -> Result<(), Failed> {
        self.keeps_secrets();
        let (process, line) = Process::serve(&self.setup.start)?;
        (self.address, self.process, self.line) = (address(&line, "listening on "), process, line);
        Ok(())
    }

    /// Starts a server that has ended again, and kills it after a time, wherever its start is then.
    pub(crate) async fn start_and_kill(&self, after: Duration) {
        Process::serve_and_kill(&self.setup.start, after).await;
    }

    /// Kills the server in the middle of whatever it does, and starts it again with the same directory.
    pub(crate) fn crash(&mut self) {
        self.process.kill();
        self.start_again();
    }

    fn keeps_secrets(&self) {
        let log = self.process.errors();
        assert!(!self.setup.secrets.iter().any(|secret| log.contains(secret)), "a secret is in the log");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.keeps_secrets();
        }
    }
}

/// A certificate for TLS on this machine, and what its two files hold.
pub(crate) struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: String,
}

impl Certificate {
    /// Makes one.
    pub(crate) fn new() -> Arc<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        Arc::new(Self { der: made.cert.der().clone(), pem: made.cert.pem(), key: made.signing_key.serialize_pem() })
    }
}
