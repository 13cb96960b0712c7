//! How models call tools: what each protocol is told of them, and what its calls become, byte for byte.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use synapse::provider::{Chunk, Kind, Message, Model, ModelError, ModelRequest, Role, ToolCall, ToolDescription, ToolResult};
use tokio::time::Instant;

use super::fake::{Fake, Reply};
use super::{DONE, model};

pub(crate) fn tool(name: &str) -> Arc<ToolDescription> {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    Arc::new(ToolDescription { name: name.to_owned(), description: format!("Tells the {name}."), schema })
}

pub(crate) fn asking(model: &Model, messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        model: model.name.clone(),
        system: "Be brief.".to_owned(),
        messages,
        tools: vec![tool("weather"), tool("time")].into(),
        deadline: Instant::now() + Duration::from_secs(20),
    }
}

pub(crate) fn question() -> Vec<Message> {
    vec![Message::text(Role::User, "Weather and time in Rome?")]
}

/// What an answer was: its text, its calls and how it ended.
pub(crate) type Answer = (String, Vec<ToolCall>, Result<(), ModelError>);

pub(crate) async fn answer(model: &Model, request: ModelRequest) -> Answer {
    let mut stream = model.provider.stream(request);
    let (mut text, mut calls) = (String::new(), Vec::new());
    let end = loop {
        match stream.next().await.expect("an end or an error") {
            Ok(Chunk::Text(more)) => {
                assert!(calls.is_empty(), "`{more}` came after a call");
                text.push_str(&more);
            }
            Ok(Chunk::Reasoning(_)) => {}
            Ok(Chunk::Call(call)) => calls.push(*call),
            Ok(Chunk::End(_)) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    assert!(stream.next().await.is_none(), "nothing follows the end");
    (text, calls, end)
}

async fn ask(name: &str, reply: Reply) -> Answer {
    let fake = Fake::start([reply]).await;
    let model = model(name, &fake);
    answer(&model, asking(&model, question())).await
}

/// Asks, lets every call return its place, asks again, and returns the calls and the body of the second request.
async fn go_on(name: &str, reply: Reply, last: Reply) -> (Vec<ToolCall>, Value) {
    let fake = Fake::start([reply, last]).await;
    let model = model(name, &fake);
    let (text, calls, end) = answer(&model, asking(&model, question())).await;
    end.unwrap_or_else(|error| panic!("{name}: {error}"));
    let results = calls.iter().enumerate().map(|(number, call)| result(call, &format!("result {number}"))).collect();
    let messages = [question(), vec![Message::calls(text, calls.clone()), Message::results(results)]].concat();
    let (text, _, end) = answer(&model, asking(&model, messages)).await;
    end.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(text, "Yes.", "{name}");
    (calls, fake.asked()[1].body.clone())
}

pub(crate) fn result(call: &ToolCall, text: &str) -> ToolResult {
    ToolResult { call_id: call.id.clone(), name: call.name.clone(), text: text.to_owned() }
}

pub(crate) fn plain(calls: &[ToolCall]) -> Vec<(&str, &Value)> {
    calls.iter().map(|call| (call.name.as_str(), &call.arguments)).collect()
}

pub(crate) fn ids(calls: &[ToolCall]) -> Vec<&str> {
    calls.iter().map(|call| call.id.as_str()).collect()
}

/// A frame of OpenAI's protocol.
fn frame(delta: &Value, reason: Option<&str>) -> String {
    json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}).to_string()
}

fn openai(deltas: &[Value], reason: &str) -> Reply {
    let mut frames: Vec<String> = deltas.iter().map(|delta| frame(delta, None)).collect();
    frames.extend([frame(&json!({}), Some(reason)), "[DONE]".to_owned()]);
    Reply::events(&frames.iter().map(String::as_str).collect::<Vec<_>>())
}

fn tool_delta(call: &Value) -> Value {
    json!({ "tool_calls": [call] })
}

