//! Runs of random graphs end as the reference says.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value};

use super::super::outcome::final_response;
use super::graphs::tame;
use super::hand::Hand;
use super::reference::{self, End};
use super::tape::Tape;

/// Checks that a run ended as the reference says.
pub(super) fn agree(hand: &Hand<'_>, said: &End) {
    let (ended, root) = (hand.state.ended.as_ref().unwrap(), hand.state.root().unwrap());
    assert_eq!((ended.outcome, &ended.error), (said.outcome, &said.error));
    assert_eq!(own(&root.values), own(&said.values));
    assert_eq!(final_response(root, ended.outcome, ended.error.as_deref()), said.response);
    assert_eq!(hand.attempts(), said.attempts);
    let history = root.history.iter().map(|past| (past.step.id.clone(), past.completed, past.error.clone()));
    assert_eq!(sorted(history.collect()), sorted(said.history.clone()));
}

/// Leaves out the one key that all people write: which of them wrote last is chance.
fn own(values: &Map<String, Value>) -> Map<String, Value> {
    values.iter().filter(|(key, _)| *key != "human_response").map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn sorted<T: Ord>(mut things: Vec<T>) -> Vec<T> {
    things.sort();
    things
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_run_ends_as_the_reference_says(bytes in vec(any::<u8>(), 0..1500), schedule in any::<u64>()) {
        let (pinned, graph) = tame(&bytes);
        let said = reference::end(&pinned);
        prop_assume!(said.is_some());
        let hand = Hand::new(&graph).driven(&mut Tape::endless(schedule));
        agree(&hand, &said.unwrap());
    }
}
