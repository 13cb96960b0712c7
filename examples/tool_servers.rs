//! Calls tools of tool servers without a model, for checks with servers and suites that nobody here wrote (`tests/clients`):
//!
//!     tool_servers lines DATA_DIR     a call a line: `NAME {"argument": 1}`; each answer is a line of JSON; `tools` lists the names
//!     tool_servers conformance URL    what the client half of @modelcontextprotocol/conformance starts

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use synapse::config::Config;
use synapse::definition::{McpServer, Settings, mcp_servers};
use synapse::store::{DefinitionFiles, McpTokens};
use synapse::tool::mcp::{Servers, sign_in};
use synapse::tool::{Call, Tool, Wanted};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::time::{Instant, sleep};

/// How long a call may take.
const CALL_TIME: Duration = Duration::from_secs(20);

/// How long a connection gets until its standing stream is open.
const SETTLING: Duration = Duration::from_millis(500);

/// The most bytes of a result.
const OUTPUT_BYTES: usize = 1 << 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut config = Config::from_environment().map_err(|problems| problems.join("\n"))?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["lines", data_dir] => {
            config.data_dir = data_dir.into();
            lines(&config).await
        }
        ["conformance", url] => {
            let directory = tempfile::tempdir()?;
            config.data_dir = directory.path().into();
            conformance(&config, url).await
        }
        _ => Err("usage: tool_servers lines DATA_DIR | conformance URL".into()),
    }
}

/// Answers call after call; what `mcp_servers.json` says is read anew for each.
async fn lines(config: &Config) -> Outcome<()> {
    let servers = Servers::new(config);
    let files = DefinitionFiles::open(&config.data_dir, &config.settings).map_err(|problems| format!("{problems:?}"))?;
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        files.reload_if_changed();
        let definitions = files.current();
        let (name, arguments) = line.split_once(' ').unwrap_or((&line, "{}"));
        let wanted = if name == "tools" { "all" } else { name }.to_owned();
        let tools = servers.tools(&definitions.mcp_servers, &definitions.settings, Wanted::named(&[wanted])).await;
        let answer = match (name, tools.first()) {
            ("tools", _) => tools.iter().map(|tool| tool.description().name.clone()).collect(),
            (_, None) => json!({"failure": "there is no such tool"}),
            (_, Some(tool)) => call(tool, serde_json::from_str(arguments)?).await,
        };
        println!("{answer}");
    }
    servers.close().await;
    Ok(())
}

/// Does what each scenario of the suite wants to see: connect, sign in where that is asked for, call every tool.
async fn conformance(config: &Config, url: &str) -> Outcome<()> {
    let (records, _) = mcp_servers(&json!([{"name": "suite", "url": url}]).to_string()).map_err(|problem| problem.to_string())?;
    let tokens = McpTokens::open(&config.data_dir);
    if let Some(context) = context()? {
        tokens.keep_client("suite", &json!({"client_id": context["client_id"], "client_secret": context["client_secret"]})).await?;
    }
    let mut answers = call_all(config, &records).await?;
    if answers.is_empty() {
        match sign_in(&records[0], &tokens, &[], agree).await {
            Err(failure) if failure.0.contains("asks for no sign-in") => return Ok(()),
            signed_in => signed_in?,
        }
        answers = call_all(config, &records).await?;
    }
    if let Some(scopes) = answers.iter().find_map(more_rights) {
        sign_in(&records[0], &tokens, &scopes, agree).await?;
        call_all(config, &records).await?;
    }
    Ok(())
}

/// Reads off a failure which rights the call wanted.
fn more_rights(answer: &Value) -> Option<Vec<String>> {
    let (_, scope) = answer["failure"].as_str()?.split_once("--scope \"")?;
    Some(scope.split('"').next()?.split(' ').map(str::to_owned).collect())
}

/// Calls every tool there is.
async fn call_all(config: &Config, records: &[Arc<McpServer>]) -> Outcome<Vec<Value>> {
    let servers = Servers::new(config);
    let tools = servers.tools(records, &Settings::default(), Wanted::named(&["all".to_owned()])).await;
    // The suite takes the standing stream for a reconnection if it is opened after the first call.
    sleep(SETTLING).await;
    let numbers = Map::from_iter([("a".to_owned(), json!(5)), ("b".to_owned(), json!(3))]);
    let answers = join_all(tools.iter().map(|tool| call(tool, numbers.clone()))).await;
    for answer in &answers {
        println!("{answer}");
    }
    servers.close().await;
    Ok(answers)
}

async fn call(tool: &Arc<dyn Tool>, arguments: Map<String, Value>) -> Value {
    let deadline = Instant::now() + CALL_TIME;
    match tool
        .call(Call { id: "call-1".to_owned(), arguments, deadline, output_bytes: OUTPUT_BYTES, idempotency_id: "call-1".to_owned() })
        .await
    {
        Ok(output) => json!({"text": output.text, "images": output.images.len()}),
        Err(failure) => json!({"failure": failure.0}),
    }
}

/// A browser whose owner agrees to everything.
fn agree(address: &str) {
    tokio::spawn(reqwest::get(address.to_owned()));
}

/// What the suite tells about the client that it has registered.
#[expect(clippy::disallowed_methods, reason = "the suite speaks through the environment")]
fn context() -> Outcome<Option<Value>> {
    let context: Option<Value> = std::env::var("MCP_CONFORMANCE_CONTEXT").ok().map(|text| serde_json::from_str(&text)).transpose()?;
    Ok(context.filter(|context| context.get("client_id").is_some()))
}
