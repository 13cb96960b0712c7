//! Agents that let other agents work for them.

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Setup, refused};

/// An agent with a script of its own.
#[expect(clippy::needless_pass_by_value, reason = "it reads better where it is called")]
fn agent(id: &str, kind: &str, tools: Value) -> Value {
    json!({"id": id, "name": id.to_uppercase(), "type": kind, "model": format!("scripted.{id}"), "description": format!("does {id}"), "tools": tools})
}

fn delegation(calls: &[(&str, &str)]) -> Value {
    let call = |(id, task): &(&str, &str)| json!({"tool": "delegate_to_agent", "arguments": {"agent_id": id, "task": task}});
    calls.iter().map(call).collect()
}

fn setup(agents: Value, scripts: Value) -> Setup {
    Setup::new().agents(agents).setting("scripted", scripts)
}

fn tool_results(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["type"] == "tool_result").collect()
}

fn content(events: &[Value]) -> &Value {
    &events.iter().find(|event| event["type"] == "response").unwrap()["content"]
}

#[rstest]
#[tokio::test]
async fn a_sub_agent_works_and_is_told_with_its_name(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents = json!([agent("boss", "delegate", json!([])), agent("clerk", "conversational", json!(["get_datetime"]))]);
    let clock = json!([{"tool": "get_datetime", "arguments": {}}]);
    let usage = json!({"input_tokens": 10, "output_tokens": 1, "cached_tokens": 0});
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": delegation(&[("clerk", "what day is it?")]), "usage": usage}, {"text": "He says: {results}", "usage": usage}]},
        "clerk": {"answers": [{"text": "", "calls": clock, "usage": usage}, {"text": "{message} Monday.", "usage": usage}]},
    });
    let server = setup(agents, scripts).start();
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    assert_eq!(content(&events), "He says: what day is it? Monday.");
    let thinking: Vec<&Value> = events.iter().filter(|event| event["type"] == "thinking").map(|event| &event["message"]).collect();
    assert_eq!(thinking[1], "Delegating to CLERK...");
    let tag = json!({"agent_id": "clerk", "agent_name": "CLERK", "call_id": "call_1"});
    let tagged: Vec<&str> = events.iter().filter(|event| event["delegate"] == tag).map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(tagged, ["thinking", "llm_thought", "tool_execution", "tool_result", "thinking", "text_delta", "llm_thought"]);
    assert_eq!(tool_results(&events)[1]["tool_name"], "delegate_to_agent");
    assert_eq!(tool_results(&events)[1].get("delegate"), None);
    assert_eq!(events[events.len() - 2]["usage"]["input_tokens"], 40, "the tokens of all four model calls");
    let sessions = server.client(dialect).call("ListSessions", json!({})).await.answer();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "a sub-agent has no session of its own");
}

#[rstest]
#[tokio::test]
async fn a_failure_of_a_sub_agent_is_no_failure_of_the_whole(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents = json!([agent("boss", "delegate", json!([])), agent("clerk", "conversational", json!([]))]);
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": delegation(&[("clerk", "x")])}, {"text": "Without him: {results}"}]},
        "clerk": {"error": "rejected"},
    });
    let server = setup(agents, scripts).start();
    let told = "Without him: Error: The agent encountered an error processing your request.";
    assert_eq!(server.client(dialect).say(json!({"message": "hi"})).await, told);
    assert_eq!(content(&server.client(dialect).events(json!({"message": "hi"})).await), told);
}

#[rstest]
#[tokio::test]
async fn sub_agents_work_side_by_side(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents =
        json!([agent("boss", "delegate", json!([])), agent("one", "conversational", json!([])), agent("two", "conversational", json!([]))]);
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": delegation(&[("one", "1"), ("two", "2")])}, {"text": "{results}"}]},
        "one": {"text": "one {message}", "delay_ms": 300},
        "two": {"text": "two {message}"},
    });
    let server = setup(agents, scripts).start();
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    assert_eq!(content(&events), "one 1\ntwo 2");
    let thoughts: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "llm_thought" && event.get("delegate").is_some())
        .map(|event| &event["thought"])
        .collect();
    assert_eq!(thoughts, ["two 2", "one 1"], "the quick one did not wait for the slow one");
}

