//! Graphs in which everything leads everywhere: circles, branches that lead outside, steps inside themselves. Every run of them ends.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::record::Record;
use super::graphs::wild;
use super::hand::Hand;
use super::tape::Tape;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_run_ends_once(bytes in vec(any::<u8>(), 0..80), schedule in any::<u64>(), cut in any::<usize>()) {
        let (_, graph) = wild(&bytes);
        let tape = &mut Tape::endless(schedule);
        let hand = Hand::new(&graph).to_the_end(tape);
        let again = Hand::recovered(&graph, &hand.log[..1 + cut % hand.log.len()], 0).to_the_end(tape);
        for hand in [&hand, &again] {
            assert_eq!(hand.log.iter().filter(|record| matches!(record, Record::Ended { .. })).count(), 1);
            assert!(hand.state.executions <= 100_000);
        }
    }
}