fn two_openai_calls() -> Reply {
    openai(
        &[
            json!({"role": "assistant", "content": null}),
            json!({"content": "Let me see."}),
            tool_delta(&json!({"index": 0, "id": "call_a", "type": "function", "function": {"name": "weather", "arguments": ""}})),
            tool_delta(&json!({"index": 1, "id": "call_b", "type": "function", "function": {"name": "time", "arguments": ""}})),
            tool_delta(&json!({"index": 0, "function": {"arguments": "{\"city\":"}})),
            tool_delta(&json!({"index": 1, "function": {"arguments": "{}"}})),
            tool_delta(&json!({"index": 0, "function": {"arguments": "\"Rome\"}"}})),
        ],
        "tool_calls",
    )
}

#[tokio::test]
async fn openai_calls_several_tools_at_once() {
    for name in ["gpt-4o", "oaic.m", "grok-4", "deepseek-chat"] {
        let (calls, body) = go_on(name, two_openai_calls(), Reply::events(&DONE)).await;
        assert_eq!(ids(&calls), ["call_a", "call_b"], "{name}");
        assert_eq!(plain(&calls), [("weather", &json!({"city": "Rome"})), ("time", &json!({}))], "{name}");
        assert_eq!(body["tools"][0]["function"]["name"], "weather");
        assert_eq!(body["tools"][1]["function"]["parameters"]["properties"]["city"]["type"], "string");
        let messages = body["messages"].as_array().unwrap();
        assert_eq!(messages.len(), 5, "{body}");
        assert_eq!((&messages[2]["role"], &messages[2]["content"]), (&json!("assistant"), &json!("Let me see.")));
        let called = |call: &Value| json!([call["id"], call["type"], call["function"]["name"], call["function"]["arguments"]]);
        assert_eq!(called(&messages[2]["tool_calls"][0]), json!(["call_a", "function", "weather", "{\"city\":\"Rome\"}"]));
        assert_eq!(called(&messages[2]["tool_calls"][1]), json!(["call_b", "function", "time", "{}"]));
        assert_eq!(messages[3], json!({"role": "tool", "tool_call_id": "call_a", "content": "result 0"}));
        assert_eq!(messages[4], json!({"role": "tool", "tool_call_id": "call_b", "content": "result 1"}));
    }
}

#[tokio::test]
async fn calls_that_a_compatible_server_numbers_wrongly_are_all_there() {
    let call = |index: Value, id: Value| tool_delta(&json!({"index": index, "id": id, "function": {"name": "time", "arguments": "{}"}}));
    for (first, second) in [
        (call(json!(0), json!("a")), call(json!(0), json!("b"))),
        (call(Value::Null, json!("a")), call(Value::Null, json!("b"))),
        (call(json!(1), json!("a")), call(json!(3), json!("b"))),
        (call(json!(0), json!("same")), call(json!(1), json!(""))),
        (call(json!(0), Value::Null), call(json!(1), Value::Null)),
    ] {
        let (_, calls, end) = ask("oaic.m", openai(&[first.clone(), second.clone()], "stop")).await;
        end.unwrap();
        assert_eq!(calls.len(), 2, "{first} {second}");
        assert!(!calls[0].id.is_empty() && calls[0].id.len() <= 40 && calls[0].id != calls[1].id, "{calls:?}");
    }
}

#[tokio::test]
async fn an_id_that_the_conversation_has_already_is_replaced() {
    let fake = Fake::start([two_openai_calls()]).await;
    let model = model("gpt-4o", &fake);
    let before = ToolCall { id: "call_a".to_owned(), name: "time".to_owned(), arguments: json!({}), signatures: Vec::new() };
    let results = Message::results(vec![result(&before, "noon")]);
    let messages = [question(), vec![Message::calls("", vec![before]), results]].concat();
    let (_, calls, _) = answer(&model, asking(&model, messages)).await;
    assert!(calls[0].id != "call_a" && calls[1].id == "call_b", "{calls:?}");
}

#[tokio::test]
async fn arguments_that_are_no_json_are_told_as_they_are_and_sent_back_as_none() {
    let call = json!({"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{\"city\": oh"}});
    let (calls, body) = go_on("gpt-4o", openai(&[tool_delta(&call)], "tool_calls"), Reply::events(&DONE)).await;
    assert_eq!(plain(&calls), [("weather", &json!("{\"city\": oh"))]);
    assert_eq!(body["messages"][2]["tool_calls"][0]["function"]["arguments"], "{}");
}

