//! What the operator sets through the environment: read once, completely, and never anywhere else.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

/// Environment variables that carry a provider's key, and the setting each one stands in for.
const PROVIDER_KEYS: [(&str, &str); 10] = [
    ("OPENAI_API_KEY", "openai_key"),
    ("ANTHROPIC_API_KEY", "anthropic_key"),
    ("GEMINI_API_KEY", "gemini_key"),
    ("GOOGLE_API_KEY", "gemini_key"),
    ("XAI_API_KEY", "grok_key"),
    ("GROK_API_KEY", "grok_key"),
    ("DEEPSEEK_API_KEY", "deepseek_key"),
    ("BEDROCK_API_KEY", "bedrock_api_key"),
    ("AWS_BEARER_TOKEN_BEDROCK", "bedrock_api_key"),
    ("OPENAI_COMPATIBLE_API_KEY", "openai_compatible_key"),
];

/// The variables that child processes get: where programs and files are, who runs them, and in which language they speak.
const CHILD_VARIABLES: [&str; 5] = ["PATH", "HOME", "LANG", "TMPDIR", "USER"];

/// Where programs are looked for if the environment has no `PATH`.
const SEARCH_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Everything the environment says. `README.md` has the table of names, defaults and units.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where definitions, keys, sessions and the vault live.
    pub data_dir: PathBuf,
    /// Where the weights of local models live; shared by all data directories.
    pub model_dir: PathBuf,
    /// Where the weights come from instead of their usual sources.
    pub model_url: Option<String>,
    /// Whether a first start may fetch the weights of the local model, with its progress shown.
    pub model_fetch: bool,
    /// The address that is listened on.
    pub host: IpAddr,
    /// The port for REST, SSE, gRPC and gRPC-Web; 0 lets the system choose.
    pub port: u16,
    /// A second, gRPC-only port.
    pub grpc_port: Option<u16>,
    /// The certificate chain and key of TLS, both in PEM files.
    pub tls: Option<TlsFiles>,
    /// The admin token; without it one is kept in the data directory.
    pub admin_token: Option<SecretString>,
    /// Origins whose pages may call; `*` for every one.
    pub cors_origins: Vec<String>,
    /// Limits in sizes, counts and times.
    pub limits: Limits,
    /// How people's Python is run.
    pub python: PythonSettings,
    /// Provider keys by setting name.
    pub provider_keys: BTreeMap<&'static str, SecretString>,
    /// Settings that stand above those of `settings.json`.
    pub settings: BTreeMap<String, serde_json::Value>,
    /// The server that `synapse chat` talks to, and the key it shows.
    pub url: Option<String>,
    /// The API key of `synapse chat`.
    pub api_key: Option<SecretString>,
    /// What child processes get of this process's environment.
    pub child_environment: Vec<(&'static str, String)>,
    /// Whether log lines are JSON.
    pub log_json: bool,
    /// What is logged: a level, or `module=level` with commas between.
    pub log_filter: String,
}

/// The files of TLS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
}

/// How people's Python is run.
#[derive(Debug, Clone)]
pub struct PythonSettings {
    /// The interpreter, a name or a path; that of a virtual environment brings its packages.
    pub interpreter: PathBuf,
    /// The directories in which a name is looked for, as in `PATH`.
    pub search_path: String,
    /// Whether programs run even where the kernel has no sandbox for them.
    pub unsandboxed: bool,
    /// The most programs at once; each may take 512 MB.
    pub workers: usize,
}

/// What bounds a request, a connection and the process.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest request body in bytes.
    pub body_bytes: usize,
    /// The most connections at once.
    pub connections: usize,
    /// How long a client may take to send its request's head.
    pub header_time: Duration,
    /// How long a client may pause while it sends a body.
    pub body_pause: Duration,
    /// After how much silence a stream carries a heartbeat.
    pub heartbeat: Duration,
    /// How long a model may take for an answer, retries included.
    pub model_time: Duration,
    /// How long a tool may take for a call, whatever its own limit.
    pub tool_time: Duration,
    /// How long an attempt at a step may take, where the step does not say.
    pub step_time: Duration,
    /// How long a run may work, where its orchestration does not say.
    pub run_time: Duration,
    /// How long an HTTP tool may take for a whole exchange.
    pub http_tool_time: Duration,
    /// How long a tool server may take to connect and to list its tools.
    pub mcp_list_time: Duration,
    /// How long a call of a tool server's tool may take.
    pub mcp_call_time: Duration,
    /// How long a stop waits for what is going on.
    pub shutdown_time: Duration,
}

