//! One tool server: started when it is wanted, tried again when it fails, ended when its record changes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rmcp::service::ServiceError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Connection, Line};
use super::name::Names;
use super::noticing::SERVER_ERRORS;
use super::remote_tool::Listed;
use super::{Setup, content, reason};
use crate::definition::McpServer;
use crate::tool::{Call, Failure, Output};

/// How long a server that failed is left alone, at first; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest time that a server that failed is left alone.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// A server with its record.
pub(super) struct Server {
    record: Arc<McpServer>,
    names: Names,
    /// Why it may not run.
    refusal: Option<String>,
    setup: Arc<Setup>,
    phase: watch::Sender<Phase>,
    /// Somebody calls a tool and does not want to wait for the end of a pause.
    again: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What a server is doing.
#[derive(Clone)]
enum Phase {
    /// Nobody has wanted it since it ended.
    Idle,
    /// It is being connected.
    Starting,
    /// It answers.
    Up(Arc<Connection>),
    /// It cannot be used, and this is why.
    Down(Arc<str>),
}

impl Server {
    pub(super) fn new(record: Arc<McpServer>, names: Names, refusal: Option<String>, setup: Arc<Setup>, tasks: TaskTracker) -> Self {
        if let Some(reason) = &refusal {
            tracing::warn!(server = record.name, reason, "a tool server may not run; its tools are absent");
        }
        let phase = watch::Sender::new(refusal.as_deref().map_or(Phase::Idle, |reason| Phase::Down(reason.into())));
        Self { record, names, refusal, setup, phase, again: Notify::new(), stop: CancellationToken::new(), tasks }
    }

    /// Tells whether the server is what is described.
    pub(super) fn is(&self, record: &McpServer, names: &Names, refusal: Option<&str>) -> bool {
        *self.record == *record && self.names == *names && self.refusal.as_deref() == refusal
    }

    pub(super) const fn names(&self) -> &Names {
        &self.names
    }

    /// Ends the server.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Returns its tools, once it is connected; none where it cannot be used.
    pub(super) async fn tools(self: &Arc<Self>) -> Vec<Listed> {
        match self.settled().await {
            Phase::Up(connection) => connection.tools().to_vec(),
            _ => Vec::new(),
        }
    }

    /// Calls a tool. A server that is not connected is connected first.
    pub(super) async fn call(self: &Arc<Self>, tool: &str, call: Call) -> Result<Output, Failure> {
        let (begun, deadline) = (Instant::now(), call.deadline.min(Instant::now() + self.setup.call_time));
        let result = timeout_at(deadline, self.call_now(tool, &call)).await;
        result.unwrap_or_else(|_| {
            self.tasks.spawn(self.clone().probe());
            let seconds = (deadline - begun).as_secs_f64();
            Err(Failure::new(format!("tool server `{}` gave no result within {seconds:.0} seconds", self.record.name)))
        })
    }

    /// Gives up a connection on which nothing comes any more, so that the next call connects again.
    async fn probe(self: Arc<Self>) {
        let Phase::Up(connection) = self.phase.borrow().clone() else { return };
        if !connection.answers().await {
            connection.close("it does not answer any more");
            self.lost(&connection);
        }
    }

    async fn call_now(self: &Arc<Self>, tool: &str, call: &Call) -> Result<Output, Failure> {
        let mut connection = self.connection().await?;
        let mut result = connection.call(tool, call).await;
        if result.as_ref().is_err_and(reason::never_sent) {
            self.lost(&connection);
            connection = self.connection().await?;
            result = connection.call(tool, call).await;
        }
        match result {
            Ok(result) => content::output(result, call.output_bytes),
            Err(error) => Err(self.failed(&connection, &error)),
        }
    }

    /// Says why a call failed, and gives up a connection that is no good any more.
    fn failed(&self, connection: &Connection, error: &ServiceError) -> Failure {
        let (name, reason) = (&self.record.name, connection.reason(&self.record.name, error));
        let answered = match error {
            // The errors that servers define themselves may mean that they know the session no more.
            ServiceError::McpError(error) => !SERVER_ERRORS.contains(&error.code.0),
            _ => false,
        };
        if !answered {
            self.lost(connection);
        }
        if matches!(error, ServiceError::McpError(_)) || reason::of_rights(name, error).is_some() {
            return Failure::new(format!("tool server `{name}` refuses the call: {reason}"));
        }
        Failure::new(format!(
            "tool server `{name}` failed during the call: {reason}; whether the work was done is unknown, and the next call connects again"
        ))
    }

