//! Tool steps: a model writes the arguments of one tool, which is called with them. No other tool is, whatever the model says.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Mutex;

use super::{Attempt, Done, Failure, FailureKind, prompt};
use crate::engine::act::{PREVIEW, call_tool};
use crate::engine::ask::Answer;
use crate::engine::context::middle_out;
use crate::engine::effects::Effects;
use crate::engine::extract_json::extract;
use crate::engine::run::Told;
use crate::engine::teller::Gone;
use crate::provider::{Message, Role, ToolCall, ToolResult};
use crate::tool::{Tool, Wanted};
use crate::wire::JsonObject;
use crate::wire::v1::chat_event::{Event, ToolExecution, ToolResult as ResultEvent};

/// The most characters of a failure that a model and a caller hear.
const COMPLAINT: usize = 2_000;

/// Lets a model write the arguments and calls the tool, again with what went wrong until the attempts of the step are used up.
pub(super) async fn perform(attempt: &mut Attempt, forced: Option<&str>) -> Result<Done, Failure> {
    let Some(name) = forced else {
        let warning = "`forced_tool` is missing, so no tool was called; name one".to_owned();
        return Ok(Done { warnings: vec![warning], ..Done::default() });
    };
    let Some(tool) = find(attempt, name).await? else {
        return Ok(Done { error: Some(format!("tool `{name}` does not exist, or is none of the step's agent")), ..Done::default() });
    };
    match force(attempt, &*tool).await? {
        Ok(text) => Ok(Done { output: Some(text.clone().into()), told: Told::Text(text), ..Done::default() }),
        Err(complaint) => {
            let tried = attempt.step.max_turns;
            Err(Failure::new(FailureKind::Tool, format!("tool `{name}` failed in all of its {tried} attempts, at last with: {complaint}")))
        }
    }
}

/// Finds the tool among all that there are, or among those of the step's agent where it names one.
async fn find(attempt: &Attempt, name: &str) -> Result<Option<Arc<dyn Tool>>, Failure> {
    let (engine, names) = (&attempt.engine, [name.to_owned()]);
    let has_agent = attempt.step.agent_id.as_ref().is_some_and(|id| !id.is_empty());
    let wanted = if has_agent { Wanted::by(attempt.agent()?).narrowed(&names) } else { Wanted::named(&names) };
    let tools = engine.toolbox.tools(&engine.definitions.current(), wanted).await;
    Ok(tools.into_iter().find(|tool| tool.description().name == name))
}

/// Returns what the tool returned, or what went wrong the last time.
async fn force(attempt: &mut Attempt, tool: &dyn Tool) -> Result<Result<String, String>, Failure> {
    let model = attempt.model()?;
    let name = &tool.description().name;
    let system = format!(
        "{}\n\nCall the tool `{name}` once, with the arguments that do the task, and say nothing else.",
        prompt::system(&attempt.place())
    );
    let effects = Effects::new(Some(&attempt.effect_id));
    let mut messages = vec![Message::text(Role::User, prompt::message(&attempt.place())?)];
    let mut complaint = String::new();
    for number in 1..=attempt.step.max_turns {
        let request = attempt.scope.request(&model.model, system.trim().to_owned(), messages.clone(), [tool.description().clone()].into());
        let answer = attempt.engine.ask(attempt.asker(&model), request, None).await.map_err(Failure::model)?;
        complaint = match arguments(name, &answer) {
            Ok(arguments) => match call(attempt, tool, arguments, number, &effects).await? {
                Ok(text) => return Ok(Ok(text)),
                Err(complaint) => complaint,
            },
            Err(complaint) => complaint,
        };
        complaint = middle_out(&complaint, COMPLAINT);
        messages.extend(told_again(name, answer, &complaint));
    }
    Ok(Err(complaint))
}

