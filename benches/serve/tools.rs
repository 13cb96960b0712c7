//! What the loop of model and tools costs: the time of a round, and the memory of chats that wait for a slow tool.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::load::{Connection, percentile};
use crate::program::Program;
use crate::row;

/// Rounds of the chat that is timed.
const ROUNDS: u32 = 25;

/// Chats that are timed, of each kind.
const CHATS: usize = 400;

/// Chats that wait for a slow tool at once.
const WAITING: u32 = 1_000;

/// Measures on a server of its own, whose agents have tools.
pub(crate) async fn measure(directory: &Path, request: impl Fn(&str, &str, &str) -> Vec<u8>) -> io::Result<()> {
    let slow = TcpListener::bind("127.0.0.1:0").await?;
    define(&directory.join("data"), &format!("http://{}/slow", slow.local_addr()?))?;
    let server = Program::synapse(directory).await?;
    let chat = |agent: &str| request("POST", "/api/v1/chat", &json!({"message": "hi", "agent": agent}).to_string());
    let (plain, looping) = (median(&server, &chat("plain")).await?, median(&server, &chat("looping")).await?);
    let round = looping.saturating_sub(plain) / ROUNDS;
    row("a chat without a tool, one client", &format!("p50 {plain:.1?}"), "");
    row("a round of model and in-process tool, one client", &format!("{round:.1?}"), "under 1 ms");
    waiting(&server, slow, &request("POST", "/api/v1/chat/stream", r#"{"message": "hi", "agent": "waiting"}"#)).await?;
    server.stop().await
}

fn define(data_dir: &Path, slow: &str) -> io::Result<()> {
    let call = |tool: &str| json!([{"text": "", "calls": [{"tool": tool, "arguments": {}}]}]);
    let clock = |_| json!({"text": "", "calls": [{"tool": "get_datetime", "arguments": {}}]});
    let looping: Vec<Value> = (0..ROUNDS).map(clock).chain([json!({"text": "done"})]).collect();
    let waiting = [call("slow")[0].clone(), json!({"text": "done"})];
    let scripts = json!({"looping": {"answers": looping}, "waiting": {"answers": waiting}});
    let agent =
        |id: &str, model: &str, tools: Value| json!({"id": id, "name": id, "model": model, "tools": tools, "max_turns": ROUNDS + 1});
    let agents = json!([
        agent("plain", "scripted.echo", json!([])),
        agent("looping", "scripted.looping", json!(["get_datetime"])),
        agent("waiting", "scripted.waiting", json!(["slow"])),
    ]);
    let tools = json!([{"name": "slow", "description": "takes its time", "method": "POST", "url": slow}]);
    fs::write(data_dir.join("settings.json"), json!({"scripted": scripts, "allow_private_addresses": true}).to_string())?;
    fs::write(data_dir.join("user_agents.json"), agents.to_string())?;
    fs::write(data_dir.join("custom_tools.json"), tools.to_string())
}

async fn median(server: &Program, request: &[u8]) -> io::Result<Duration> {
    let mut connection = Connection::open(server.address).await?;
    let mut times = Vec::with_capacity(CHATS);
    for _ in 0..CHATS {
        let start = Instant::now();
        connection.body(request).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(percentile(&times, 50))
}

/// Opens chats whose tool never answers, and measures the memory when every call has come to the tool.
async fn waiting(server: &Program, slow: TcpListener, request: &[u8]) -> io::Result<()> {
    static ARRIVED: Semaphore = Semaphore::const_new(0);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = slow.accept().await {
            tokio::spawn(hold(stream, &ARRIVED));
        }
    });
    let mut streams = Vec::new();
    for _ in 0..WAITING {
        let mut connection = Connection::open(server.address).await?;
        connection.first_event(request).await?;
        streams.push(connection);
    }
    let _ = ARRIVED.acquire_many(WAITING).await.map_err(io::Error::other)?;
    sleep(Duration::from_secs(2)).await;
    row("resident memory, 1,000 chats wait for a slow tool", &format!("{:.1} MB", server.memory()?), "under 300 MB");
    serving.abort();
    drop(streams);
    Ok(())
}

/// Reads the head of a call, tells that it came, and keeps it waiting.
async fn hold(mut stream: tokio::net::TcpStream, arrived: &Semaphore) -> io::Result<()> {
    let mut buffer = [0; 1024];
    let mut heard = stream.read(&mut buffer).await?;
    arrived.add_permits(1);
    while heard > 0 {
        heard = stream.read(&mut buffer).await?;
    }
    stream.shutdown().await
}
