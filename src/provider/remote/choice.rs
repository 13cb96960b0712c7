//! Choosing among options with a model that answers in words: it is shown the options, told the form, and taken at its word.

use futures_util::TryStreamExt;
use genai::adapter::AdapterKind;
use genai::chat::{ChatResponseFormat, JsonSpec};
use serde_json::{Value, json};

use super::Remote;
use crate::provider::{Choice, Chosen, Chunk, DescribedOption, Kind, Message, ModelError, ModelRequest, Role, Usage};

/// Lets a model choose. Where a service does not know the form that it is told to keep, the words alone must do.
pub(super) async fn choose(remote: Remote, choice: Choice) -> Result<Chosen, ModelError> {
    if choice.options.is_empty() {
        return Err(ModelError::new(Kind::Rejected, "there is no option to choose"));
    }
    let request = request(&choice);
    let format = format(remote.service.adapter(&choice.model, remote.key.is_some()), &choice.options);
    let told = match fold(&remote, request.clone(), Some(format)).await {
        Err(error) if error.kind == Kind::Rejected => fold(&remote, request, None).await,
        told => told,
    };
    let (text, usage) = told?;
    match read(&text, &choice.options) {
        Some((id, reasoning)) => Ok(Chosen { id, reasoning, scores: Vec::new(), usage }),
        None => Err(remote.other().garbled("chose none of the options")),
    }
}

async fn fold(remote: &Remote, request: ModelRequest, format: Option<ChatResponseFormat>) -> Result<(String, Usage), ModelError> {
    let mut chunks = remote.answer(request, format);
    let (mut text, mut usage) = (String::new(), Usage::default());
    while let Some(chunk) = chunks.try_next().await? {
        match chunk {
            Chunk::Text(piece) => text.push_str(&piece),
            Chunk::Reasoning(_) | Chunk::Call(_) => {}
            Chunk::End(total) => usage = total,
        }
    }
    Ok((text, usage))
}

fn request(choice: &Choice) -> ModelRequest {
    let instruction = match choice.instruction.trim() {
        "" => "Choose the option that fits the user's message best.",
        instruction => instruction,
    };
    let options: String = choice.options.iter().map(described).collect();
    let form =
        r#"Answer with JSON of this form and nothing else: {"reasoning": "<why, in a sentence or two>", "choice": "<id of the option>"}"#;
    ModelRequest {
        model: choice.model.clone(),
        system: format!("{instruction}\n\nOptions, each with its id:\n{options}\n{form}"),
        messages: vec![Message::text(Role::User, choice.message.clone())],
        tools: Vec::new().into(),
        deadline: choice.deadline,
    }
}

fn described(option: &DescribedOption) -> String {
    let id = Value::from(option.id.as_str());
    if option.description.is_empty() { format!("- {id}\n") } else { format!("- {id}: {}\n", option.description) }
}

/// Returns the narrowest form that a protocol can hold a model to.
fn format(adapter: AdapterKind, options: &[DescribedOption]) -> ChatResponseFormat {
    if matches!(adapter, AdapterKind::Ollama | AdapterKind::DeepSeek) {
        return ChatResponseFormat::JsonMode;
    }
    let ids: Vec<&str> = options.iter().map(|option| option.id.as_str()).collect();
    let schema = json!({
        "type": "object",
        // The reasons come first, so that the choice follows from them.
        "properties": {"reasoning": {"type": "string"}, "choice": {"type": "string", "enum": ids}},
        "required": ["reasoning", "choice"],
        "additionalProperties": false,
    });
    JsonSpec::new("choice", schema).into()
}

/// Reads the id and the reasoning out of an answer: the JSON that was asked for, also in a fenced block, or the bare id.
fn read(text: &str, options: &[DescribedOption]) -> Option<(String, String)> {
    let text = text.trim();
    let text = text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).unwrap_or(text);
    let text = text.strip_suffix("```").unwrap_or(text).trim();
    let (told, reasoning) = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => {
            let reasoning = object.get("reasoning").and_then(Value::as_str).unwrap_or_default();
            (object.get("choice")?.as_str()?.trim().to_owned(), reasoning.trim().to_owned())
        }
        Ok(Value::String(id)) => (id, String::new()),
        _ => (text.to_owned(), String::new()),
    };
    options.iter().any(|option| option.id == told).then_some((told, reasoning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_is_a_choice() {
        let options = ["a", "b c", "7"].map(|id| DescribedOption { id: id.to_owned(), description: String::new() });
        for (text, id) in [
            (r#"{"choice": "a"}"#, Some("a")),
            ("```json\n{\"choice\": \"b c\"}\n```", Some("b c")),
            ("\"a\"", Some("a")),
            (" b c\n", Some("b c")),
            ("7", Some("7")),
            (r#"{"choice": "d"}"#, None),
            (r#"{"chosen": "a"}"#, None),
            ("I choose a.", None),
            ("", None),
            (r#"{"reasoning": 7, "choice": "a"}"#, Some("a")),
        ] {
            assert_eq!(read(text, &options).map(|(id, _)| id).as_deref(), id, "{text}");
        }
        let both = read(r#"{"reasoning": " it fits ", "choice": "a"}"#, &options);
        assert_eq!(both, Some(("a".to_owned(), "it fits".to_owned())));
    }
}