#[tokio::test]
async fn a_call_that_is_cut_off_is_no_call() {
    let cut = tool_delta(&json!({"index": 0, "id": "a", "function": {"name": "weather", "arguments": "{}"}}));
    let anthropic = Reply::named_events(&[
        r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"city\": \"Ro"}}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":7}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let gemini = Reply::events(&[r#"{"candidates":[{"content":{"parts":[]},"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#]);
    let ollama = Reply::lines(&[
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"time","arguments":{}}}]},"done":false}"#,
        r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"length"}"#,
    ]);
    let bedrock = Reply::frames(&[
        ("contentBlockStart", r#"{"start":{"toolUse":{"toolUseId":"a","name":"weather"}},"contentBlockIndex":0}"#),
        ("messageStop", r#"{"stopReason":"max_tokens"}"#),
        ("metadata", r#"{"usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#),
    ]);
    for (name, reply) in [
        ("gpt-4o", openai(std::slice::from_ref(&cut), "length")),
        ("gpt-4o", Reply::events(&[&frame(&cut, None)])),
        ("claude-x", anthropic),
        ("gemini-2.5-pro", gemini),
        ("mistral", ollama),
        ("bedrock.m", bedrock),
    ] {
        let (_, calls, end) = ask(name, reply).await;
        assert_eq!((calls, end.unwrap_err().kind), (Vec::new(), Kind::Garbled), "{name}");
    }
}

#[tokio::test]
async fn calls_without_end_or_name_are_refused() {
    let call = |name: &str| json!({"id": name, "function": {"name": name, "arguments": "{}"}});
    let many: Vec<Value> = (0..200).map(|number| call(&format!("f{number}"))).collect();
    for calls in [many, vec![call("")]] {
        let (_, calls, end) = ask("oaic.m", openai(&[json!({ "tool_calls": calls })], "tool_calls")).await;
        assert_eq!((calls, end.unwrap_err().kind), (Vec::new(), Kind::Garbled));
    }
    let long = tool_delta(&json!({"index": 0, "function": {"arguments": "x".repeat(1 << 20)}}));
    let first = tool_delta(&json!({"index": 0, "id": "a", "function": {"name": "time", "arguments": ""}}));
    let (_, calls, end) = ask("oaic.m", openai(&[first, long.clone(), long.clone(), long.clone(), long.clone(), long], "tool_calls")).await;
    assert!(calls.is_empty() && end.unwrap_err().detail.contains("bytes"));
}

const ANTHROPIC_CALLS: [&str; 16] = [
    r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ln"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Let me see."}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"city\": \"Ro"}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"me\"}"}}"#,
    r#"{"type":"content_block_stop","index":2}"#,
    r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"time","input":{}}}"#,
    r#"{"type":"content_block_stop","index":3}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":7}}"#,
    r#"{"type":"message_stop"}"#,
];

const ANTHROPIC_DONE: [&str; 5] = [
    r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":1}}}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Yes."}}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}"#,
    r#"{"type":"message_stop"}"#,
];

#[tokio::test]
async fn anthropic_calls_several_tools_at_once_and_gets_its_thoughts_back() {
    let (calls, body) = go_on("claude-x", Reply::named_events(&ANTHROPIC_CALLS), Reply::named_events(&ANTHROPIC_DONE)).await;
    assert_eq!(ids(&calls), ["toolu_1", "toolu_2"]);
    assert_eq!(plain(&calls), [("weather", &json!({"city": "Rome"})), ("time", &json!({}))]);
    assert_eq!(body["tools"][1]["input_schema"]["properties"]["city"]["type"], "string");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": "Weather and time in Rome?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "result 0"},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "result 1"},
            ]},
        ])
    );
}

