//! Makes the public events of a record: pure, so that everybody who watches a run is told the same, whenever and however often.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::graph::Graph;
use super::outcome::{final_response, question, shared_state, step_history};
use super::record::{Began, Delegate, Finished, Millis, Note, Outcome, Record, Told};
use super::state::{Execution, FrameKind, Holds, Scope, State};
use super::tell_chat;
use crate::definition::{Step, Work};
use crate::engine::teller::Hint;
use crate::wire::v1::run_event::{
    BranchStart, ContextCompact, Event, Final, FinalData, HumanInputReceived, HumanInputRequired, IfDecision, LlmThought, LoopComplete,
    LoopIteration, LoopLimitReached, MergeComplete, OrchestrationComplete, OrchestrationEnd, OrchestrationError, OrchestrationStart,
    ParallelComplete, ParallelStart, ReasoningDelta, RoutingDecision, RunRetried, StepComplete, StepError, StepStart, StepWarning,
    SwitchDecision, TextDelta, Thinking, ToolExecution, ToolResult, TransformResult,
};
use crate::wire::v1::{ChatEvent, RunEvent, RunStatus};
use crate::wire::{JsonObject, Time};

/// What is told of a run: the events of an orchestration, or those of a chat.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Public {
    /// Of an orchestration.
    Run(Box<RunEvent>),
    /// Of a chat.
    Chat(Box<ChatEvent>),
}

impl Public {
    /// Numbers the event.
    pub(crate) fn number(&mut self, id: u64) {
        match self {
            Self::Run(event) => event.id = id,
            Self::Chat(event) => event.id = id,
        }
    }

    /// Returns the number, 0 for a hint.
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Run(event) => event.id,
            Self::Chat(event) => event.id,
        }
    }
}

/// Makes the events of a record from the state in front of it.
pub(crate) fn tell(graph: &Graph, state: &State, record: &Record) -> Vec<Public> {
    let chat = matches!(record, Record::Began(Began { chat: Some(_), .. })) || state.began.chat.is_some();
    if chat {
        return tell_chat::tell(state, record).into_iter().map(|event| Public::Chat(Box::new(event))).collect();
    }
    Teller { graph, state }.tell(record).into_iter().map(|event| Public::Run(Box::new(event))).collect()
}

/// Makes the event of a piece of text that is generated right now.
pub(crate) fn hint(graph: &Graph, state: &State, execution: u32, hint: &Hint) -> Option<Public> {
    let (text, delegate) = (hint.text.clone(), hint.delegate.clone());
    if state.began.chat.is_some() {
        return Some(Public::Chat(Box::new(tell_chat::hint(hint.reasoning, text, delegate))));
    }
    let event = if hint.reasoning { Event::ReasoningDelta(ReasoningDelta { text }) } else { Event::TextDelta(TextDelta { text }) };
    let event = Teller { graph, state }.of_execution(execution, event)?;
    Some(Public::Run(Box::new(tagged(event, delegate))))
}

struct Teller<'a> {
    graph: &'a Graph,
    state: &'a State,
}

