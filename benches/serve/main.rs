//! What the server does, seen from outside: `cargo bench --bench serve`.
//!
//! It starts the release binary on a data directory of its own, as a user would, with the access log written to a file, and
//! loads it from one thread of this process over kept-alive connections (`load.rs`). The provider is the scripted one, without
//! delay, and sessions are kept durably. Nothing is asserted: figures of a busy machine say little, so the machine's load is
//! printed as well. For comparison, `wrk` (Debian package `wrk`) loads the same server, started by hand:
//!
//! ```text
//! wrk -t1 -c64 -d5 --latency -H "authorization: Bearer $KEY" http://127.0.0.1:8000/api/v1/agents
//! wrk -t1 -c64 -d5 --latency -s chat.lua http://127.0.0.1:8000/api/v1/chat
//! ```
//!
//! where `chat.lua` is
//!
//! ```lua
//! wrk.method, wrk.body = "POST", '{"message": "When is high tide?"}'
//! wrk.headers = { ["content-type"] = "application/json", authorization = "Bearer " .. os.getenv("KEY") }
//! ```

mod load;
mod program;
mod recovery;
mod runs;
mod tools;

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bytes::Bytes;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use load::{Connection, Load, load, percentile};
use program::Program;

/// The allocator of the server, so that the bare one has it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long each load lasts.
const TIME: Duration = Duration::from_secs(5);

/// Clients at once.
const CLIENTS: usize = 64;

/// Streams that are open at once.
const STREAMS: usize = 5_000;

/// Starts of which the middle one counts.
const STARTS: usize = 11;

/// Rounds of the comparison, in turns, so that what disturbs one disturbs the other.
const ROUNDS: usize = 3;

/// Turns of a session in the load of continued chats.
const TURNS: usize = 10;

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("bare"), Some(answer)) => bare(Path::new(&answer)),
        _ => measure(),
    }
}

/// The least that axum can do: one route, and an answer that is ready.
#[tokio::main]
async fn bare(answer: &Path) -> io::Result<()> {
    let answer = Bytes::from(fs::read(answer)?);
    let router = Router::new().route("/api/v1/agents", get(async move || ([(CONTENT_TYPE, "application/json")], answer.clone())));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true))), router).await
}

