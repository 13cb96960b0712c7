//! Runs in a process that is killed.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use synapse::clock;
use synapse::store::{Append, Appended, RunStatus, RunStore, Store};

use super::sample::{append, run, sound, turn};
use crate::process::{part, plays_a_part};

#[tokio::test]
async fn acknowledged_rows_survive_every_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = HashMap::new();
    for time in 1..=5 {
        let mut writer = part("runs::kill::process_that_writes_runs", directory.path()).spawn().unwrap();
        let mut lines = 0;
        for line in BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok) {
            let Some((run_id, number)) = line.strip_prefix("kept ").and_then(|line| line.split_once(' ')) else { continue };
            acknowledged.insert(run_id.to_owned(), number.parse::<u64>().unwrap());
            lines += 1;
            if lines == 100 * time {
                writer.kill().unwrap(); // what it had written until then is still read
            }
        }
        writer.wait().unwrap();
        assert!(lines >= 100 * time, "{lines} rows in process {time}");
        let kept = sound(directory.path()).await;
        for (run_id, number) in &acknowledged {
            assert!(kept.get(run_id).is_some_and(|rows| rows >= number), "row {number} of {run_id} is lost");
        }
    }
    let runs = Store::open(directory.path()).await.unwrap().runs();
    let open = runs.claim(1000).await.unwrap();
    assert!(!open.is_empty() && open.iter().all(|run| u64::from(run.crashes) + 1 == run.epoch), "{open:?}");
}

#[tokio::test]
#[ignore = "a part of `acknowledged_rows_survive_every_kill`, which starts and kills it"]
async fn process_that_writes_runs() {
    if !plays_a_part() {
        return;
    }
    let runs = Store::open(Path::new(".")).await.unwrap().runs();
    runs.claim(1000).await.unwrap();
    futures_util::future::join_all((0..8).map(|_| tokio::spawn(write_on(runs.clone())))).await;
}

/// Writes run after run, and tells what was acknowledged.
async fn write_on(runs: Arc<dyn RunStore>) {
    loop {
        let run_id = clock::ordered_id().simple().to_string();
        runs.create(run(&run_id)).await.unwrap();
        println!("kept {run_id} 1");
        for (number, status) in [(2, RunStatus::Running), (3, RunStatus::Completed)] {
            let turn = status.has_ended().then(|| turn(&run_id));
            let appended = runs.append(Append { turn, ..append(&run_id, number, status) }).await.unwrap();
            assert_eq!(appended, Appended::Done);
            println!("kept {run_id} {number}");
        }
    }
}
