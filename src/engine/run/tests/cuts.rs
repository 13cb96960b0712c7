//! A log that is cut anywhere leads to the same end.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::record::Record;
use super::ends::agree;
use super::graphs::tame;
use super::hand::Hand;
use super::reference;
use super::tape::Tape;

/// A day, in milliseconds.
const DAY: i64 = 86_400_000;

/// Reads a log again as a restarted server does.
fn kept(log: &[Record]) -> Vec<Record> {
    serde_json::from_str(&serde_json::to_string(log).unwrap()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_log_that_is_cut_anywhere_leads_to_the_same_end(bytes in vec(any::<u8>(), 0..1500), schedule in any::<u64>(), cuts in vec(any::<usize>(), 1..4)) {
        let (pinned, graph) = tame(&bytes);
        let said = reference::end(&pinned);
        prop_assume!(said.is_some());
        let said = said.unwrap();
        let tape = &mut Tape::endless(schedule);
        let mut hand = Hand::new(&graph).driven(tape);
        for (crash, cut) in (1..).zip(cuts) {
            let records = 1 + cut % hand.log.len();
            hand = Hand::recovered(&graph, &kept(&hand.log[..records]), crash * DAY).driven(tape);
            agree(&hand, &said);
        }
    }
}
