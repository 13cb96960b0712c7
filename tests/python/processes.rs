//! Workers as processes: they are there when they are wanted, and gone when they are not.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, json};
use synapse::config::PythonSettings;
use synapse::python::{Fault, Program, Python};
use tempfile::TempDir;

use crate::interpreters::python_at;
use crate::{PATIENCE, eventually, program, python, python_with, settings};

/// A program that never ends and burns no time.
const SLEEP: &str = "import time\ntime.sleep(600)";

/// A Python under a path of its own, by which its processes are told from those of other tests.
struct Marked {
    home: TempDir,
    python: Python,
}

impl Marked {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        symlink(python().check().await.unwrap().executable, home.path().join("python3")).unwrap();
        let python = python_at(&home.path().join("python3"));
        Self { home, python }
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("python3")
    }

    /// Returns its processes, launchers among them.
    fn processes(&self) -> Vec<i32> {
        processes(&self.path())
    }
}

/// Returns the processes whose command line names a path.
fn processes(path: &Path) -> Vec<i32> {
    let name = path.to_str().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    all.filter(|id: &i32| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(name)))
        .collect()
}

fn kill(process: i32) {
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
}

/// Returns a line of what the kernel tells of a process; nothing if there is no such process.
fn status(process: i32, field: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.trim().to_owned()))
}

/// Tells whether a process has ended, even if nobody has asked for its outcome yet.
fn has_ended(process: i32) -> bool {
    status(process, "State").is_none_or(|state| state.starts_with('Z'))
}

#[tokio::test]
async fn a_worker_has_no_privilege() {
    let marked = Marked::new().await;
    marked.python.run(&program("result = 1"), PATIENCE).await.unwrap();
    let expected = ["0000000000000000", "0000000000000000", "0000000000000000", "0000000000000000", "1", "2"].map(str::to_owned);
    let fields = ["CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs", "Seccomp"];
    // One that is still the launcher gets there.
    let confined = |process: &i32| fields.map(|field| status(*process, field).unwrap_or_default()) == expected;
    eventually("two spares without privileges", || (marked.processes().iter().filter(|spare| confined(spare)).count() == 2).then_some(()))
        .await;
}

#[tokio::test]
async fn nothing_is_started_before_the_first_use() {
    let marked = Marked::new().await;
    assert_eq!(marked.processes(), Vec::<i32>::new());
    marked.python.run(&program("result = 1"), PATIENCE).await.unwrap();
    eventually("two spares", || (marked.processes().len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_dropped_call_leaves_no_process_behind() {
    let marked = Marked::new().await;
    marked.python.run(&program("result = 1"), PATIENCE).await.unwrap();
    eventually("two spares", || (marked.processes().len() == 2).then_some(())).await;
    let spares = marked.processes();
    let call = tokio::spawn({
        let python = marked.python.clone();
        async move { python.run(&program(SLEEP), PATIENCE).await }
    });
    // The call has taken a spare when a third process stands in for it.
    eventually("a third worker", || (marked.processes().len() == 3).then_some(())).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    eventually("the end of the worker", || (marked.processes().len() == 2).then_some(())).await;
    let left = marked.processes();
    assert!(spares.iter().any(|spare| !left.contains(spare)), "{spares:?} {left:?}");
}

#[tokio::test]
async fn spares_end_with_the_last_clone() {
    let marked = Marked::new().await;
    let clone = marked.python.clone();
    clone.run(&program("result = 1"), PATIENCE).await.unwrap();
    eventually("two spares", || (marked.processes().len() == 2).then_some(())).await;
    let Marked { home, python } = marked;
    drop(python);
    assert_eq!(processes(&home.path().join("python3")).len(), 2);
    drop(clone);
    eventually("the end of the spares", || processes(&home.path().join("python3")).is_empty().then_some(())).await;
}

#[tokio::test]
async fn calls_leave_two_spares_and_nothing_else() {
    let marked = Marked::new().await;
    for _ in 0..10 {
        marked.python.run(&program("result = 1"), PATIENCE).await.unwrap();
    }
    eventually("two spares", || (marked.processes().len() == 2).then_some(())).await;
}

#[tokio::test]
async fn spares_that_died_are_passed_over() {
    let marked = Marked::new().await;
    marked.python.run(&program("result = 1"), PATIENCE).await.unwrap();
    eventually("two spares", || (marked.processes().len() == 2).then_some(())).await;
    let spares = marked.processes();
    spares.iter().copied().for_each(kill);
    eventually("the end of the spares", || spares.iter().copied().all(has_ended).then_some(())).await;
    assert_eq!(marked.python.run(&program("result = 2"), PATIENCE).await.unwrap().result, json!(2));
}

#[tokio::test]
async fn twenty_calls_at_once_are_answered_each_with_its_own() {
    let marked = Marked::new().await;
    let calls = (0..20).map(|number| {
        let names = Map::from_iter([("number".to_owned(), json!(number))]);
        let program = Program { names, ..program("print(number)\nresult = number * number") };
        let python = marked.python.clone();
        async move { python.run(&program, PATIENCE).await.unwrap() }
    });
    for (number, answer) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!((answer.result, answer.printed), (json!(number * number), format!("{number}\n")));
    }
    eventually("two spares", || (marked.processes().len() == 2).then_some(())).await;
}

#[tokio::test]
async fn a_call_that_finds_no_worker_free_says_so() {
    let python = python_with(PythonSettings { workers: 1, ..settings() });
    let (sleeper, other) = (program(SLEEP), program("result = 1"));
    let fault = tokio::select! {
        biased;
        ended = python.run(&sleeper, PATIENCE) => ended.unwrap_err(),
        refused = python.run(&other, Duration::from_millis(200)) => refused.unwrap_err(),
    };
    assert!(matches!(fault, Fault::Busy(1)), "{fault:?}");
    assert!(fault.to_string().starts_with("all 1 workers for Python are busy"), "{fault}");
    assert_eq!(python.run(&other, PATIENCE).await.unwrap().result, json!(1));
}

#[tokio::test]
async fn a_server_that_dies_takes_its_workers_along() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("python3");
    symlink(python().check().await.unwrap().executable, &path).unwrap();
    let mut server = Command::new(std::env::current_exe().unwrap());
    server.args(["--exact", "processes::plays_the_server", "--ignored", "--nocapture"]).current_dir(&home).stdout(Stdio::piped());
    let mut server = server.spawn().unwrap();
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("warm")));
    // Two spares and the sleeper, of which none may close its input by itself.
    eventually("three workers", || (processes(&path).len() == 3).then_some(())).await;
    server.kill().unwrap();
    server.wait().unwrap();
    eventually("the end of the workers", || processes(&path).is_empty().then_some(())).await;
}

/// A part of the test before; it does nothing outside of its directory.
#[tokio::test]
#[ignore = "a part of another test"]
async fn plays_the_server() {
    let path = std::env::current_dir().unwrap().join("python3");
    if !path.exists() {
        return;
    }
    let python = python_at(&path);
    python.run(&program("result = 1"), PATIENCE).await.unwrap();
    println!("warm");
    python.run(&program(SLEEP), PATIENCE).await.unwrap();
}
