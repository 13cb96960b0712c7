//! Warm spares: interpreters that have started and wait for a program.

use std::io;
use std::path::PathBuf;

use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::launch::Launch;
use super::worker::Worker;

/// How many interpreters wait: all but one in the queue, and that one with the thread that starts them.
const SPARES: usize = 2;

/// The queue of spares. Dropping it ends them.
pub(super) struct Spares(Mutex<Receiver<io::Result<Worker>>>);

impl Spares {
    /// Starts the first spares, and each next one as soon as one is taken.
    pub(super) fn start(launcher: PathBuf, launch: Launch) -> io::Result<Self> {
        let (sender, receiver) = channel(SPARES - 1);
        let runtime = Handle::current();
        // A thread that lives as long as its workers: the kernel kills a worker with the thread that started it.
        let start = move || refill(&sender, &runtime, || Worker::start(&launcher, &launch));
        std::thread::Builder::new().name("python-spares".to_owned()).spawn(start)?;
        Ok(Self(Mutex::new(receiver)))
    }

    /// Takes a spare. One that died while it waited is passed over, and so is a failure of the past.
    pub(super) async fn take(&self) -> io::Result<Worker> {
        let mut spares = self.0.lock().await;
        let mut failure = io::Error::other("nothing starts spares any more");
        for _ in 0..=SPARES {
            match spares.recv().await.map(|started| started.map(Worker::unless_killed)) {
                Some(Ok(Some(worker))) => return Ok(worker),
                Some(Err(error)) => failure = error,
                Some(Ok(None)) | None => {}
            }
        }
        Err(failure)
    }
}

/// Keeps the queue full until nobody takes from it any more.
fn refill(spares: &Sender<io::Result<Worker>>, runtime: &Handle, start: impl Fn() -> io::Result<Worker>) {
    loop {
        let worker = {
            let _context = runtime.enter();
            start()
        };
        if spares.blocking_send(worker).is_err() {
            return;
        }
    }
}
