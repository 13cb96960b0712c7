//! Random graphs. Branches of tame ones write keys of their own, fail in no way that ends the run, and lead nowhere outside.

use serde_json::{Map, Value, json};

use super::super::graph::{Graph, Pinned};
use super::tape::Tape;
use crate::definition::{agents, orchestrations};

/// How deep loops and branches of a graph may stand in each other.
const DEEP: u32 = 2;

/// How deep its orchestrations may.
const NESTED: u32 = 2;

/// Makes a tame graph.
pub(super) fn tame(bytes: &[u8]) -> (Pinned, Graph) {
    made(bytes, false)
}

/// Makes a graph in which everything may lead everywhere.
pub(super) fn wild(bytes: &[u8]) -> (Pinned, Graph) {
    made(bytes, true)
}

fn made(bytes: &[u8], wild: bool) -> (Pinned, Graph) {
    let mut maker = Maker { tape: Tape::of(bytes), ids: 0, wild, orchestrations: Vec::new(), agents: Vec::new() };
    maker.orchestration(0, true);
    maker.orchestrations.reverse(); // the outermost was finished last
    pinned(&maker.orchestrations, &maker.agents)
}

/// Makes a graph of what files say.
pub(super) fn pinned(of: &[Value], with: &[Value]) -> (Pinned, Graph) {
    let read = orchestrations(&json!(of).to_string()).unwrap().0;
    let agents = if with.is_empty() { Vec::new() } else { agents(&json!(with).to_string()).unwrap().0 };
    let pinned = Pinned {
        orchestrations: read.iter().map(|one| (**one).clone()).collect(),
        agents: agents.iter().map(|one| (**one).clone()).collect(),
    };
    (pinned.clone(), Graph::new(pinned))
}

/// Makes orchestrations and their agents.
struct Maker<'a> {
    tape: Tape<'a>,
    ids: u32,
    wild: bool,
    orchestrations: Vec<Value>,
    agents: Vec<Value>,
}

/// Where steps are made.
#[derive(Clone)]
struct Region {
    /// The orchestration.
    orchestration: String,
    /// What its keys begin with.
    own: String,
    /// What the keys around begin with.
    around: Vec<String>,
    /// Whether a failure may end the run.
    fatal: bool,
    /// How deep it stands in loops and branches.
    deep: u32,
    /// How deep its orchestration is nested.
    nested: u32,
}

/// An orchestration that is being made.
#[derive(Default)]
struct Sheet {
    steps: Vec<Value>,
    ids: Vec<String>,
    schema: Map<String, Value>,
}

