//! Models and servers that answer in one piece.

use serde_json::{Value, json};
use synapse::config::Config;
use synapse::definition::Settings;
use synapse::provider::Models;

use super::calling::{answer, asking, ids, plain, question};
use super::fake::{Fake, Reply};
use super::model;

/// An answer in one piece.
fn whole(body: &Value) -> Reply {
    Reply::new("200 OK", "content-type: application/json\r\n", &body.to_string())
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_asked_again_and_from_then_on_in_one_piece() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call("a", "{\"city\": \"Rome\"}"), call("b", "oh")]});
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 2});
    let calls = || whole(&json!({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}], "usage": usage}));
    let done = whole(&json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}]}));
    let fake = Fake::start([calls(), calls(), done]).await;
    let mut settings = Settings::default();
    settings.set("openai_compatible_base_url", fake.url.as_str().into());
    let models = Models::new(&Config::read(|_| None).unwrap(), None);
    let (first, again) = (models.resolve("oaic.m", &settings).unwrap(), models.resolve("oaic.m", &settings).unwrap());
    let (text, calls, end) = answer(&first, asking(&first, question())).await;
    end.unwrap();
    assert_eq!((text.as_str(), ids(&calls)), ("", vec!["a", "b"]));
    assert_eq!(plain(&calls), [("weather", &json!({"city": "Rome"})), ("weather", &json!("oh"))]);
    assert_eq!(answer(&again, asking(&again, question())).await.0, "Yes.");
    let streams: Vec<Value> = fake.asked().iter().map(|asked| asked.body["stream"].clone()).collect();
    assert_eq!(streams, [json!(true), json!(false), json!(false)]);
}

#[tokio::test]
async fn a_model_that_calls_no_tools_in_a_stream_is_asked_in_one_piece() {
    let refused = r#"{"message":"This model doesn't support tool use in streaming mode."}"#;
    let content = json!([{"text": "Let me see."}, {"toolUse": {"toolUseId": "a", "name": "time", "input": {}}}]);
    let usage = json!({"inputTokens": 7, "outputTokens": 2, "totalTokens": 9});
    let calls = whole(&json!({"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use", "usage": usage}));
    let fake = Fake::start([Reply::new("400 Bad Request", "", refused), calls]).await;
    let model = model("bedrock.meta.llama3-3-70b-instruct-v1:0", &fake);
    let (text, calls, end) = answer(&model, asking(&model, question())).await;
    end.unwrap();
    assert_eq!((text.as_str(), ids(&calls), plain(&calls)), ("Let me see.", vec!["a"], vec![("time", &json!({}))]));
    assert!(fake.asked()[1].path.ends_with("/converse"), "{}", fake.asked()[1].path);
}

#[tokio::test]
async fn settings_may_say_that_a_model_does_not_stream() {
    let anthropic = json!({
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": "toolu_1", "name": "time", "input": {}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 2},
    });
    let parts = json!([{"text": "Let me see."}, {"functionCall": {"name": "time", "args": {}}}]);
    let gemini = json!({"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]});
    let called = json!([{"function": {"name": "time", "arguments": {}}}]);
    let ollama =
        json!({"message": {"role": "assistant", "content": "Let me see.", "tool_calls": called}, "done": true, "done_reason": "stop"});
    for (name, key, reply) in [("claude-x", "anthropic", anthropic), ("gemini-2.5-pro", "gemini", gemini), ("mistral", "ollama", ollama)] {
        let fake = Fake::start([whole(&reply)]).await;
        let mut settings = Settings::default();
        settings.set(&format!("{key}_key"), "k".into());
        settings.set(&format!("{key}_base_url"), fake.url.as_str().into());
        settings.set("model_abilities", json!({ name: {"streaming": false} }));
        let model = Models::new(&Config::read(|_| None).unwrap(), None).resolve(name, &settings).unwrap();
        let (text, calls, end) = answer(&model, asking(&model, question())).await;
        end.unwrap();
        assert_eq!((text.as_str(), plain(&calls)), ("Let me see.", vec![("time", &json!({}))]), "{name}");
        let signatures = if name == "claude-x" { 2 } else { 0 };
        assert_eq!(calls[0].signatures.len(), signatures, "{name}: {calls:?}");
    }
}
