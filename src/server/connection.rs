//! Accepts connections and keeps them honest: a limit on their number, on the time for TLS and for a request's head, and pings for silent ones.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use http::Version;
use http::header::EXPECT;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::linger::Lingering;
use super::router::Entrance;
use crate::config::Limits;
use crate::metrics::Metrics;

/// How long a silent HTTP/2 connection goes unasked, and how long it may take to answer.
const PING_AFTER: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// After how long a peer that acknowledges nothing is dead.
const DEAD_AFTER: Duration = Duration::from_mins(1);

/// Streams of one HTTP/2 connection at once.
const STREAMS: u32 = 1_000;

/// Opens the door to connections.
pub(super) struct Acceptor {
    tls: Option<TlsAcceptor>,
    limits: Limits,
    room: Arc<Semaphore>,
    metrics: Metrics,
    /// Speaks HTTP/1 and HTTP/2 and finds out which.
    either: Builder<TokioExecutor>,
    http1: Builder<TokioExecutor>,
}

impl Acceptor {
    pub(super) fn new(tls: Option<TlsAcceptor>, limits: Limits, metrics: Metrics) -> Self {
        let mut either = Builder::new(TokioExecutor::new());
        either.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(64 << 10);
        either
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_ANSWER)
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(64 << 10);
        Self { tls, room: Arc::new(Semaphore::new(limits.connections)), limits, metrics, http1: either.clone().http1_only(), either }
    }

    /// Accepts connections until `stop` is cancelled, then waits for those that are open.
    pub(super) async fn accept(self: Arc<Self>, listener: TcpListener, entrance: Entrance, stop: CancellationToken) {
        let connections = TaskTracker::new();
        while let Some(room) = stop.run_until_cancelled(self.room.clone().acquire_owned()).await {
            let Some(accepted) = stop.run_until_cancelled(listener.accept()).await else { break };
            match (accepted, room) {
                (Ok((stream, _)), Ok(room)) => {
                    connections.spawn(self.clone().serve(stream, entrance.clone(), stop.clone(), room));
                }
                (Err(error), _) => {
                    // Out of files, most likely: the next attempt waits until there may be some again.
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
                (_, Err(_)) => break,
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    async fn serve(self: Arc<Self>, stream: TcpStream, entrance: Entrance, stop: CancellationToken, _room: OwnedSemaphorePermit) {
        let _counted = self.metrics.connection();
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        match &self.tls {
            None => self.plain(stream, entrance, stop).await,
            // In a box, because room for it would be kept in every connection.
            Some(tls) => Box::pin(self.secure(tls, stream, entrance, stop)).await,
        }
    }

    async fn plain(&self, stream: TcpStream, entrance: Entrance, stop: CancellationToken) {
        match stop.run_until_cancelled(timeout(self.limits.header_time, speaks_http1(&stream))).await {
            Some(Ok(http1)) => self.speak(if http1 { &self.http1 } else { &self.either }, stream, entrance, stop).await,
            Some(Err(_)) => tracing::debug!("a connection without a request was closed"),
            None => {}
        }
    }

    async fn secure(&self, tls: &TlsAcceptor, stream: TcpStream, entrance: Entrance, stop: CancellationToken) {
        match timeout(self.limits.header_time, tls.accept(stream)).await {
            Ok(Ok(stream)) => self.speak(&self.either, stream, entrance, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS failed"),
            Err(_) => tracing::debug!("TLS took too long"),
        }
    }

    async fn speak(
        &self,
        builder: &Builder<TokioExecutor>,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        entrance: Entrance,
        stop: CancellationToken,
    ) {
        let spoken = Arc::new(AtomicBool::new(false));
        let heard = spoken.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            heard.store(true, Ordering::Relaxed);
            let entrance = entrance.clone();
            async move { Ok::<_, Infallible>(entrance.answer(with_body(request)).await) }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        // Hyper's own limit starts with the first byte of HTTP/1; a client that sends nothing, or half of HTTP/2's preface, is not under it.
        let silence = sleep(self.limits.header_time);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = async { silence.await; if spoken.load(Ordering::Relaxed) { std::future::pending::<()>().await } } => {
                tracing::debug!("a connection without a request was closed");
                return;
            }
            () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Reads what is left of a body after the answer, where the client would not get the answer otherwise: HTTP/2 can end one request without the
/// connection, and a client that asks whether to go on sends nothing after a refusal.
fn with_body(request: http::Request<Incoming>) -> http::Request<Body> {
    if request.body().is_end_stream() {
        return request.map(|_| Body::empty());
    }
    let ends_alone = request.version() == Version::HTTP_2 || request.headers().contains_key(EXPECT);
    if ends_alone { request.map(Body::new) } else { request.map(|body| Body::new(Lingering::new(body))) }
}

/// Tells whether a client certainly speaks HTTP/1, by its first bytes. They are left unread: the builder for either protocol reads them by
/// themselves, and after so short a first read hyper doubles the buffer of the connection.
async fn speaks_http1(stream: &TcpStream) -> bool {
    let mut first = [0; 3];
    matches!(stream.peek(&mut first).await, Ok(3) if first != *b"PRI")
}

/// Sends what is written at once, and gives up on a peer that takes nothing any more or is gone without a word.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(DEAD_AFTER / 2).with_interval(DEAD_AFTER / 4))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(DEAD_AFTER))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn found_http1(sent: &[u8]) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        speaks_http1(&listener.accept().await.unwrap().0).await
    }

    #[tokio::test]
    async fn only_what_certainly_is_http1_is_taken_for_it() {
        assert!(found_http1(b"GET / HTTP/1.1\r\n\r\n").await);
        for sent in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "P", ""] {
            assert!(!found_http1(sent.as_bytes()).await, "{sent}");
        }
    }
}
