//! What a call of people's Python takes, cold and warm, and the memory of a spare: `cargo bench --bench python`.

use std::error::Error;
use std::time::{Duration, Instant};

use serde_json::Value;
use synapse::config::Config;
use synapse::python::{Fault, Program, Python};

/// How many calls are measured, cold ones and warm ones each.
const CALLS: usize = 50;

/// How long the callers of the last part call.
const TIME: Duration = Duration::from_secs(3);

/// How long a program may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long spares have to become warm, well above what an interpreter needs to start.
const PAUSE: Duration = Duration::from_millis(300);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let python = python()?;
    let begin = Instant::now();
    println!("{}; found and tried in {:?}", python.check().await?, begin.elapsed());
    cold(&python).await?;
    warm(&python).await?;
    for callers in [1, 4] {
        many(&python, callers).await;
    }
    tokio::time::sleep(PAUSE).await;
    memory();
    Ok(())
}

fn python() -> Result<Python, String> {
    let config = Config::from_environment().map_err(|problems| problems.join("\n"))?;
    Ok(Python::new(config.python, env!("CARGO_BIN_EXE_synapse").into()))
}

fn program() -> Program {
    let code = "result = sum(number * number for number in state)".to_owned();
    let names = [("state".to_owned(), Value::from((0..100).collect::<Vec<_>>()))].into_iter().collect();
    Program { file: "transform.py".to_owned(), code, names }
}

/// Measures interpreters that start for their one program, as the check does.
async fn cold(python: &Python) -> Result<(), Fault> {
    let mut times = Vec::new();
    for _ in 0..CALLS {
        let begin = Instant::now();
        python.check().await?;
        times.push(begin.elapsed());
    }
    tell("cold call", times);
    Ok(())
}

/// Measures programs that find a spare.
async fn warm(python: &Python) -> Result<(), Fault> {
    let program = program();
    python.run(&program, PATIENCE).await?;
    let mut times = Vec::new();
    for _ in 0..CALLS {
        tokio::time::sleep(PAUSE).await;
        let begin = Instant::now();
        python.run(&program, PATIENCE).await?;
        times.push(begin.elapsed());
    }
    tell("warm call", times);
    Ok(())
}

/// Measures callers that never pause, and so wait for interpreters to start.
async fn many(python: &Python, callers: usize) {
    let begin = Instant::now();
    let calls = (0..callers).map(|_| async {
        let (program, mut calls) = (program(), 0);
        while begin.elapsed() < TIME && python.run(&program, PATIENCE).await.is_ok() {
            calls += 1;
        }
        calls
    });
    let calls: usize = futures_util::future::join_all(calls).await.into_iter().sum();
    println!("{callers} callers without a pause: {:.0} calls/s", calls as f64 / begin.elapsed().as_secs_f64());
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: least {:?}, p50 {:?}, p90 {:?}", at(0), at(50), at(90));
}

/// Tells what the spares hold: everything, and the part that they share with nobody.
fn memory() {
    let own = std::process::id().to_string();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let read = |name: &str| std::fs::read_to_string(process.path().join(name)).unwrap_or_default();
        if !read("status").lines().any(|line| line.split_whitespace().eq(["PPid:", own.as_str()])) {
            continue;
        }
        let rollup = read("smaps_rollup");
        let sum = |kinds: &[&str]| -> u64 {
            let of = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
            rollup.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).filter_map(of).sum()
        };
        println!("spare: {} kB resident, {} kB of it its own", sum(&["Rss:"]), sum(&["Private_"]));
    }
}
