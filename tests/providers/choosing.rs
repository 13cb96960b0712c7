//! How a model behind a network chooses one of several options.

use std::time::Duration;

use serde_json::json;
use synapse::provider::{Choice, Chosen, DescribedOption, Kind, ModelError};
use tokio::time::Instant;

use super::fake::{Fake, Reply};
use super::model;

async fn choose(name: &str, fake: &Fake) -> Result<Chosen, ModelError> {
    let model = model(name, fake);
    let option = |id: &str, description: &str| DescribedOption { id: id.to_owned(), description: description.to_owned() };
    let choice = Choice {
        model: model.name,
        instruction: "Route the ticket.".to_owned(),
        message: "My screen is black.".to_owned(),
        options: vec![option("sales", "buying"), option("help", "a broken device")],
        deadline: Instant::now() + Duration::from_secs(20),
    };
    model.provider.choose(choice).await
}

fn says(text: &str) -> Reply {
    let delta = json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}).to_string();
    Reply::events(&[&delta, "[DONE]"])
}

#[tokio::test]
async fn a_model_chooses_one_of_the_options() {
    let fake = Fake::start([says(r#"{"reasoning":"it is broken","choice":"help"}"#)]).await;
    let chosen = choose("gpt-4o", &fake).await.unwrap();
    assert_eq!((chosen.id.as_str(), chosen.reasoning.as_str()), ("help", "it is broken"));
    let body = &fake.asked()[0].body;
    let schema = &body["response_format"]["json_schema"]["schema"];
    assert_eq!(schema["properties"]["choice"]["enum"], json!(["sales", "help"]));
    for part in ["Route the ticket.", "a broken device", "My screen is black."] {
        assert!(body["messages"].to_string().contains(part), "{body}");
    }
}

#[tokio::test]
async fn a_service_without_schemas_chooses_by_words() {
    let fake = Fake::start([Reply::new("400 Bad Request", "", r#"{"error":"response_format"}"#), says("help")]).await;
    assert_eq!(choose("oaic.m", &fake).await.unwrap().id, "help");
    assert!(fake.asked()[1].body.get("response_format").is_none());
}

#[tokio::test]
async fn a_choice_of_something_else_is_no_choice() {
    let fake = Fake::start([says(r#"{"choice":"lunch"}"#)]).await;
    assert_eq!(choose("gpt-4o", &fake).await.unwrap_err().kind, Kind::Garbled);
}
