//! The one task that writes to the database. It takes all that waits at once and commits it together, because the
//! wait for the disk is what costs: one wait serves everybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::model_calls::{ModelCall, record};
use super::sqlite::{failed, fails_all};
use crate::error::{Error, Reason, Result};

/// Commands that may wait; more callers wait for room.
const QUEUE: usize = 1024;

/// The most commands in one transaction.
const GROUP: usize = 256;

/// The most changes that nobody waits for and that wait for room in the queue; more are dropped, and the log says so.
const OVERFLOW: usize = 8192;

/// How long changes that nobody waits for may wait for one that somebody waits for.
const LINGER: Duration = Duration::from_millis(50);

/// Something that can be written.
pub(super) trait Change: Send + Sync + 'static {
    /// What the caller learns once it is durable.
    type Answer: Send + 'static;

    /// Makes the change within the transaction of its group, with as few messages to the database's thread as can be, because they are what
    /// costs. What fails is undone altogether, and may be made again.
    fn make(&self, connection: &mut SqliteConnection) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

/// Writes 64 KiB of nothing, to see whether the disk takes as much as a small run.
struct Trial;

/// Nothing; its answer says that everything before it is durable.
pub(super) struct Nothing;

enum Command {
    /// Adds a model call. Nobody waits for it.
    Record(ModelCall),
    /// Makes a change.
    Make(Box<dyn Waiting>),
}

/// A change, whatever it answers, and the caller that waits for the answer.
trait Waiting: Send {
    fn make<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>>;
    fn tell(self: Box<Self>, durable: Result<()>);
}

struct Asked<C: Change> {
    change: C,
    answer: Option<C::Answer>,
    caller: oneshot::Sender<Result<C::Answer>>,
}

/// Hands changes to the task that writes. When the last clone is dropped, the task commits what waits and ends.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    commands: mpsc::Sender<Command>,
    overflow: Arc<Semaphore>,
    /// Whether the disk has refused something since it was last tried.
    refused: Arc<AtomicBool>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Command")
    }
}

impl Writer {
    /// Starts the task.
    pub(super) fn start(connection: SqliteConnection) -> Self {
        let (sender, commands) = mpsc::channel(QUEUE);
        let refused = Arc::<AtomicBool>::default();
        tokio::spawn(run(connection, commands, refused.clone()));
        Self { commands: sender, overflow: Arc::new(Semaphore::new(OVERFLOW)), refused }
    }

