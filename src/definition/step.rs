//! Steps of orchestrations: what all of them have, and what each kind has of its own.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::record::Record;

/// Types that a step may have.
const KINDS: [&str; 14] = [
    "agent",
    "llm",
    "tool",
    "evaluator",
    "parallel",
    "merge",
    "loop",
    "human",
    "transform",
    "extract_json",
    "if_else",
    "switch",
    "print",
    "end",
];

/// How often a step may be entered where its record names no number.
const MAX_ITERATIONS: u32 = 3;

/// The rounds of an agent step, and the attempts of a tool step at its arguments, where the record names no number.
const MAX_TURNS: u32 = 15;

/// The passes of a loop whose record names no number.
const LOOP_COUNT: u32 = 3;

/// The branches of a parallel step that work at once where the record names no number.
const MAX_CONCURRENCY: u32 = 8;

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Identifies the step inside its orchestration.
    pub id: String,
    /// What people call it; the id where the record has no name.
    pub name: String,
    /// The label, if someone wrote one.
    pub label: String,
    /// The `type`, as it is written.
    pub kind: String,
    /// The agent as it is written: empty where the key is missing, nothing where it is null.
    pub agent_id: Option<String>,
    /// Whatever the record lists as predecessors, for clients to read; routing does not use them.
    pub depends_on: Vec<String>,
    /// The step that follows; nothing where the run, the branch or the pass ends here.
    pub next_step_id: Option<String>,
    /// Keys of the state that the step reads.
    pub input_keys: Vec<String>,
    /// The key of the state that its result is written under.
    pub output_key: Option<String>,
    /// The model, where it is another than the agent's or the settings'.
    pub model: Option<String>,
    /// The task, with `{state.key}` for values; empty for the message of the run.
    pub prompt_template: String,
    /// Rounds of an agent, attempts of a tool step at its arguments; 15 by default.
    pub max_turns: u32,
    /// How often it may be entered before the loop guard passes it over; 3 by default.
    pub max_iterations: u32,
    /// Seconds that one attempt may take; that of the server by default.
    pub timeout_seconds: Option<u32>,
    /// Whether and when a failed attempt is followed by another.
    pub retry: Retry,
    /// Whether the run goes on with the next step after the last attempt failed.
    pub on_error: OnError,
    /// What becomes of an attempt that a crash of the server interrupted.
    pub on_interrupt: OnInterrupt,
    /// What the kind has of its own.
    pub work: Work,
}

impl Default for Step {
    fn default() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            label: String::new(),
            kind: String::new(),
            agent_id: None,
            depends_on: Vec::new(),
            next_step_id: None,
            input_keys: Vec::new(),
            output_key: None,
            model: None,
            prompt_template: String::new(),
            max_turns: MAX_TURNS,
            max_iterations: MAX_ITERATIONS,
            timeout_seconds: None,
            retry: Retry::default(),
            on_error: OnError::Fail,
            on_interrupt: OnInterrupt::Retry,
            work: Work::Unknown,
        }
    }
}

/// What a kind of step has of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// An agent takes a turn, or runs its orchestration.
    Agent {
        /// The tools that remain of the agent's; nothing for all of them.
        allowed_tools: Option<Vec<String>>,
        /// Whether a step that is run again is told all of its earlier results instead of the last.
        include_full_history: bool,
    },
    /// A model is asked once.
    Llm,
    /// A tool is called with arguments that a model writes.
    Tool {
        /// The tool.
        forced_tool: Option<String>,
    },
    /// A model chooses a way.
    Evaluator {
        /// What it is to judge.
        prompt: String,
        /// The ways, in their order.
        routes: Vec<Route>,
    },
    /// Branches work at the same time.
    Parallel {
        /// Ids of steps: one is followed to the end of its branch, several are taken as they are listed.
        branches: Vec<Vec<String>>,
        /// The most branches that work at once; 8 by default.
        max_concurrency: u32,
    },
    /// Values of the state become one.
    Merge {
        /// `list`, `concat` or `dict`; everything else counts as `list`.
        strategy: String,
    },
    /// Steps are repeated.
    Loop {
        /// Passes, at least one; 3 by default.
        count: u32,
        /// The steps of a pass, in their order.
        body: Vec<String>,
        /// A condition that ends the loop after a pass.
        until: Option<String>,
    },
    /// A person is asked.
    Human {
        /// The question, with `{state.key}` for values.
        prompt: String,
        /// What is asked for: objects with any values, lists of options included.
        fields: Vec<Map<String, Value>>,
        /// A channel of the existing product, for clients to read.
        channel_id: Option<String>,
        /// What happens when nobody answers in time.
        timeout: HumanTimeout,
    },
    /// A Python program makes a value of the state.
    Transform {
        /// The program.
        code: String,
    },
    /// JSON is found in text.
    ExtractJson,
    /// A condition chooses between two ways.
    IfElse {
        /// The condition.
        condition: String,
        /// The way of a true one.
        if_true: Option<String>,
        /// The way of a false one.
        if_false: Option<String>,
    },
    /// A value chooses among ways.
    Switch {
        /// The expression.
        expression: String,
        /// Texts and their ways.
        cases: Vec<Case>,
        /// The way of every other value.
        default: Option<String>,
    },
    /// Text is written.
    Print {
        /// The text, with `{state.a.b}` for values.
        content: String,
    },
    /// The branch, the loop, or the orchestration ends.
    End,
    /// Something that no step is.
    Unknown,
}

