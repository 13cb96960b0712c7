//! What a model reads in a step: where the step stands, what there is to work with, why it runs again, and its task.

use serde_json::{Map, Value};

use super::{Failure, readable};
use crate::definition::{Orchestration, Step, Work};
use crate::engine::context::middle_out;
use crate::engine::run::{Flow, Graph, Past, ScopeState};
use crate::engine::template;

/// The most characters of the message of the run.
const REQUEST: usize = 2_000;

/// The most characters of what the step wrote the last time.
const PREVIOUS: usize = 2_000;

/// The most characters of a person's answer.
const ANSWER: usize = 3_000;

/// The most characters of an input.
const INPUT: usize = 5_000;

/// The most characters of a question or a reason that stands beside something else.
const ASIDE: usize = 500;

/// The most earlier runs of a step that are told.
const EARLIER: usize = 10;

/// The most characters of everything around the task.
const CONTEXT: usize = 200_000;

/// The most steps on the map of a workflow.
const MAP: usize = 60;

/// Where a step stands.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The step.
    pub step: &'a Step,
    /// The definitions of the run.
    pub graph: &'a Graph,
    /// The orchestration that the step stands in.
    pub state: &'a ScopeState,
    /// The pass of the loop around, from 1, and how many there will be; nothing outside of loops.
    pub pass: Option<(u32, u32)>,
}

/// Writes the message that a nested orchestration begins with.
pub(crate) fn nested_message(place: &Place<'_>) -> Result<String, Failure> {
    message(place)
}

/// Writes the message of a step.
pub(super) fn message(place: &Place<'_>) -> Result<String, Failure> {
    let values = &place.state.values;
    let own = place.step.prompt_template.as_str();
    let task = if own.trim().is_empty() { user_input(values) } else { template::fill(own, values)? };
    let mut sections = Vec::new();
    sections.extend(original_request(values, &task));
    sections.extend(answers(place));
    sections.extend(inputs(place));
    sections.extend(again(place));
    let context = sections.join("\n\n");
    if context.is_empty() {
        return Ok(task);
    }
    Ok(format!("{}\n\n# Your task\n{task}", middle_out(&context, CONTEXT)))
}

fn user_input(values: &Map<String, Value>) -> String {
    values.get("user_input").map(readable).unwrap_or_default()
}

/// Tells the message of the run, unless the task says it anyway.
fn original_request(values: &Map<String, Value>, task: &str) -> Option<String> {
    let request = user_input(values);
    let told = request.trim().is_empty() || task.contains(request.trim());
    (!told).then(|| format!("# The original request\n{}", middle_out(&request, REQUEST)))
}

/// Tells what people answered, each question once, whether the step names it or not.
fn answers(place: &Place<'_>) -> Option<String> {
    let mut keys: Vec<&str> = Vec::new();
    let mut told = Vec::new();
    for past in place.state.history.iter().rev().filter(|past| past.completed) {
        let Work::Human { prompt, .. } = &past.step.work else { continue };
        let key = answer_key(&past.step);
        let Some(answer) = place.state.values.get(key).filter(|_| !keys.contains(&key)) else { continue };
        keys.push(key);
        let question = template::fill(prompt, &place.state.values).unwrap_or_default();
        let asked = if question.trim().is_empty() { String::new() } else { format!("Asked: {}\n", middle_out(question.trim(), ASIDE)) };
        told.push(format!("## {} (`{key}`)\n{asked}Answered: {}", past.step.name, middle_out(&readable(answer), ANSWER)));
    }
    told.reverse();
    (!told.is_empty()).then(|| format!("# What people answered\n{}", told.join("\n\n")))
}

/// Returns the key that the answer to a human step stands under.
fn answer_key(step: &Step) -> &str {
    step.output_key.as_deref().unwrap_or("human_response")
}

/// Tells the inputs that are there and were not told already.
fn inputs(place: &Place<'_>) -> Option<String> {
    let answered = |key: &str| {
        let people = place.state.history.iter().filter(|past| past.completed && matches!(past.step.work, Work::Human { .. }));
        people.map(|past| answer_key(&past.step)).any(|other| other == key)
    };
    let flow = place.graph.flow(&place.state.orchestration_id);
    let told = |(key, value): (&String, &Value)| {
        let producer = flow.and_then(|flow| flow.producer(key)).map(|step| format!(", from {}", step.name)).unwrap_or_default();
        format!("## `{key}`{producer}\n{}", input(value))
    };
    let new = super::inputs(place.step, &place.state.values).filter(|(key, _)| *key != "user_input" && !answered(key));
    let told: Vec<String> = new.map(told).collect();
    (!told.is_empty()).then(|| format!("# What you have to work with\n{}", told.join("\n\n")))
}