    /// Makes a change and returns, once it is durable, its answer.
    pub(super) async fn write<C: Change>(&self, change: C) -> Result<C::Answer> {
        let (caller, answered) = oneshot::channel();
        let stopped = || Error::new(Reason::Unavailable, "the server is stopping; try again later");
        let command = Command::Make(Box::new(Asked { change, answer: None, caller }));
        self.commands.send(command).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Fails where the disk refuses to be written: where it has refused something, it is tried.
    pub(super) async fn check(&self) -> Result<()> {
        if self.refused.load(Ordering::Acquire) {
            self.write(Trial).await?;
            self.refused.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Adds a model call that nobody waits for. Where the queue is full, a task waits for room.
    pub(super) fn hand_over(&self, call: ModelCall) {
        let Err(TrySendError::Full(command)) = self.commands.try_send(Command::Record(call)) else { return };
        let Ok(place) = self.overflow.clone().try_acquire_owned() else {
            tracing::error!("a model call is not recorded: the disk is too slow for what waits to be written");
            return;
        };
        let commands = self.commands.clone();
        tokio::spawn(async move {
            let _place = place;
            let _ = commands.send(command).await; // the server is stopping
        });
    }
}

impl Change for Nothing {
    type Answer = ();

    async fn make(&self, _: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        Ok(())
    }
}

impl Change for Trial {
    type Answer = ();

    async fn make(&self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT OR REPLACE INTO trials VALUES (1, zeroblob(65536))").execute(connection).await.map(drop)
    }
}

impl<C: Change> Waiting for Asked<C> {
    fn make<'a>(&'a mut self, connection: &'a mut SqliteConnection) -> BoxFuture<'a, Result<(), sqlx::Error>> {
        Box::pin(async {
            self.answer = Some(self.change.make(connection).await?);
            Ok(())
        })
    }

    /// A caller that left does not matter.
    fn tell(self: Box<Self>, durable: Result<()>) {
        let Asked { answer, caller, .. } = *self;
        let _ = match (durable, answer) {
            (Err(error), _) => caller.send(Err(error)),
            (Ok(()), Some(answer)) => caller.send(Ok(answer)),
            (Ok(()), None) => return, // it was not made, and the caller is told that the server is stopping
        };
    }
}

async fn run(mut connection: SqliteConnection, mut commands: mpsc::Receiver<Command>, refused: Arc<AtomicBool>) {
    let mut group = Vec::with_capacity(GROUP);
    while commands.recv_many(&mut group, GROUP).await > 0 {
        if group.iter().all(|command| matches!(command, Command::Record(_))) {
            // The turn of these model calls follows soon, and would wait for the disk twice.
            let room = GROUP - group.len();
            let _ = timeout(LINGER, commands.recv_many(&mut group, room)).await;
        }
        settle(&mut connection, std::mem::replace(&mut group, Vec::with_capacity(GROUP)), &refused).await;
    }
    if let Err(error) = connection.close().await {
        tracing::error!(%error, "closing the database failed; the next start repairs it");
    }
}

/// Commits a group and tells every caller. Where it may be the fault of one of them, a group that fails is halved, until what fails stands
/// alone and fails nobody else.
async fn settle(connection: &mut SqliteConnection, group: Vec<Command>, refused: &AtomicBool) {
    let mut groups = vec![group];
    while let Some(mut group) = groups.pop() {
        let durable = commit(connection, &mut group).await;
        if group.len() > 1 && durable.as_ref().is_err_and(|error| !fails_all(error)) {
            let second = group.split_off(group.len() / 2);
            groups.extend([second, group]);
            continue;
        }
        let durable = durable.map_err(failed);
        if durable.as_ref().is_err_and(|error| error.reason() == Reason::Unavailable) {
            refused.store(true, Ordering::Release);
        }
        tell(group, &durable);
    }
}

/// Tells every caller of a group what became of it, and the log why.
fn tell(group: Vec<Command>, durable: &Result<()>) {
    if let Err(error) = durable {
        tracing::error!(cause = error.chain(), changes = group.len(), "writing to the database failed: {error}");
    }
    for command in group {
        let Command::Make(waiting) = command else { continue };
        waiting.tell(durable.as_ref().copied().map_err(|error| Error::new(error.reason(), error.detail())));
    }
}

/// Makes all changes of a group durable, or none. The transaction has no object of sqlx: SQLite rolls back by itself where the disk is full,
/// and sqlx would believe for ever that the transaction goes on.
async fn commit(connection: &mut SqliteConnection, group: &mut [Command]) -> Result<(), sqlx::Error> {
    let committed = make_all(connection, group).await;
    if committed.is_err() {
        let _ = sqlx::query("ROLLBACK").execute(connection).await; // fails where SQLite has done so by itself
    }
    committed
}

async fn make_all(connection: &mut SqliteConnection, group: &mut [Command]) -> Result<(), sqlx::Error> {
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let calls: Vec<_> = group.iter().filter_map(Command::call).collect();
    if !calls.is_empty() {
        record(connection, &calls).await?;
    }
    for command in group {
        if let Command::Make(waiting) = command {
            waiting.make(connection).await?;
        }
    }
    sqlx::query("COMMIT").execute(connection).await.map(drop)
}

impl Command {
    fn call(&self) -> Option<&ModelCall> {
        if let Self::Record(call) = self { Some(call) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::sessions::NewTurn;
    use crate::store::sqlite::{open_readers, open_writer};

    fn turn(user: &str) -> NewTurn {
        NewTurn {
            session_id: "s".to_owned(),
            agent_id: "a".to_owned(),
            agent_name: String::new(),
            user: user.to_owned(),
            images: Vec::new(),
            assistant: String::new(),
            model: String::new(),
            input_tokens: u64::MAX,
            output_tokens: 0,
        }
    }

    /// Puts turns into a queue that no task reads yet.
    async fn queue(questions: &[&str]) -> (mpsc::Receiver<Command>, Vec<oneshot::Receiver<Result<()>>>) {
        let (sender, commands) = mpsc::channel(QUEUE);
        let mut answers = Vec::new();
        for question in questions {
            let (caller, answered) = oneshot::channel();
            sender.send(Command::Make(Box::new(Asked { change: turn(question), answer: None, caller }))).await.unwrap();
            answers.push(answered);
        }
        (commands, answers)
    }

    async fn kept(data_dir: &Path) -> Vec<String> {
        let readers = open_readers(data_dir);
        sqlx::query_scalar("SELECT question FROM turns ORDER BY number").fetch_all(&readers).await.unwrap()
    }

    #[tokio::test]
    async fn a_full_disk_refuses_a_turn_and_takes_the_next_that_fits() {
        let directory = tempfile::tempdir().unwrap();
        let mut connection = open_writer(directory.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA max_page_count = 60").execute(&mut connection).await.unwrap();
        let writer = Writer::start(connection);
        writer.write(turn("one")).await.unwrap();
        let error = writer.write(turn(&"x".repeat(1 << 20))).await.unwrap_err();
        assert_eq!(
            (error.reason(), error.detail()),
            (Reason::Unavailable, "the disk of the data directory is full; make room and try again")
        );
        writer.write(turn("two")).await.unwrap();
        assert_eq!(kept(directory.path()).await, ["one", "two"]);
    }

    #[tokio::test]
    async fn what_waits_is_committed_together_in_order_and_before_the_task_ends() {
        let directory = tempfile::tempdir().unwrap();
        let (commands, mut answers) = queue(&["1", "2", "3"]).await;
        drop(answers.pop()); // a caller that leaves
        run(open_writer(directory.path()).await.unwrap(), commands, Arc::default()).await;
        for answered in answers {
            answered.await.unwrap().unwrap();
        }
        assert_eq!(kept(directory.path()).await, ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn what_does_not_fit_fails_nobody_else_of_its_group() {
        let directory = tempfile::tempdir().unwrap();
        let large = "x".repeat(1 << 20);
        let (commands, answers) = queue(&["1", &large, "2", "3", &large, "4"]).await;
        let mut connection = open_writer(directory.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA max_page_count = 60").execute(&mut connection).await.unwrap();
        run(connection, commands, Arc::default()).await;
        let mut refused = Vec::new();
        for (place, answered) in answers.into_iter().enumerate() {
            if let Err(error) = answered.await.unwrap() {
                refused.push((place, error.reason()));
            }
        }
        assert_eq!(refused, [(1, Reason::Unavailable), (4, Reason::Unavailable)]);
        assert_eq!(kept(directory.path()).await, ["1", "2", "3", "4"]);
    }
}
