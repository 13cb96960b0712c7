//! Makes the public events of a chat's records.

use super::record::{self, Began, Finished, Note, Outcome, Record, Told};
use super::state::State;
use crate::engine::chat::CANCELLED;
use crate::error::Reason;
use crate::wire::JsonObject;
use crate::wire::v1::chat_event::{
    ContextCompact, Delegate, Done, Error, Event, LlmThought, ReasoningDelta, Response, Session, Status, TextDelta, Thinking,
    ToolExecution, ToolResult,
};
use crate::wire::v1::{ChatEvent, Usage};

/// Makes the events of a record from the state in front of it.
pub(super) fn tell(state: &State, record: &Record) -> Vec<ChatEvent> {
    let events = match record {
        Record::Began(began) => begun(began),
        Record::Started { .. } => vec![Event::Thinking(Thinking { message: "Analyzing your request...".to_owned(), delegate: None })],
        Record::Noted { note, .. } => noted(note).into_iter().collect(),
        Record::Finished(finished) => response(state, finished).into_iter().collect(),
        Record::Ended { outcome, error, reason, .. } => ended(*outcome, reason.as_deref(), error.as_deref()),
        _ => Vec::new(),
    };
    events.into_iter().map(|event| ChatEvent { event: Some(event), id: 0 }).collect()
}

/// Makes the event of a piece of text that is generated right now.
pub(super) fn hint(reasoning: bool, text: String, delegate: Option<record::Delegate>) -> ChatEvent {
    let delegate = told(delegate);
    let event =
        if reasoning { Event::ReasoningDelta(ReasoningDelta { text, delegate }) } else { Event::TextDelta(TextDelta { text, delegate }) };
    ChatEvent { event: Some(event), id: 0 }
}

fn begun(began: &Began) -> Vec<Event> {
    let Some(chat) = &began.chat else { return Vec::new() };
    let session = Session {
        session_id: began.session_id.clone(),
        agent_id: chat.agent_id.clone(),
        agent_name: chat.agent_name.clone(),
        run_id: began.run_id.clone(),
    };
    vec![Event::Session(session), Event::Status(Status { message: "Processing your request...".to_owned() })]
}

fn response(state: &State, finished: &Finished) -> Option<Event> {
    let Told::Answer { text, intent, .. } = &finished.told else { return None };
    let spent = finished.spent;
    let usage = Usage { input_tokens: spent.input_tokens, output_tokens: spent.output_tokens, cached_tokens: spent.cached_tokens };
    Some(Event::Response(Response {
        content: text.clone(),
        intent: intent.clone(),
        session_id: state.began.session_id.clone(),
        usage: (usage != Usage::default()).then_some(usage),
    }))
}

fn ended(outcome: Outcome, reason: Option<&str>, error: Option<&str>) -> Vec<Event> {
    let error = match outcome {
        Outcome::Completed => None,
        Outcome::Cancelled => Some((Reason::Cancelled.name(), CANCELLED)),
        Outcome::Failed => Some((reason.unwrap_or(Reason::AgentFailed.name()), error.unwrap_or("the agent failed"))),
    };
    let error = error.map(|(reason, message)| Event::Error(Error { message: message.to_owned(), reason: reason.to_owned() }));
    error.into_iter().chain([Event::Done(Done {})]).collect()
}

fn noted(note: &Note) -> Option<Event> {
    Some(match note.clone() {
        Note::Thinking { message, delegate } => Event::Thinking(Thinking { message, delegate: told(delegate) }),
        Note::Thought { thought, turn, delegate } => Event::LlmThought(LlmThought { thought, turn, delegate: told(delegate) }),
        Note::ToolExecution { tool_name, args, call_id, delegate } => {
            Event::ToolExecution(ToolExecution { tool_name, args: Some(JsonObject(args)), call_id, delegate: told(delegate) })
        }
        Note::ToolResult { tool_name, preview, call_id, delegate } => {
            Event::ToolResult(ToolResult { tool_name, preview, call_id, delegate: told(delegate) })
        }
        Note::Compact { stage, chars_before, chars_after, reduction_pct, archive_path, delegate } => {
            let delegate = told(delegate);
            Event::ContextCompact(ContextCompact { stage, chars_before, chars_after, reduction_pct, archive_path, delegate })
        }
        Note::Warning { .. } => return None,
    })
}

fn told(delegate: Option<record::Delegate>) -> Option<Delegate> {
    delegate.map(|delegate| Delegate { agent_id: delegate.agent_id, agent_name: delegate.agent_name, call_id: delegate.call_id })
}
