//! Records: what happened in a run, as it is kept. They are read again after every restart, so what is written once keeps its meaning:
//! fields are added with a default, never renamed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::Image;
use crate::wire::v1::chat_event::{self, Event};

/// A moment, in milliseconds since 1970.
pub(crate) type Millis = i64;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub(crate) enum Record {
    /// The run began; always the first record.
    Began(Began),
    /// An attempt at a step began. What has effects outside begins after this is durable.
    Started {
        /// Numbers the executions of steps in a run, from 1.
        execution: u32,
        /// The frame that the step stands in.
        frame: u32,
        /// The step.
        step: String,
        /// Which attempt it is, from 1.
        attempt: u32,
        /// When.
        at: Millis,
        /// The orchestration that the step runs, where it runs one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nested: Option<Nested>,
    },
    /// Something happened inside an attempt.
    Noted {
        /// The execution.
        execution: u32,
        /// What happened.
        note: Note,
    },
    /// A step is done.
    Finished(Box<Finished>),
    /// An attempt failed.
    Failed {
        /// The execution.
        execution: u32,
        /// When.
        at: Millis,
        /// What callers read.
        error: String,
        /// When it is tried again; nothing where it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Millis>,
        /// What its models used.
        #[serde(default, skip_serializing_if = "Spent::is_nothing")]
        spent: Spent,
    },
    /// A crash interrupted an attempt, which is made again.
    Interrupted {
        /// The execution.
        execution: u32,
    },
    /// A step asks a person.
    Asked {
        /// The execution.
        execution: u32,
        /// The question.
        question: Question,
    },
    /// A question was answered.
    Answered {
        /// The execution.
        execution: u32,
        /// When.
        at: Millis,
        /// The answer.
        answer: Value,
        /// Whether it was given because the time was up.
        timeout: bool,
        /// The step that follows.
        next: Option<String>,
        /// Whether the loop around ends.
        #[serde(default)]
        breaks: bool,
    },
    /// A pass of a loop is over and another begins.
    Passed {
        /// The execution of the loop.
        execution: u32,
        /// When.
        at: Millis,
    },
    /// The loop guard passed a step over.
    Skipped {
        /// The frame.
        frame: u32,
        /// The step that was not entered.
        step: String,
        /// How often it was entered.
        iterations: u32,
        /// How often it may be.
        max_iterations: u32,
    },
    /// Nothing is left to do until a person answers.
    Rested {
        /// When.
        at: Millis,
    },
    /// Something other than an answer ended the wait.
    Woken {
        /// When.
        at: Millis,
    },
    /// The run has ended.
    Ended {
        /// When.
        at: Millis,
        /// How.
        outcome: Outcome,
        /// Why it failed, where that is no step's doing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The name of the reason why a chat failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A run that had failed or was cancelled goes on from where it failed.
    Retried {
        /// When.
        at: Millis,
    },
}

/// How a run began.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Began {
    /// The run.
    pub run_id: String,
    /// When.
    pub at: Millis,
    /// The message.
    pub message: String,
    /// The conversation.
    pub session_id: String,
    /// What a chat has beside; nothing for an orchestration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
}

/// What a chat has beside its message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chat {
    /// The agent.
    pub agent_id: String,
    /// Its name.
    pub agent_name: String,
    /// Whether the caller named the session, so that there may be earlier turns.
    pub continued: bool,
    /// The images of the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Image>,
    /// Whether the chat goes on when its caller leaves.
    #[serde(default)]
    pub background: bool,
}

/// An orchestration that a step runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nested {
    /// The orchestration.
    pub orchestration_id: String,
    /// Its message.
    pub message: String,
}

/// A step that is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Finished {
    /// The execution.
    pub execution: u32,
    /// When.
    pub at: Millis,
    /// What is written under the step's output key; nothing where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub output: Option<Value>,
    /// What is told of it.
    #[serde(default, skip_serializing_if = "Told::is_nothing")]
    pub told: Told,
    /// Why it failed, where the run goes on all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The step that follows in the frame; nothing where the frame is over.
    pub next: Option<String>,
    /// Whether the loop around ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub breaks: bool,
    /// What its models used.
    #[serde(default, skip_serializing_if = "Spent::is_nothing")]
    pub spent: Spent,
}

