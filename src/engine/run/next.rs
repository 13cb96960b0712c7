//! What a run has to do: the graph and the state name every step that is ready. It knows no clock, no file and no network.

use super::graph::{DEPTH, Graph};
use super::record::{Millis, Outcome};
use super::state::{Execution, Frame, FrameKind, Holds, Place, State, position};
use crate::definition::{Step, Work};

/// The most executions of steps in one run, those inside branches, loops and nested orchestrations included.
const EXECUTIONS: u32 = 100_000;

/// Something that has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// A step is ready.
    Start {
        /// The frame.
        frame: u32,
        /// The step.
        step: String,
        /// Which attempt it will be.
        attempt: u32,
        /// The earliest moment; nothing for now.
        at: Option<Millis>,
    },
    /// A pass of a loop is over.
    Pass(u32),
    /// Everything inside an execution is over.
    Complete(u32),
    /// Something inside an execution failed.
    Fail {
        /// The execution.
        execution: u32,
        /// Why.
        error: String,
    },
    /// The run ends.
    End {
        /// How.
        outcome: Outcome,
        /// Why it failed, where that is no step's doing.
        error: Option<String>,
    },
}

impl Action {
    /// Returns the execution that fails.
    const fn execution(&self) -> Option<u32> {
        if let Self::Fail { execution, .. } = self { Some(*execution) } else { None }
    }
}

/// Where a frame goes from a step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turnout {
    /// The step that follows; nothing where the frame is over.
    pub next: Option<String>,
    /// Whether the loop around ends.
    pub breaks: bool,
    /// Steps that the loop guard passed over, and how often they were entered.
    pub skipped: Vec<(String, u32, u32)>,
}

/// Which way a step leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Lead {
    /// To the step behind it.
    #[default]
    Behind,
    /// Where it decided.
    To(Option<String>),
    /// To the end of the branch, the loop or the orchestration.
    End,
}

/// Returns everything that has to be done now or at a known moment. Failures come alone, because they end what else would be ready.
pub(crate) fn next(graph: &Graph, state: &State) -> Vec<Action> {
    if state.ended.is_some() || state.frames.is_empty() {
        return Vec::new();
    }
    let mut failures: Vec<Action> = Vec::new();
    for failure in state.frames.iter().filter_map(|(number, frame)| failure(graph, state, *number, frame)) {
        if !failures.iter().any(|known| known.execution() == failure.execution()) {
            failures.push(failure); // several branches may fail at once, and what is around them fails once
        }
    }
    if let Some(end) = failures.iter().find(|action| matches!(action, Action::End { .. })) {
        return vec![end.clone()];
    }
    if !failures.is_empty() {
        return failures;
    }
    let mut actions: Vec<Action> = state.frames.iter().filter_map(|(number, frame)| ready(graph, state, *number, frame)).collect();
    actions.extend(state.open.iter().filter_map(|(number, open)| over(state, *number, open)));
    if let Some(Frame { place: Place::Over, .. }) = state.frames.get(&0) {
        actions.push(Action::End { outcome: Outcome::Completed, error: None });
    }
    actions
}

/// Tells whether only people can go on, where nothing of what is to be done could be done.
pub(crate) fn is_idle(state: &State, actions: &[Action]) -> bool {
    actions.is_empty() && state.working().next().is_none()
}

/// Returns what a frame's failure leads to.
fn failure(graph: &Graph, state: &State, number: u32, frame: &Frame) -> Option<Action> {
    let (error, of_step) = match &frame.place {
        Place::Before { step, attempt, .. } => (refused(graph, state, number, step, *attempt)?, false),
        Place::In(execution) => (state.open.get(execution)?.failed.clone()?, true),
        Place::Over => return None,
    };
    match frame.parent {
        None => Some(Action::End { outcome: Outcome::Failed, error: (!of_step).then_some(error) }),
        Some(parent) => state.open.get(&parent)?.failed.is_none().then_some(Action::Fail { execution: parent, error }),
    }
}

/// Says why a step may not be entered at all.
fn refused(graph: &Graph, state: &State, number: u32, step: &str, attempt: u32) -> Option<String> {
    let frame = state.frames.get(&number)?;
    let flow = state.flow(graph, frame.scope);
    if flow.is_none_or(|flow| flow.step(step).is_none()) {
        return Some(format!("Step '{step}' not found"));
    }
    if is_inside(state, frame, step) {
        return Some(format!("Step '{step}' would run inside itself; lead the steps inside it elsewhere"));
    }
    if state.executions >= EXECUTIONS {
        return Some(format!("the run executed all of its {EXECUTIONS} steps"));
    }
    let most = flow?.orchestration.max_total_turns;
    let turns = state.scopes.get(&frame.scope)?.turns;
    (frame.kind == FrameKind::Whole && attempt == 1 && turns >= most).then(|| format!("Global turn limit ({most}) exceeded"))
}