impl Config {
    /// Reads a configuration from `get`; all problems are told at once.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let get = |name: &str| get(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let mut reader = Reader { get: &get, problems: Vec::new() };
        let home = get("HOME").map_or_else(|| PathBuf::from("."), PathBuf::from).join(".synapse");
        let config = Self {
            data_dir: get("SYNAPSE_DATA_DIR").map_or_else(|| home.join("data"), PathBuf::from),
            model_dir: get("SYNAPSE_MODEL_DIR").map_or_else(|| home.join("models"), PathBuf::from),
            model_url: get("SYNAPSE_MODEL_URL"),
            model_fetch: reader.or("SYNAPSE_MODEL_FETCH", true),
            host: reader.or("SYNAPSE_HOST", IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: reader.or("SYNAPSE_BACKEND_PORT", 8000),
            grpc_port: reader.maybe("SYNAPSE_GRPC_PORT"),
            tls: reader.tls(),
            admin_token: reader.admin_token(),
            cors_origins: get("CORS_ORIGINS").map(|list| split(&list)).unwrap_or_default(),
            limits: reader.limits(),
            python: reader.python(),
            provider_keys: PROVIDER_KEYS.iter().rev().filter_map(|(variable, setting)| Some((*setting, get(variable)?.into()))).collect(),
            settings: BTreeMap::new(),
            url: get("SYNAPSE_URL"),
            api_key: get("SYNAPSE_API_KEY").map(SecretString::from),
            child_environment: CHILD_VARIABLES.into_iter().filter_map(|name| Some((name, child_variable(get, name)?))).collect(),
            log_json: reader.or("SYNAPSE_LOG_JSON", false),
            log_filter: get("SYNAPSE_LOG").unwrap_or_else(|| "info".to_owned()),
        };
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }

    /// Reads the configuration of this process.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn from_environment() -> Result<Self, Vec<String>> {
        let mut config = Self::read(|name| std::env::var(name).ok())?;
        config.settings = std::env::vars_os()
            .filter_map(|(name, value)| {
                // A variable that is no text is none of ours.
                let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
                let setting = name.strip_prefix("SYNAPSE_SETTING_")?.to_ascii_lowercase();
                Some((setting, serde_json::from_str(&value).unwrap_or(serde_json::Value::String(value))))
            })
            .chain(std::env::var("OLLAMA_BASE_URL").map(|url| ("ollama_base_url".to_owned(), url.into())))
            .collect();
        Ok(config)
    }
}

