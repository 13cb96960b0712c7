//! Runs in SQLite.

use std::sync::Arc;

use futures_util::FutureExt;
use synapse::store::{Append, Appended, NewRun, RunStatus, RunStore, Store};

use super::conformance;
use super::sample::{append, facts, run, turn};

/// Makes a test of everything that SQLite has to do like any other database.
macro_rules! conforms {
    ($($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            let directory = tempfile::tempdir().unwrap();
            conformance::$case(async || -> Arc<dyn RunStore> { Store::open(directory.path()).await.unwrap().runs() }).await;
        }
    )*};
}

conforms! {
    everything_that_is_told_of_a_run_is_kept
    a_row_continues_the_log_or_is_refused
    rows_of_many_runs_at_once_are_all_kept_in_dense_numbers
    a_row_of_an_older_epoch_is_refused
    of_many_that_take_a_run_one_goes_on_with_it
    a_run_that_goes_on_cannot_be_taken
    the_same_request_is_answered_once
    a_refused_row_leaves_no_mark
    equal_requests_at_once_begin_one_run
    another_request_with_the_same_key_is_a_conflict_and_fails_nobody_else
    a_run_that_fails_to_be_written_fails_nobody_else
    pages_hold_every_run_once_newest_first
    every_filter_chooses_its_runs
    running_runs_of_an_earlier_process_are_claimed_once
    crashes_are_counted_until_there_is_a_result
    a_released_run_has_not_crashed
    paused_runs_are_due_when_they_said
    what_ended_too_long_ago_is_purged_with_all_that_belongs_to_it
    of_ended_runs_the_newest_are_kept
    a_run_that_was_taken_up_again_is_not_purged
    long_logs_are_purged_in_small_bites
    a_page_of_rows_is_bounded
    a_row_that_is_too_large_is_refused
    nonsense_of_a_provider_loses_no_row
}

#[tokio::test]
async fn a_turn_is_kept_with_its_row_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    let (runs, sessions) = (store.runs(), store.sessions());
    let turns = async |session: &str| sessions.recent(session, "a", 1000).await.unwrap().len();
    runs.create(NewRun { facts: facts(RunStatus::Completed), turn: Some(turn("at once")), ..run("at once") }).await.unwrap();
    assert_eq!(turns("at once").await, 1);
    runs.create(run("r")).await.unwrap();
    let fenced = Append { turn: Some(turn("r")), ..append("r", 3, RunStatus::Completed) };
    assert_eq!((runs.append(fenced.clone()).await.unwrap(), turns("r").await), (Appended::Fenced, 0));
    let last = Append { turn: Some(turn("r")), ..append("r", 2, RunStatus::Completed) };
    assert_eq!((runs.append(last).await.unwrap(), turns("r").await), (Appended::Done, 1));
}

#[tokio::test]
async fn a_row_of_a_caller_that_left_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).await.unwrap();
    assert!(store.runs().create(run("r")).now_or_never().is_none());
    store.sessions().flush().await.unwrap();
    assert_eq!(store.runs().get("r").await.unwrap().unwrap().rows, 1);
}
