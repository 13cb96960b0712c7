//! How much work an expression may do, and so how much it can produce.

use std::cell::Cell;

/// The most steps of one expression. A step is a part of it evaluated, an item of a list looked at or made, or some bytes of text.
const STEPS: usize = 1_000_000;

/// How many bytes of text that is made are one step. All text that an expression makes is thus below 16 MB.
const MADE_BYTES: usize = 16;

/// How many bytes of text that is only looked at are one step.
const SEEN_BYTES: usize = 1 << 10;

/// What an expression may still do.
pub(super) struct Budget {
    left: Cell<usize>,
}

impl Budget {
    /// Begins with everything.
    pub(super) fn new() -> Self {
        Self { left: Cell::new(STEPS) }
    }

    /// Takes steps, and refuses one too many.
    pub(super) fn spend(&self, steps: usize) -> Result<(), String> {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| {
            format!("this is more than the {STEPS} steps that an expression may take; work on less, or do it in a transform step")
        })
    }

    /// Takes the steps for making text of that many bytes.
    pub(super) fn make_text(&self, bytes: usize) -> Result<(), String> {
        self.spend(bytes / MADE_BYTES)
    }

    /// Takes the steps for looking at text of that many bytes.
    pub(super) fn see_text(&self, bytes: usize) -> Result<(), String> {
        self.spend(bytes / SEEN_BYTES)
    }
}
