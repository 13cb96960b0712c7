//! What is told of a run.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::record::{Outcome, Record};
use super::super::state::State;
use super::super::tell::{Public, tell};
use super::graphs::{tame, wild};
use super::hand::Hand;
use super::reference;
use super::tape::Tape;
use crate::wire::v1::RunEvent;
use crate::wire::v1::run_event::Event;

fn run_event(event: &Public) -> &RunEvent {
    let Public::Run(event) = event else { panic!("an event of a run") };
    event
}

/// Names the step that an event is about, with the orchestration that it stands in.
fn step(event: &RunEvent) -> (Option<String>, Option<String>) {
    (event.nested_run_id.clone(), event.nested_step_id.clone().or_else(|| event.orch_step_id.clone()))
}

/// Checks everything that holds for the events of every run.
fn check(hand: &Hand<'_>) {
    let mut open = BTreeMap::<_, i64>::new();
    let (mut ends, mut finals) = (0, 0);
    for (id, event) in (1..).zip(&hand.events) {
        assert_eq!(event.id(), id, "ids are dense");
        let event = run_event(event);
        match event.event.as_ref().unwrap() {
            Event::StepStart(_) => *open.entry(step(event)).or_default() += 1,
            Event::StepComplete(_) => {
                let left = open.entry(step(event)).or_default();
                *left -= 1;
                assert!(*left >= 0, "{:?} completes after it starts", step(event));
            }
            Event::OrchestrationComplete(_) => ends += 1,
            Event::Final(told) if told.data.is_some() && event.orch_step_id.is_none() => finals += 1,
            _ => {}
        }
    }
    let ended = hand.log.iter().filter(|record| matches!(record, Record::Ended { .. })).count();
    assert_eq!((ends, finals), (ended, ended), "one end is told of each end");
    let first = run_event(&hand.events[0]).event.as_ref().unwrap();
    let last = run_event(hand.events.last().unwrap()).event.as_ref().unwrap();
    assert!(matches!((first, last), (Event::OrchestrationStart(_), Event::Final(_))));
}

/// Tells a log behind an event as somebody who reads it does.
fn told(hand: &Hand<'_>, after: u64) -> Vec<Public> {
    let (mut state, mut id, mut events) = (State::default(), 0, Vec::new());
    for record in &hand.log {
        let record: Record = serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap();
        for mut event in tell(hand.graph, &state, &record) {
            id += 1;
            event.number(id);
            events.extend(Some(event).filter(|_| id > after));
        }
        state.apply(hand.graph, &record);
    }
    assert_eq!(state, hand.state, "a state that is folded anew is the same");
    events
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_told_again_is_what_was_told(bytes in vec(any::<u8>(), 0..1500), schedule in any::<u64>(), after in any::<u64>()) {
        let (pinned, graph) = tame(&bytes);
        prop_assume!(reference::end(&pinned).is_some());
        let hand = Hand::new(&graph).driven(&mut Tape::endless(schedule));
        check(&hand);
        let after = after % (hand.events.len() as u64 + 1);
        assert_eq!(told(&hand, after), hand.events[usize::try_from(after).unwrap()..]);
    }

    #[test]
    fn each_end_of_a_run_is_told_once(bytes in vec(any::<u8>(), 0..60), schedule in any::<u64>(), steps in 0..40_usize) {
        let (_, graph) = wild(&bytes);
        let tape = &mut Tape::endless(schedule);
        let mut hand = Hand::new(&graph);
        for _ in 0..steps {
            if hand.state.ended.is_none() {
                hand.once(tape);
            }
        }
        if hand.state.ended.is_none() {
            hand.end(Outcome::Cancelled, None);
        }
        check(&hand);
        if hand.state.ended.as_ref().unwrap().outcome != Outcome::Completed {
            hand.retry();
            hand = hand.driven(tape);
            check(&hand);
        }
    }
}
