//! Models that are told of tools in words.

use serde_json::json;
use synapse::config::Config;
use synapse::definition::Settings;
use synapse::provider::{Message, Models};

use super::calling::{answer, asking, plain, question, result};
use super::fake::{Fake, Reply};

#[tokio::test]
async fn a_model_that_takes_no_tools_is_told_of_them_in_words_from_then_on() {
    let refused = r#"{"error":"registry.ollama.ai/library/tiny:latest does not support tools"}"#;
    let says = |text: &str| Reply::lines(&[&json!({"message": {"content": text}, "done": true, "done_reason": "stop"}).to_string()]);
    let call = r#"{"tool": "weather", "arguments": {"city": "Rome"}}"#;
    let fake = Fake::start([Reply::new("400 Bad Request", "", refused), says(call), says("Yes.")]).await;
    let mut settings = Settings::default();
    settings.set("ollama_base_url", fake.url.as_str().into());
    let models = Models::new(&Config::read(|_| None).unwrap(), None);
    let (first, again) = (models.resolve("tiny", &settings).unwrap(), models.resolve("ollama.tiny", &settings).unwrap());
    let (text, calls, end) = answer(&first, asking(&first, question())).await;
    end.unwrap();
    assert_eq!((text.as_str(), plain(&calls)), ("", vec![("weather", &json!({"city": "Rome"}))]));
    let results = Message::results(vec![result(&calls[0], "Rain.")]);
    let messages = [question(), vec![Message::calls("", calls), results]].concat();
    assert_eq!(answer(&again, asking(&again, messages)).await.0, "Yes.");
    let asked = fake.asked();
    assert!(asked[0].body["tools"].is_array() && asked[1].body.get("tools").is_none() && asked[2].body.get("tools").is_none());
    assert!(asked[1].body["messages"][0]["content"].as_str().unwrap().contains("- `weather`: Tells the weather."));
    let told = asked[2].body["messages"][3].clone();
    assert_eq!(told["role"], "user");
    assert!(told["content"].as_str().unwrap().contains("Result of `weather`") && told["content"].as_str().unwrap().contains("Rain."));
}

#[tokio::test]
async fn a_model_that_settings_say_calls_no_tools_is_told_of_them_in_words() {
    let delta =
        json!({"choices": [{"index": 0, "delta": {"content": "<tool_call>{\"tool\": \"time\"}</tool_call>"}, "finish_reason": "stop"}]});
    let fake = Fake::start([Reply::events(&[&delta.to_string(), "[DONE]"])]).await;
    let mut settings = Settings::default();
    settings.set("openai_compatible_base_url", fake.url.as_str().into());
    settings.set("model_abilities", json!({"oaic.m": {"tools": false}}));
    let model = Models::new(&Config::read(|_| None).unwrap(), None).resolve("oaic.m", &settings).unwrap();
    let (text, calls, end) = answer(&model, asking(&model, question())).await;
    end.unwrap();
    assert_eq!((text.as_str(), plain(&calls)), ("", vec![("time", &json!({}))]));
    assert!(fake.asked()[0].body.get("tools").is_none());
}
