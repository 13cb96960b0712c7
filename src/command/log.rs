//! Where the log goes: standard error, through a writer that never makes a request wait.

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use super::Failure;
use crate::config::Config;

/// Starts the log. What is still to be written is written when the guard is dropped.
pub(super) fn start(config: &Config) -> Result<WorkerGuard, Failure> {
    // genai logs the bodies of failed answers, which may repeat a key.
    let filter = EnvFilter::try_new(format!("{},genai=off", config.log_filter))
        .map_err(|error| format!("`SYNAPSE_LOG` is `{}`: {error}", config.log_filter))?;
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).finish(std::io::stderr());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    if config.log_json {
        subscriber.json().init();
    } else {
        subscriber.init();
    }
    Ok(guard)
}