    /// Gives up a connection.
    fn lost(&self, connection: &Connection) {
        connection.close("it closed the connection");
        self.phase.send_if_modified(|phase| {
            let lost = matches!(phase, Phase::Up(current) if std::ptr::eq(Arc::as_ptr(current), connection));
            if lost {
                *phase = Phase::Idle;
            }
            lost
        });
    }

    /// Returns a connection for a call, which is worth another try where the last one failed.
    async fn connection(self: &Arc<Self>) -> Result<Arc<Connection>, Failure> {
        let again = self.phase.send_if_modified(|phase| {
            let down = matches!(phase, Phase::Down(_)) && self.refusal.is_none();
            if down {
                *phase = Phase::Starting;
            }
            down
        });
        if again {
            self.again.notify_one();
        }
        match self.settled().await {
            Phase::Up(connection) => Ok(connection),
            Phase::Down(reason) => Err(Failure::new(format!("tool server `{}` cannot be used: {reason}", self.record.name))),
            _ => Err(Failure::new(format!("tool server `{}` was removed or changed", self.record.name))),
        }
    }

    /// Starts the server unless it runs, and waits until it is known how that went.
    async fn settled(self: &Arc<Self>) -> Phase {
        if self.stop.is_cancelled() {
            return Phase::Idle;
        }
        let mut phase = self.phase.subscribe();
        let begin = self.phase.send_if_modified(|phase| {
            let idle = match phase {
                Phase::Idle => true,
                Phase::Up(connection) => connection.is_closed(),
                Phase::Starting | Phase::Down(_) => false,
            };
            if idle {
                *phase = Phase::Starting;
            }
            idle
        });
        if begin {
            self.tasks.spawn(self.clone().run());
        }
        let settled = phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await;
        settled.map_or(Phase::Idle, |phase| phase.clone())
    }

    /// Connects, again and again if need be, and stays until the connection ends.
    async fn run(self: Arc<Self>) {
        let mut pause = FIRST_PAUSE;
        loop {
            let opened = timeout(self.setup.list_time, Box::pin(Connection::open(&self.record, &self.names, &self.setup)));
            let reason = match self.stop.run_until_cancelled(opened).await {
                None => break,
                Some(Ok(Ok((connection, line)))) => {
                    let connection = Arc::new(connection);
                    tracing::info!(server = self.record.name, tools = connection.tools().len(), "a tool server is connected");
                    self.phase.send_replace(Phase::Up(connection.clone()));
                    return self.hold(&connection, line).await;
                }
                Some(Ok(Err(reason))) => reason,
                Some(Err(_)) => format!("it does not list its tools within {} seconds", self.setup.list_time.as_secs_f64()),
            };
            self.tell(&reason, pause);
            self.phase.send_replace(Phase::Down(reason.into()));
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = self.again.notified() => {}
                () = sleep(pause) => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.phase.send_replace(Phase::Idle);
    }

    /// Stays with a connection until it ends.
    async fn hold(&self, connection: &Arc<Connection>, line: Line) {
        let mut hold = pin!(line.hold(connection, &self.record.name, &self.names, self.setup.list_time));
        tokio::select! {
            () = &mut hold => {
                tracing::warn!(server = self.record.name, reason = connection.end(), "a tool server ended; it is connected again when it is wanted");
            }
            () = self.stop.cancelled() => {
                connection.close("it was removed or changed");
                hold.await;
            }
        }
        self.lost(connection);
    }

    /// Tells the operator why a server cannot be used: the first time, and then only those who look closely.
    fn tell(&self, reason: &str, pause: Duration) {
        let server = &self.record.name;
        if pause == FIRST_PAUSE {
            tracing::warn!(server, reason, "a tool server cannot be used; its tools are absent until it answers");
        } else {
            tracing::debug!(server, reason, "a tool server still cannot be used");
        }
    }
}
