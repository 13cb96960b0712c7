//! Drives a run by hand: as the driver does, without a store and without a clock, and with the world of these tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::graph::Graph;
use super::super::next::{Action, Lead, follow, is_idle, next, too_deep};
use super::super::outcome::final_response;
use super::super::record::{Began, Finished, Millis, Nested, Note, Outcome, Question, Record};
use super::super::state::{Holds, Place, State};
use super::super::tell::{Public, tell};
use super::tape::Tape;
use super::world;
use crate::definition::{HumanTimeout, OnError, Step, Work};
use crate::engine::expression;
use crate::engine::step::{Done, decide};

/// More records than any run of these tests may make.
const RECORDS: usize = 1_000_000;

/// One that drives a run by hand.
pub(super) struct Hand<'a> {
    pub graph: &'a Graph,
    pub state: State,
    pub log: Vec<Record>,
    pub events: Vec<Public>,
    pub now: Millis,
    /// Nothing fails any more.
    pub mended: bool,
    works: Vec<u32>,
}

impl<'a> Hand<'a> {
    /// Begins a run.
    pub(super) fn new(graph: &'a Graph) -> Self {
        let mut hand =
            Self { graph, state: State::default(), log: Vec::new(), events: Vec::new(), now: 1_000_000, mended: false, works: Vec::new() };
        hand.record(Record::Began(Began { run_id: "run".to_owned(), at: hand.now, message: "hello".to_owned(), ..Began::default() }));
        hand
    }

    /// Goes on with a log.
    pub(super) fn recovered(graph: &'a Graph, log: &[Record], now: Millis) -> Self {
        let mut hand = Self { graph, state: State::default(), log: Vec::new(), events: Vec::new(), now, mended: false, works: Vec::new() };
        log.iter().for_each(|record| hand.record(record.clone()));
        let interrupted: Vec<u32> = if hand.state.ended.is_none() { hand.state.working().collect() } else { Vec::new() };
        interrupted.into_iter().for_each(|execution| hand.record(Record::Interrupted { execution }));
        hand
    }

    /// Drives the run to its end.
    pub(super) fn to_the_end(mut self, tape: &mut Tape) -> Self {
        while self.state.ended.is_none() {
            self.once(tape);
        }
        self
    }

    /// Does everything that needs no waiting, and then something that does.
    pub(super) fn once(&mut self, tape: &mut Tape) {
        self.advance();
        if self.state.ended.is_some() {
            return;
        }
        let questions = self.answerable();
        let moment = self.moment();
        let some = self.works.len() + questions.len();
        assert!(some > 0 || moment.is_some(), "something is to be waited for: {:?}", self.state);
        match tape.pick(some + usize::from(moment.is_some())) {
            chosen if chosen < self.works.len() => {
                let execution = self.works.swap_remove(chosen);
                self.perform(execution);
            }
            chosen if chosen < some => self.answer(questions[chosen - self.works.len()]),
            _ => self.wait_until(moment.unwrap_or_default()),
        }
    }

    /// Does everything that needs no waiting.
    pub(super) fn advance(&mut self) {
        loop {
            if self.state.ended.is_some() || self.state.rests() {
                return;
            }
            let actions = next(self.graph, &self.state);
            let idle = is_idle(&self.state, &actions);
            let moved = actions.into_iter().fold(false, |moved, action| self.act(action) | moved);
            if idle {
                assert!(self.state.questions().next().is_some(), "somebody is waited for: {:?}", self.state);
                self.record(Record::Rested { at: self.now });
            }
            if !moved {
                return;
            }
        }
    }

    fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Start { at: Some(at), .. } if at > self.now => return false,
            Action::Start { frame, step, attempt, .. } => self.start(frame, &step, attempt),
            Action::Pass(execution) => self.pass(execution),
            Action::Complete(execution) => self.complete(execution),
            Action::Fail { execution, error } => self.fail(execution, "orchestration", error),
            Action::End { outcome, error } => self.end(outcome, error),
        }
        true
    }

    fn start(&mut self, frame: u32, id: &str, attempt: u32) {
        let scope = self.state.frames[&frame].scope;
        let step = self.state.step(self.graph, scope, id).unwrap().clone();
        let execution = self.state.executions + 1;
        let agent = step.agent_id.as_deref().and_then(|id| self.graph.agent(id)).filter(|_| matches!(step.work, Work::Agent { .. }));
        let refused = agent.and_then(|_| too_deep(&self.state, scope));
        let nested = agent.filter(|_| refused.is_none());
        let nested =
            nested.map(|agent| Nested { orchestration_id: agent.orchestration_id.clone().unwrap(), message: world::message(&step) });
        let nests = nested.is_some();
        let decided = decide(&step, self.state.flow(self.graph, scope).unwrap(), &self.state.scopes[&scope]);
        self.record(Record::Started { execution, frame, step: id.to_owned(), attempt, at: self.now, nested });
        match (&step.work, refused, decided) {
            (_, Some(error), _) => self.fail(execution, "definition", error),
            (_, _, Some(Ok(done))) => self.done(execution, done),
            (_, _, Some(Err(failure))) => self.fail(execution, failure.kind.name(), failure.error.detail().to_owned()),
            (Work::Human { .. }, ..) => self.ask(execution, &step),
            (Work::Loop { body, .. }, ..) if body.is_empty() => self.done(execution, Done::default()),
            (Work::Parallel { .. } | Work::Loop { .. }, ..) => {}
            _ if nests => {}
            _ => self.works.push(execution),
        }
    }

    fn ask(&mut self, execution: u32, step: &Step) {
        let seconds = match timeout(step) {
            HumanTimeout::Answer { seconds, .. } | HumanTimeout::Fail { seconds } | HumanTimeout::Branch { seconds, .. } => Some(*seconds),
            HumanTimeout::Wait => None,
        };
        let expires_at = seconds.map(|seconds| self.now + i64::from(seconds) * 1000);
        self.record(Record::Asked { execution, question: Question { expires_at, ..Question::default() } });
    }

    fn perform(&mut self, execution: u32) {
        let open = &self.state.open[&execution];
        let scope = self.state.frames[&open.frame].scope;
        let step = self.step(execution);
        match world::perform(&step, &self.state.scopes[&scope].values, if self.mended { u32::MAX } else { open.failures }) {
            Ok((output, label)) => {
                let lead = match (&step.work, label) {
                    (Work::Evaluator { routes, .. }, Some(label)) => {
                        Lead::To(routes.iter().find(|route| route.label == label).and_then(|route| route.step_id.clone()))
                    }
                    _ => Lead::Behind,
                };
                self.done(execution, Done { output, lead, ..Done::default() });
            }
            Err((kind, error)) => self.fail(execution, kind, error),
        }
    }

    fn done(&mut self, execution: u32, done: Done) {
        for message in done.warnings {
            self.record(Record::Noted { execution, note: Note::Warning { message } });
        }
        self.finish(execution, done.lead, Finished { output: done.output, told: done.told, ..Finished::default() });
    }

    fn finish(&mut self, execution: u32, lead: Lead, finished: Finished) {
        let frame = self.state.open[&execution].frame;
        let turnout = follow(self.graph, &self.state, frame, &self.step(execution), lead);
        let (next, breaks) = (turnout.next, turnout.breaks);
        self.record(Record::Finished(Box::new(Finished { execution, at: self.now, next, breaks, ..finished })));
        self.skipped(frame, turnout.skipped);
    }

    fn skipped(&mut self, frame: u32, skipped: Vec<(String, u32, u32)>) {
        for (step, iterations, max_iterations) in skipped {
            self.record(Record::Skipped { frame, step, iterations, max_iterations });
        }
    }

    fn fail(&mut self, execution: u32, kind: &str, error: String) {
        let Some(open) = self.state.open.get(&execution) else { return };
        let (failures, step) = (open.failures, self.step(execution));
        let wanted = step.retry.on.is_empty() || step.retry.on.iter().any(|name| name == kind);
        let again = failures + 1 < step.retry.max_attempts && wanted && kind != "definition";
        if !again && step.on_error == OnError::Continue {
            return self.finish(execution, Lead::Behind, Finished { error: Some(error), ..Finished::default() });
        }
        let retry_at = again.then(|| self.now + 1000);
        self.record(Record::Failed { execution, at: self.now, error, retry_at, spent: Default::default() });
        self.works.retain(|execution| self.state.open.contains_key(execution));
    }

    fn pass(&mut self, execution: u32) {
        let (step, frame) = (self.step(execution), self.state.open[&execution].frame);
        let (Work::Loop { count, until, .. }, Holds::Passes(passes)) = (&step.work, &self.state.open[&execution].holds) else {
            panic!("no loop")
        };
        let values = &self.state.scopes[&self.state.frames[&frame].scope].values;
        let over =
            passes.broken || passes.iteration >= *count || until.as_ref().is_some_and(|until| expression::holds(until, values) == Ok(true));
        match over {
            true => self.done(execution, Done::default()),
            false => self.record(Record::Passed { execution, at: self.now }),
        }
    }

    fn complete(&mut self, execution: u32) {
        let output = match self.state.open[&execution].holds {
            Holds::Nested(scope) => Some(final_response(&self.state.scopes[&scope], Outcome::Completed, None)),
            _ => None,
        };
        self.done(execution, Done { output: output.map(Value::from), ..Done::default() });
    }

    /// Ends the run.
    pub(super) fn end(&mut self, outcome: Outcome, error: Option<String>) {
        self.record(Record::Ended { at: self.now, outcome, error, reason: None });
        self.works.clear();
    }

    /// Lets a person retry the run.
    pub(super) fn retry(&mut self) {
        self.record(Record::Retried { at: self.now });
    }

    /// Returns the questions that people answer.
    pub(super) fn answerable(&self) -> Vec<u32> {
        let asked = self.state.questions().map(|(execution, _)| execution);
        asked.filter(|execution| matches!(timeout(&self.step(*execution)), HumanTimeout::Wait)).collect()
    }

    /// Answers a question as the person of these tests does.
    pub(super) fn answer(&mut self, execution: u32) {
        let answer = world::answer(&self.step(execution));
        self.give(execution, answer, false);
        assert!(self.state.questions().all(|(open, _)| open != execution), "a question is answered once");
    }

    fn give(&mut self, execution: u32, answer: Value, timeout: bool) {
        let frame = self.state.open[&execution].frame;
        let turnout = follow(self.graph, &self.state, frame, &self.step(execution), Lead::Behind);
        let (next, breaks) = (turnout.next, turnout.breaks);
        self.record(Record::Answered { execution, at: self.now, answer, timeout, next, breaks });
        self.skipped(frame, turnout.skipped);
    }

    /// Returns the next moment that is waited for.
    fn moment(&self) -> Option<Millis> {
        let retries = self.state.frames.values().filter_map(|frame| if let Place::Before { at, .. } = frame.place { at } else { None });
        retries.chain(self.state.questions().filter_map(|(_, question)| question.expires_at)).min()
    }

    fn wait_until(&mut self, moment: Millis) {
        self.now = self.now.max(moment);
        let expired = self.state.questions().filter(|(_, question)| question.expires_at.is_some_and(|at| at <= self.now));
        for execution in expired.map(|(execution, _)| execution).collect::<Vec<u32>>() {
            self.expire(execution);
        }
    }

    fn expire(&mut self, execution: u32) {
        if self.state.rests() {
            self.record(Record::Woken { at: self.now });
        }
        match timeout(&self.step(execution)).clone() {
            HumanTimeout::Wait => {}
            HumanTimeout::Answer { answer, .. } => self.give(execution, answer.into(), true),
            HumanTimeout::Fail { .. } => self.fail(execution, "timeout", "nobody answered".to_owned()),
            HumanTimeout::Branch { step_id, .. } => self.finish(execution, Lead::To(step_id), Finished::default()),
        }
    }

    fn step(&self, execution: u32) -> Arc<Step> {
        self.state.step_of(self.graph, execution).unwrap().clone()
    }

    fn record(&mut self, record: Record) {
        assert!(self.log.len() < RECORDS, "every run ends");
        self.now += 1;
        for mut event in tell(self.graph, &self.state, &record) {
            event.number(self.events.len() as u64 + 1);
            self.events.push(event);
        }
        self.state.apply(self.graph, &record);
        self.log.push(record);
    }

    /// Counts the attempts that came to something, by run and step.
    pub(super) fn attempts(&self) -> BTreeMap<(String, String), i64> {
        let (mut state, mut attempts) = (State::default(), BTreeMap::new());
        for record in &self.log {
            let (execution, by) = match record {
                Record::Interrupted { execution } => (Some(execution), -1),
                Record::Started { execution, .. } => (Some(execution), 1),
                _ => (None, 0),
            };
            let key = |state: &State| {
                let open = state.open.get(execution?)?;
                Some((state.scopes[&state.frames[&open.frame].scope].run_id.clone(), open.step.clone()))
            };
            let before = key(&state);
            state.apply(self.graph, record);
            if let Some(key) = before.or_else(|| key(&state)) {
                *attempts.entry(key).or_default() += by;
            }
        }
        attempts.retain(|_, times| *times != 0);
        attempts
    }
}

fn timeout(step: &Step) -> &HumanTimeout {
    let Work::Human { timeout, .. } = &step.work else { panic!("{} asks nobody", step.id) };
    timeout
}