/// Tells whether a frame stands inside a step of its orchestration.
fn is_inside<'a>(state: &'a State, mut frame: &'a Frame, step: &str) -> bool {
    while let Some(open) = frame.parent.filter(|_| frame.kind != FrameKind::Whole).and_then(|parent| state.open.get(&parent)) {
        if open.step == step {
            return true;
        }
        let Some(outer) = state.frames.get(&open.frame) else { return false };
        frame = outer;
    }
    false
}

fn ready(graph: &Graph, state: &State, number: u32, frame: &Frame) -> Option<Action> {
    let Place::Before { step, attempt, at, .. } = &frame.place else { return None };
    may_begin(graph, state, number, frame).then(|| Action::Start { frame: number, step: step.clone(), attempt: *attempt, at: *at })
}

/// Tells whether a branch may begin: only so many of a parallel step work at once, those in front first.
fn may_begin(graph: &Graph, state: &State, number: u32, frame: &Frame) -> bool {
    let (FrameKind::Branch(_), Some(parent)) = (frame.kind, frame.parent) else { return true };
    if !frame.entered.is_empty() {
        return true;
    }
    let Some(Work::Parallel { max_concurrency, .. }) = state.step_of(graph, parent).map(|step| &step.work) else { return true };
    let in_front =
        |(other, branch): (&u32, &Frame)| branch.parent == Some(parent) && works(branch) && (!branch.entered.is_empty() || *other < number);
    let busy = state.frames.iter().filter(|(other, branch)| **other != number && in_front((other, branch))).count();
    busy < *max_concurrency as usize
}

fn works(frame: &Frame) -> bool {
    frame.place != Place::Over
}

/// Returns what an execution needs whose inside is over.
fn over(state: &State, number: u32, open: &Execution) -> Option<Action> {
    if matches!(open.holds, Holds::Work | Holds::Question(_)) || open.failed.is_some() {
        return None;
    }
    let inside_works = state.frames.values().any(|frame| frame.parent == Some(number) && works(frame));
    match &open.holds {
        _ if inside_works => None,
        Holds::Passes(_) => Some(Action::Pass(number)),
        _ => Some(Action::Complete(number)),
    }
}

/// Returns where a frame goes from a step that leads a way. The loop guard passes over steps that were entered often enough, as often as it takes.
pub(crate) fn follow(graph: &Graph, state: &State, number: u32, step: &Step, lead: Lead) -> Turnout {
    let Some(frame) = state.frames.get(&number) else { return Turnout::default() };
    let (listed, mut at) = (state.listed(graph, number), frame.position);
    let mut turnout = Turnout { breaks: lead == Lead::End && frame.kind == FrameKind::Pass, ..Turnout::default() };
    let mut target = match lead {
        Lead::End => None,
        Lead::Behind => behind(listed, at, step),
        Lead::To(target) => target,
    };
    let mut seen = Vec::new();
    while let Some(id) = target.take().filter(|id| !leaves(graph, state, frame, id, &mut turnout.breaks)) {
        let entered = frame.entered.get(&id).copied().unwrap_or_default();
        let Some(guarded) = state.step(graph, frame.scope, &id).filter(|guarded| entered >= guarded.max_iterations.max(1)) else {
            turnout.next = Some(id);
            break;
        };
        at = listed.map_or(0, |listed| position(listed, at, &id));
        if seen.contains(&(at, id.clone())) {
            break; // a circle in which nothing may be entered any more
        }
        target = behind(listed, at, guarded);
        seen.push((at, id.clone()));
        turnout.skipped.push((id, entered, guarded.max_iterations.max(1)));
    }
    turnout
}

/// Returns the step behind another: the one that is listed next, or the one that it names.
fn behind(listed: Option<&[String]>, at: usize, step: &Step) -> Option<String> {
    match listed {
        Some(listed) if listed.get(at) == Some(&step.id) => listed.get(at + 1).cloned(),
        _ => step.next_step_id.clone(),
    }
}

/// Tells whether a step is where a branch or a pass ends.
fn leaves(graph: &Graph, state: &State, frame: &Frame, id: &str, breaks: &mut bool) -> bool {
    let Some(container) = frame.parent.filter(|_| frame.kind != FrameKind::Whole).and_then(|parent| state.step_of(graph, parent)) else {
        return false;
    };
    let behind = container.next_step_id.as_deref() == Some(id);
    *breaks |= behind && frame.kind == FrameKind::Pass;
    behind || container.id == id
}

/// Says why an orchestration may not be nested once more.
pub(crate) fn too_deep(state: &State, scope: u32) -> Option<String> {
    let depth = state.scopes.get(&scope)?.depth;
    (depth >= DEPTH).then(|| format!("orchestrations are nested deeper than {DEPTH}"))
}