#[rstest]
#[tokio::test]
async fn nobody_is_asked_who_waits_already_or_is_not_named(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut boss = agent("boss", "delegate", json!([]));
    boss["delegate_agent_ids"] = json!(["vice"]);
    let agents = json!([
        boss,
        agent("vice", "delegate", json!([])),
        agent("clerk", "conversational", json!([])),
        agent("flow", "orchestrator", json!([]))
    ]);
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": delegation(&[("clerk", "x"), ("boss", "x"), ("vice", "x")])}, {"text": "{results}"}]},
        "vice": {"answers": [{"text": "", "calls": delegation(&[("boss", "x"), ("flow", "x"), ("clerk", "x")])}, {"text": "[{results}]"}]},
        "clerk": {"text": "done"},
        "flow": {"text": "never"},
    });
    let server = setup(agents, scripts).start();
    let told = server.client(dialect).say(json!({"message": "hi"})).await;
    let refusal = "Error: the arguments of `delegate_to_agent` do not keep its schema: `/agent_id`:";
    assert_eq!(told.matches(refusal).count(), 4, "{told}");
    assert!(told.ends_with("\ndone]"), "{told}");
}

#[rstest]
#[tokio::test]
async fn an_agent_makes_agents_for_single_tasks_with_no_more_tools_than_its_own(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut boss = agent("boss", "conversational", json!(["get_datetime", "spawn_subtask"]));
    boss["model"] = json!("scripted.boss");
    let spawn = |task: &str, tools: Value| json!({"tool": "spawn_subtask", "arguments": {"task": task, "tools": tools, "name": "Helper"}});
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": [spawn("a", json!(["get_datetime"])), spawn("b", json!([])), spawn("c", json!(["vault_read"]))]}, {"text": "{results}"}]},
        "worker": {"text": "{message}: {tools}"},
    });
    let server = setup(json!([boss]), scripts).setting("model", "scripted.worker").start();
    let events = server.client(dialect).events(json!({"message": "hi"})).await;
    let told = content(&events).as_str().unwrap();
    assert!(told.starts_with("a: get_datetime\nb: get_datetime\nError: the arguments of `spawn_subtask` do not keep its schema"), "{told}");
    assert!(events.iter().any(|event| event["delegate"]["agent_name"] == "Helper"));
}

#[rstest]
#[tokio::test]
async fn an_agent_made_for_a_task_reaches_no_more_databases_than_its_maker(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut boss = agent("boss", "conversational", json!(["run_sql_query", "spawn_subtask"]));
    boss["db_configs"] = json!(["open"]);
    let spawn = json!([{"tool": "spawn_subtask", "arguments": {"task": "a", "tools": ["run_sql_query"]}}]);
    let query = |database: &str| json!({"tool": "run_sql_query", "arguments": {"database": database, "query": "SELECT 40 + 2"}});
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": spawn}, {"text": "{results}"}]},
        "worker": {"answers": [{"text": "", "calls": [query("open"), query("closed")]}, {"text": "{results}"}]},
    });
    let databases =
        json!([{"id": "open", "connection_string": "sqlite:open.db"}, {"id": "closed", "connection_string": "sqlite:closed.db"}]);
    let server = setup(json!([boss]), scripts)
        .setting("model", "scripted.worker")
        .file("db_configs.json", databases.to_string())
        .file("open.db", "")
        .file("closed.db", "")
        .start();
    let told = server.client(dialect).say(json!({"message": "hi"})).await;
    let (open, closed) = told.split_once('\n').unwrap();
    assert!(open.contains("[[42]]") && closed.starts_with("Error: ") && !closed.contains("42"), "{told}");
}

#[rstest]
#[tokio::test]
async fn a_chat_has_an_end_even_if_its_agents_never_stop(#[values(Rest, Grpc)] dialect: Dialect) {
    let agents = json!([agent("boss", "delegate", json!([])), agent("clerk", "conversational", json!(["get_datetime"]))]);
    let many: Vec<(&str, &str)> = vec![("clerk", "x"); 8];
    let scripts = json!({
        "boss": {"answers": [{"text": "", "calls": delegation(&many)}]},
        "clerk": {"answers": [{"text": "", "calls": [{"tool": "get_datetime", "arguments": {}}]}]},
    });
    let server = setup(agents, scripts).start();
    let detail = "the chat used all of its 200 model calls; ask for less at once";
    assert_eq!(server.client(dialect).chat(json!({"message": "hi"})).await, refused(500, detail));
}