/// Reads variables and collects what is wrong with them.
struct Reader<'a> {
    get: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Reader<'_> {
    fn maybe<T: FromStr<Err: Display>>(&mut self, name: &str) -> Option<T> {
        let value = (self.get)(name)?;
        value.parse().map_err(|error| self.problems.push(format!("`{name}` is `{value}`: {error}"))).ok()
    }

    fn or<T: FromStr<Err: Display>>(&mut self, name: &str, default: T) -> T {
        self.maybe(name).unwrap_or(default)
    }

    fn seconds(&mut self, name: &str, default: f64) -> Duration {
        Duration::from_secs_f64(self.within(name, default, 0.001, 86_400.0))
    }

    fn minutes(&mut self, name: &str, default: f64) -> Duration {
        Duration::from_secs_f64(60.0 * self.within(name, default, 0.001, 525_600.0))
    }

    fn within<T: FromStr<Err: Display> + Display + PartialOrd + Copy>(&mut self, name: &str, default: T, least: T, most: T) -> T {
        match self.maybe(name) {
            None => default,
            Some(value) if value >= least && value <= most => value,
            Some(value) => {
                self.problems.push(format!("`{name}` is `{value}`: it must be from {least} to {most}"));
                default
            }
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            body_bytes: self.within("SYNAPSE_MAX_BODY_BYTES", 16 << 20, 1 << 10, 1 << 30),
            connections: self.within("SYNAPSE_MAX_CONNECTIONS", 10_000, 1, 1_000_000),
            header_time: self.seconds("SYNAPSE_HEADER_TIMEOUT", 10.0),
            body_pause: self.seconds("SYNAPSE_BODY_TIMEOUT", 30.0),
            heartbeat: self.seconds("SYNAPSE_HEARTBEAT", 10.0),
            model_time: self.seconds("SYNAPSE_LLM_TIMEOUT", 180.0),
            tool_time: self.seconds("SYNAPSE_TOOL_TIMEOUT", 120.0),
            step_time: self.seconds("SYNAPSE_ORCH_STEP_TIMEOUT", 300.0),
            run_time: self.minutes("SYNAPSE_ORCH_GLOBAL_TIMEOUT_MINUTES", 30.0),
            http_tool_time: self.seconds("SYNAPSE_HTTP_TOOL_TIMEOUT", 30.0),
            mcp_list_time: self.seconds("SYNAPSE_MCP_LIST_TOOLS_TIMEOUT", 15.0),
            mcp_call_time: self.seconds("SYNAPSE_MCP_TOOL_CALL_TIMEOUT", 60.0),
            shutdown_time: self.seconds("SYNAPSE_SHUTDOWN_TIMEOUT", 30.0),
        }
    }

    fn python(&mut self) -> PythonSettings {
        PythonSettings {
            interpreter: (self.get)("SYNAPSE_PYTHON").unwrap_or_else(|| "python3".to_owned()).into(),
            search_path: (self.get)("PATH").unwrap_or_else(|| SEARCH_PATH.to_owned()),
            unsandboxed: self.within("SYNAPSE_UNSANDBOXED_PYTHON", 0, 0, 1) == 1,
            workers: self.within("SYNAPSE_PYTHON_WORKERS", 4, 1, 1000),
        }
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        match ((self.get)("SYNAPSE_TLS_CERT"), (self.get)("SYNAPSE_TLS_KEY")) {
            (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.into(), key: key.into() }),
            (None, None) => None,
            _ => {
                self.problems.push("`SYNAPSE_TLS_CERT` and `SYNAPSE_TLS_KEY` go together; one of them is not set".to_owned());
                None
            }
        }
    }

    fn admin_token(&mut self) -> Option<SecretString> {
        let token = (self.get)("SYNAPSE_ADMIN_TOKEN")?;
        if token.len() < 16 {
            self.problems.push("`SYNAPSE_ADMIN_TOKEN` is shorter than 16 characters; leave it out to have one made".to_owned());
        }
        Some(token.into())
    }
}

/// Returns a variable of child processes, which always have a `PATH`.
fn child_variable(get: impl Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    get(name).or_else(|| (name == "PATH").then(|| SEARCH_PATH.to_owned()))
}

fn split(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_told_at_once_with_its_variable() {
        let set = [
            ("SYNAPSE_BACKEND_PORT", "eighty"),
            ("SYNAPSE_HEARTBEAT", "0"),
            ("SYNAPSE_MAX_CONNECTIONS", "0"),
            ("SYNAPSE_TLS_CERT", "a.pem"),
            ("SYNAPSE_ADMIN_TOKEN", "short"),
        ];
        let problems = Config::read(|name| set.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned())).unwrap_err();
        assert_eq!(problems.len(), set.len(), "{problems:?}");
        for (name, _) in set {
            assert!(problems.iter().any(|problem| problem.contains(name)), "{name}: {problems:?}");
        }
    }

    #[test]
    fn blank_values_count_as_unset() {
        let config = Config::read(|name| (name == "SYNAPSE_BACKEND_PORT").then(|| "  ".to_owned())).unwrap();
        assert_eq!(config.port, 8000);
    }
}