#[tokio::main(flavor = "current_thread")]
async fn measure() -> io::Result<()> {
    allow_many_files()?;
    println!("load average before: {}", fs::read_to_string("/proc/loadavg")?.trim_end());
    println!("{:<58} {:>34}   goal", "figure", "value");
    // Beside the build, because the directory for temporary files is often no disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let key = starts(directory.path()).await?;
    let request = |verb: &str, path: &str, body: &str| request(&key, verb, path, body);
    if std::env::args().any(|argument| argument == "runs") {
        return runs::measure(directory.path(), request).await;
    }
    if std::env::args().any(|argument| argument == "recovery") {
        return recovery::measure(directory.path(), request).await;
    }

    let server = Program::synapse(directory.path()).await?;
    sleep(Duration::from_secs(2)).await;
    row("resident memory, idle", &format!("{:.1} MB", server.memory()?), "under 40 MB");

    let message = r#"{"message": "When is high tide at the northern pier tomorrow?"}"#;
    let chat = request("POST", "/api/v1/chat", message);
    rate("POST /api/v1/chat, new sessions", &server, move |_, _| chat.clone(), "at least 3,000/s").await?;
    let head = request("POST", "/api/v1/chat", "");
    rate("POST /api/v1/chat, sessions of ten turns", &server, move |client, call| in_session(&head, client, call), "").await?;
    let stream = request("POST", "/api/v1/chat/stream", message);
    let load = rate("POST /api/v1/chat/stream", &server, move |_, _| stream.clone(), "").await?;
    let first = format!("p50 {:.1?}, p99 {:.1?}", load.first_event(50), load.first_event(99));
    row("  its first event", &first, "p50 under 5 ms");

    beside_bare(&server, request("GET", "/api/v1/agents", ""), directory.path()).await?;
    row("resident memory after that", &format!("{:.1} MB", server.memory()?), "");
    open_streams(&server, &request("POST", "/api/v1/chat/stream", r#"{"message": "x", "agent": "slow"}"#)).await?;
    server.stop().await?;
    tools::measure(directory.path(), request).await?;
    runs::measure(directory.path(), request).await?;
    recovery::measure(directory.path(), request).await?;
    println!("load average after:  {}", fs::read_to_string("/proc/loadavg")?.trim_end());
    Ok(())
}

/// Measures starts, first ones and others, and leaves a data directory in `directory`. Returns its key.
async fn starts(directory: &Path) -> io::Result<String> {
    let (mut first, mut again) = (Vec::new(), Vec::new());
    let mut key = String::new();
    for _ in 0..STARTS {
        if directory.join("data").exists() {
            fs::remove_dir_all(directory.join("data"))?;
        }
        let mut server = Program::synapse(directory).await?;
        first.push(server.ready);
        key = server.key().await?;
        server.stop().await?;
    }
    define(&directory.join("data"))?;
    for _ in 0..STARTS {
        let server = Program::synapse(directory).await?;
        again.push(server.ready);
        server.stop().await?;
    }
    for (name, times) in [("ready after the first start", &mut first), ("ready after a start", &mut again)] {
        times.sort_unstable();
        row(name, &format!("p50 {:.1?}, most {:.1?}", percentile(times, 50), percentile(times, 100)), "under 100 ms");
    }
    Ok(key)
}

/// Lets the scripted provider answer for the starter's agents, and adds an agent that answers a word every five seconds.
fn define(data_dir: &Path) -> io::Result<()> {
    let slow = json!({ "text": "word ".repeat(24), "chunk_chars": 5, "delay_ms": 1000, "chunk_delay_ms": 5000 });
    fs::write(data_dir.join("settings.json"), json!({ "model": "scripted.echo", "scripted": { "slow": slow } }).to_string())?;
    let agents = data_dir.join("user_agents.json");
    let mut list: Vec<serde_json::Value> = serde_json::from_slice(&fs::read(&agents)?)?;
    list.push(json!({ "id": "slow", "name": "Slow", "model": "scripted.slow", "system_prompt": "", "tools": [] }));
    fs::write(agents, serde_json::to_vec(&list)?)
}

fn request(key: &str, verb: &str, path: &str, body: &str) -> Vec<u8> {
    let media_type = if verb == "POST" { "content-type: application/json\r\n" } else { "" };
    let rest = match (verb, body) {
        ("GET", _) => "\r\n".to_owned(),
        (_, "") => String::new(),
        (_, body) => format!("content-length: {}\r\n\r\n{body}", body.len()),
    };
    format!("{verb} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n{media_type}{rest}").into_bytes()
}

/// Completes the head of a request with a message in a session that gets `TURNS` of them.
fn in_session(head: &[u8], client: usize, call: usize) -> Vec<u8> {
    let session = format!("{client}-{}", call / TURNS);
    let body = json!({ "message": "When is high tide at the northern pier tomorrow?", "session_id": session }).to_string();
    [head, format!("content-length: {}\r\n\r\n{body}", body.len()).as_bytes()].concat()
}

/// Loads the server and prints how many requests it answered, in which time, and what each cost it.
async fn rate(
    name: &str,
    server: &Program,
    request: impl Fn(usize, usize) -> Vec<u8> + Clone + Send + 'static,
    goal: &str,
) -> io::Result<Load> {
    let before = server.processor_time()?;
    let load = load(server.address, CLIENTS, TIME, request).await?;
    let cost = server.processor_time()?.saturating_sub(before).as_secs_f64() * 1e6 / load.count() as f64;
    row(name, &format!("{:.0}/s", load.rate()), goal);
    row(
        "  its answer, and the processor time of the server",
        &format!("p50 {:.1?}, p99 {:.1?}, {cost:.0}µs", load.answer(50), load.answer(99)),
        "",
    );
    Ok(load)
}

/// Compares a list with a bare server that answers with the same bytes.
async fn beside_bare(server: &Program, request: Vec<u8>, directory: &Path) -> io::Result<()> {
    let answer = directory.join("agents.json");
    fs::write(&answer, Connection::open(server.address).await?.body(&request).await?)?;
    let bare = Program::bare(&answer).await?;
    let (mut ours, mut least) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (name, program, rates) in [("GET /api/v1/agents", server, &mut ours), ("GET from a bare axum handler", &bare, &mut least)] {
            let request = request.clone();
            rates.push(rate(name, program, move |_, _| request.clone(), "").await?.rate());
        }
    }
    let middle = |rates: &mut Vec<f64>| {
        rates.sort_unstable_by(f64::total_cmp);
        rates[ROUNDS / 2]
    };
    let part = 100.0 * middle(&mut ours) / middle(&mut least);
    row("GET /api/v1/agents, part of the bare handler's rate", &format!("{part:.0} %"), "at least 50 %");
    bare.stop().await
}

/// Opens streams that go on for two minutes, an event every five seconds each, and measures the memory while they are open and after.
async fn open_streams(server: &Program, request: &[u8]) -> io::Result<()> {
    let mut streams = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut connection = Connection::open(server.address).await?;
        connection.first_event(request).await?;
        streams.push(connection);
    }
    sleep(Duration::from_secs(5)).await;
    row("resident memory, 5,000 streams open", &format!("{:.1} MB", server.memory()?), "under 200 MB");
    drop(streams);
    // The allocator gives memory back while it works.
    let request = b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n";
    load(server.address, CLIENTS, TIME, |_, _| request.to_vec()).await?;
    row("resident memory, five busy seconds after they are gone", &format!("{:.1} MB", server.memory()?), "");
    Ok(())
}

/// Raises the limit on open files, which the server inherits, as far as the system lets a user.
fn allow_many_files() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

fn row(figure: &str, value: &str, goal: &str) {
    println!("{figure:<58} {value:>34}   {goal}");
}