impl Maker<'_> {
    fn id(&mut self, kind: &str) -> String {
        self.ids += 1;
        format!("{kind}{}", self.ids)
    }

    /// Makes an orchestration and returns its id.
    fn orchestration(&mut self, nested: u32, fatal: bool) -> String {
        let id = self.id("o");
        let region = Region { orchestration: id.clone(), own: self.id("r"), around: Vec::new(), fatal, deep: 0, nested };
        let mut sheet = Sheet::default();
        let entry = self.chain(&mut sheet, &region, &[None], None);
        let turns = if fatal && self.tape.one_in(4) { 3 + self.tape.pick(6) } else { 100_000 };
        self.orchestrations.push(json!({
            "id": id, "name": id, "steps": sheet.steps, "entry_step_id": entry, "state_schema": sheet.schema, "max_total_turns": turns,
        }));
        id
    }

    /// Makes steps that name each other, and returns the first. They may lead to each other, and to where else they may leave.
    fn chain(&mut self, sheet: &mut Sheet, region: &Region, exits: &[Option<String>], last: Option<&String>) -> Option<String> {
        let ids: Vec<String> = (0..self.tape.pick(5)).map(|_| self.id("s")).collect();
        sheet.ids.extend(ids.iter().cloned());
        let ways: Vec<Option<String>> = ids.iter().cloned().map(Some).chain(exits.iter().cloned()).collect();
        for (position, id) in ids.iter().enumerate() {
            let next = ids.get(position + 1).or(last).cloned();
            self.step(sheet, region, id, next, &ways);
        }
        ids.first().cloned()
    }

    /// Makes steps that are taken as they are listed, unless they lead elsewhere.
    fn list(&mut self, sheet: &mut Sheet, region: &Region, exits: &[Option<String>]) -> Vec<String> {
        let mut ids: Vec<String> = (0..self.tape.pick(4)).map(|_| self.id("s")).collect();
        sheet.ids.extend(ids.iter().cloned());
        let mut ways: Vec<Option<String>> = ids.iter().cloned().map(Some).chain(exits.iter().cloned()).collect();
        if self.tape.one_in(4) {
            let aside = self.chain(sheet, region, &ways.clone(), ids.first());
            ways.push(aside);
        }
        for id in &ids {
            let next = self.tape.of_these(&ways);
            self.step(sheet, region, id, next, &ways);
        }
        if self.tape.one_in(4) && !ids.is_empty() {
            let again = self.tape.of_these(&ids);
            ids.push(again);
        }
        ids
    }

    fn step(&mut self, sheet: &mut Sheet, region: &Region, id: &str, next: Option<String>, ways: &[Option<String>]) {
        let next = if region.fatal && self.tape.pick(24) == 23 { Some("nowhere".to_owned()) } else { next };
        let mut step = self.kind(sheet, region, id, next.as_ref(), ways);
        let fails = self.tape.pick(4);
        let goes_on = !region.fatal || self.tape.pick(2) == 0;
        let common = json!({
            "id": id, "name": format!("Step {id}"), "next_step_id": next, "label": fails.to_string(), "max_iterations": 1 + self.tape.pick(3),
            "retry": {"max_attempts": 1 + self.tape.pick(3), "on": if self.tape.one_in(4) { vec!["model"] } else { vec![] }},
            "on_error": if goes_on { "continue" } else { "fail" },
        });
        step.as_object_mut().unwrap().extend(common.as_object().unwrap().clone());
        sheet.steps.push(step);
    }

    fn kind(&mut self, sheet: &mut Sheet, region: &Region, id: &str, next: Option<&String>, ways: &[Option<String>]) -> Value {
        let read = format!("{}k{}", self.tape.of_these(&region.readable()), self.tape.pick(2));
        let key = format!("{}k{}", region.own, self.tape.pick(2));
        let counter = format!("{}c", region.own);
        let deep = region.deep < DEEP;
        match self.tape.pick(13) {
            1 | 2 => json!({"type": "llm", "input_keys": [read, "user_input"], "output_key": key}),
            3 => json!({"type": "transform", "transform_code": "count", "output_key": counter}),
            4 => json!({
                "type": "if_else", "if_condition": format!("state.{counter} >= 2"), "output_key": key,
                "if_true_step_id": self.way(sheet, ways), "if_false_step_id": self.way(sheet, ways),
            }),
            5 => json!({
                "type": "switch", "switch_expression": format!("state.{counter}"), "switch_default_step_id": self.way(sheet, ways),
                "switch_cases": {"1": self.way(sheet, ways), "2": self.way(sheet, ways)},
            }),
            6 => {
                json!({"type": "evaluator", "input_keys": [counter], "route_map": {"x": self.way(sheet, ways), "y": self.way(sheet, ways)}})
            }
            7 => self.human(sheet, ways, key),
            8 if deep => self.parallel(sheet, region, id, next),
            9 | 10 if deep => self.repeat(sheet, region, id, next, &counter),
            11 if region.nested < NESTED => self.nested(region, &key),
            12 => json!({"type": "end"}),
            _ => json!({"type": "print", "print_content": format!("{id} {{state.{read}}}"), "output_key": key}),
        }
    }

    fn way(&mut self, sheet: &Sheet, ways: &[Option<String>]) -> Option<String> {
        if self.wild && self.tape.one_in(2) { Some(self.tape.of_these(&sheet.ids)) } else { self.tape.of_these(ways) }
    }

    fn human(&mut self, sheet: &Sheet, ways: &[Option<String>], key: String) -> Value {
        let timeout = self.tape.of_these(&["wait", "wait", "answer", "fail", "branch"]);
        json!({
            "type": "human", "output_key": key, "human_timeout_action": timeout, "human_timeout_seconds": 1 + self.tape.pick(9),
            "human_timeout_answer": {"by": "time"}, "human_timeout_step_id": self.way(sheet, ways),
        })
    }

    fn parallel(&mut self, sheet: &mut Sheet, region: &Region, id: &str, next: Option<&String>) -> Value {
        let exits = [None, next.cloned(), Some(id.to_owned())];
        let branches: Vec<Vec<String>> = (0..self.tape.pick(4))
            .map(|_| {
                let inside = region.branch(self.id("r"), self.wild);
                if self.tape.one_in(2) {
                    return self.list(sheet, &inside, &exits);
                }
                let last = self.tape.of_these(&exits);
                self.chain(sheet, &inside, &exits, last.as_ref()).into_iter().collect()
            })
            .collect();
        // Which of its branches wrote last is chance, so that it stands for all of them in the answer of its orchestration.
        let key = self.id("p");
        sheet.schema.insert(key.clone(), json!({"default": format!("all of {id}")}));
        json!({"type": "parallel", "parallel_branches": branches, "max_concurrency": 1 + self.tape.pick(3), "output_key": key})
    }

    fn repeat(&mut self, sheet: &mut Sheet, region: &Region, id: &str, next: Option<&String>, counter: &str) -> Value {
        let inside = Region { deep: region.deep + 1, ..region.clone() };
        let body = self.list(sheet, &inside, &[None, next.cloned(), Some(id.to_owned())]);
        let until = self.tape.one_in(2).then(|| format!("state.{counter} >= 2"));
        json!({"type": "loop", "loop_step_ids": body, "loop_count": 1 + self.tape.pick(3), "loop_until": until, "output_key": format!("{}l", region.own)})
    }

    fn nested(&mut self, region: &Region, key: &str) -> Value {
        let again = region.fatal && self.tape.pick(8) == 7;
        let inner = if again { region.orchestration.clone() } else { self.orchestration(region.nested + 1, region.fatal) };
        let agent = self.id("a");
        self.agents.push(json!({"id": agent, "name": agent, "type": "orchestrator", "orchestration_id": inner}));
        json!({"type": "agent", "agent_id": agent, "output_key": key})
    }
}

impl Region {
    /// Returns what the keys begin with that steps of the region may read.
    fn readable(&self) -> Vec<String> {
        self.around.iter().chain([&self.own]).cloned().collect()
    }

    /// Returns the region of a branch.
    fn branch(&self, own: String, wild: bool) -> Self {
        Self { around: self.readable(), own, fatal: wild, deep: self.deep + 1, ..self.clone() }
    }
}