impl Teller<'_> {
    fn tell(&self, record: &Record) -> Vec<RunEvent> {
        match record {
            Record::Began(began) => vec![Self::of_run(Event::OrchestrationStart(self.start()), Some(&began.run_id))],
            Record::Started { frame, step, attempt, nested, .. } => {
                let depth = nested.as_ref().map(|nested| (nested.orchestration_id.as_str(), self.depth(*frame) + 1));
                self.started(*frame, step, *attempt, depth)
            }
            Record::Noted { execution, note } => vec![self.noted(*execution, note)],
            Record::Finished(finished) => self.finished(finished),
            Record::Failed { execution, error, retry_at, .. } => {
                let event = StepError { error: error.clone(), retry_at: retry_at.and_then(time) };
                self.of_execution(*execution, Event::StepError(event)).into_iter().collect()
            }
            Record::Asked { execution, .. } => self.asked(*execution, record),
            Record::Answered { execution, timeout, .. } => {
                let source = if *timeout { "timeout" } else { "person" };
                let event = HumanInputReceived { question_id: execution.to_string(), source: source.to_owned() };
                self.of_execution(*execution, Event::HumanInputReceived(event)).into_iter().collect()
            }
            Record::Passed { execution, .. } => self.passed(*execution),
            Record::Skipped { frame, step, iterations, max_iterations } => {
                let event = LoopLimitReached { iterations: *iterations, max_iterations: *max_iterations };
                vec![self.of_step(*frame, step, Event::LoopLimitReached(event))]
            }
            Record::Ended { outcome, error, .. } => self.ended(*outcome, error.as_deref()),
            Record::Retried { .. } => vec![Self::of_run(Event::RunRetried(RunRetried {}), None)],
            Record::Interrupted { .. } | Record::Rested { .. } | Record::Woken { .. } => Vec::new(),
        }
    }

    fn start(&self) -> OrchestrationStart {
        let orchestration = self.graph.flow(self.graph.root()).map(|flow| &flow.orchestration);
        OrchestrationStart {
            orchestration_id: self.graph.root().to_owned(),
            orchestration_name: orchestration.map(|orchestration| orchestration.name.clone()).unwrap_or_default(),
        }
    }

    fn started(&self, frame: u32, id: &str, attempt: u32, nested: Option<(&str, u32)>) -> Vec<RunEvent> {
        let Some((place, step)) =
            self.state.frames.get(&frame).and_then(|place| Some((place, self.state.step(self.graph, place.scope, id)?)))
        else {
            return Vec::new();
        };
        let mut events = Vec::new();
        if let (FrameKind::Branch(branch_index), Some(parent), true) = (place.kind, place.parent, place.entered.is_empty() && attempt == 1)
        {
            let branch_count = self.branches(parent);
            events.extend(self.of_execution(parent, Event::BranchStart(BranchStart { branch_index, branch_count })));
        }
        let mut add = |event: Event| events.push(self.of_step(frame, id, event));
        add(Event::StepStart(StepStart { step_type: step.kind.clone(), attempt }));
        match &step.work {
            Work::Parallel { branches, .. } => add(Event::ParallelStart(ParallelStart { branch_count: count(branches.len()) })),
            Work::Loop { count, .. } => add(Event::LoopIteration(LoopIteration { iteration: 1, total: *count })),
            _ => {
                if let Some(message) = self.first_thought(step, nested) {
                    add(Event::Thinking(Thinking { message }));
                }
            }
        }
        events
    }

    /// Returns what a step is thinking when it begins.
    fn first_thought(&self, step: &Step, nested: Option<(&str, u32)>) -> Option<String> {
        let name = &step.name;
        match (&step.work, nested) {
            (_, Some((id, depth))) => {
                let orchestration = self.graph.flow(id).map_or(id, |flow| &flow.orchestration.name);
                Some(format!("Delegating to sub-orchestration '{orchestration}' (depth {depth})..."))
            }
            (Work::Agent { .. }, None) => Some("Analyzing your request...".to_owned()),
            (Work::Llm, None) => Some(format!("LLM step '{name}' — calling model...")),
            (Work::Tool { forced_tool }, None) => {
                Some(format!("Tool step '{name}' — preparing to call '{}'...", forced_tool.as_deref().unwrap_or_default()))
            }
            (Work::Evaluator { .. }, None) => Some("Evaluator deciding route...".to_owned()),
            _ => None,
        }
    }

    fn noted(&self, execution: u32, note: &Note) -> RunEvent {
        let (event, delegate) = match note.clone() {
            Note::Thinking { message, delegate } => (Event::Thinking(Thinking { message }), delegate),
            Note::Thought { thought, turn, delegate } => (Event::LlmThought(LlmThought { thought, turn }), delegate),
            Note::ToolExecution { tool_name, args, call_id, delegate } => {
                (Event::ToolExecution(ToolExecution { tool_name, args: Some(JsonObject(args)), call_id }), delegate)
            }
            Note::ToolResult { tool_name, preview, call_id, delegate } => {
                (Event::ToolResult(ToolResult { tool_name, preview, call_id }), delegate)
            }
            Note::Compact { stage, chars_before, chars_after, reduction_pct, archive_path, delegate } => {
                (Event::ContextCompact(ContextCompact { stage, chars_before, chars_after, reduction_pct, archive_path }), delegate)
            }
            Note::Warning { message } => (Event::StepWarning(StepWarning { message }), None),
        };
        let event = self.of_execution(execution, event).unwrap_or_default();
        tagged(event, delegate)
    }

    fn finished(&self, finished: &Finished) -> Vec<RunEvent> {
        let Some((open, step)) = self.execution(finished.execution) else { return Vec::new() };
        let mut events = Vec::new();
        let mut add = |event: Event| events.push(self.of_step(open.frame, &open.step, event));
        if let Some(error) = &finished.error {
            add(Event::StepError(StepError { error: error.clone(), retry_at: None }));
        }
        if matches!(step.work, Work::End) {
            add(Event::OrchestrationEnd(OrchestrationEnd {}));
            return events;
        }
        let next = finished.next.clone();
        match &open.holds {
            Holds::Branches(_) => add(Event::ParallelComplete(ParallelComplete { branch_count: self.branches(finished.execution) })),
            Holds::Passes(passes) => add(Event::LoopComplete(LoopComplete { iterations_completed: passes.iteration })),
            Holds::Nested(scope) => {
                if let Some(scope) = self.state.scopes.get(scope) {
                    add(Event::Final(Self::final_of(scope, Outcome::Completed, None)));
                }
            }
            _ => told(&finished.told, step, next).into_iter().for_each(&mut add),
        }
        let duration_seconds = seconds(open.started_at, finished.at);
        add(Event::StepComplete(StepComplete { duration_seconds }));
        events
    }

    fn asked(&self, execution: u32, record: &Record) -> Vec<RunEvent> {
        let Record::Asked { question: asked, .. } = record else { return Vec::new() };
        let question = question(execution, String::new(), asked);
        let event = HumanInputRequired {
            prompt: question.prompt,
            fields: question.fields,
            agent_context: question.agent_context,
            channel_id: asked.channel_id.clone(),
            question_id: question.question_id,
            expires_at: question.expires_at,
        };
        let event = self.of_execution(execution, Event::HumanInputRequired(event));
        event.map(|event| RunEvent { run_id: Some(self.state.began.run_id.clone()), ..event }).into_iter().collect()
    }

    fn passed(&self, execution: u32) -> Vec<RunEvent> {
        let Some((open, step)) = self.execution(execution) else { return Vec::new() };
        let (Holds::Passes(passes), Work::Loop { count, .. }) = (&open.holds, &step.work) else { return Vec::new() };
        let event = LoopIteration { iteration: passes.iteration + 1, total: *count };
        vec![self.of_step(open.frame, &open.step, Event::LoopIteration(event))]
    }

    fn ended(&self, outcome: Outcome, error: Option<&str>) -> Vec<RunEvent> {
        let mut events = Vec::new();
        let cancelled = (outcome == Outcome::Cancelled).then_some("Cancelled");
        if let Some(error) = error.or(cancelled) {
            events.push(Self::of_run(Event::OrchestrationError(OrchestrationError { error: error.to_owned() }), None));
        }
        let Some(scope) = self.state.root() else { return events };
        let complete = OrchestrationComplete { status: status(outcome).into(), final_state: Some(shared_state(scope)) };
        events.push(Self::of_run(Event::OrchestrationComplete(complete), Some(&self.state.began.run_id)));
        events.push(Self::of_run(Event::Final(Self::final_of(scope, outcome, error)), None));
        events
    }

    fn final_of(scope: &Scope, outcome: Outcome, error: Option<&str>) -> Final {
        Final {
            response: final_response(scope, outcome, error),
            intent: Some("orchestration".to_owned()),
            data: Some(FinalData {
                run_id: scope.run_id.clone(),
                status: status(outcome).into(),
                step_history: step_history(scope),
                shared_state: Some(shared_state(scope)),
            }),
            tool_name: None,
        }
    }

    fn execution(&self, execution: u32) -> Option<(&Execution, &Step)> {
        Some((self.state.open.get(&execution)?, self.state.step_of(self.graph, execution)?))
    }

    fn branches(&self, execution: u32) -> u32 {
        match self.state.step_of(self.graph, execution).map(|step| &step.work) {
            Some(Work::Parallel { branches, .. }) => count(branches.len()),
            _ => 0,
        }
    }

    fn depth(&self, frame: u32) -> u32 {
        let scope = self.state.frames.get(&frame).and_then(|frame| self.state.scopes.get(&frame.scope));
        scope.map_or(0, |scope| scope.depth)
    }

    fn of_run(event: Event, run_id: Option<&str>) -> RunEvent {
        RunEvent { event: Some(event), run_id: run_id.map(str::to_owned), ..RunEvent::default() }
    }

    fn of_execution(&self, execution: u32, event: Event) -> Option<RunEvent> {
        let open = self.state.open.get(&execution)?;
        Some(self.of_step(open.frame, &open.step, event))
    }

    /// Names the step of an event. Inside a nested orchestration that is the outermost step around, as existing clients know it; the step
    /// itself stands beside.
    fn of_step(&self, frame: u32, id: &str, event: Event) -> RunEvent {
        let mut told = RunEvent { event: Some(event), ..RunEvent::default() };
        let Some(place) = self.state.frames.get(&frame) else { return told };
        let name = |scope: u32, id: &str| self.state.step(self.graph, scope, id).map_or_else(|| id.to_owned(), |step| step.name.clone());
        let (mut scope, mut step) = (place.scope, id);
        if scope != 0 {
            (told.nested_step_id, told.nested_step_name) = (Some(id.to_owned()), Some(name(scope, id)));
            told.run_id = Some(self.state.began.run_id.clone());
        }
        while let Some(open) = self.around(scope) {
            if let Some(nested) = self.state.scopes.get(&scope) {
                told.nested_run_id = Some(nested.run_id.clone());
                told.nested_orch_id = Some(nested.orchestration_id.clone());
                told.nested_depth = Some(nested.depth);
            }
            let Some(outer) = self.state.frames.get(&open.frame) else { break };
            (scope, step) = (outer.scope, &open.step);
        }
        (told.orch_step_id, told.step_name) = (Some(step.to_owned()), Some(name(scope, step)));
        told
    }

    /// Returns the execution that runs a nested orchestration.
    fn around(&self, scope: u32) -> Option<&Execution> {
        self.state.open.get(&self.state.frames.get(&scope)?.parent?)
    }
}

