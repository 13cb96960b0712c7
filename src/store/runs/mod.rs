//! Runs: each is a log of records, kept row by row, and beside it what lists, recovery and retention read. [`RunStore`] is the seam
//! behind which another database may take the place of SQLite.

mod changes;
mod sqlite;

use std::sync::Arc;

use jiff::Timestamp;

use super::page::Cursor;
use super::sessions::NewTurn;
use crate::error::Result;

pub(super) use sqlite::SqliteRuns;

/// The most bytes of a row's body.
pub const ROW_BYTES: usize = 32 << 20;

/// The epoch of a run that nobody has claimed or taken since it was created.
pub const FIRST_EPOCH: u64 = 1;

/// Some records of a run that became durable together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its place in the log: dense, from 1.
    pub number: u64,
    /// The id of its first event: ids are dense, from 1.
    pub first_event: u64,
    /// How many events its records make.
    pub events: u32,
    /// The records: a JSON array.
    pub body: String,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunStatus {
    /// Something is going on.
    Running,
    /// Everything that is left waits for people or for a time.
    Paused,
    /// It came to its end.
    Completed,
    /// It ended because something went wrong.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

/// What kind of run it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunKind {
    /// A turn of a session with an agent: a run without an orchestration.
    Chat,
    /// A run of an orchestration.
    Orchestration,
}

/// What lists and filters read of a run. Every row brings all of it anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunFacts {
    /// Where the run stands.
    pub status: RunStatus,
    /// When a paused run has to be looked at again; never where only people can go on with it.
    pub wake_at: Option<Timestamp>,
    /// When it ended; `None` until it has.
    pub ended_at: Option<Timestamp>,
    /// US dollars so far.
    pub cost: f64,
    /// Tokens that models have read so far.
    pub input_tokens: u64,
    /// Tokens that models have written so far.
    pub output_tokens: u64,
}

/// What a run does, as it was when the run began: the orchestration and everything that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedDefinition {
    /// The SHA-256 of the body, under which it is kept once.
    pub hash: [u8; 32],
    /// The definitions: JSON.
    pub body: Arc<str>,
}

/// The mark that a request with an idempotency key leaves, so that the same request finds the answer to the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeat {
    /// Who asks.
    pub principal: String,
    /// The key, which is the caller's own.
    pub key: String,
    /// The SHA-256 of what is asked.
    pub fingerprint: [u8; 32],
    /// The id of the event after which the answer begins.
    pub after: u64,
}

/// The answer to an earlier request with the same idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeated {
    /// The run that answers.
    pub run_id: String,
    /// The id of the event after which the answer begins.
    pub after: u64,
}

/// A run that begins, with its first row.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its id, which no other run has.
    pub run_id: String,
    /// The orchestration; none for a chat.
    pub orchestration_id: Option<String>,
    /// The agent that was asked; none where the orchestration itself was started.
    pub agent_id: Option<String>,
    /// The session of a chat.
    pub session_id: Option<String>,
    /// The name of the orchestration or of the agent at this time.
    pub name: String,
    /// What it does.
    pub definition: Option<Arc<PinnedDefinition>>,
    /// Who started it.
    pub principal: String,
    /// When.
    pub created_at: Timestamp,
    /// Whether it goes on without its caller.
    pub background: bool,
    /// Where it stands after its first row.
    pub facts: RunFacts,
    /// Its first row.
    pub row: RunRow,
    /// The mark of the request that started it.
    pub repeat: Option<Repeat>,
    /// The turn of its session, where the first row is the last one too.
    pub turn: Option<NewTurn>,
}

/// What became of a run that should begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It began, and belongs to the caller in epoch [`FIRST_EPOCH`].
    New,
    /// The same request has been answered before; nothing was written.
    Repeated(Repeated),
}

/// The next row of a run.
#[derive(Debug, Clone)]
pub struct Append {
    /// The run.
    pub run_id: String,
    /// The epoch in which it belongs to the caller.
    pub epoch: u64,
    /// The row.
    pub row: RunRow,
    /// Where the run stands after it.
    pub facts: RunFacts,
    /// Whether the row holds a result, so that the run does not merely crash again and again.
    pub progress: bool,
    /// The mark of the request that caused it.
    pub repeat: Option<Repeat>,
    /// The turn of its session, where this is the last row.
    pub turn: Option<NewTurn>,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It is durable.
    Done,
    /// The same request has been answered before; nothing was written.
    Repeated(Repeated),
    /// The run belongs to somebody else by now, or the row does not continue its log; nothing was written.
    Fenced,
}

