//! Exchanges that existing clients know (`tests/golden`), replayed byte by byte; those of runs event by event.

mod runs;

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::Rest;
use crate::support::{ModelService, Server, Setup};

/// How we answer otherwise, each with its reason.
const DEVIATIONS: [(&str, Deviation); 5] = [
    // The contract promises 400 with a text; the recorded 422 with an array is what no client was ever told of.
    ("chat_422", Deviation::Refusal(400, "`message` is required")),
    ("chat_badjson", Deviation::Refusal(400, "the body is not valid JSON: key must be a string at line 1 column 2")),
    // A failure is never an answer: the recorded `response` after `error` tells the provider's own words.
    ("chat_stream_error", Deviation::NoResponse),
    // The recorded tool belonged to a server that the other product starts by itself; here a user wrote it, and the intent says so.
    ("chat_stream_tool", Deviation::CustomTool),
    // The clock of the heartbeat is set to a fraction of its ten seconds, so that nobody waits; there may be more than one.
    ("chat_stream_heartbeat", Deviation::ManyHeartbeats),
];

/// Events that we tell besides; clients ignore types that they do not know.
const ADDED_EVENTS: [&str; 2] = ["text_delta", "reasoning_delta"];

/// Fields that we tell besides, always last: tokens in answers and `response` events, the reason of an `error` event, the id of a call, and
/// the run of a chat with its status. The frames of a stream have a line with the number of their event in front.
const ADDED_FIELDS: [&str; 5] = ["usage", "reason", "call_id", "run_id", "status"];

/// What the recorded tool returned.
const TOOL_ANSWER: &str = r#"{"echo": "\u00e9"}"#;

/// Headers that are compared. The others name another server, its clock and its connection.
const HEADERS: [&str; 4] = ["content-type", "www-authenticate", "cache-control", "x-accel-buffering"];

/// A way to answer otherwise.
#[derive(Clone, Copy, PartialEq)]
enum Deviation {
    Refusal(u16, &'static str),
    NoResponse,
    CustomTool,
    ManyHeartbeats,
}

/// A recorded exchange.
struct Exchange {
    verb: String,
    path: String,
    body: Option<String>,
    answer: Answer,
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, Option<String>)>,
    body: String,
}

impl Exchange {
    fn read(text: &str) -> Self {
        let (request, answer) = text.split_once('\n').unwrap();
        let (call, body) = request.strip_prefix("# ").unwrap().split_once("  body=").unwrap();
        let (verb, path) = call.split_once(' ').unwrap();
        let (head, answered) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
        };
        let headers = HEADERS.map(|name| (name, header(name))).into();
        let body = match body {
            // The recorder could not write down a body that is no JSON.
            "null" if verb == "POST" => Some("{bad".to_owned()),
            "null" => None,
            body => Some(body.to_owned()),
        };
        Self { verb: verb.to_owned(), path: path.to_owned(), body, answer: Answer { status, headers, body: answered.to_owned() } }
    }

    /// Changes what was recorded into what we answer.
    fn deviate(&mut self, name: &str) {
        let answer = &mut self.answer;
        match deviation(name) {
            Some(Deviation::Refusal(status, detail)) => {
                (answer.status, answer.body) = (status, json!({"detail": detail}).to_string());
            }
            Some(Deviation::NoResponse) => answer.body = frames(&answer.body, |event| event["type"] != "response"),
            Some(Deviation::CustomTool) => answer.body = answer.body.replace(r#""intent": "chat""#, r#""intent": "custom_tool""#),
            Some(Deviation::ManyHeartbeats) | None => {}
        }
    }
}

fn deviation(name: &str) -> Option<Deviation> {
    DEVIATIONS.iter().find(|(exchange, _)| *exchange == name).map(|(_, deviation)| *deviation)
}

/// Keeps the frames of a stream whose events pass, heartbeats among them.
fn frames(body: &str, keep: impl Fn(&Value) -> bool) -> String {
    let passes = |frame: &&str| frame.strip_prefix("data: ").is_none_or(|data| keep(&serde_json::from_str(data.trim_end()).unwrap()));
    body.split_inclusive("\n\n").filter(passes).collect()
}