/// What is told of a step that is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// Nothing more.
    #[default]
    Nothing,
    /// Its text.
    Text(String),
    /// An agent's answer.
    Answer {
        /// The text.
        text: String,
        /// What kind of answer it is.
        intent: String,
        /// The last tool that it called.
        tool_name: Option<String>,
    },
    /// A way that an evaluator chose.
    Route {
        /// The label.
        label: String,
        /// Why.
        reasoning: String,
    },
    /// How a condition came out.
    If {
        /// The condition.
        condition: String,
        /// Whether it is true.
        holds: bool,
    },
    /// How a value chose.
    Switch {
        /// The expression.
        expression: String,
        /// The value as text.
        value: String,
        /// The case that it matched.
        case: Option<String>,
    },
    /// How many values became one.
    Merge {
        /// How many.
        inputs: u32,
        /// How.
        strategy: String,
    },
    /// The value of a program as Python writes it.
    Transform(Option<String>),
}

impl Told {
    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// What models used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spent {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of the tokens read, those from the provider's cache.
    pub cached_tokens: u64,
    /// US dollars, as far as prices are known.
    pub cost: f64,
}

impl Spent {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was used elsewhere.
    pub(crate) fn add(&mut self, other: &Self) {
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cached_tokens += other.cached_tokens;
        self.cost += other.cost;
    }
}

/// Something inside an attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub(crate) enum Note {
    /// A round begins.
    Thinking {
        /// A sentence for people.
        message: String,
        /// The sub-agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegate: Option<Delegate>,
    },
    /// What a model said in a round.
    Thought {
        /// The text and the calls.
        thought: String,
        /// The number of the round.
        turn: u32,
        /// The sub-agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegate: Option<Delegate>,
    },
    /// A tool is about to be called.
    ToolExecution {
        /// The tool.
        tool_name: String,
        /// The arguments.
        args: Map<String, Value>,
        /// The call.
        call_id: String,
        /// The sub-agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegate: Option<Delegate>,
    },
    /// A tool has returned.
    ToolResult {
        /// The tool.
        tool_name: String,
        /// The beginning of the result.
        preview: String,
        /// The call.
        call_id: String,
        /// The sub-agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegate: Option<Delegate>,
    },
    /// A conversation was shortened.
    Compact {
        /// How.
        stage: String,
        /// Characters before.
        chars_before: u64,
        /// Characters after.
        chars_after: u64,
        /// By how many percent.
        reduction_pct: f64,
        /// Where the rest lies.
        archive_path: Option<String>,
        /// The sub-agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delegate: Option<Delegate>,
    },
    /// Something is not as it should be.
    Warning {
        /// A sentence for people.
        message: String,
    },
}

impl Note {
    /// Makes the note of an event inside an attempt; nothing of one that happens elsewhere.
    pub(crate) fn of(event: Event, delegate: Option<Delegate>) -> Option<Self> {
        Some(match event {
            Event::Thinking(event) => Self::Thinking { message: event.message, delegate },
            Event::LlmThought(event) => Self::Thought { thought: event.thought, turn: event.turn, delegate },
            Event::ToolExecution(event) => {
                let args = event.args.map(|args| args.0).unwrap_or_default();
                Self::ToolExecution { tool_name: event.tool_name, args, call_id: event.call_id, delegate }
            }
            Event::ToolResult(event) => {
                Self::ToolResult { tool_name: event.tool_name, preview: event.preview, call_id: event.call_id, delegate }
            }
            Event::ContextCompact(event) => Self::Compact {
                stage: event.stage,
                chars_before: event.chars_before,
                chars_after: event.chars_after,
                reduction_pct: event.reduction_pct,
                archive_path: event.archive_path,
                delegate,
            },
            _ => return None,
        })
    }
}

impl From<chat_event::Delegate> for Delegate {
    fn from(delegate: chat_event::Delegate) -> Self {
        Self { agent_id: delegate.agent_id, agent_name: delegate.agent_name, call_id: delegate.call_id }
    }
}

/// A sub-agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delegate {
    /// Its id.
    pub agent_id: String,
    /// Its name.
    pub agent_name: String,
    /// The call that it works for.
    pub call_id: String,
}

/// A question to a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The question.
    pub prompt: String,
    /// What is asked for.
    pub fields: Vec<Map<String, Value>>,
    /// What the person should know.
    pub agent_context: Option<String>,
    /// The channel that the orchestration names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_id: Option<String>,
    /// When it times out; nothing where it waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Millis>,
    /// Whether it asks what to do about an interrupted attempt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub interrupted: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// It came to its end.
    Completed,
    /// A step failed, or a limit was reached.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl Outcome {
    /// Returns the word that clients read.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A value that is null is a value, not a missing one.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}
