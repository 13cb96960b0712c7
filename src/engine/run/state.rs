//! The state of a run: the fold of its records. It knows no clock, no file and no network, so that the same records always make the same state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::graph::{Flow, Graph};
use super::record::{Began, Finished, Millis, Nested, Outcome, Question, Record, Spent};
use crate::definition::{Orchestration, Step, Work};

/// The state of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// How it began.
    pub began: Began,
    /// How it ended; nothing while it goes on.
    pub ended: Option<Ended>,
    /// What its models used.
    pub spent: Spent,
    /// The places where work stands, by number.
    pub frames: BTreeMap<u32, Frame>,
    /// The steps at work, by number.
    pub open: BTreeMap<u32, Execution>,
    /// The states of the orchestration and of those nested inside, by the number of their frame.
    pub scopes: BTreeMap<u32, Scope>,
    /// Executions so far.
    pub executions: u32,
    frames_made: u32,
    rested_at: Option<Millis>,
    rested: Millis,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    /// When.
    pub at: Millis,
    /// How.
    pub outcome: Outcome,
    /// Why it failed.
    pub error: Option<String>,
}

/// A place where work stands: one step after another.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// What the frame is of.
    pub kind: FrameKind,
    /// The frame of the orchestration that it belongs to; its own number where it is one itself.
    pub scope: u32,
    /// The execution that opened it; nothing for the run itself.
    pub parent: Option<u32>,
    /// Where it stands.
    pub place: Place,
    /// How often each step was entered.
    pub entered: BTreeMap<String, u32>,
    /// The place in the listed steps, where the frame has such.
    pub position: usize,
}

/// What a frame is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// An orchestration.
    Whole,
    /// A branch of a parallel step.
    Branch(u32),
    /// A pass of a loop.
    Pass,
}

/// Where a frame stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
    /// Before a step.
    Before {
        /// The step.
        step: String,
        /// Which attempt it will be.
        attempt: u32,
        /// How many of those in front failed; a crash is no failure.
        failures: u32,
        /// The earliest moment.
        at: Option<Millis>,
    },
    /// In an execution.
    In(u32),
    /// At its end.
    Over,
}

/// A step at work.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Execution {
    /// The frame that it stands in.
    pub frame: u32,
    /// The step.
    pub step: String,
    /// Which attempt it is.
    pub attempt: u32,
    /// How many of those in front failed; a crash is no failure.
    pub failures: u32,
    /// When the attempt began.
    pub started_at: Millis,
    /// How long the run had rested until then.
    pub rested: Millis,
    /// What it holds.
    pub holds: Holds,
    /// Why it failed for good; the run has failed then, or is about to.
    pub failed: Option<String>,
}

/// What an execution holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Holds {
    /// Work of its own.
    Work,
    /// A question that waits for an answer.
    Question(Box<Question>),
    /// Branches.
    Branches(u32),
    /// Passes.
    Passes(Passes),
    /// A nested orchestration, under this frame.
    Nested(u32),
}

/// The passes of a loop.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Passes {
    /// The pass that is under way, from 1.
    pub iteration: u32,
    /// Whether the body left the loop.
    pub broken: bool,
    /// What each key of the body held after each pass.
    pub collected: BTreeMap<String, Vec<(u32, Value)>>,
}

/// What an orchestration knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scope {
    /// The orchestration.
    pub orchestration_id: String,
    /// Its run: for a nested one a name of its own.
    pub run_id: String,
    /// How deep it is nested.
    pub depth: u32,
    /// The state that clients see.
    pub values: Arc<Map<String, Value>>,
    /// What was done.
    pub history: Vec<Past>,
    /// Steps that were entered outside of branches and loops.
    pub turns: u32,
}

/// A step that was done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Past {
    /// The step.
    pub step: Arc<Step>,
    /// Which attempt it was.
    pub attempt: u32,
    /// When it began.
    pub started_at: Millis,
    /// When it ended.
    pub ended_at: Millis,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// Whether the step counts as done all the same.
    pub completed: bool,
    /// The label that it chose, and why.
    pub route: Option<(String, String)>,
}