/// Writes an input; what a loop has made, pass by pass.
fn input(value: &Value) -> String {
    let passes = value.as_array().filter(|items| !items.is_empty()).and_then(|items| items.iter().map(pass).collect::<Option<Vec<_>>>());
    let Some(passes) = passes else { return middle_out(&readable(value), INPUT) };
    let each = INPUT / passes.len();
    let told = passes.iter().map(|(number, result)| format!("### Pass {number}\n{}", middle_out(&readable(result), each)));
    told.collect::<Vec<_>>().join("\n")
}

/// Reads an item of what a loop has made.
fn pass(item: &Value) -> Option<(u64, &Value)> {
    let item = item.as_object().filter(|item| item.len() == 3 && item.contains_key("agent"))?;
    Some((item.get("iteration")?.as_u64()?, item.get("result")?))
}

/// Tells a step that runs again why, and what it has to build on.
fn again(place: &Place<'_>) -> Option<String> {
    let runs: Vec<usize> = place.state.history.iter().enumerate().filter(|(_, past)| is_run(past, place.step)).map(|(at, _)| at).collect();
    let pass = place.pass.filter(|(number, _)| *number > 1);
    let last = *runs.last()?;
    let mut lines = vec![match pass {
        Some((number, all)) => format!("# This step runs again: pass {number} of at most {all} of a loop"),
        None => format!("# This step runs again: run {}", runs.len() + 1),
    }];
    lines.extend(reason(&place.state.history[last..]));
    lines.extend(earlier(place, &runs));
    let previous = place.step.output_key.as_ref().and_then(|key| place.state.values.get(key));
    lines.extend(previous.map(|previous| format!("Your result of the last time:\n{}", middle_out(&readable(previous), PREVIOUS))));
    lines.push("Build on it: keep what was good, change what was asked for, and answer with the whole new result.".to_owned());
    Some(lines.join("\n\n"))
}

fn is_run(past: &Past, step: &Step) -> bool {
    past.completed && past.step.id == step.id
}

/// Returns the decision that led back to the step.
fn reason(since: &[Past]) -> Option<String> {
    let (past, (label, reasoning)) = since.iter().rev().find_map(|past| Some((past, past.route.as_ref()?)))?;
    Some(format!("{} decided `{label}`: {}", past.step.name, middle_out(reasoning, PREVIOUS)))
}

/// Tells what was decided after each of the earlier runs but the last, where the step wants to know.
fn earlier(place: &Place<'_>, runs: &[usize]) -> Option<String> {
    if matches!(place.step.work, Work::Agent { include_full_history: false, .. }) {
        return None;
    }
    let history = &place.state.history;
    let between = runs.windows(2).enumerate().rev().take(EARLIER).filter_map(|(number, pair)| {
        let decided = history[pair[0]..pair[1]].iter().rev().find_map(|past| past.route.as_ref())?;
        Some(format!("- after run {}: `{}`: {}", number + 1, decided.0, middle_out(&decided.1, ASIDE)))
    });
    let mut told: Vec<String> = between.collect();
    told.reverse();
    (!told.is_empty()).then(|| format!("What was decided before that:\n{}", told.join("\n")))
}

/// Writes where the step stands in its workflow, for the system prompt. A workflow of one step needs no map.
pub(super) fn system(place: &Place<'_>) -> String {
    let Some(flow) = place.graph.flow(&place.state.orchestration_id).filter(|flow| flow.orchestration.steps.len() > 1) else {
        return String::new();
    };
    let Step { name, output_key, .. } = place.step;
    let mut lines = vec![format!("You do the step `{name}` of the workflow `{}`.", flow.orchestration.name)];
    lines.extend(
        place.state.history.iter().rev().find(|past| past.completed).map(|past| format!("The step before was `{}`.", past.step.name)),
    );
    lines.extend(output_key.as_ref().map(|key| format!("Your answer is kept as `{key}`, for the steps that follow.")));
    lines.extend(place.pass.map(|(number, all)| format!("This is pass {number} of at most {all} of a loop.")));
    format!("{}\n\n{}", lines.join(" "), map(flow, place.step))
}

