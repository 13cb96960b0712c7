//! Tells what happens in a chat to the one who asked, without ever letting a slow reader grow a queue.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{FutureExt, Stream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};

use crate::error::{Error, Reason};
use crate::wire::v1::ChatEvent;
use crate::wire::v1::chat_event::{Delegate, Event, ReasoningDelta, TextDelta};

/// The most events that wait for a reader.
const WAITING_EVENTS: usize = 32;

/// How long a reader may take no event before it counts as gone.
const STALL: Duration = Duration::from_mins(1);

/// The reader is gone.
#[derive(Debug)]
pub(super) struct Gone;

/// The writing end of a chat's events.
pub(super) struct Teller {
    /// In boxes, because a channel keeps room for many events in every open stream.
    events: mpsc::Sender<Box<Event>>,
    /// Text that found no room yet; more of it is joined to it.
    held: Option<Event>,
    /// The sub-agent whose work is told.
    delegate: Option<Delegate>,
}

/// The events of a chat. Dropping it ends the chat.
pub struct ChatEvents {
    events: mpsc::Receiver<Box<Event>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    over: bool,
    _presence: DropGuard,
}

/// Joins a teller and its reader. The token is cancelled when the reader goes away.
pub(super) fn channel(stop: CancellationToken) -> (Teller, ChatEvents, CancellationToken) {
    let (sender, receiver) = mpsc::channel(WAITING_EVENTS);
    let gone = CancellationToken::new();
    let events = ChatEvents { events: receiver, stop: Box::pin(stop.cancelled_owned()), over: false, _presence: gone.clone().drop_guard() };
    (Teller { events: sender, held: None, delegate: None }, events, gone)
}

impl Teller {
    /// Makes another teller for the same work, to the same reader.
    pub(super) fn again(&self) -> Self {
        Self { events: self.events.clone(), held: None, delegate: self.delegate.clone() }
    }

    /// Makes a teller for the work of a sub-agent, to the same reader.
    pub(super) fn of(&self, delegate: Delegate) -> Self {
        Self { events: self.events.clone(), held: None, delegate: Some(delegate) }
    }

    /// Tells an event, after all text that is still held.
    ///
    /// The event goes into its box before anything waits: a future that held it whole would make every open chat larger.
    pub(super) fn tell(&mut self, event: Event) -> impl Future<Output = Result<(), Gone>> {
        let event = Box::new(self.tagged(event));
        async move {
            if let Some(held) = self.held.take() {
                self.send(Box::new(held)).await?;
            }
            self.send(event).await
        }
    }

    /// Tells more of the answer's text, now or with what follows.
    pub(super) fn text(&mut self, text: String) {
        match &mut self.held {
            Some(Event::TextDelta(held)) => held.text.push_str(&text),
            held => *held = Some(Event::TextDelta(TextDelta { text, delegate: self.delegate.clone() })),
        }
        self.flush();
    }

    /// Tells more of the model's reasoning, now or with what follows.
    pub(super) fn reasoning(&mut self, text: String) {
        match &mut self.held {
            Some(Event::ReasoningDelta(held)) => held.text.push_str(&text),
            // Text of the other kind that found no room is dropped: it is a hint, and the whole text follows.
            held => *held = Some(Event::ReasoningDelta(ReasoningDelta { text, delegate: self.delegate.clone() })),
        }
        self.flush();
    }

    /// Names the sub-agent in an event of its work.
    fn tagged(&self, mut event: Event) -> Event {
        let slot = match &mut event {
            Event::Thinking(event) => &mut event.delegate,
            Event::LlmThought(event) => &mut event.delegate,
            Event::ToolExecution(event) => &mut event.delegate,
            Event::ToolResult(event) => &mut event.delegate,
            Event::ContextCompact(event) => &mut event.delegate,
            _ => return event,
        };
        slot.clone_from(&self.delegate);
        event
    }

    fn flush(&mut self) {
        let Ok(room) = self.events.try_reserve() else { return };
        if let Some(event) = self.held.take() {
            room.send(Box::new(event));
        }
    }

    async fn send(&mut self, event: Box<Event>) -> Result<(), Gone> {
        match self.events.try_send(event) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Gone),
            Err(mpsc::error::TrySendError::Full(event)) => match Box::pin(timeout(STALL, self.events.send(event))).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(Gone),
            },
        }
    }
}

impl Stream for ChatEvents {
    type Item = Result<ChatEvent, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(event) = self.events.poll_recv(context) {
            return Poll::Ready(event.map(|event| Ok(ChatEvent { id: 0, event: Some(*event) })));
        }
        if self.stop.poll_unpin(context).is_ready() {
            self.over = true;
            return Poll::Ready(Some(Err(Error::new(Reason::Unavailable, "the server is stopping; try again in a moment"))));
        }
        Poll::Pending
    }
}
