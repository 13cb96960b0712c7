//! Tells the driver of a run what happens inside a step. What a driver hears it keeps, and tells everybody who watches.

use tokio::sync::{mpsc, oneshot};

use super::run::{self, Note};
use crate::wire::v1::chat_event::{Delegate, Event};

/// The most that waits for a driver.
const WAITING: usize = 32;

/// The run goes on without this step.
#[derive(Debug)]
pub(super) struct Gone;

/// Where tellers speak. In boxes, because a channel keeps room for many in every run that works.
pub(super) type Mouth = mpsc::Sender<Box<Said>>;

/// Something that was said inside a step.
#[derive(Debug)]
pub(super) struct Said {
    /// The execution of the step.
    pub execution: u32,
    /// What.
    pub what: What,
}

/// What was said.
#[derive(Debug)]
pub(super) enum What {
    /// Something that is kept.
    Note(Note),
    /// A piece of text as it is generated.
    Hint(Hint),
    /// Somebody wants to know when everything before is durable.
    Kept(oneshot::Sender<()>),
}

/// A piece of text as it is generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hint {
    /// Whether the model reasons.
    pub reasoning: bool,
    /// The text.
    pub text: String,
    /// The sub-agent.
    pub delegate: Option<run::Delegate>,
}

/// The end at which a step speaks.
pub(super) struct Teller {
    said: Mouth,
    execution: u32,
    /// Text that found no room yet; more of it is joined to it.
    held: Option<Hint>,
    /// The sub-agent whose work is told.
    delegate: Option<run::Delegate>,
}

/// Makes what tellers speak into, and what a driver hears.
pub(super) fn mailbox() -> (Mouth, mpsc::Receiver<Box<Said>>) {
    mpsc::channel(WAITING)
}

impl Teller {
    /// Makes the teller of an execution.
    pub(super) const fn new(said: Mouth, execution: u32) -> Self {
        Self { said, execution, held: None, delegate: None }
    }

    /// Makes another teller for the same work.
    pub(super) fn again(&self) -> Self {
        Self { said: self.said.clone(), execution: self.execution, held: None, delegate: self.delegate.clone() }
    }

    /// Makes a teller for the work of a sub-agent.
    pub(super) fn of(&self, delegate: Delegate) -> Self {
        Self { delegate: Some(delegate.into()), ..self.again() }
    }

    /// Tells something, after all text that is still held.
    pub(super) async fn tell(&mut self, event: Event) -> Result<(), Gone> {
        self.let_go().await?;
        match Note::of(event, self.delegate.clone()) {
            Some(note) => self.say(What::Note(note)).await,
            None => Ok(()),
        }
    }

    /// Waits until everything that was told is durable, so that what follows may have effects outside.
    pub(super) async fn kept(&mut self) -> Result<(), Gone> {
        self.let_go().await?;
        let (kept, durable) = oneshot::channel();
        self.say(What::Kept(kept)).await?;
        durable.await.map_err(|_| Gone)
    }

    /// Tells more of the answer's text, now or with what follows.
    pub(super) fn text(&mut self, text: String) {
        self.hint(false, text);
    }

    /// Tells more of the model's reasoning, now or with what follows.
    pub(super) fn reasoning(&mut self, text: String) {
        self.hint(true, text);
    }

    fn hint(&mut self, reasoning: bool, text: String) {
        match &mut self.held {
            Some(held) if held.reasoning == reasoning => held.text.push_str(&text),
            // Text of the other kind that found no room is dropped: it is a hint, and the whole text follows.
            held => *held = Some(Hint { reasoning, text, delegate: self.delegate.clone() }),
        }
        if let Ok(room) = self.said.try_reserve()
            && let Some(held) = self.held.take()
        {
            room.send(Box::new(Said { execution: self.execution, what: What::Hint(held) }));
        }
    }

    async fn let_go(&mut self) -> Result<(), Gone> {
        match self.held.take() {
            Some(held) => self.say(What::Hint(held)).await,
            None => Ok(()),
        }
    }

    /// What is said goes into its box before anything waits: a future that held it whole would make every run larger.
    fn say(&self, what: What) -> impl Future<Output = Result<(), Gone>> {
        let said = Box::new(Said { execution: self.execution, what });
        async move { self.said.send(said).await.map_err(|_| Gone) }
    }
}