/// Returns a server like the one that was recorded, with the answer of the exchange.
fn server(name: &str, tool: &ModelService) -> Server {
    let steps = |kinds: &[&str]| -> Value {
        let step = |(number, kind)| json!({"id": format!("s{}", number + 1), "name": "Step", "type": kind});
        kinds.iter().enumerate().map(step).collect()
    };
    let orchestration = |id: &str, name: &str, description: &str, kinds: &[&str]| json!({"id": id, "name": name, "description": description, "steps": steps(kinds)});
    let orchestrations = json!([
        orchestration("print2", "Print two", "demo", &["print", "end"]),
        orchestration("human", "Human", "", &["human", "print"]),
        orchestration("par", "Par", "", &["parallel", "print", "print", "merge"]),
        orchestration("loop", "Loop", "", &["loop", "print"]),
        orchestration("branch", "Branch", "", &["if", "print", "print"]),
        orchestration("eval", "Eval", "", &["evaluator", "print"]),
        orchestration("agentstep", "AgentStep", "", &["agent"]),
        orchestration("xform", "Xform", "", &["transform", "print"]),
        orchestration("bad", "Bad", "", &[]),
    ]);
    let script = match name {
        "chat_500" | "chat_stream_error" => json!({"text": "", "error": "rejected"}),
        "chat_stream_heartbeat" => json!({"text": "late", "delay_ms": 500}),
        "chat_stream_tool" => {
            json!({"answers": [{"text": "", "calls": [{"tool": "echo", "arguments": {"text": "é"}}]}, {"text": "Done."}]})
        }
        _ => json!({"text": "Hello."}),
    };
    let tools = json!([{"name": "echo", "method": "POST", "url": tool.url()}]);
    let agent = json!({"id": "a1", "name": "Alpha", "model": null, "description": "d", "tools": ["echo"]});
    Setup::new()
        .agents(json!([agent]))
        .orchestrations(orchestrations)
        .script(script)
        .file("custom_tools.json", tools.to_string())
        .setting("allow_private_addresses", true)
        .environment("SYNAPSE_HEARTBEAT", 0.3)
        .start()
}

async fn replay(server: &Server, name: &str, exchange: &Exchange) -> Answer {
    let mut request = server.client(Rest).http.request(exchange.verb.parse().unwrap(), server.url(&exchange.path));
    match name {
        "auth_missing" => {}
        "auth_bad" => request = request.bearer_auth("sk-syn-bad"),
        _ => request = request.bearer_auth(&server.key),
    }
    if let Some(body) = &exchange.body {
        request = request.header("content-type", "application/json").body(body.clone());
    }
    let response = request.send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (status, headers) = (response.status().as_u16(), HEADERS.map(|name| (name, header(name))).into());
    Answer { status, headers, body: response.text().await.unwrap() }
}

/// Takes out of an answer what is only added.
fn without_additions(name: &str, body: &str) -> String {
    let body: &str = &body.split_inclusive('\n').filter(|line| !line.starts_with("id: ")).collect::<String>();
    if !body.starts_with("data: ") {
        let mut value: Value = serde_json::from_str(body).unwrap();
        if let Some(object) = value.as_object_mut() {
            object.retain(|name, _| !ADDED_FIELDS.contains(&name.as_str()));
        }
        return value.to_string();
    }
    let told = frames(body, |event| !ADDED_EVENTS.iter().any(|added| event["type"] == *added));
    let mut text = String::new();
    for frame in told.split_inclusive("\n\n") {
        let added = ADDED_FIELDS.iter().find_map(|name| frame.find(&format!(", \"{name}\": ")));
        let plain = added.map_or_else(|| frame.to_owned(), |end| format!("{}}}\n\n", &frame[..end]));
        let again = deviation(name) == Some(Deviation::ManyHeartbeats) && frame == ": ping\n\n" && text.ends_with(frame);
        if !again {
            text += &plain;
        }
    }
    text
}

#[rstest]
#[tokio::test]
async fn a_known_exchange_is_as_it_was(
    #[values(
        "agent_404",
        "agent_get",
        "agents_list",
        "auth_bad",
        "auth_missing",
        "chat_422",
        "chat_500",
        "chat_badjson",
        "chat_ok",
        "chat_stream_error",
        "chat_stream_heartbeat",
        "chat_stream_plain",
        "chat_stream_tool",
        "orch_404",
        "orch_get",
        "orchs_list"
    )]
    name: &str,
) {
    let path = format!("{}/tests/golden/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let mut exchange = Exchange::read(&std::fs::read_to_string(path).unwrap());
    exchange.deviate(name);
    let tool = ModelService::new().await;
    let server = server(name, &tool);
    let serving =
        tokio::spawn(async move { tool.called().await.respond("200 OK", "content-type: application/json\r\n", TOOL_ANSWER).await });
    let mut answer = replay(&server, name, &exchange).await;
    serving.abort();
    answer.body = without_additions(name, &answer.body);
    assert_eq!(answer, exchange.answer);
}

#[test]
fn every_recorded_exchange_is_replayed_and_every_deviation_is_one_of_them() {
    let directory = std::fs::read_dir(format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let names: Vec<String> = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let replayed = |name: &&String| !runs::EXCHANGES.contains(&name.trim_end_matches(".http"));
    assert_eq!(names.iter().filter(replayed).count(), 16, "name the new one above: {names:?}");
    assert_eq!(names.len(), 16 + runs::EXCHANGES.len());
    assert!(DEVIATIONS.iter().all(|(name, _)| names.contains(&format!("{name}.http"))));
}
