//! A closed loop of clients: each sends a request, reads the whole answer and sends the next, over a connection that stays open.
//!
//! Clients are bare TCP connections that know as much of HTTP/1.1 as they need, because they share the machine with the server.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a load saw.
pub(crate) struct Load {
    time: Duration,
    first_events: Vec<Duration>,
    answers: Vec<Duration>,
}

impl Load {
    /// Returns the answers in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.answers.len() as f64 / self.time.as_secs_f64()
    }

    /// Returns the number of answers.
    pub(crate) fn count(&self) -> usize {
        self.answers.len()
    }

    /// Returns the time within which so many percent of the answers were complete.
    pub(crate) fn answer(&self, percent: usize) -> Duration {
        percentile(&self.answers, percent)
    }

    /// Returns the time within which so many percent of the streams had their first event.
    pub(crate) fn first_event(&self, percent: usize) -> Duration {
        percentile(&self.first_events, percent)
    }
}

/// Lets `clients` send what `request` makes, of the numbers of the client and of the call, for `time`.
pub(crate) async fn load(
    address: SocketAddr,
    clients: usize,
    time: Duration,
    request: impl Fn(usize, usize) -> Vec<u8> + Clone + Send + 'static,
) -> io::Result<Load> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..clients).map(|client| tokio::spawn(one(address, client, start + time, request.clone()))).collect();
    let mut load = Load { time, first_events: Vec::new(), answers: Vec::new() };
    for task in tasks {
        for (first_event, answer) in task.await.map_err(io::Error::other)?? {
            load.first_events.extend(first_event);
            load.answers.push(answer);
        }
    }
    load.time = start.elapsed();
    load.first_events.sort_unstable();
    load.answers.sort_unstable();
    Ok(load)
}

type Times = (Option<Duration>, Duration);

async fn one(address: SocketAddr, client: usize, end: Instant, request: impl Fn(usize, usize) -> Vec<u8>) -> io::Result<Vec<Times>> {
    let mut connection = Connection::open(address).await?;
    let mut times = Vec::new();
    while Instant::now() < end {
        let request = request(client, times.len());
        times.push(connection.call(&request).await?);
    }
    Ok(times)
}

/// Returns the value below which so many percent of the sorted values lie.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
}

/// A connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, answer: Vec::with_capacity(4096) })
    }

    /// Sends a request and returns the body of its answer.
    pub(crate) async fn body(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.call(request).await?;
        Ok(self.answer.split_off(head(&self.answer).unwrap_or_default()))
    }

    /// Sends a request and waits for the first event of its answer.
    pub(crate) async fn first_event(&mut self, request: &[u8]) -> io::Result<()> {
        self.send(request).await?;
        while !has_event(&self.answer) {
            self.read().await?;
        }
        Ok(())
    }

    /// Sends a request, reads its answer and tells when the first event came and when everything was there.
    async fn call(&mut self, request: &[u8]) -> io::Result<Times> {
        let start = Instant::now();
        self.send(request).await?;
        let mut first_event = None;
        while !complete(&self.answer) {
            self.read().await?;
            if first_event.is_none() && has_event(&self.answer) {
                first_event = Some(start.elapsed());
            }
        }
        Ok((first_event, start.elapsed()))
    }

    async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.answer.clear();
        self.stream.write_all(request).await
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.answer.starts_with(b"HTTP/1.1 20") {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&self.answer)))
    }
}

/// Returns where the body begins.
fn head(answer: &[u8]) -> Option<usize> {
    find(answer, b"\r\n\r\n").map(|end| end + 4)
}

fn has_event(answer: &[u8]) -> bool {
    head(answer).is_some_and(|head| find(&answer[head..], b"data: ").is_some())
}

fn complete(answer: &[u8]) -> bool {
    let Some(head) = head(answer) else { return false };
    match length(&answer[..head]) {
        Some(length) => answer.len() - head >= length,
        None => answer.ends_with(b"\r\n0\r\n\r\n"),
    }
}

fn length(head: &[u8]) -> Option<usize> {
    let value = &head[find(head, b"content-length: ")? + b"content-length: ".len()..];
    std::str::from_utf8(&value[..find(value, b"\r\n")?]).ok()?.parse().ok()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
