//! What runs cost: durable orchestrations over REST, runs that wait and runs that work, and watching a long one.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::load::{Connection, load, percentile};
use crate::program::Program;
use crate::{CLIENTS, TIME, row};

/// Runs that are timed with one client.
const TIMED: usize = 500;

/// Runs that wait for a person.
const PAUSED: usize = 10_000;

/// Runs that work at once.
const WORKING: usize = 2_000;

/// Passes of the loop that is watched; each makes four events.
const PASSES: usize = 5_000;

/// Measures on a server of its own.
pub(crate) async fn measure(directory: &Path, request: impl Fn(&str, &str, &str) -> Vec<u8>) -> io::Result<()> {
    define(&directory.join("data"))?;
    let server = Program::synapse(directory).await?;
    let run = |id: &str, body: &str| request("POST", &format!("/api/v1/orchestrations/{id}/run"), body);

    let five = run("five", r#"{"message": "x"}"#);
    row("5 steps without a model, one client", &format!("p50 {:.1?}", median(&server, &five).await?), "p50 under 5 ms");
    let before = server.processor_time()?;
    let loaded = load(server.address, CLIENTS, TIME, move |_, _| five.clone()).await?;
    let cost = server.processor_time()?.saturating_sub(before).as_secs_f64() * 1e6 / loaded.count() as f64;
    row("5 steps without a model, 64 clients", &format!("{:.0}/s", loaded.rate()), "at least 1,000/s");
    let figure = format!("p50 {:.1?}, p99 {:.1?}, {cost:.0}µs", loaded.answer(50), loaded.answer(99));
    row("  its answer, and the processor time of the server", &figure, "");
    let three = run("three", r#"{"message": "x"}"#);
    row("3 scripted model steps, one client", &format!("p50 {:.1?}", median(&server, &three).await?), "p50 under 7 ms");
    server.stop().await?;

    let server = Program::synapse(directory).await?;
    sleep(Duration::from_secs(2)).await;
    let idle = server.memory()?;
    many(&server, &run("paused", r#"{"message": "x"}"#), PAUSED).await?;
    row("resident memory, idle and with 10,000 paused runs", &format!("{idle:.1} MB, {:.1} MB", server.memory()?), "rows only");
    many(&server, &run("working", r#"{"message": "x", "background": true}"#), WORKING).await?;
    row("resident memory, 2,000 runs at work", &format!("{:.1} MB", server.memory()?), "under 300 MB");
    watched(&server, &run("long", r#"{"message": "x"}"#), &request).await?;
    server.stop().await
}

/// Writes the orchestrations.
pub(crate) fn define(data_dir: &Path) -> io::Result<()> {
    let step = |id: &str, kind: &str, next: &str, more: Value| {
        let mut step = json!({"id": id, "name": id, "type": kind, "next_step_id": next, "output_key": id});
        if let (Some(step), Value::Object(more)) = (step.as_object_mut(), more) {
            step.extend(more);
        }
        step
    };
    let print = |id: &str, next: &str| step(id, "print", next, json!({"print_content": "{state.user_input}"}));
    let llm = |id: &str, next: &str| step(id, "llm", next, json!({"prompt_template": "{state.user_input}", "model": "scripted.echo"}));
    let orchestration = |id: &str, entry: &str, steps: Vec<Value>| json!({"id": id, "name": id, "entry_step_id": entry, "steps": steps});
    let orchestrations = json!([
        orchestration(
            "five",
            "a",
            vec![
                print("a", "b"),
                step("b", "if_else", "", json!({"if_condition": "len(state.a) > 0", "if_true_step_id": "c"})),
                print("c", "d"),
                step("d", "merge", "e", json!({"input_keys": ["a", "c"], "merge_strategy": "concat"})),
                step("e", "switch", "", json!({"switch_expression": "state.a", "switch_cases": {}})),
            ],
        ),
        orchestration("three", "a", vec![llm("a", "b"), llm("b", "c"), llm("c", "")]),
        orchestration("paused", "a", vec![print("a", "b"), step("b", "human", "", json!({"human_prompt": "go on?"}))]),
        orchestration("working", "a", vec![step("a", "llm", "", json!({"prompt_template": "x", "model": "scripted.slow"}))]),
        orchestration("long", "a", vec![step("a", "loop", "", json!({"loop_count": PASSES, "loop_step_ids": ["b"]})), print("b", "")],),
    ]);
    fs::write(data_dir.join("orchestrations.json"), orchestrations.to_string())?;
    let slow = json!({"text": "late", "delay_ms": 600_000});
    fs::write(data_dir.join("settings.json"), json!({"model": "scripted.echo", "scripted": {"slow": slow}}).to_string())
}

async fn median(server: &Program, request: &[u8]) -> io::Result<Duration> {
    let mut connection = Connection::open(server.address).await?;
    let mut times = Vec::with_capacity(TIMED);
    for _ in 0..TIMED {
        let start = Instant::now();
        connection.body(request).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(percentile(&times, 50))
}

/// Starts so many runs, some at once.
pub(crate) async fn many(server: &Program, request: &[u8], count: usize) -> io::Result<()> {
    let each = count.div_ceil(CLIENTS);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (address, request) = (server.address, request.to_vec());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                for _ in 0..each {
                    connection.body(&request).await?;
                }
                io::Result::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Makes a long run and times a watcher that reads all of it.
async fn watched(server: &Program, run: &[u8], request: impl Fn(&str, &str, &str) -> Vec<u8>) -> io::Result<()> {
    let mut connection = Connection::open(server.address).await?;
    let start = Instant::now();
    let answer: Value = serde_json::from_slice(&connection.body(run).await?)?;
    let made = start.elapsed();
    let path = format!("/api/v1/orchestrations/runs/{}/stream", answer["run_id"].as_str().unwrap_or_default());
    let watch = request("GET", &path, "");
    let mut best = Duration::MAX;
    let mut events = 0;
    for _ in 0..5 {
        let start = Instant::now();
        let body = connection.body(&watch).await?;
        best = best.min(start.elapsed());
        events = body.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"id: ")).count();
    }
    let rate = events as f64 / best.as_secs_f64();
    row(&format!("watching a run of {events} events from its beginning"), &format!("{rate:.0} events/s"), "100,000/s");
    row("  making it", &format!("{made:.1?}"), "");
    Ok(())
}
