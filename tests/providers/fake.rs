//! A model service made of canned replies: it records what it is asked, and answers byte by byte as told.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A request as the service got it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The path with its query.
    pub(crate) path: String,
    /// The header lines, names in lower case.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Value,
}

/// What the service does with a connection after its reply.
pub(crate) enum After {
    /// It closes it.
    Close,
    /// It waits until the client has gone, and tells.
    Wait(oneshot::Sender<()>),
}

/// A reply.
pub(crate) struct Reply {
    bytes: Vec<u8>,
    after: After,
}

/// The service; it serves one reply to each connection.
pub(crate) struct Fake {
    /// Where it listens.
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Starts a service that gives these replies in order.
    pub(crate) async fn start(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let replies: Vec<Reply> = replies.into_iter().collect();
        tokio::spawn(async move {
            for reply in replies {
                let (mut connection, _) = listener.accept().await.unwrap();
                let request = read(&mut connection).await;
                record.lock().unwrap().push(request);
                // The client may have gone already, which some tests want.
                let _ = connection.write_all(&reply.bytes).await;
                if let After::Wait(gone) = reply.after {
                    let _ = connection.read(&mut [0; 1]).await;
                    let _ = gone.send(());
                }
            }
        });
        Self { url, asked }
    }

    /// Returns what was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn read(connection: &mut TcpStream) -> Asked {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).await.unwrap();
    let path = line.split(' ').nth(1).unwrap().to_owned();
    let mut head = String::new();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).await.unwrap();
        if line.trim().is_empty() {
            break;
        }
        let (name, value) = line.trim().split_once(": ").unwrap();
        let name = name.to_ascii_lowercase();
        if name == "content-length" {
            length = value.parse().unwrap();
        }
        head.extend([name.as_str(), ": ", value, "\n"]);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.unwrap();
    Asked { path, head, body: serde_json::from_slice(&body).unwrap() }
}

impl Reply {
    /// Bytes as they stand.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), after: After::Close }
    }

    /// An answer with a status, further header lines and a body, ended by closing the connection.
    pub(crate) fn new(status: &str, headers: &str, body: &str) -> Self {
        let bytes = format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n{body}").into_bytes();
        Self { bytes, after: After::Close }
    }

    /// A stream of server-sent events, each given as its data.
    pub(crate) fn events(data: &[&str]) -> Self {
        Self::new("200 OK", "content-type: text/event-stream\r\n", &server_sent(data))
    }

    /// A stream of server-sent events, each with the name that its `type` says.
    pub(crate) fn named_events(data: &[&str]) -> Self {
        let name = |data: &str| serde_json::from_str::<Value>(data).unwrap()["type"].as_str().unwrap().to_owned();
        let events: Vec<String> = data.iter().map(|data| format!("event: {}\ndata: {data}\n\n", name(data))).collect();
        Self::new("200 OK", "content-type: text/event-stream\r\n", &events.concat())
    }

    /// A stream of JSON lines.
    pub(crate) fn lines(lines: &[&str]) -> Self {
        Self::new("200 OK", "content-type: application/x-ndjson\r\n", &(lines.join("\n") + "\n"))
    }

    /// The frames of an AWS event stream, each with its event's name and JSON.
    pub(crate) fn frames(events: &[(&str, &str)]) -> Self {
        let mut reply = Self::new("200 OK", "content-type: application/vnd.amazon.eventstream\r\n", "");
        reply.bytes.extend(events.iter().flat_map(|(event, json)| aws_frame(event, json)));
        reply
    }

    /// Server-sent events in a chunked body whose last chunk never comes.
    pub(crate) fn cut(data: &[&str]) -> Self {
        let body = server_sent(data);
        let chunk = format!("{:x}\r\n{body}\r\n", body.len());
        Self::new("200 OK", "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n", &chunk)
    }

    /// Leaves the connection open after the reply, and tells when the client has gone.
    pub(crate) fn then_wait(mut self) -> (Self, oneshot::Receiver<()>) {
        let (gone, told) = oneshot::channel();
        self.after = After::Wait(gone);
        (self, told)
    }
}

fn server_sent(data: &[&str]) -> String {
    data.iter().flat_map(|data| ["data: ", data, "\n\n"]).collect()
}

fn aws_frame(event: &str, json: &str) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [(":message-type", "event"), (":event-type", event)] {
        headers.push(u8::try_from(name.len()).unwrap());
        headers.extend(name.as_bytes());
        headers.push(7);
        headers.extend(u16::try_from(value.len()).unwrap().to_be_bytes());
        headers.extend(value.as_bytes());
    }
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_be_bytes();
    let mut frame = [size(16 + headers.len() + json.len()), size(headers.len())].concat();
    frame.extend(checksum(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(json.as_bytes());
    frame.extend(checksum(&frame).to_be_bytes());
    frame
}

/// CRC-32 as in IEEE 802.3, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |sum: u32| (sum >> 1) ^ (0xEDB8_8320 * (sum & 1));
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), |sum, _| step(sum)))
}
