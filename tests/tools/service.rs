//! A service on a real socket that answers byte for byte what a test wants, and keeps what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the service was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Verb and path.
    pub(crate) line: String,
    /// The lines of the head in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What the service does about it.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes, and the second ones again and again.
    Endless(Vec<u8>, &'static [u8]),
    /// Sends these bytes and then nothing.
    Silence(&'static [u8]),
}

/// A service that listens on this machine.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Makes a whole response.
pub(crate) fn response(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let lines = lines.concat();
    let length = body.as_ref().len();
    let head = format!("HTTP/1.1 {status}\r\n{lines}content-length: {length}\r\nconnection: close\r\n\r\n");
    Reply::Bytes([head.as_bytes(), body.as_ref()].concat())
}

/// Makes a success of that type.
pub(crate) fn ok(media_type: &str, body: impl AsRef<[u8]>) -> Reply {
    response("200 OK", &[("content-type", media_type)], body)
}

/// Makes a redirect.
pub(crate) fn redirect(to: &str) -> Reply {
    response("302 Found", &[("location", to)], "")
}

impl Service {
    /// Always replies the same.
    pub(crate) async fn always(reply: Reply) -> Self {
        Self::start("127.0.0.1:0", move |_| reply.clone()).await
    }

    /// Replies to each request as `reply` says.
    pub(crate) async fn start(address: &str, reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let service = Self { address: listener.local_addr().unwrap(), asked: Arc::default() };
        let (asked, reply) = (service.asked.clone(), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, asked.clone(), reply.clone()));
            }
        });
        service
    }

    /// Returns the address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Returns the only thing that was asked.
    pub(crate) fn asked_once(&self) -> Asked {
        let asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked[0].clone()
    }
}

async fn serve(mut socket: TcpStream, asked: Arc<Mutex<Vec<Asked>>>, reply: Arc<impl Fn(&Asked) -> Reply>) {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
        }
        if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    };
    let (line, rest) = head.split_once(" HTTP/1.1\r\n").unwrap();
    let head = rest.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    while bytes.len() < length {
        socket.read_buf(&mut bytes).await.unwrap();
    }
    let question = Asked { line: line.to_owned(), head, body: String::from_utf8(bytes).unwrap() };
    asked.lock().unwrap().push(question.clone());
    // Whoever asked may have left, which is no failure of the service.
    match reply(&question) {
        Reply::Bytes(bytes) => drop(socket.write_all(&bytes).await),
        Reply::Endless(first, again) => {
            let mut sent = socket.write_all(&first).await;
            while sent.is_ok() {
                sent = socket.write_all(again).await;
            }
        }
        Reply::Silence(first) => {
            let _ = socket.write_all(first).await;
            let _ = socket.read_u8().await;
        }
    }
}
