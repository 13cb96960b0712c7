//! One at a time: chats of the same conversation wait for each other, others do not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Gates = Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>;

/// Lets one caller pass for each key; the others wait in the order in which they came.
#[derive(Default)]
pub struct Turnstile {
    gates: Arc<Gates>,
}

/// The right to be inside, until it is dropped.
pub struct Passage {
    gates: Arc<Gates>,
    key: String,
    inside: Option<OwnedMutexGuard<()>>,
}

impl Turnstile {
    /// Waits until nobody with the same key is inside.
    pub async fn enter(&self, key: String) -> Passage {
        let gate = self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default().clone();
        // Made before waiting, so that a caller who gives up clears the gate as well.
        let mut passage = Passage { gates: self.gates.clone(), key, inside: None };
        passage.inside = Some(gate.lock_owned().await);
        passage
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.inside = None;
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever waits holds the gate too; the last one to leave takes it away.
        if gates.get(&self.key).is_some_and(|gate| Arc::strong_count(gate) == 1) {
            gates.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_nothing_is_left_behind() {
        let turnstile = Turnstile::default();
        let first = turnstile.enter("a".to_owned()).await;
        let mut second = Box::pin(turnstile.enter("a".to_owned()));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(turnstile.enter("b".to_owned()).now_or_never().is_some());
        drop(first);
        drop(second.await);
        assert!(turnstile.gates.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_who_gives_up_waiting_leaves_nothing_behind() {
        let turnstile = Turnstile::default();
        let first = turnstile.enter("a".to_owned()).await;
        assert!(turnstile.enter("a".to_owned()).now_or_never().is_none());
        drop(first);
        assert!(turnstile.gates.lock().unwrap().is_empty());
    }
}
