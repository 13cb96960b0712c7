//! A service over HTTP, a model or a tool, that does exactly what a test tells it to, byte by byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// A service that answers as the test makes it: as a model in the protocol of OpenAI, or as a tool.
pub(crate) struct ModelService {
    listener: TcpListener,
}

/// A call of the model.
pub(crate) struct Connection {
    stream: TcpStream,
    /// The head and the body of the request.
    pub(crate) asked: String,
}

impl ModelService {
    /// Begins to listen.
    pub(crate) async fn new() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    /// Returns the address, for [`Setup::model`](super::Setup::model).
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.listener.local_addr().unwrap())
    }

    /// Waits until the model is called.
    pub(crate) async fn called(&self) -> Connection {
        let (mut stream, _) = timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut asked = Vec::new();
        while !is_whole(&asked) {
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).await.unwrap();
            assert!(length > 0, "half a request");
            asked.extend(&bytes[..length]);
        }
        Connection { stream, asked: String::from_utf8(asked).unwrap() }
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase().split_once("content-length: ").and_then(|(_, rest)| rest.lines().next()?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}

impl Connection {
    /// Sends bytes.
    pub(crate) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Begins a stream of an answer.
    pub(crate) async fn begin(&mut self) {
        self.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await;
    }

    /// Sends a piece of an answer.
    pub(crate) async fn say(&mut self, text: &str) {
        let piece = serde_json::json!({"choices": [{"index": 0, "delta": {"content": text}}]});
        self.send(&format!("data: {piece}\n\n")).await;
    }

    /// Ends a stream of an answer.
    pub(crate) async fn end(&mut self, reason: &str) {
        let end = serde_json::json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
        self.send(&format!("data: {end}\n\ndata: [DONE]\n\n")).await;
        self.stream.shutdown().await.unwrap();
    }

    /// Says a last piece to a caller that may have left by now.
    pub(crate) async fn try_end(mut self) {
        let end = serde_json::json!({"choices": [{"index": 0, "delta": {"content": "end"}, "finish_reason": "stop"}]});
        let _ = self.stream.write_all(format!("data: {end}\n\ndata: [DONE]\n\n").as_bytes()).await;
        let _ = self.stream.shutdown().await;
    }

    /// Answers with a text, from the beginning to the end.
    pub(crate) async fn answer(&mut self, text: &str) {
        self.begin().await;
        self.say(text).await;
        self.end("stop").await;
    }

    /// Answers with a status and a body.
    pub(crate) async fn respond(mut self, status: &str, headers: &str, body: &str) {
        let length = body.len();
        self.send(&format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")).await;
    }

    /// Waits until the caller has closed the connection.
    pub(crate) async fn closed(mut self) {
        let read = timeout(PATIENCE, self.stream.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(read, Ok(0) | Err(_)), "the caller still sends");
    }
}
