//! A simple interpreter of orchestrations, written from their description: one step after the other, branches one after the other, nothing kept.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::graph::Pinned;
use super::super::record::Outcome;
use super::world::{self, Fault};
use crate::definition::{HumanTimeout, OnError, Orchestration, Step, Work};
use crate::engine::expression::truth;
use crate::engine::{python_text, template};

/// How a run ends.
pub(super) struct End {
    pub outcome: Outcome,
    pub error: Option<String>,
    pub values: Map<String, Value>,
    pub history: Vec<(String, bool, Option<String>)>,
    pub response: String,
    pub attempts: BTreeMap<(String, String), i64>,
}

/// More attempts than a test has time for.
const ATTEMPTS: u32 = 2_000;

/// Says how a run of an orchestration ends; nothing where that takes too long.
pub(super) fn end(pinned: &Pinned) -> Option<End> {
    let mut reference = Reference { pinned, left: ATTEMPTS, attempts: BTreeMap::new() };
    let mut inner = reference.inner(&pinned.orchestrations[0].id, "run".to_owned(), 0, "hello");
    let entry = inner.orchestration.entry_step_id.clone();
    let (outcome, error, why) = match reference.walk(&mut inner, &Scene::Whole, some(&entry)) {
        Ok(_) => (Outcome::Completed, None, None),
        Err(Stop::Refused(why)) => (Outcome::Failed, Some(why.clone()), Some(why)),
        Err(Stop::Failed(why)) => (Outcome::Failed, None, Some(why)),
    };
    let response = why.map_or_else(|| inner.response(), |why| format!("Orchestration failed. Error: {why}"));
    let Inner { values, history, .. } = inner;
    let history = history.into_iter().map(|(step, completed, error)| (step.id, completed, error)).collect();
    let end = End { outcome, error, values, history, response, attempts: reference.attempts };
    Some(end).filter(|_| reference.left > 0)
}

struct Reference<'a> {
    pinned: &'a Pinned,
    /// Attempts that may be made; nothing is done behind the last.
    left: u32,
    attempts: BTreeMap<(String, String), i64>,
}

/// An orchestration that runs.
struct Inner<'a> {
    orchestration: &'a Orchestration,
    run_id: String,
    depth: u32,
    values: Map<String, Value>,
    history: Vec<(Step, bool, Option<String>)>,
    turns: u32,
}

/// What steps stand in.
enum Scene<'a> {
    Whole,
    Branch { parallel: &'a Step, listed: Option<&'a [String]> },
    Pass { repeat: &'a Step, body: &'a [String] },
}

/// Why it goes no further.
enum Stop {
    /// A step may not be entered.
    Refused(String),
    /// A step failed.
    Failed(String),
}

/// Where a step leads.
enum Lead {
    Behind,
    To(Option<String>),
    Out,
}

/// What the passes of a loop wrote, by key.
type Passes = BTreeMap<String, Vec<(u32, Value)>>;

