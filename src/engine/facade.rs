//! The front of a chat: who speaks, and how the events of an orchestration behind an agent are told as those of a chat.

use std::collections::VecDeque;

use super::chat::CANCELLED;
use crate::error::Reason;
use crate::wire::v1::chat_event::{
    Delegate, Error, Event, HumanInputRequired, LlmThought, ReasoningDelta, Response, Session, Status, TextDelta, Thinking, ToolExecution,
    ToolResult,
};
use crate::wire::v1::run_event::{Event as Run, Final, FinalData};
use crate::wire::v1::{ChatEvent, ChatResponse, Question, RunEvent, RunStatus};

/// Who speaks in a chat, and in which conversation.
pub(super) struct Speaker {
    /// The agent.
    pub agent_id: String,
    /// Its name.
    pub agent_name: String,
    /// The conversation.
    pub session_id: String,
}

impl Speaker {
    /// Makes an answer that says nothing yet.
    pub(super) fn answer(&self, run_id: &str, status: RunStatus) -> ChatResponse {
        let Self { agent_id, agent_name, session_id } = self;
        let (agent_id, agent_name, session_id) = (agent_id.clone(), agent_name.clone(), session_id.clone());
        ChatResponse { agent_id, agent_name, session_id, run_id: run_id.to_owned(), status: status.into(), ..ChatResponse::default() }
    }

    fn session(&self, run_id: String) -> Event {
        let Self { agent_id, agent_name, session_id } = self;
        let (agent_id, agent_name, session_id) = (agent_id.clone(), agent_name.clone(), session_id.clone());
        Event::Session(Session { session_id, agent_id, agent_name, run_id })
    }
}

/// Makes the answer of a chat whose orchestration asks a person.
pub(super) fn asking(answer: ChatResponse, questions: &[Question]) -> ChatResponse {
    let first = questions.first().cloned();
    let response = first.as_ref().map(|question| question.prompt.clone()).unwrap_or_default();
    ChatResponse { status: RunStatus::Paused.into(), human_input_required: first, response, ..answer }
}

/// Tells the events of an orchestration as those of a chat.
#[derive(Default)]
pub(super) struct Facade {
    ready: VecDeque<ChatEvent>,
}

impl Facade {
    /// Returns what is to be told next.
    pub(super) fn pop(&mut self) -> Option<ChatEvent> {
        self.ready.pop_front()
    }

    /// Takes in an event of the orchestration; most stay behind the front.
    pub(super) fn take(&mut self, mut event: RunEvent, speaker: &Speaker) {
        let id = event.id;
        let Some(happened) = event.event.take() else { return };
        if let Run::OrchestrationStart(_) = happened {
            self.tell(id, speaker.session(event.run_id.unwrap_or_default()));
            return self.tell(0, Event::Status(Status { message: "Processing your request...".to_owned() }));
        }
        let told = match happened {
            Run::HumanInputRequired(asked) => Some(Event::HumanInputRequired(HumanInputRequired {
                run_id: event.run_id.unwrap_or_default(),
                step_id: event.orch_step_id.unwrap_or_default(),
                prompt: asked.prompt,
                fields: asked.fields,
                agent_context: asked.agent_context,
                question_id: asked.question_id,
            })),
            Run::Final(Final { response, data: Some(data), .. }) if event.orch_step_id.is_none() => Some(ended(response, &data, speaker)),
            other => work(other, delegate(&event)),
        };
        if let Some(told) = told {
            self.tell(id, told);
        }
    }

    fn tell(&mut self, id: u64, event: Event) {
        self.ready.push_back(ChatEvent { event: Some(event), id });
    }
}

fn delegate(event: &RunEvent) -> Option<Delegate> {
    let agent_id = event.delegate_from.clone()?;
    Some(Delegate { agent_id, agent_name: event.delegate_agent_name.clone().unwrap_or_default(), call_id: String::new() })
}

/// Tells the work of an agent or a model, which is the same in front of an orchestration and behind it.
fn work(event: Run, delegate: Option<Delegate>) -> Option<Event> {
    Some(match event {
        Run::Thinking(thinking) => Event::Thinking(Thinking { message: thinking.message, delegate }),
        Run::TextDelta(delta) => Event::TextDelta(TextDelta { text: delta.text, delegate }),
        Run::ReasoningDelta(delta) => Event::ReasoningDelta(ReasoningDelta { text: delta.text, delegate }),
        Run::LlmThought(said) => Event::LlmThought(LlmThought { thought: said.thought, turn: said.turn, delegate }),
        Run::ToolExecution(call) => {
            Event::ToolExecution(ToolExecution { tool_name: call.tool_name, args: call.args, call_id: call.call_id, delegate })
        }
        Run::ToolResult(result) => {
            Event::ToolResult(ToolResult { tool_name: result.tool_name, preview: result.preview, call_id: result.call_id, delegate })
        }
        _ => return None,
    })
}

fn ended(response: String, data: &FinalData, speaker: &Speaker) -> Event {
    let error = |reason: Reason, message: String| Event::Error(Error { message, reason: reason.name().to_owned() });
    match data.status() {
        RunStatus::Completed => {
            let (intent, session_id) = ("orchestration".to_owned(), speaker.session_id.clone());
            Event::Response(Response { content: response, intent, session_id, usage: None })
        }
        RunStatus::Cancelled => error(Reason::Cancelled, CANCELLED.to_owned()),
        _ => error(Reason::AgentFailed, response),
    }
}
