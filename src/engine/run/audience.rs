//! Everybody who watches a run while it works. A watcher has a queue of its own, so that a slow one delays neither the run nor anybody else:
//! one that falls too far behind is told so, and reads the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};

use super::drive::{Command, Commander};
use super::tell::Public;
use crate::wire::v1::{Question, chat_event, run_event};

/// The most events that wait for a watcher before it has to read the log.
const WAITING: usize = 256;

/// The most bytes of live text that wait for a watcher; more is dropped, because the record that follows carries all of it.
const HINT_BYTES: usize = 64 << 10;

/// Something that a watcher is told.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// An event with its number.
    Event(Arc<Public>),
    /// A piece of text as it is generated.
    Hint(Public),
    /// The run waits for people; these are the open questions.
    Rest(Arc<[Question]>),
    /// The run has ended.
    End,
}

/// The runs that work or are watched.
#[derive(Debug, Default)]
pub struct Live {
    runs: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug, Default)]
struct Entry {
    audience: Arc<Audience>,
    /// Reaches the driver of a run that works.
    driver: Option<Commander>,
}

/// Those who watch a run.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    seats: Mutex<Vec<Arc<Seat>>>,
}

/// A watcher's place.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    queue: Mutex<Queue>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Whether something found no room, so that the log has to be read.
    behind: bool,
}

/// What a watcher finds at its place.
#[derive(Debug)]
pub(crate) enum News {
    /// The next item.
    Item(Item),
    /// It fell behind.
    Behind,
}

impl Live {
    /// Enters the driver of a run, and returns who watches.
    pub(crate) fn enter(&self, run_id: &str, driver: Commander) -> Arc<Audience> {
        let mut runs = lock(&self.runs);
        let entry = runs.entry(run_id.to_owned()).or_default();
        entry.driver = Some(driver);
        entry.audience.clone()
    }

    /// Returns the driver of a run that works.
    pub(crate) fn driver(&self, run_id: &str) -> Option<Commander> {
        lock(&self.runs).get(run_id)?.driver.clone()
    }

    /// Takes the driver of a run away, unless somebody has just told it something.
    pub(crate) fn leave(&self, run_id: &str, commands: &mut mpsc::Receiver<Box<Command>>) -> Option<Box<Command>> {
        let mut runs = lock(&self.runs);
        if let Ok(command) = commands.try_recv() {
            return Some(command);
        }
        commands.close();
        if let Some(entry) = runs.get_mut(run_id) {
            entry.driver = None;
            if entry.audience.is_empty() {
                runs.remove(run_id);
            }
        }
        None
    }

    /// Takes a place in front of a run.
    pub(crate) fn sit(&self, run_id: &str) -> Arc<Seat> {
        let mut runs = lock(&self.runs);
        let seat = Arc::new(Seat::default());
        lock(&runs.entry(run_id.to_owned()).or_default().audience.seats).push(seat.clone());
        seat
    }

    /// Gives a place up.
    pub(crate) fn rise(&self, run_id: &str, seat: &Arc<Seat>) {
        let mut runs = lock(&self.runs);
        let Some(entry) = runs.get(run_id) else { return };
        lock(&entry.audience.seats).retain(|other| !Arc::ptr_eq(other, seat));
        if entry.driver.is_none() && entry.audience.is_empty() {
            runs.remove(run_id);
        }
    }
}

impl Audience {
    /// Tells everybody.
    pub(crate) fn tell(&self, items: &[Item]) {
        for seat in lock(&self.seats).iter() {
            seat.tell(items);
        }
    }

    fn is_empty(&self) -> bool {
        lock(&self.seats).is_empty()
    }
}

impl Seat {
    fn tell(&self, items: &[Item]) {
        let mut queue = lock(&self.queue);
        for item in items {
            queue.push(item.clone());
        }
        drop(queue);
        self.news.notify_one();
    }

    /// Waits for what comes next.
    pub(crate) async fn next(&self) -> News {
        loop {
            if let Some(news) = self.take() {
                return news;
            }
            self.news.notified().await;
        }
    }

    /// Forgets what waits, because the log is read up to its end.
    pub(crate) fn catch_up(&self) {
        lock(&self.queue).behind = false;
    }

    fn take(&self) -> Option<News> {
        let mut queue = lock(&self.queue);
        if queue.behind {
            return Some(News::Behind);
        }
        let item = queue.items.pop_front()?;
        if queue.items.is_empty() {
            queue.items.shrink_to(4); // thousands of quiet streams keep no room for events that are gone
        }
        Some(News::Item(item))
    }
}

impl Queue {
    fn push(&mut self, item: Item) {
        if self.behind {
            return;
        }
        if let (Item::Hint(more), Some(Item::Hint(waiting))) = (&item, self.items.back_mut())
            && join(waiting, more)
        {
            return;
        }
        if self.items.len() >= WAITING {
            self.items = VecDeque::new();
            self.behind = true;
            return;
        }
        self.items.push_back(item);
    }
}

/// Joins a piece of text to one of the same kind that still waits, and tells whether they belong together.
fn join(waiting: &mut Public, more: &Public) -> bool {
    let (text, more) = match (waiting, more) {
        (Public::Chat(waiting), Public::Chat(more)) => match (&mut waiting.event, &more.event) {
            (Some(chat_event::Event::TextDelta(waiting)), Some(chat_event::Event::TextDelta(more)))
                if waiting.delegate == more.delegate =>
            {
                (&mut waiting.text, &more.text)
            }
            (Some(chat_event::Event::ReasoningDelta(waiting)), Some(chat_event::Event::ReasoningDelta(more)))
                if waiting.delegate == more.delegate =>
            {
                (&mut waiting.text, &more.text)
            }
            _ => return false,
        },
        (Public::Run(waiting), Public::Run(more)) => {
            let same_place = (&waiting.orch_step_id, &waiting.nested_step_id, &waiting.delegate_from)
                == (&more.orch_step_id, &more.nested_step_id, &more.delegate_from);
            match (&mut waiting.event, &more.event) {
                (Some(run_event::Event::TextDelta(waiting)), Some(run_event::Event::TextDelta(more))) if same_place => {
                    (&mut waiting.text, &more.text)
                }
                (Some(run_event::Event::ReasoningDelta(waiting)), Some(run_event::Event::ReasoningDelta(more))) if same_place => {
                    (&mut waiting.text, &more.text)
                }
                _ => return false,
            }
        }
        _ => return false,
    };
    if text.len() + more.len() <= HINT_BYTES {
        text.push_str(more);
    }
    true
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
