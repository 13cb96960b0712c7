//! What customers order: orchestrations of every shape, and what a simple model says of how each ends.

use serde_json::{Value, json};

use crate::support::Setup;

/// Tools that the ledger takes calls of.
const TOOLS: [&str; 3] = ["pay", "ship", "deliver"];

/// A kind of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Tools and a model, one after the other.
    Sequence,
    /// Tools, a model and a print at the same time.
    Branches,
    /// A tool and a model in three passes.
    Loop,
    /// Two people are asked at the same time, between two tools.
    People,
    /// A person is asked within an orchestration within two passes of a loop.
    Nested,
    /// A tool that is refused, until the run is tried again.
    Refused,
    /// A model that never comes to an end, so that the run is cancelled.
    Endless,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] =
        [Self::Sequence, Self::Branches, Self::Loop, Self::People, Self::Nested, Self::Refused, Self::Endless];

    /// Returns the orchestration.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Sequence => "sequence",
            Self::Branches => "branches",
            Self::Loop => "loop",
            Self::People => "people",
            Self::Nested => "nested",
            Self::Refused => "refused",
            Self::Endless => "endless",
        }
    }

    /// Returns how it ends.
    pub(crate) const fn status(self) -> &'static str {
        if matches!(self, Self::Endless) { "cancelled" } else { "completed" }
    }

    /// Returns which tools are called, and how often.
    pub(crate) const fn effects(self) -> &'static [(&'static str, usize)] {
        match self {
            Self::Sequence | Self::Branches | Self::People => &[("pay", 1), ("ship", 1)],
            Self::Loop => &[("pay", 3)],
            Self::Nested => &[("pay", 2)],
            Self::Refused => &[("pay", 1)],
            Self::Endless => &[],
        }
    }

    /// Returns how many answers it needs.
    pub(crate) const fn answers(self) -> usize {
        if matches!(self, Self::People | Self::Nested) { 2 } else { 0 }
    }

    /// Returns the last words of an order that completes; `answers` are those that were accepted, by the step that asked.
    pub(crate) fn response(self, order: &str, answers: &[(String, String)]) -> String {
        let answer = |step: &str| answers.iter().rev().find(|(asked, _)| asked == step).map_or("?", |(_, answer)| answer);
        match self {
            Self::Sequence => format!("{order}: pay is done, a long thought, ship is done"),
            Self::Branches => format!("{order}: pay is done, a long thought, ship is done, printed"),
            Self::Loop => format!("{order}: {}, {}", passes("pay", ["pay is done"; 3]), passes("think", ["a long thought"; 3])),
            Self::People => format!("{order}: {} and {}", answer("left"), answer("right")),
            Self::Nested => format!("{order}: {}", passes("nested", answers.iter().map(|(_, answer)| answer.as_str()))),
            Self::Refused => format!("{order}: deliver is done"),
            Self::Endless => String::new(),
        }
    }
}

/// Writes the results of the passes of a loop as Python does.
fn passes<'a>(step: &str, results: impl IntoIterator<Item = &'a str>) -> String {
    let pass = |(before, result)| format!("{{'iteration': {}, 'agent': '{step}', 'result': '{result}'}}", before + 1);
    format!("[{}]", results.into_iter().enumerate().map(pass).collect::<Vec<_>>().join(", "))
}

