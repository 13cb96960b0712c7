//! Where the log goes: standard error, through a writer that never makes a request wait.

use std::io::{self, BufWriter, Stderr, Write, stderr};
use std::thread::park_timeout;
use std::time::Duration;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Failure;
use crate::config::Config;

/// How long lines are gathered, so that a busy server neither wakes the writer's thread for each nor calls the system for each.
const GATHERED: Duration = Duration::from_millis(10);

/// Bytes of lines that go out together.
const TOGETHER: usize = 64 << 10;

/// Writes a line at once after a quiet moment, and those that follow together.
struct Gathering(BufWriter<Stderr>);

impl Write for Gathering {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.0.flush();
        park_timeout(GATHERED);
        flushed
    }
}

/// Starts the log. What is still to be written is written when the guard is dropped.
pub(super) fn start(config: &Config) -> Result<WorkerGuard, Failure> {
    // genai logs the bodies of failed answers, which may repeat a key; rmcp logs what tool servers say, word by word.
    let filter: Targets = format!("{},genai=off,rmcp=off", config.log_filter)
        .parse()
        .map_err(|error| format!("`SYNAPSE_LOG` is `{}`: {error}", config.log_filter))?;
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).finish(Gathering(BufWriter::with_capacity(TOGETHER, stderr())));
    let (log, lines) = (tracing_subscriber::registry().with(filter), layer().with_writer(writer).with_ansi(false));
    if config.log_json {
        log.with(lines.json()).init();
    } else {
        log.with(lines).init();
    }
    Ok(guard)
}