impl<'a> Reference<'a> {
    fn inner(&self, id: &str, run_id: String, depth: u32, message: &str) -> Inner<'a> {
        let orchestration = self.pinned.orchestrations.iter().find(|orchestration| orchestration.id == id).unwrap();
        let mut values: Map<String, Value> =
            orchestration.state_schema.iter().filter_map(|(key, schema)| Some((key.clone(), schema.get("default")?.clone()))).collect();
        values.insert("user_input".to_owned(), message.into());
        values.insert("user_query".to_owned(), message.into());
        Inner { orchestration, run_id, depth, values, history: Vec::new(), turns: 0 }
    }

    /// Takes steps until none follows, and tells whether the loop around ends.
    fn walk(&mut self, inner: &mut Inner<'a>, scene: &Scene<'_>, first: Option<String>) -> Result<bool, Stop> {
        let (mut entered, mut at, mut here) = (BTreeMap::<String, u32>::new(), 0, first);
        while let Some(id) = here {
            let step = inner.find(&id).ok_or_else(|| Stop::Refused(format!("Step '{id}' not found")))?;
            inner.turn(scene)?;
            *entered.entry(id.clone()).or_default() += 1;
            let lead = self.execute(inner, step).map_err(Stop::Failed)?;
            let mut wanted = match lead {
                Lead::Out => return Ok(true),
                Lead::Behind => scene.behind(at, step),
                Lead::To(target) => target,
            };
            let (ran, mut tried) = (at, Vec::new());
            here = loop {
                let Some(id) = wanted else { break None };
                if let Some(breaks) = scene.leaves(&id) {
                    return Ok(breaks);
                }
                at = scene.place(at, &id);
                let times = entered.get(&id).copied().unwrap_or_default();
                match inner.find(&id) {
                    Some(guarded) if times >= guarded.max_iterations && tried.contains(&(at, id.clone())) => break None,
                    Some(guarded) if times >= guarded.max_iterations => wanted = scene.behind(at, guarded),
                    _ => {
                        at = scene.place(ran, &id);
                        break Some(id);
                    }
                }
                tried.push((at, id));
            };
        }
        Ok(false)
    }

    /// Makes attempts at a step until one succeeds or none is left.
    fn execute(&mut self, inner: &mut Inner<'a>, step: &'a Step) -> Result<Lead, String> {
        for failures in 0.. {
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return Err("it takes too long".to_owned());
            }
            *self.attempts.entry((inner.run_id.clone(), step.id.clone())).or_default() += 1;
            let mut passes = (0, Passes::new());
            let (kind, error) = match self.attempt(inner, step, failures, &mut passes) {
                Ok(lead) => {
                    if !matches!(step.work, Work::End) {
                        inner.history.push((step.clone(), true, None));
                    }
                    return Ok(lead);
                }
                Err(fault) => fault,
            };
            let wanted = step.retry.on.is_empty() || step.retry.on.iter().any(|name| name == kind);
            let again = wanted && kind != "definition" && failures + 1 < step.retry.max_attempts;
            let goes_on = !again && step.on_error == OnError::Continue;
            inner.history.push((step.clone(), goes_on, Some(error.clone())));
            if goes_on {
                inner.collect(step, &mut passes);
                return Ok(Lead::Behind);
            }
            if !again {
                return Err(error);
            }
        }
        unreachable!("attempts are numbered")
    }

    fn attempt(&mut self, inner: &mut Inner<'a>, step: &'a Step, failures: u32, passes: &mut (u32, Passes)) -> Result<Lead, Fault> {
        match &step.work {
            Work::Agent { .. } => self.nested(inner, step),
            Work::Parallel { branches, .. } => {
                for branch in branches {
                    let listed = Some(branch.as_slice()).filter(|ids| ids.len() > 1);
                    self.walk(inner, &Scene::Branch { parallel: step, listed }, branch.first().cloned()).map_err(Stop::fault)?;
                }
                Ok(Lead::Behind)
            }
            Work::Loop { count, body, until } => {
                for pass in 1..=*count {
                    passes.0 = pass;
                    let breaks = self.walk(inner, &Scene::Pass { repeat: step, body }, body.first().cloned()).map_err(Stop::fault)?;
                    if breaks || pass == *count || until.as_ref().is_some_and(|until| inner.holds(until)) {
                        break;
                    }
                    inner.gather(body, passes);
                }
                inner.collect(step, passes);
                Ok(Lead::Behind)
            }
            _ => inner.simple(step, failures),
        }
    }

    fn nested(&mut self, inner: &mut Inner<'a>, step: &'a Step) -> Result<Lead, Fault> {
        if inner.depth >= 3 {
            return Err(("definition", "orchestrations are nested deeper than 3".to_owned()));
        }
        let agent = self.pinned.agents.iter().find(|agent| Some(&agent.id) == step.agent_id.as_ref()).unwrap();
        let run_id = format!("{}__{}_d{}", inner.run_id, step.id, inner.depth + 1);
        let mut inside = self.inner(agent.orchestration_id.as_ref().unwrap(), run_id, inner.depth + 1, &world::message(step));
        let entry = inside.orchestration.entry_step_id.clone();
        self.walk(&mut inside, &Scene::Whole, some(&entry)).map_err(Stop::fault)?;
        inner.write(step, &inside.response().into());
        Ok(Lead::Behind)
    }
}