impl State {
    /// Takes in what happened.
    pub(crate) fn apply(&mut self, graph: &Graph, record: &Record) {
        match record {
            Record::Began(began) => self.begin(graph, began),
            Record::Started { execution, frame, step, attempt, at, nested } => {
                self.start(graph, *execution, *frame, step, *attempt, *at, nested.as_ref());
            }
            Record::Finished(finished) => self.finish(graph, finished),
            Record::Failed { execution, at, error, retry_at, spent } => {
                self.spent.add(spent);
                self.fail(graph, *execution, *at, error, *retry_at);
            }
            Record::Interrupted { execution } => self.again(*execution, 0, None),
            Record::Asked { execution, question } => {
                if let Some(open) = self.open.get_mut(execution) {
                    open.holds = Holds::Question(Box::new(question.clone()));
                }
            }
            Record::Answered { execution, at, answer, next, breaks, .. } => {
                self.wake(*at);
                self.answer(graph, *execution, *at, answer, next.as_deref(), *breaks);
            }
            Record::Passed { execution, .. } => self.pass(graph, *execution),
            Record::Noted { .. } | Record::Skipped { .. } => {}
            Record::Rested { at } => self.rested_at = Some(*at),
            Record::Woken { at } => self.wake(*at),
            Record::Ended { at, outcome, error, .. } => {
                self.wake(*at);
                self.ended = Some(Ended { at: *at, outcome: *outcome, error: error.clone() });
            }
            Record::Retried { at } => self.retry(*at),
        }
    }

    fn begin(&mut self, graph: &Graph, began: &Began) {
        self.began = began.clone();
        self.open_whole(graph, graph.root(), began.run_id.clone(), 0, &began.message, None);
    }

    /// Opens the frame of an orchestration and returns its number.
    fn open_whole(&mut self, graph: &Graph, id: &str, run_id: String, depth: u32, message: &str, parent: Option<u32>) -> u32 {
        let number = self.frames_made;
        let flow = graph.flow(id);
        let values = flow.map(|flow| first_values(&flow.orchestration, message)).unwrap_or_default();
        let scope = Scope { orchestration_id: id.to_owned(), run_id, depth, values: Arc::new(values), ..Scope::default() };
        self.scopes.insert(number, scope);
        let entry = flow.map(|flow| flow.orchestration.entry_step_id.as_str()).filter(|entry| !entry.is_empty());
        self.open_frame(FrameKind::Whole, number, parent, entry);
        number
    }