/// Tells what is peculiar to a kind of step.
fn told(told: &Told, step: &Step, target_step_id: Option<String>) -> Option<Event> {
    let text = |response: &str| Final { response: response.to_owned(), ..Final::default() };
    Some(match told {
        Told::Nothing => return None,
        Told::Text(response) => Event::Final(text(response)),
        Told::Answer { text: response, intent, tool_name } => {
            Event::Final(Final { intent: Some(intent.clone()), tool_name: tool_name.clone(), ..text(response) })
        }
        Told::Route { label, reasoning } => Event::RoutingDecision(RoutingDecision {
            tool_name: format!("route_{label}"),
            arguments: Some(JsonObject(json_object(json!({"reasoning": reasoning})))),
            decision: label.clone(),
            target_step_id,
            reasoning: reasoning.clone(),
        }),
        Told::If { condition, holds } => Event::IfDecision(IfDecision {
            condition: condition.clone(),
            result: holds.to_string(),
            decision: holds.to_string(),
            target_step_id,
        }),
        Told::Switch { expression, value, case } => Event::SwitchDecision(SwitchDecision {
            expression: expression.clone(),
            value: value.clone(),
            matched_case: case.clone(),
            target_step_id,
        }),
        Told::Merge { inputs, strategy } => Event::MergeComplete(MergeComplete { input_count: *inputs, strategy: strategy.clone() }),
        Told::Transform(result) => {
            debug_assert!(matches!(step.work, Work::Transform { .. }), "only programs have such results");
            Event::TransformResult(TransformResult { result: result.clone() })
        }
    })
}

fn tagged(event: RunEvent, delegate: Option<Delegate>) -> RunEvent {
    let Some(delegate) = delegate else { return event };
    RunEvent { delegate_from: Some(delegate.agent_id), delegate_agent_name: Some(delegate.agent_name), ..event }
}

/// Returns how a run stands that ended so.
pub(crate) const fn status(outcome: Outcome) -> RunStatus {
    match outcome {
        Outcome::Completed => RunStatus::Completed,
        Outcome::Failed => RunStatus::Failed,
        Outcome::Cancelled => RunStatus::Cancelled,
    }
}

/// Returns a moment as clients read it.
pub(crate) fn time(at: Millis) -> Option<Time> {
    Timestamp::from_millisecond(at).ok().map(Into::into)
}

/// Returns the seconds between two moments, to two decimals.
pub(crate) fn seconds(from: Millis, to: Millis) -> f64 {
    ((to - from).max(0) as f64 / 10.0).round() / 100.0
}

fn json_object(value: Value) -> Map<String, Value> {
    if let Value::Object(object) = value { object } else { Map::new() }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