/// Prepares a server that takes orders, with the tools at an address.
pub(crate) fn shop(tools: &str) -> Setup {
    let call = |tool: &str| json!({"calls": [{"tool": tool, "arguments": {"order": "{message}"}}]});
    let scripts = json!({
        "pay": call("pay"),
        "ship": call("ship"),
        "deliver": call("deliver"),
        "think": {"text": "a long thought", "chunk_chars": 2, "chunk_delay_ms": 4},
        "endless": {"text": "on and on", "delay_ms": 120_000},
        "clerk": {"answers": [call("pay"), {"text": "{results}", "chunk_chars": 3, "chunk_delay_ms": 4}]},
    });
    let tool = |name: &&str| json!({"name": name, "method": "POST", "url": format!("{tools}/{name}"), "inputSchema": {"type": "object"}});
    let agents = json!([
        {"id": "clerk", "name": "Clerk", "model": "scripted.clerk", "tools": ["pay"]},
        {"id": "inner", "name": "Inner", "type": "orchestrator", "orchestration_id": "asking"},
    ]);
    Setup::new()
        .agents(agents)
        .orchestrations(orchestrations())
        .file("custom_tools.json", TOOLS.iter().map(tool).collect::<Value>().to_string())
        .setting("model", "scripted.think")
        .setting("scripted", scripts)
        .setting("allow_private_addresses", true)
        .environment("SYNAPSE_LOG", "warn")
}

fn step(id: &str, kind: &str, next: Option<&str>, fields: &Value) -> Value {
    let mut step = json!({"id": id, "name": id, "type": kind, "output_key": id, "next_step_id": next});
    step.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    step
}

fn tool(name: &str, next: Option<&str>) -> Value {
    let fields = json!({"forced_tool": name, "model": format!("scripted.{name}"), "prompt_template": "{state.user_input}", "max_turns": 1});
    step(name, "tool", next, &fields)
}

fn think(next: Option<&str>) -> Value {
    step("think", "llm", next, &json!({"prompt_template": "think"}))
}

fn print(content: &str) -> Value {
    step("print", "print", None, &json!({"print_content": content}))
}

fn human(id: &str, next: Option<&str>) -> Value {
    step(id, "human", next, &json!({"human_prompt": format!("{id}?")}))
}

fn orchestrations() -> Value {
    let orchestration = |id: &str, steps: &[Value]| json!({"id": id, "name": id, "entry_step_id": steps[0]["id"], "steps": steps});
    let all = |branches: Value, next: &str| step("all", "parallel", Some(next), &json!({"parallel_branches": branches}));
    let passes = |count: u32, first: Value| {
        step("passes", "loop", Some("print"), &json!({"loop_count": count, "loop_step_ids": first, "max_iterations": 9}))
    };
    let answered = "{state.user_input}: {state.left.response} and {state.right.response}";
    json!([
        orchestration(
            "sequence",
            &[
                tool("pay", Some("think")),
                think(Some("ship")),
                tool("ship", Some("print")),
                print("{state.user_input}: {state.pay}, {state.think}, {state.ship}"),
            ]
        ),
        orchestration(
            "branches",
            &[
                all(json!([["pay"], ["think", "ship"], ["note"]]), "print"),
                tool("pay", None),
                think(None),
                tool("ship", None),
                step("note", "print", None, &json!({"print_content": "printed"})),
                print("{state.user_input}: {state.pay}, {state.think}, {state.ship}, {state.note}"),
            ]
        ),
        orchestration(
            "loop",
            &[passes(3, json!(["pay", "think"])), tool("pay", None), think(None), print("{state.user_input}: {state.pay}, {state.think}")]
        ),
        orchestration(
            "people",
            &[
                tool("pay", Some("all")),
                all(json!([["left"], ["right"]]), "ship"),
                human("left", None),
                human("right", None),
                tool("ship", Some("print")),
                print(answered),
            ]
        ),
        orchestration(
            "nested",
            &[
                passes(2, json!(["nested"])),
                step("nested", "agent", None, &json!({"agent_id": "inner", "prompt_template": "{state.user_input}"})),
                print("{state.user_input}: {state.nested}"),
            ]
        ),
        orchestration(
            "asking",
            &[
                tool("pay", Some("ask")),
                human("ask", Some("told")),
                step("told", "print", None, &json!({"print_content": "{state.ask.response}"}))
            ]
        ),
        orchestration(
            "refused",
            &[tool("pay", Some("deliver")), tool("deliver", Some("print")), print("{state.user_input}: {state.deliver}")]
        ),
        orchestration("endless", &[step("endless", "llm", None, &json!({"model": "scripted.endless"}))]),
    ])
}