    fn open_frame(&mut self, kind: FrameKind, scope: u32, parent: Option<u32>, first: Option<&str>) {
        let frame = Frame { kind, scope, parent, place: before(first), entered: BTreeMap::new(), position: 0 };
        self.frames.insert(self.frames_made, frame);
        self.frames_made += 1;
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one record")]
    fn start(&mut self, graph: &Graph, execution: u32, frame: u32, id: &str, attempt: u32, at: Millis, nested: Option<&Nested>) {
        self.executions = execution;
        let Some(place) = self.frames.get_mut(&frame) else { return };
        let failures = if let Place::Before { failures, .. } = place.place { failures } else { 0 };
        place.place = Place::In(execution);
        let (scope, whole) = (place.scope, place.kind == FrameKind::Whole);
        if attempt == 1 {
            *place.entered.entry(id.to_owned()).or_default() += 1;
            if let Some(scope) = self.scopes.get_mut(&scope).filter(|_| whole) {
                scope.turns += 1;
            }
        }
        let holds = match (nested, self.step(graph, scope, id).map(|step| &step.work)) {
            (Some(nested), _) => self.open_nested(graph, scope, id, execution, nested),
            (None, Some(Work::Parallel { branches, .. })) => {
                let first = self.frames_made;
                for (index, branch) in (0..).zip(branches) {
                    self.open_frame(FrameKind::Branch(index), scope, Some(execution), branch.first().map(String::as_str));
                }
                Holds::Branches(first)
            }
            (None, Some(Work::Loop { body, .. })) => {
                self.open_frame(FrameKind::Pass, scope, Some(execution), body.first().map(String::as_str));
                Holds::Passes(Passes { iteration: 1, ..Passes::default() })
            }
            _ => Holds::Work,
        };
        let rested = self.rested;
        let open = Execution { frame, step: id.to_owned(), attempt, failures, started_at: at, rested, holds, failed: None };
        self.open.insert(execution, open);
    }

    fn open_nested(&mut self, graph: &Graph, scope: u32, step: &str, execution: u32, nested: &Nested) -> Holds {
        let (outer, depth) = self.scopes.get(&scope).map_or(("", 0), |scope| (scope.run_id.as_str(), scope.depth));
        let run_id = format!("{outer}__{step}_d{}", depth + 1);
        Holds::Nested(self.open_whole(graph, &nested.orchestration_id, run_id, depth + 1, &nested.message, Some(execution)))
    }

    fn finish(&mut self, graph: &Graph, finished: &Finished) {
        self.spent.add(&finished.spent);
        let Some(open) = self.close(finished.execution) else { return };
        let Some(scope) = self.frames.get(&open.frame).map(|frame| frame.scope) else { return };
        let Some(step) = self.step(graph, scope, &open.step).cloned() else { return };
        if let Holds::Passes(mut passes) = open.holds {
            self.collect(graph, scope, &step, &mut passes);
            self.write_passes(graph, scope, &step, &passes);
        } else if let (Some(key), Some(output)) = (&step.output_key, &finished.output) {
            self.write(scope, key, output.clone());
        }
        let route = match &finished.told {
            super::record::Told::Route { label, reasoning } => Some((label.clone(), reasoning.clone())),
            _ => None,
        };
        if !matches!(step.work, Work::End) {
            self.remember(
                scope,
                Past {
                    step,
                    attempt: open.attempt,
                    started_at: open.started_at,
                    ended_at: finished.at,
                    error: finished.error.clone(),
                    completed: true,
                    route,
                },
            );
        }
        self.go(graph, open.frame, finished.next.as_deref(), finished.breaks);
    }

    fn answer(&mut self, graph: &Graph, execution: u32, at: Millis, answer: &Value, next: Option<&str>, breaks: bool) {
        let Some(open) = self.close(execution) else { return };
        let Some(scope) = self.frames.get(&open.frame).map(|frame| frame.scope) else { return };
        let Some(step) = self.step(graph, scope, &open.step).cloned() else { return };
        self.write(scope, step.output_key.as_deref().unwrap_or(HUMAN_RESPONSE), answer.clone());
        self.write(scope, HUMAN_RESPONSE, answer.clone());
        let (attempt, started_at) = (open.attempt, open.started_at);
        self.remember(scope, Past { step, attempt, started_at, ended_at: at, error: None, completed: true, route: None });
        self.go(graph, open.frame, next, breaks);
    }

    fn fail(&mut self, graph: &Graph, execution: u32, at: Millis, error: &str, retry_at: Option<Millis>) {
        let Some((scope, open)) = self.open.get(&execution).and_then(|open| Some((self.frames.get(&open.frame)?.scope, open.clone())))
        else {
            return;
        };
        if let Some(step) = self.step(graph, scope, &open.step).cloned() {
            let (attempt, started_at) = (open.attempt, open.started_at);
            let past = Past { step, attempt, started_at, ended_at: at, error: Some(error.to_owned()), completed: false, route: None };
            self.remember(scope, past);
        }
        match retry_at {
            Some(_) => self.again(execution, 1, retry_at),
            None => {
                if let Some(open) = self.open.get_mut(&execution) {
                    open.failed = Some(error.to_owned());
                }
            }
        }
    }

    /// Puts a frame back before the step of an execution, which failed so many times more.
    fn again(&mut self, execution: u32, failed: u32, at: Option<Millis>) {
        let Some(open) = self.close(execution) else { return };
        if let Some(frame) = self.frames.get_mut(&open.frame) {
            frame.place = Place::Before { step: open.step, attempt: open.attempt + 1, failures: open.failures + failed, at };
        }
    }

    /// Removes an execution with everything inside it.
    fn close(&mut self, execution: u32) -> Option<Execution> {
        let open = self.open.remove(&execution)?;
        if !matches!(open.holds, Holds::Work | Holds::Question(_)) {
            self.close_inside(execution);
        }
        Some(open)
    }

    /// Removes everything inside an execution. What is inside has greater numbers than what is around, so that one pass finds all of it.
    fn close_inside(&mut self, execution: u32) {
        let mut around = BTreeSet::from([execution]);
        self.frames.retain(|number, frame| {
            let stays = frame.parent.is_none_or(|parent| !around.contains(&parent));
            if !stays {
                self.scopes.remove(number);
                around.extend(if let Place::In(inner) = frame.place { Some(inner) } else { None });
            }
            stays
        });
        self.open.retain(|number, _| *number == execution || !around.contains(number));
    }

    /// Moves a frame to the step that follows.
    fn go(&mut self, graph: &Graph, number: u32, next: Option<&str>, breaks: bool) {
        let listed = self.listed(graph, number).map(<[String]>::to_vec);
        let Some(frame) = self.frames.get_mut(&number) else { return };
        frame.place = before(next);
        if let (Some(listed), Some(next)) = (listed, next) {
            frame.position = position(&listed, frame.position, next);
        }
        let parent = frame.parent;
        if let Some(Execution { holds: Holds::Passes(passes), .. }) =
            parent.filter(|_| breaks).and_then(|parent| self.open.get_mut(&parent))
        {
            passes.broken = true;
        }
    }

    /// Begins the next pass of a loop.
    fn pass(&mut self, graph: &Graph, execution: u32) {
        let Some(step) = self.step_of(graph, execution).cloned() else { return };
        let Some(open) = self.open.get_mut(&execution) else { return };
        let Some(scope) = self.frames.get(&open.frame).map(|frame| frame.scope) else { return };
        let Holds::Passes(mut passes) = std::mem::replace(&mut open.holds, Holds::Work) else { return };
        self.collect(graph, scope, &step, &mut passes);
        passes.iteration += 1;
        self.close_inside(execution);
        if let Some(open) = self.open.get_mut(&execution) {
            open.holds = Holds::Passes(passes);
        }
        if let Work::Loop { body, .. } = &step.work {
            self.open_frame(FrameKind::Pass, scope, Some(execution), body.first().map(String::as_str));
        }
    }

    /// Takes what the body of a loop has written in a pass.
    fn collect(&self, graph: &Graph, scope: u32, step: &Step, passes: &mut Passes) {
        let (Work::Loop { body, .. }, Some(values)) = (&step.work, self.scopes.get(&scope).map(|scope| &scope.values)) else { return };
        for key in body.iter().filter_map(|id| self.step(graph, scope, id)?.output_key.as_ref()) {
            let collected = passes.collected.entry(key.clone()).or_default();
            // A key that two steps of the body write is collected once.
            if collected.last().is_none_or(|(iteration, _)| *iteration != passes.iteration) {
                collected.extend(values.get(key).map(|value| (passes.iteration, value.clone())));
            }
        }
    }

    /// Writes what the passes of a loop have made: the list of each key of the body, and all of them under the loop's own key.
    fn write_passes(&mut self, graph: &Graph, scope: u32, step: &Step, passes: &Passes) {
        let Work::Loop { body, .. } = &step.work else { return };
        let mut all = Map::new();
        let written: Vec<Arc<Step>> = body.iter().filter_map(|id| self.step(graph, scope, id).cloned()).collect();
        for step in written {
            let Some((key, collected)) = step.output_key.as_ref().and_then(|key| Some((key, passes.collected.get(key)?))) else { continue };
            let entry = |(iteration, value): &(u32, Value)| json!({"iteration": iteration, "agent": step.name, "result": value});
            let list: Value = collected.iter().map(entry).collect();
            self.write(scope, key, list.clone());
            all.insert(step.name.clone(), list);
        }
        if let Some(key) = &step.output_key {
            self.write(scope, key, all.into());
        }
    }

    fn write(&mut self, scope: u32, key: &str, value: Value) {
        if let Some(scope) = self.scopes.get_mut(&scope) {
            Arc::make_mut(&mut scope.values).insert(key.to_owned(), value);
        }
    }

    fn remember(&mut self, scope: u32, past: Past) {
        if let Some(scope) = self.scopes.get_mut(&scope) {
            scope.history.push(past);
        }
    }

    fn wake(&mut self, at: Millis) {
        if let Some(since) = self.rested_at.take() {
            self.rested += (at - since).max(0);
        }
    }

    /// Lets everything go on that had failed or was stopped. Whoever retries wants the limits of time and turns to count anew.
    fn retry(&mut self, at: Millis) {
        self.ended = None;
        self.rested = at - self.began.at;
        let rested = self.rested;
        let stopped =
            |open: &Execution| matches!(open.holds, Holds::Work) || (open.failed.is_some() && matches!(open.holds, Holds::Question(_)));
        let leaves: Vec<u32> = self.open.iter().filter(|(_, open)| stopped(open)).map(|(number, _)| *number).collect();
        for open in self.open.values_mut() {
            (open.failed, open.failures, open.started_at, open.rested) = (None, 0, at, rested);
        }
        for execution in leaves {
            self.again(execution, 0, None);
        }
        for frame in self.frames.values_mut() {
            if let Place::Before { at, failures, .. } = &mut frame.place {
                (*at, *failures) = (None, 0);
            }
        }
        for scope in self.scopes.values_mut() {
            scope.turns = 0;
        }
    }

    /// Returns a step of the orchestration that a frame belongs to.
    pub(crate) fn step<'a>(&self, graph: &'a Graph, scope: u32, id: &str) -> Option<&'a Arc<Step>> {
        self.flow(graph, scope)?.step(id)
    }

    /// Returns the orchestration that a frame belongs to.
    pub(crate) fn flow<'a>(&self, graph: &'a Graph, scope: u32) -> Option<&'a Flow> {
        graph.flow(&self.scopes.get(&scope)?.orchestration_id)
    }

    /// Returns the step of an execution.
    pub(crate) fn step_of<'a>(&self, graph: &'a Graph, execution: u32) -> Option<&'a Arc<Step>> {
        let open = self.open.get(&execution)?;
        self.step(graph, self.frames.get(&open.frame)?.scope, &open.step)
    }

    /// Returns the steps that a frame takes in the order in which they are listed: those of a loop, and of a branch that lists several.
    pub(crate) fn listed<'a>(&self, graph: &'a Graph, frame: u32) -> Option<&'a [String]> {
        let frame = self.frames.get(&frame)?;
        match (frame.kind, &self.step_of(graph, frame.parent?)?.work) {
            (FrameKind::Pass, Work::Loop { body, .. }) => Some(body),
            (FrameKind::Branch(index), Work::Parallel { branches, .. }) => {
                branches.get(index as usize).map(Vec::as_slice).filter(|ids| ids.len() > 1)
            }
            _ => None,
        }
    }

    /// Returns what the outermost orchestration knows.
    pub(crate) fn root(&self) -> Option<&Scope> {
        self.scopes.get(&0)
    }

    /// Returns the questions that wait for an answer, the oldest first.
    pub(crate) fn questions(&self) -> impl Iterator<Item = (u32, &Question)> {
        self.open.iter().filter_map(|(execution, open)| match &open.holds {
            Holds::Question(question) if open.failed.is_none() => Some((*execution, &**question)),
            _ => None,
        })
    }

    /// Returns the attempts that are under way.
    pub(crate) fn working(&self) -> impl Iterator<Item = u32> {
        self.open.iter().filter(|(_, open)| matches!(open.holds, Holds::Work) && open.failed.is_none()).map(|(number, _)| *number)
    }

    /// Returns for how long the run has worked until a moment, the waits for people not counted.
    pub(crate) fn worked(&self, now: Millis) -> Millis {
        let resting = self.rested_at.map_or(0, |since| (now - since).max(0));
        now - self.began.at - self.rested - resting
    }

    /// Returns for how long an attempt has worked until a moment, the waits for people not counted.
    pub(crate) fn worked_at(&self, open: &Execution, now: Millis) -> Millis {
        let resting = self.rested_at.map_or(0, |since| (now - since).max(0));
        now - open.started_at - (self.rested - open.rested) - resting
    }

    /// Tells whether the run waits for people alone.
    pub(crate) const fn rests(&self) -> bool {
        self.rested_at.is_some()
    }
}

/// The key that every answer of a person stands under.
const HUMAN_RESPONSE: &str = "human_response";

fn before(step: Option<&str>) -> Place {
    step.map_or(Place::Over, |step| Place::Before { step: step.to_owned(), attempt: 1, failures: 0, at: None })
}

/// Returns the place of a step among those that are listed: the nearest behind a place, or else the first; the end where it is not among them.
pub(super) fn position(listed: &[String], from: usize, step: &str) -> usize {
    let behind = listed.iter().skip(from + 1).position(|id| id == step).map(|at| from + 1 + at);
    behind.or_else(|| listed.iter().position(|id| id == step)).unwrap_or(listed.len())
}

/// Returns the state that an orchestration begins with.
fn first_values(orchestration: &Orchestration, message: &str) -> Map<String, Value> {
    let defaults = orchestration.state_schema.iter().filter_map(|(key, schema)| Some((key.clone(), schema.get("default")?.clone())));
    let mut values: Map<String, Value> = defaults.collect();
    values.insert("user_input".to_owned(), message.into());
    values.insert("user_query".to_owned(), message.into());
    values
}