#[tokio::test]
async fn an_answer_of_calls_alone_is_an_answer() {
    let (text, calls, end) = ask("claude-x", Reply::named_events(&[&ANTHROPIC_CALLS[..1], &ANTHROPIC_CALLS[12..]].concat())).await;
    assert_eq!((text.as_str(), ids(&calls), end.is_ok()), ("", vec!["toolu_2"], true));
    // No reason that Google itself gives, but others who speak its protocol do.
    let call = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"time"}}]},"finishReason":"FUNCTION_CALL"}]}"#;
    let (text, calls, end) = ask("gemini-2.5-pro", Reply::events(&[call])).await;
    assert_eq!((text.as_str(), calls.len(), end.is_ok()), ("", 1, true));
    let call = frame(&tool_delta(&json!({"index": 0, "id": "a", "function": {"name": "time", "arguments": ""}})), None);
    let (text, calls, end) = ask("oaic.m", Reply::events(&[&call, "[DONE]"])).await;
    assert_eq!((text.as_str(), ids(&calls), end.is_ok()), ("", vec!["a"], true));
}

#[tokio::test]
async fn gemini_calls_several_tools_at_once_and_gets_its_signatures_back() {
    let calls = Reply::events(&[
        r#"{"candidates":[{"content":{"parts":[{"text":"Let me see."}]}}],"usageMetadata":{"promptTokenCount":9}}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"weather","args":{"city":"Rome"}},"thoughtSignature":"c2ln"},{"functionCall":{"name":"time"}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"time","args":{}}}]}}]}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"id":"own","name":"time","args":{}}}]},"finishReason":"STOP"}]}"#,
    ]);
    let done = Reply::events(&[r#"{"candidates":[{"content":{"parts":[{"text":"Yes."}]},"finishReason":"STOP"}]}"#]);
    let (calls, body) = go_on("gemini-2.5-pro", calls, done).await;
    let weather = json!({"city": "Rome"});
    assert_eq!(plain(&calls), [("weather", &weather), ("time", &json!({})), ("time", &json!({})), ("time", &json!({}))]);
    let ids = ids(&calls);
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[3] == "own", "{ids:?}");
    assert_eq!(body["tools"][0]["functionDeclarations"][1]["name"], "time");
    assert_eq!(
        body["contents"][1]["parts"],
        json!([
            {"text": "Let me see."},
            {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "time", "args": {}}},
            {"functionCall": {"name": "time", "args": {}}},
            {"functionCall": {"id": "own", "name": "time", "args": {}}},
        ])
    );
    let response = |name: &str, text: &str| json!({"functionResponse": {"name": name, "response": {"name": name, "content": text}}});
    let mut last = response("time", "result 3");
    last["functionResponse"]["id"] = json!("own");
    let parts = json!([response("weather", "result 0"), response("time", "result 1"), response("time", "result 2"), last]);
    assert_eq!(body["contents"][2], json!({"role": "user", "parts": parts}));
    assert_eq!(body["contents"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn ollama_calls_several_tools_at_once_and_is_told_whose_each_result_is() {
    let calls = Reply::lines(&[
        r#"{"message":{"role":"assistant","content":"Let me see."},"done":false}"#,
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"index":0,"name":"weather","arguments":{"city":"Rome"}}}]},"done":false}"#,
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"id":"call_x","function":{"name":"time","arguments":{}}}]},"done":false}"#,
        r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":8,"eval_count":3}"#,
    ]);
    let done = Reply::lines(&[r#"{"message":{"role":"assistant","content":"Yes."},"done":true,"done_reason":"stop"}"#]);
    let (calls, body) = go_on("qwen3:8b", calls, done).await;
    assert_eq!(plain(&calls), [("weather", &json!({"city": "Rome"})), ("time", &json!({}))]);
    assert!(ids(&calls)[0] != "call_x" && ids(&calls)[1] == "call_x");
    assert_eq!(body["tools"][0]["function"]["name"], "weather");
    assert_eq!(
        body["messages"].as_array().unwrap()[2..],
        [
            json!({"role": "assistant", "content": "Let me see.", "tool_calls": [
                {"function": {"name": "weather", "arguments": {"city": "Rome"}}},
                {"function": {"name": "time", "arguments": {}}},
            ]}),
            json!({"role": "tool", "content": "Result of `weather`:\nresult 0"}),
            json!({"role": "tool", "content": "Result of `time`:\nresult 1"}),
        ]
    );
}

#[tokio::test]
async fn bedrock_calls_several_tools_at_once() {
    let start = |index: u32, id: &str, name: &str| {
        ("contentBlockStart", json!({"start": {"toolUse": {"toolUseId": id, "name": name}}, "contentBlockIndex": index}).to_string())
    };
    let input = |index: u32, input: &str| {
        ("contentBlockDelta", json!({"contentBlockIndex": index, "delta": {"toolUse": {"input": input}}}).to_string())
    };
    let stop = |index: u32| ("contentBlockStop", json!({"contentBlockIndex": index}).to_string());
    let end = |reason: &str| {
        let usage = json!({"usage": {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}}).to_string();
        [("messageStop", json!({"stopReason": reason}).to_string()), ("metadata", usage)]
    };
    let reply =
        |events: Vec<(&'static str, String)>| Reply::frames(&events.iter().map(|(name, data)| (*name, data.as_str())).collect::<Vec<_>>());
    let calls = vec![
        start(0, "a", "weather"),
        input(0, "{\"city\""),
        input(0, ":\"Rome\"}"),
        stop(0),
        start(1, "b", "time"),
        stop(1),
        start(2, "c", "time"),
        input(2, "oh"),
        stop(2),
    ];
    let text = ("contentBlockDelta", json!({"contentBlockIndex": 0, "delta": {"text": "Yes."}}).to_string());
    let first = reply([calls, end("tool_use").to_vec()].concat());
    let (calls, body) = go_on("bedrock.amazon.nova-pro-v1:0", first, reply([vec![text], end("end_turn").to_vec()].concat())).await;
    assert_eq!(ids(&calls), ["a", "b", "c"]);
    assert_eq!(plain(&calls), [("weather", &json!({"city": "Rome"})), ("time", &json!({})), ("time", &json!("oh"))]);
    assert_eq!(body["toolConfig"]["tools"].as_array().unwrap().len(), 2);
    assert_eq!(body["messages"][1]["content"][0], json!({"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Rome"}}}));
    assert_eq!(body["messages"][1]["content"][2]["toolUse"]["input"], json!({}));
    assert_eq!(body["messages"][2]["content"][2], json!({"toolResult": {"toolUseId": "c", "content": [{"text": "result 2"}]}}));
}

