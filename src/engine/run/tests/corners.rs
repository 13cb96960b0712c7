//! Corners of runs, each of which was wrong once or looks as if it could be.

use serde_json::{Value, json};

use super::super::graph::Graph;
use super::super::record::{Outcome, Record};
use super::graphs::pinned;
use super::hand::Hand;
use super::tape::Tape;

/// Makes the graph of an orchestration that begins with its first step.
fn graph(steps: &Value) -> Graph {
    pinned(&[json!({"id": "o", "steps": steps, "entry_step_id": steps[0]["id"]})], &[]).1
}

fn ended(graph: &Graph) -> Hand<'_> {
    Hand::new(graph).to_the_end(&mut Tape::endless(7))
}

/// Returns the steps that were started, in their order.
fn started(hand: &Hand<'_>) -> Vec<String> {
    let started = hand.log.iter().filter_map(|record| if let Record::Started { step, .. } = record { Some(step.clone()) } else { None });
    started.collect()
}

fn error(hand: &Hand<'_>) -> String {
    let failed = hand.log.iter().find_map(|record| if let Record::Failed { error, .. } = record { Some(error.clone()) } else { None });
    failed.or_else(|| hand.state.ended.clone()?.error).unwrap_or_default()
}

fn failures(hand: &Hand<'_>) -> usize {
    hand.log.iter().filter(|record| matches!(record, Record::Failed { .. })).count()
}

#[test]
fn branches_that_fail_at_once_fail_what_is_around_them_once() {
    let graph = graph(&json!([{"id": "p", "type": "parallel", "parallel_branches": [["x"], ["y"]]}]));
    let hand = ended(&graph);
    assert_eq!((failures(&hand), error(&hand).as_str()), (1, "Step 'x' not found"));
}

#[test]
fn a_run_rests_while_a_person_keeps_other_branches_waiting() {
    let graph = graph(&json!([
        {"id": "p", "type": "parallel", "parallel_branches": [["h"], ["a"]], "max_concurrency": 1},
        {"id": "h", "type": "human"}, {"id": "a", "type": "llm"},
    ]));
    let mut hand = Hand::new(&graph);
    hand.advance();
    assert!(hand.state.rests());
    hand.answer(hand.answerable()[0]);
    assert_eq!(started(&hand.to_the_end(&mut Tape::endless(7))), ["p", "h", "a"]);
}

#[test]
fn a_step_does_not_run_inside_itself() {
    let around = [
        json!([{"id": "l", "type": "loop", "loop_step_ids": ["l"]}]),
        json!([{"id": "l", "type": "loop", "loop_step_ids": ["m"]}, {"id": "m", "type": "loop", "loop_step_ids": ["l"]}]),
        json!([{"id": "l", "type": "parallel", "parallel_branches": [["m"], ["m"]]}, {"id": "m", "type": "loop", "loop_step_ids": ["l"]}]),
    ];
    for steps in around {
        let graph = graph(&steps);
        let hand = ended(&graph);
        assert_eq!(error(&hand), "Step 'l' would run inside itself; lead the steps inside it elsewhere");
        assert!(started(&hand).len() < 4);
    }
}

#[test]
fn a_step_that_is_listed_more_often_than_it_may_be_entered_keeps_none_from_running() {
    let graph = graph(&json!([
        {"id": "l", "type": "loop", "loop_step_ids": ["a", "a", "b", "a", "a", "b", "c"], "loop_count": 1},
        {"id": "a", "type": "print", "max_iterations": 2}, {"id": "b", "type": "print"}, {"id": "c", "type": "print"},
    ]));
    assert_eq!(started(&ended(&graph)), ["l", "a", "a", "b", "b", "c"]);
}

#[test]
fn a_crash_takes_no_attempt_away() {
    let graph = graph(&json!([{"id": "a", "type": "llm", "label": "1", "retry": {"max_attempts": 2}}]));
    let mut hand = Hand::new(&graph);
    hand.advance();
    let hand = Hand::recovered(&graph, &hand.log, 0).to_the_end(&mut Tape::endless(7));
    assert_eq!((hand.state.ended.clone().unwrap().outcome, started(&hand).len()), (Outcome::Completed, 3));
}