/// A run without its log.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Its id.
    pub run_id: String,
    /// The orchestration; none for a chat.
    pub orchestration_id: Option<String>,
    /// The agent that was asked; none where the orchestration itself was started.
    pub agent_id: Option<String>,
    /// The session of a chat.
    pub session_id: Option<String>,
    /// The name of the orchestration or of the agent when it began.
    pub name: String,
    /// The SHA-256 of the definition that it follows.
    pub definition: Option<[u8; 32]>,
    /// Who started it.
    pub principal: String,
    /// When.
    pub created_at: Timestamp,
    /// Whether it goes on without its caller.
    pub background: bool,
    /// Where it stands.
    pub facts: RunFacts,
    /// How often it changed hands, from [`FIRST_EPOCH`].
    pub epoch: u64,
    /// How often in a row the process died while the run went on, without a result in between.
    pub crashes: u32,
    /// How many rows its log has.
    pub rows: u64,
    /// How many events they make.
    pub events: u64,
}

/// Which runs somebody asks for: those to which all of this applies.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunFilter<'a> {
    /// Those of this orchestration.
    pub orchestration_id: Option<&'a str>,
    /// Those of this agent.
    pub agent_id: Option<&'a str>,
    /// Those that stand there.
    pub status: Option<RunStatus>,
    /// Those of this kind.
    pub kind: Option<RunKind>,
    /// Those that began at this time or later.
    pub created_after: Option<Timestamp>,
    /// Those that began before this time.
    pub created_before: Option<Timestamp>,
}

/// One page of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The runs, the newest first.
    pub runs: Vec<RunSummary>,
    /// Where the next page begins; nothing after the last one.
    pub next: Option<Cursor>,
}

/// Keeps runs. What was written is durable when a call returns, and was written even if the caller left meanwhile.
#[tonic::async_trait]
pub trait RunStore: Send + Sync {
    /// Begins a run. A mark that belongs to another request is refused as a conflict.
    async fn create(&self, run: NewRun) -> Result<Created>;

    /// Continues a run: its row, its facts, the mark and the turn become durable together. A mark that belongs to another request is refused
    /// as a conflict.
    async fn append(&self, append: Append) -> Result<Appended>;

    /// Returns a run.
    async fn get(&self, run_id: &str) -> Result<Option<RunSummary>>;

    /// Returns at most `limit` rows of a run after number `after`, oldest first. A page ends early once it holds
    /// [`PAGE_BYTES`](super::PAGE_BYTES), and has one row at least.
    async fn rows(&self, run_id: &str, after: u64, limit: u32) -> Result<Vec<RunRow>>;

    /// Returns the body of a definition that runs follow.
    async fn definition(&self, hash: &[u8; 32]) -> Result<Option<Arc<str>>>;

    /// Returns the answer to an earlier request with that key. One that belongs to another request is refused as a conflict.
    async fn repeated(&self, principal: &str, key: &str, fingerprint: &[u8; 32]) -> Result<Option<Repeated>>;

    /// Lists runs, the newest first: at most `limit` of those after `after`.
    async fn list(&self, filter: RunFilter<'_>, after: Option<Cursor>, limit: u32) -> Result<RunPage>;

    /// Takes over at most `limit` running runs that belonged to an earlier process, in a new epoch. One that was not released is counted
    /// as crashed. Nothing is left once nothing is returned.
    async fn claim(&self, limit: u32) -> Result<Vec<RunSummary>>;

    /// Takes a paused or ended run, in a new epoch, to go on with it. Nothing where it does not exist or is running.
    async fn take(&self, run_id: &str) -> Result<Option<RunSummary>>;

    /// Gives back all running runs, so that the next process counts no crash. No row is taken in their epochs from now on.
    async fn release_all(&self) -> Result<()>;

    /// Returns at most `limit` paused runs that have to be looked at by now, those that wait longest first.
    async fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<String>>;

    /// Returns when the next paused run has to be looked at.
    async fn next_wake(&self) -> Result<Option<Timestamp>>;

    /// Deletes some of the runs that ended before a time or are not among the newest `keep` that ended, oldest first: at most `most`, fewer
    /// where their logs are long. Nothing is left once it returns 0.
    async fn purge(&self, before: Timestamp, keep: u64, most: u32) -> Result<u64>;
}

impl RunStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    /// Returns its name, as the API and the database write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Returns the status of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// Tells whether the run has ended.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl RunSummary {
    /// Returns what kind of run it is.
    pub const fn kind(&self) -> RunKind {
        if self.orchestration_id.is_some() { RunKind::Orchestration } else { RunKind::Chat }
    }
}