#[tokio::test]
async fn openai_calls_tools_in_its_newer_protocol() {
    let calls = Reply::events(&[
        r#"{"type":"response.created","response":{}}"#,
        r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","id":"fc_1","call_id":"call_a","name":"weather","arguments":""}}"#,
        r#"{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc_2","call_id":"call_b","name":"time","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"city\":"}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"\"Rome\"}"}"#,
        r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"call_a","name":"weather","arguments":"{\"city\":\"Rome\"}"}}"#,
        r#"{"type":"response.output_item.done","output_index":1,"item":{"type":"function_call","call_id":"call_b","name":"time","arguments":""}}"#,
        r#"{"type":"response.completed","response":{"id":"r","status":"completed","model":"m","usage":{"input_tokens":6,"output_tokens":3,"total_tokens":9}}}"#,
    ]);
    let done = Reply::events(&[
        r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"Yes."}"#,
        r#"{"type":"response.completed","response":{"id":"r","status":"completed","model":"m"}}"#,
    ]);
    let (calls, body) = go_on("gpt-5-pro", calls, done).await;
    assert_eq!(ids(&calls), ["call_a", "call_b"]);
    assert_eq!(plain(&calls), [("weather", &json!({"city": "Rome"})), ("time", &json!({}))]);
    let items = body["input"].as_array().unwrap();
    let end = &items[items.len() - 4..];
    assert_eq!(end[0], json!({"type": "function_call", "call_id": "call_a", "name": "weather", "arguments": "{\"city\":\"Rome\"}"}));
    assert_eq!(end[2], json!({"type": "function_call_output", "call_id": "call_a", "output": "result 0"}));
    assert_eq!(end[3], json!({"type": "function_call_output", "call_id": "call_b", "output": "result 1"}));
}

