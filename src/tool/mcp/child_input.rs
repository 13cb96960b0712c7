//! What a tool server that is a child process is sent: line after line, each within a limited time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::http::End;

/// How long a child may take to read one message.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// How many messages may wait until the child reads those before them.
const WAITING_MESSAGES: usize = 1000;

/// The standard input of a child.
#[derive(Clone)]
pub(super) struct ChildInput {
    pipe: Arc<Mutex<Option<ChildStdin>>>,
    room: Arc<Semaphore>,
    given_up: CancellationToken,
    end: End,
}

impl ChildInput {
    /// `end` will say why the child is given up.
    pub(super) fn new(pipe: Option<ChildStdin>, end: End) -> Self {
        let room = Arc::new(Semaphore::new(WAITING_MESSAGES));
        Self { pipe: Arc::new(Mutex::new(pipe)), room, given_up: CancellationToken::new(), end }
    }

    /// Writes a line after those before it. Where that fails, the child has not got the whole of it.
    pub(super) fn send(&self, line: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let (input, place) = (self.clone(), self.room.clone().try_acquire_owned());
        async move {
            let Ok(_place) = place else {
                return Err(input.give_up(format!("it does not read: more than {WAITING_MESSAGES} messages wait for it")));
            };
            let written = input.given_up.run_until_cancelled(input.write(&line)).await;
            written.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    async fn write(&self, line: &[u8]) -> io::Result<()> {
        let mut pipe = self.pipe.lock().await;
        let pipe = pipe.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let written = timeout(WRITE_TIME, async {
            pipe.write_all(line).await?;
            pipe.flush().await
        });
        let late = |_| Err(self.give_up(format!("it did not read a message within {} seconds", WRITE_TIME.as_secs())));
        written.await.unwrap_or_else(late)
    }

    fn give_up(&self, reason: String) -> io::Error {
        let _ = self.end.set(reason); // the first reason is the true one
        self.given_up.cancel();
        io::ErrorKind::BrokenPipe.into()
    }

    /// Waits until the child does not read what it is sent.
    pub(super) async fn given_up(&self) {
        self.given_up.cancelled().await;
    }

    /// Closes the input. A writer that the child does not listen to holds it; the child is then ended without more words.
    pub(super) fn close(&self) {
        if let Ok(mut pipe) = self.pipe.try_lock() {
            pipe.take();
        }
    }
}