/// A way of an evaluator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// What the model calls it.
    pub label: String,
    /// When it is right.
    pub description: String,
    /// Where it leads; nothing for the end.
    pub step_id: Option<String>,
}

/// A case of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The text that the value has to have.
    pub text: String,
    /// Where it leads; nothing for the end.
    pub step_id: Option<String>,
}

/// Whether and when a failed attempt is followed by another: `{"max_attempts", "backoff_seconds", "max_backoff_seconds", "on"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Attempts in all, 1 by default.
    pub max_attempts: u32,
    /// Seconds before the second attempt, doubled before each further one; 1 by default.
    pub backoff_seconds: u32,
    /// The most seconds between two attempts; 60 by default.
    pub max_backoff_seconds: u32,
    /// The failures that are tried again: `timeout`, `model`, `tool`, `transform`, `orchestration`; empty for all.
    pub on: Vec<String>,
}

/// What follows the failure of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The run fails.
    Fail,
    /// The run goes on with the next step.
    Continue,
}

/// What becomes of an interrupted attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInterrupt {
    /// It is made again, with the same idempotency ids.
    Retry,
    /// The step fails.
    Fail,
    /// A person decides.
    Ask,
}

/// What happens when a person does not answer in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HumanTimeout {
    /// The run waits for ever.
    Wait,
    /// A default answer counts as given.
    Answer {
        /// Seconds until then.
        seconds: u32,
        /// The answer.
        answer: Map<String, Value>,
    },
    /// The step fails.
    Fail {
        /// Seconds until then.
        seconds: u32,
    },
    /// The run goes on at another step.
    Branch {
        /// Seconds until then.
        seconds: u32,
        /// The step; nothing for the end.
        step_id: Option<String>,
    },
}

/// A reference from a step to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// The field that holds it.
    pub field: String,
    /// The step it leads to.
    pub step_id: String,
}

/// Reads a step.
pub(super) fn step(record: &mut Record) -> Step {
    let name = record.maybe_text("name").unwrap_or_else(|| record.id());
    let label = record.text("label");
    let kind = record.text("type");
    let work = work(record, &kind);
    Step {
        id: record.id(),
        name,
        label,
        agent_id: record.text_as_written("agent_id"),
        depends_on: record.texts("depends_on"),
        next_step_id: target(record, "next_step_id"),
        input_keys: record.texts("input_keys"),
        output_key: target(record, "output_key"),
        model: target(record, "model"),
        prompt_template: record.text("prompt_template"),
        max_turns: record.count("max_turns").unwrap_or(MAX_TURNS).max(1),
        max_iterations: record.count("max_iterations").unwrap_or(MAX_ITERATIONS),
        timeout_seconds: record.count("timeout_seconds").filter(|seconds| *seconds > 0),
        retry: retry(record),
        on_error: on_error(record, &kind),
        on_interrupt: match record.choice("on_interrupt", &["retry", "fail", "ask"]) {
            Some("fail") => OnInterrupt::Fail,
            Some("ask") => OnInterrupt::Ask,
            _ => OnInterrupt::Retry,
        },
        kind,
        work,
    }
}