impl<'a> Inner<'a> {
    fn find(&self, id: &str) -> Option<&'a Step> {
        self.orchestration.steps.iter().rev().find(|step| step.id == id)
    }

    fn turn(&mut self, scene: &Scene<'_>) -> Result<(), Stop> {
        if matches!(scene, Scene::Whole) {
            let most = self.orchestration.max_total_turns;
            if self.turns >= most {
                return Err(Stop::Refused(format!("Global turn limit ({most}) exceeded")));
            }
            self.turns += 1;
        }
        Ok(())
    }

    /// Does a step that has no others inside.
    fn simple(&mut self, step: &Step, failures: u32) -> Result<Lead, Fault> {
        match &step.work {
            Work::Print { content } => self.write(step, &template::fill_deep(content, &self.values).unwrap().into()),
            Work::End => return Ok(Lead::Out),
            Work::IfElse { condition, if_true, if_false } => {
                let holds = self.holds(condition);
                self.write(step, &holds.into());
                return Ok(match (holds, if_false) {
                    (true, _) => Lead::To(if_true.clone()),
                    (false, Some(target)) => Lead::To(Some(target.clone())),
                    (false, None) => Lead::Behind,
                });
            }
            Work::Switch { expression, cases, default } => {
                let text = self.values.get(expression.trim_start_matches("state.")).map(Value::to_string);
                let case = cases.iter().find(|case| Some(&case.text) == text.as_ref());
                return Ok(Lead::To(case.map_or_else(|| default.clone(), |case| case.step_id.clone())));
            }
            Work::Human { timeout, .. } => return self.human(step, timeout),
            _ => {
                let (output, label) = world::perform(step, &self.values, failures)?;
                if let Some(output) = output {
                    self.write(step, &output);
                }
                if let (Work::Evaluator { routes, .. }, Some(label)) = (&step.work, label) {
                    return Ok(Lead::To(routes.iter().find(|route| route.label == label).unwrap().step_id.clone()));
                }
            }
        }
        Ok(Lead::Behind)
    }

    fn human(&mut self, step: &Step, timeout: &HumanTimeout) -> Result<Lead, Fault> {
        let answer = match timeout {
            HumanTimeout::Fail { .. } => return Err(("timeout", "nobody answered".to_owned())),
            HumanTimeout::Branch { step_id, .. } => return Ok(Lead::To(step_id.clone())),
            HumanTimeout::Answer { answer, .. } => answer.clone().into(),
            HumanTimeout::Wait => world::answer(step),
        };
        self.values.insert("human_response".to_owned(), Value::clone(&answer));
        self.write(step, &answer);
        Ok(Lead::Behind)
    }

    /// Decides a condition of these tests: whether a number is at least 2.
    fn holds(&self, condition: &str) -> bool {
        let key = condition.trim_start_matches("state.").trim_end_matches(" >= 2").to_owned();
        world::counter(Some(&key), &self.values) >= 2
    }

    fn write(&mut self, step: &Step, value: &Value) {
        self.values.extend(step.output_key.iter().map(|key| (key.clone(), value.clone())));
    }

    /// Takes what the steps of a body have written once a pass is over.
    fn gather(&self, body: &[String], (pass, gathered): &mut (u32, Passes)) {
        for key in body.iter().filter_map(|id| self.find(id)?.output_key.as_ref()) {
            let list = gathered.entry(key.clone()).or_default();
            let new = self.values.get(key).filter(|_| list.last().is_none_or(|(last, _)| last != pass));
            list.extend(new.map(|value| (*pass, value.clone())));
        }
    }

    /// Writes what the passes of a loop made.
    fn collect(&mut self, step: &Step, passes: &mut (u32, Passes)) {
        let Work::Loop { body, .. } = &step.work else { return };
        self.gather(body, passes);
        let mut all = Map::new();
        let parts: Vec<&Step> = body.iter().filter_map(|id| self.find(id)).collect();
        for part in parts {
            let Some(list) = part.output_key.as_ref().and_then(|key| passes.1.get(key)) else { continue };
            let list: Value = list.iter().map(|(pass, value)| json!({"iteration": pass, "agent": part.name, "result": value})).collect();
            self.write(part, &list);
            all.insert(part.name.clone(), list);
        }
        self.write(step, &all.into());
    }

    fn response(&self) -> String {
        let written = self.history.iter().rev().find_map(|(step, ..)| self.values.get(step.output_key.as_ref()?));
        written
            .filter(|value| truth(value))
            .map_or_else(|| format!("Orchestration completed. {} steps executed.", self.history.len()), python_text::str)
    }
}

impl Scene<'_> {
    /// Returns the steps that are taken as they are listed.
    const fn listed(&self) -> Option<&[String]> {
        match self {
            Self::Whole => None,
            Self::Branch { listed, .. } => *listed,
            Self::Pass { body, .. } => Some(body),
        }
    }

    /// Returns the step behind one that stands at a place.
    fn behind(&self, at: usize, step: &Step) -> Option<String> {
        match self.listed() {
            Some(listed) if at < listed.len() => listed.get(at + 1).cloned(),
            _ => step.next_step_id.clone(),
        }
    }

    /// Returns where a step is listed: the nearest place behind another, or else the first. Which one runs next depends on what ran last.
    fn place(&self, at: usize, id: &str) -> usize {
        let Some(listed) = self.listed() else { return 0 };
        (at + 1..listed.len()).chain(0..listed.len()).find(|place| listed[*place] == id).unwrap_or(listed.len())
    }

    /// Tells whether a step lies outside, and whether the loop around ends then.
    fn leaves(&self, id: &str) -> Option<bool> {
        match self {
            Self::Whole => None,
            Self::Branch { parallel: around, .. } | Self::Pass { repeat: around, .. } if around.next_step_id.as_deref() == Some(id) => {
                Some(true)
            }
            Self::Branch { parallel: around, .. } | Self::Pass { repeat: around, .. } => (around.id == id).then_some(false),
        }
    }
}

impl Stop {
    fn fault(self) -> Fault {
        let (Self::Refused(why) | Self::Failed(why)) = self;
        ("orchestration", why)
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}
