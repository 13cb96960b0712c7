//! What was found out about models, kept for as long as the process lives.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The most models that are remembered; what is true of further ones is found out every time.
const REMEMBERED: usize = 1000;

/// The models of which something is true.
#[derive(Debug, Default)]
pub(super) struct Remembered(Mutex<BTreeSet<String>>);

impl Remembered {
    /// Returns whether it is known to be true of a model.
    pub(super) fn has(&self, model: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(model)
    }

    /// Remembers that it is true of a model.
    pub(super) fn add(&self, model: String) {
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if models.len() < REMEMBERED {
            models.insert(model);
        }
    }
}