#[tokio::test]
async fn deepseek_gets_its_reasoning_back_and_others_do_not() {
    for (name, reasoning) in [("deepseek-reasoner", json!("Hm.")), ("oaic.m", Value::Null)] {
        let call = tool_delta(&json!({"index": 0, "id": "a", "function": {"name": "time", "arguments": "{}"}}));
        let first = openai(&[json!({"reasoning_content": "Hm."}), call], "tool_calls");
        let (_, body) = go_on(name, first, Reply::events(&DONE)).await;
        assert_eq!(body["messages"][2]["reasoning_content"], reasoning, "{name}");
    }
}

#[tokio::test]
async fn what_one_service_signed_is_not_sent_to_another() {
    let fake = Fake::start([Reply::named_events(&ANTHROPIC_CALLS), Reply::events(&DONE)]).await;
    let (claude, gpt) = (model("claude-x", &fake), model("gpt-4o", &fake));
    let (text, calls, _) = answer(&claude, asking(&claude, question())).await;
    let results = calls.iter().map(|call| result(call, "fine")).collect();
    let messages = [question(), vec![Message::calls(text, calls), Message::results(results)]].concat();
    answer(&gpt, asking(&gpt, messages)).await.2.unwrap();
    let body = fake.asked()[1].body.to_string();
    assert!(!body.contains("c2ln") && !body.contains("Hm.") && body.contains("toolu_1"), "{body}");
}

#[tokio::test]
async fn a_tool_may_be_called_like_one_that_the_service_runs() {
    for (name, tool_name, place, reply) in [
        ("claude-x", "web_search", "/tools/0/input_schema", Reply::named_events(&[])),
        ("gpt-5-pro", "web_search", "/tools/0/parameters", Reply::events(&[])),
        ("gemini-2.5-pro", "urlContext", "/tools/0/functionDeclarations/0", Reply::events(&[])),
    ] {
        let fake = Fake::start([reply]).await;
        let model = model(name, &fake);
        let _ = answer(&model, ModelRequest { tools: vec![tool(tool_name)].into(), ..asking(&model, question()) }).await;
        assert!(fake.asked()[0].body.pointer(place).is_some(), "{name}: {}", fake.asked()[0].body);
    }
    let call = ANTHROPIC_CALLS[12].replace("time", "web_search_");
    let (_, calls, _) =
        ask("claude-x", Reply::named_events(&[&ANTHROPIC_CALLS[..1], &[call.as_str()], &ANTHROPIC_CALLS[13..]].concat())).await;
    assert_eq!(calls[0].name, "web_search");
}

#[tokio::test]
async fn without_tools_a_conversation_with_calls_is_still_taken() {
    let fake = Fake::start([Reply::named_events(&ANTHROPIC_CALLS), Reply::named_events(&ANTHROPIC_DONE)]).await;
    let model = model("claude-x", &fake);
    let (text, calls, _) = answer(&model, asking(&model, question())).await;
    let results = calls.iter().map(|call| result(call, "")).collect();
    let messages = [question(), vec![Message::calls(text, calls), Message::results(results)]].concat();
    let last = ModelRequest { tools: Vec::new().into(), ..asking(&model, messages) };
    answer(&model, last).await.2.unwrap();
    let body = &fake.asked()[1].body;
    assert_eq!((&body["tool_choice"]["type"], &body["tools"][1]["name"]), (&json!("none"), &json!("weather")));
    assert_eq!(body["messages"][2]["content"][0]["content"], "(no output)");
}

#[tokio::test]
async fn a_failure_before_a_call_is_whole_is_tried_again_and_one_after_it_is_not() {
    let half = frame(&tool_delta(&json!({"index": 0, "id": "a", "function": {"name": "time", "arguments": "{"}})), None);
    let fake = Fake::start([Reply::cut(&[&half]), two_openai_calls()]).await;
    let model = model("gpt-4o", &fake);
    let (_, calls, end) = answer(&model, asking(&model, question())).await;
    end.unwrap();
    assert_eq!((ids(&calls), fake.asked().len()), (vec!["call_a", "call_b"], 2));
}