/// Reads the arguments: of a call, or of JSON in the text of a model that wrote it there.
fn arguments(name: &str, answer: &Answer) -> Result<Value, String> {
    if let Some(call) = answer.calls.iter().find(|call| call.name == name) {
        return Ok(call.arguments.clone());
    }
    if let Some(call) = answer.calls.first() {
        return Err(format!("tool `{}` must not be called here; call `{name}`", call.name));
    }
    let objects = extract(&answer.text).into_iter().filter_map(|value| if let Value::Object(fields) = value { Some(fields) } else { None });
    let mut fields = objects.into_iter().next().ok_or_else(|| format!("the answer has no call; call `{name}`"))?;
    match (fields.get("tool").and_then(Value::as_str), fields.contains_key("arguments")) {
        (Some(tool), true) if tool != name => Err(format!("tool `{tool}` must not be called here; call `{name}`")),
        (Some(_), true) => Ok(fields.remove("arguments").unwrap_or_default()),
        _ => Ok(Value::Object(fields)),
    }
}

/// Calls the tool and tells it.
async fn call(
    attempt: &mut Attempt,
    tool: &dyn Tool,
    arguments: Value,
    number: u32,
    effects: &Effects,
) -> Result<Result<String, String>, Gone> {
    let (tool_name, call_id) = (tool.description().name.clone(), format!("call_{number}"));
    let args = Some(JsonObject(arguments.as_object().cloned().unwrap_or_default()));
    let (name, id) = (tool_name.clone(), call_id.clone());
    attempt.teller.tell(Event::ToolExecution(ToolExecution { tool_name, args, call_id, delegate: None })).await?;
    attempt.teller.kept().await?;
    let idempotency_id = effects.id(&name, &arguments);
    let call = ToolCall { id: id.clone(), name: name.clone(), arguments, signatures: Vec::new() };
    let deadline = attempt.scope.end(attempt.engine.tool_time).min(attempt.deadline);
    let outcome = call_tool(tool, &call, idempotency_id, &Mutex::new(()), deadline).await.map(|output| output.text);
    let preview = match &outcome {
        Ok(text) => beginning(text),
        Err(complaint) => beginning(&format!("Error: {complaint}")),
    };
    attempt.teller.tell(Event::ToolResult(ResultEvent { tool_name: name, preview, call_id: id, delegate: None })).await?;
    Ok(outcome)
}

fn beginning(text: &str) -> String {
    text.chars().take(PREVIEW).collect()
}

/// Makes the messages that let the model try again.
fn told_again(name: &str, answer: Answer, complaint: &str) -> [Message; 2] {
    let complaint = format!("Error: {complaint}");
    if answer.calls.is_empty() {
        let again = format!("{complaint}\nCall the tool `{name}` with arguments that avoid this.");
        return [Message::text(Role::Assistant, answer.text), Message::text(Role::User, again)];
    }
    let result = |call: &ToolCall| ToolResult { call_id: call.id.clone(), name: call.name.clone(), text: complaint.clone() };
    let results = answer.calls.iter().map(result).collect();
    [Message::calls(answer.text, answer.calls), Message::results(results)]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::Usage;

    fn said(text: &str, calls: &[(&str, Value)]) -> Result<Value, String> {
        let call = |(name, arguments): &(&str, Value)| ToolCall {
            id: "1".to_owned(),
            name: (*name).to_owned(),
            arguments: arguments.clone(),
            signatures: Vec::new(),
        };
        arguments("pay", &Answer { text: text.to_owned(), calls: calls.iter().map(call).collect(), usage: Usage::default() })
    }

    #[test]
    fn only_the_forced_tool_is_called() {
        assert_eq!(said("", &[("erase", json!({})), ("pay", json!({"a": 1}))]), Ok(json!({"a": 1})));
        assert_eq!(said("", &[("erase", json!({}))]), Err("tool `erase` must not be called here; call `pay`".to_owned()));
        assert_eq!(said(r#"{"tool": "erase", "arguments": {}}"#, &[]), Err("tool `erase` must not be called here; call `pay`".to_owned()));
    }

    #[test]
    fn arguments_may_stand_in_the_text() {
        assert_eq!(said(r#"{"tool": "pay", "arguments": {"a": 1}}"#, &[]), Ok(json!({"a": 1})));
        assert_eq!(said("```json\n{\"a\": 1}\n```", &[]), Ok(json!({"a": 1})));
        assert_eq!(said("I would rather not", &[]), Err("the answer has no call; call `pay`".to_owned()));
    }
}