#[test]
fn what_failed_for_good_is_not_tried_again_after_a_crash() {
    let graph = graph(&json!([{"id": "a", "type": "llm", "label": "1"}]));
    let hand = ended(&graph);
    let before_the_end = &hand.log[..hand.log.len() - 1];
    let again = Hand::recovered(&graph, before_the_end, 0).to_the_end(&mut Tape::endless(7));
    assert_eq!((again.state.ended.clone().unwrap().outcome, started(&again).len()), (Outcome::Failed, 1));
}

#[test]
fn a_run_that_was_cancelled_while_it_rested_rests_again_once_it_is_retried() {
    let graph = graph(&json!([{"id": "h", "type": "human", "next_step_id": "a"}, {"id": "a", "type": "llm"}]));
    let mut hand = Hand::new(&graph);
    hand.advance();
    let asked = hand.answerable();
    hand.end(Outcome::Cancelled, None);
    hand.retry();
    hand.advance();
    assert!(hand.state.rests());
    assert_eq!(hand.answerable(), asked, "it is the same question");
    assert_eq!(started(&hand.to_the_end(&mut Tape::endless(7))), ["h", "a"]);
}

#[test]
fn a_retry_takes_up_what_failed_and_nothing_that_was_done() {
    let outer = json!({"id": "o", "entry_step_id": "l", "steps": [
        {"id": "l", "type": "loop", "loop_step_ids": ["p"], "loop_count": 2, "next_step_id": "z"},
        {"id": "p", "type": "parallel", "parallel_branches": [["n"], ["a"]]},
        {"id": "n", "type": "agent", "agent_id": "w"}, {"id": "a", "type": "llm"}, {"id": "z", "type": "llm"},
    ]});
    let inner = json!({"id": "i", "entry_step_id": "b", "steps": [{"id": "b", "type": "llm", "next_step_id": "c"}, {"id": "c", "type": "llm", "label": "1"}]});
    let agent = json!({"id": "w", "type": "orchestrator", "orchestration_id": "i"});
    let (_, graph) = pinned(&[outer, inner], &[agent]);
    let mut hand = ended(&graph);
    assert_eq!(hand.state.ended.clone().unwrap().outcome, Outcome::Failed);
    let before = started(&hand).len();
    hand.mended = true;
    hand.retry();
    let hand = hand.to_the_end(&mut Tape::endless(7));
    assert_eq!(hand.state.ended.clone().unwrap().outcome, Outcome::Completed);
    let mut after = started(&hand)[before..].to_vec();
    after.retain(|step| step != "a"); // chance decides whether it was done before the failure
    assert_eq!(after, ["c", "p", "n", "b", "c", "z"]);
}

#[test]
fn time_at_rest_is_no_time_at_work() {
    let graph = graph(&json!([{"id": "h", "type": "human", "next_step_id": "a"}, {"id": "a", "type": "llm"}]));
    let mut hand = Hand::new(&graph);
    hand.advance();
    let (worked, now) = (hand.state.worked(hand.now), hand.now);
    hand.now += 1_000_000;
    assert_eq!(hand.state.worked(hand.now), hand.state.worked(now), "it rests");
    hand.answer(hand.answerable()[0]);
    hand.advance();
    assert!(hand.state.worked(hand.now) < worked + 10);
    let (execution, open) = hand.state.open.iter().next().unwrap();
    assert!(hand.state.worked_at(open, hand.now + 5_000) < 5_010, "{execution} worked for five seconds");
}

#[test]
fn steps_deep_inside_each_other_are_closed_at_once() {
    let deep = 20_000;
    let mut steps: Vec<Value> =
        (0..deep).map(|at| json!({"id": format!("l{at}"), "type": "loop", "loop_step_ids": [format!("l{}", at + 1)]})).collect();
    steps.push(json!({"id": format!("l{deep}"), "type": "llm"}));
    let graph = graph(&steps.into());
    let mut hand = Hand::new(&graph);
    for at in 0..=deep {
        let started = Record::Started { execution: at + 1, frame: at, step: format!("l{at}"), attempt: 1, at: 0, nested: None };
        hand.state.apply(&graph, &started);
    }
    assert_eq!(hand.state.open.len(), 20_001);
    hand.state.apply(&graph, &Record::Interrupted { execution: 1 });
    assert_eq!((hand.state.open.len(), hand.state.frames.len()), (0, 1));
}