/// Draws the workflow in text.
fn map(flow: &Flow, here: &Step) -> String {
    let Orchestration { steps, .. } = &flow.orchestration;
    let name = |id: &str| flow.step(id).map_or_else(|| id.to_owned(), |step| step.name.clone());
    let line = |step: &Step| {
        let mut targets: Vec<String> = Vec::new();
        for target in step.ways().iter().map(|way| name(&way.step_id)) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let ways = if targets.is_empty() { "the end".to_owned() } else { targets.join(", ") };
        let mark = if step.id == here.id { " (this is you)" } else { "" };
        format!("- {} [{}] -> {ways}{mark}", step.name, step.kind)
    };
    let mut lines = vec!["The steps of the workflow:".to_owned()];
    lines.extend(steps.iter().take(MAP).map(line));
    if steps.len() > MAP {
        lines.push(format!("- and {} more", steps.len() - MAP));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::{graph, past, state};
    use super::*;

    fn flow() -> Graph {
        graph(&json!([
            {"id": "w", "name": "Write", "type": "agent", "prompt_template": "Write of {state.topic}.", "output_key": "draft", "next_step_id": "e",
             "input_keys": ["user_input", "notes", "ok", "none"]},
            {"id": "e", "name": "Judge", "type": "evaluator", "route_map": {"redo": "w", "good": null}},
            {"id": "h", "name": "Ask", "type": "human", "human_prompt": "May we write of {state.topic}?", "output_key": "ok"},
            {"id": "n", "name": "Note", "type": "llm", "output_key": "notes"},
        ]))
    }

    fn told(graph: &Graph, state: &ScopeState, pass: Option<(u32, u32)>) -> String {
        let step = graph.flow("w").unwrap().step("w").unwrap();
        message(&Place { step, graph, state, pass }).unwrap()
    }

    #[test]
    fn a_step_with_nothing_around_reads_its_task_alone() {
        let graph = flow();
        assert_eq!(told(&graph, &state(json!({"topic": "tides"})), None), "Write of tides.");
        let repeated = state(json!({"user_input": "tides", "topic": "tides"}));
        assert_eq!(told(&graph, &repeated, None), "Write of tides.", "what the task says is not said twice");
    }

    #[test]
    fn a_step_without_a_task_has_the_message_of_the_run() {
        let graph = graph(&json!([{"id": "w", "type": "llm"}]));
        assert_eq!(told(&graph, &state(json!({"user_input": "Hi {state.user_input}"})), None), "Hi {state.user_input}");
    }

    #[test]
    fn request_answers_and_inputs_come_before_the_task() {
        let graph = flow();
        let flow = graph.flow("w").unwrap();
        let mut state = state(json!({"user_input": "a letter", "topic": "tides", "notes": {"high": 2}, "ok": {"decision": "yes"}}));
        state.history.push(past(flow, "h", None));
        let expected = "# The original request\na letter\n\n\
             # What people answered\n## Ask (`ok`)\nAsked: May we write of tides?\nAnswered: {\"decision\":\"yes\"}\n\n\
             # What you have to work with\n## `notes`, from Note\n{\"high\":2}\n\n\
             # Your task\nWrite of tides.";
        assert_eq!(told(&graph, &state, None), expected);
    }

    #[test]
    fn a_step_that_runs_again_knows_why_and_what_it_wrote() {
        let graph = flow();
        let flow = graph.flow("w").unwrap();
        let mut state = state(json!({"topic": "tides", "draft": "Water moves."}));
        for (step, route) in [("w", None), ("e", Some(("redo", "no numbers"))), ("w", None), ("e", Some(("redo", "too short")))] {
            state.history.push(past(flow, step, route));
        }
        let text = told(&graph, &state, None);
        for part in
            ["run 3", "Judge decided `redo`: too short", "after run 1: `redo`: no numbers", "Water moves.", "# Your task\nWrite of tides."]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(told(&graph, &state, Some((2, 5))).contains("pass 2 of at most 5"));
    }

    #[test]
    fn long_values_lose_their_middle_and_passes_are_told_one_by_one() {
        let graph = flow();
        let long = told(&graph, &state(json!({"topic": "t", "notes": "x".repeat(3 * INPUT)})), None);
        assert!(long.len() < 2 * INPUT && long.contains("characters left out"), "{}", long.len());
        let passes = json!([{"iteration": 1, "agent": "A", "result": "one"}, {"iteration": 2, "agent": "A", "result": {"k": 2}}]);
        let text = told(&graph, &state(json!({"topic": "t", "notes": passes})), None);
        assert!(text.contains("### Pass 1\none\n### Pass 2\n{\"k\":2}"), "{text}");
    }

    #[test]
    fn the_map_shows_where_the_step_stands() {
        let graph = flow();
        let step = graph.flow("w").unwrap().step("w").unwrap();
        let text = system(&Place { step, graph: &graph, state: &state(json!({})), pass: None });
        assert!(text.starts_with("You do the step `Write` of the workflow `Work`. Your answer is kept as `draft`"), "{text}");
        assert!(text.contains("- Write [agent] -> Judge (this is you)\n- Judge [evaluator] -> Write\n- Ask [human] -> the end"), "{text}");
        let alone = super::super::fixture::graph(&json!([{"id": "w", "type": "llm"}]));
        assert_eq!(system(&Place { graph: &alone, step, state: &state(json!({})), pass: None }), "");
    }
}