fn work(record: &mut Record, kind: &str) -> Work {
    match kind {
        "agent" => Work::Agent {
            allowed_tools: record.maybe_texts("allowed_tools"),
            include_full_history: record.maybe_flag("include_full_history").unwrap_or(true),
        },
        "llm" => Work::Llm,
        "tool" => Work::Tool { forced_tool: target(record, "forced_tool") },
        "evaluator" => Work::Evaluator { prompt: record.text("evaluator_prompt"), routes: routes(record) },
        "parallel" => Work::Parallel {
            branches: record.text_lists("parallel_branches"),
            max_concurrency: record.count("max_concurrency").filter(|most| *most > 0).unwrap_or(MAX_CONCURRENCY),
        },
        "merge" => Work::Merge { strategy: record.maybe_text("merge_strategy").unwrap_or_else(|| "list".to_owned()) },
        "loop" => Work::Loop {
            count: record.count("loop_count").unwrap_or(LOOP_COUNT).max(1),
            body: record.texts("loop_step_ids"),
            until: target(record, "loop_until"),
        },
        "human" => Work::Human {
            prompt: record.text("human_prompt"),
            fields: record.objects("human_fields"),
            channel_id: record.maybe_text("human_channel_id"),
            timeout: human_timeout(record),
        },
        "transform" => Work::Transform { code: record.text("transform_code") },
        "extract_json" => Work::ExtractJson,
        "if_else" => Work::IfElse {
            condition: record.text("if_condition"),
            if_true: target(record, "if_true_step_id"),
            if_false: target(record, "if_false_step_id"),
        },
        "switch" => Work::Switch {
            expression: record.text("switch_expression"),
            cases: record.text_map("switch_cases").into_iter().map(|(text, step_id)| Case { text, step_id: filled(step_id) }).collect(),
            default: target(record, "switch_default_step_id"),
        },
        "print" => Work::Print { content: record.text("print_content") },
        "end" => Work::End,
        _ => {
            record.report("type", format!("`{kind}` is no type of step; write one of `{}`", KINDS.join("`, `")));
            Work::Unknown
        }
    }
}

fn routes(record: &mut Record) -> Vec<Route> {
    let descriptions = record.text_map("route_descriptions");
    let description = |label: &str| descriptions.iter().find(|(name, _)| name == label).and_then(|(_, text)| text.clone());
    let routes = record.text_map("route_map").into_iter();
    routes.map(|(label, step_id)| Route { description: description(&label).unwrap_or_default(), label, step_id: filled(step_id) }).collect()
}

fn retry(record: &mut Record) -> Retry {
    record
        .record("retry", |record| Retry {
            max_attempts: record.count("max_attempts").unwrap_or(1).clamp(1, 100),
            backoff_seconds: record.count("backoff_seconds").unwrap_or(1),
            max_backoff_seconds: record.count("max_backoff_seconds").unwrap_or(60),
            on: record.texts("on"),
        })
        .unwrap_or_default()
}

impl Default for Retry {
    fn default() -> Self {
        Self { max_attempts: 1, backoff_seconds: 1, max_backoff_seconds: 60, on: Vec::new() }
    }
}

/// A transform that raises did not end a run of the existing product, which definitions count on.
fn on_error(record: &mut Record, kind: &str) -> OnError {
    match record.choice("on_error", &["fail", "continue"]) {
        Some("continue") => OnError::Continue,
        None if kind == "transform" => OnError::Continue,
        _ => OnError::Fail,
    }
}

fn human_timeout(record: &mut Record) -> HumanTimeout {
    let seconds = record.count("human_timeout_seconds").filter(|seconds| *seconds > 0).unwrap_or(3600);
    match record.choice("human_timeout_action", &["wait", "answer", "fail", "branch"]) {
        Some("answer") => HumanTimeout::Answer { seconds, answer: record.object("human_timeout_answer").unwrap_or_default() },
        Some("fail") => HumanTimeout::Fail { seconds },
        Some("branch") => HumanTimeout::Branch { seconds, step_id: target(record, "human_timeout_step_id") },
        _ => HumanTimeout::Wait,
    }
}

/// Returns a text that is not empty.
fn target(record: &mut Record, field: &str) -> Option<String> {
    filled(record.maybe_text(field))
}

fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

impl Step {
    /// Returns every way out of the step, in the order of their fields.
    pub fn ways(&self) -> Vec<Way> {
        let mut ways = Vec::new();
        let mut add = |field: String, step_id: Option<&String>| ways.extend(step_id.map(|step_id| Way { field, step_id: step_id.clone() }));
        add("next_step_id".to_owned(), self.next_step_id.as_ref());
        match &self.work {
            Work::IfElse { if_true, if_false, .. } => {
                add("if_true_step_id".to_owned(), if_true.as_ref());
                add("if_false_step_id".to_owned(), if_false.as_ref());
            }
            Work::Switch { cases, default, .. } => {
                add("switch_default_step_id".to_owned(), default.as_ref());
                for case in cases {
                    add(format!("switch_cases.{}", case.text), case.step_id.as_ref());
                }
            }
            Work::Evaluator { routes, .. } => {
                for route in routes {
                    add(format!("route_map.{}", route.label), route.step_id.as_ref());
                }
            }
            Work::Loop { body, .. } => {
                body.iter().enumerate().for_each(|(position, id)| add(format!("loop_step_ids[{position}]"), Some(id)));
            }
            Work::Parallel { branches, .. } => {
                for (position, branch) in branches.iter().enumerate() {
                    for id in branch {
                        add(format!("parallel_branches[{position}]"), Some(id));
                    }
                }
            }
            Work::Human { timeout: HumanTimeout::Branch { step_id, .. }, .. } => add("human_timeout_step_id".to_owned(), step_id.as_ref()),
            _ => {}
        }
        ways
    }
}
