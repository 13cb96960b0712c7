//! What is wrong with an expression, and where.

/// What is wrong with an expression, for the one who wrote it to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} (at character {column} of the expression)")]
pub(crate) struct Fault {
    /// Where, counted in characters from 1.
    column: usize,
    /// What, and the way out.
    message: String,
}

impl Fault {
    /// Makes a fault of the character with that index.
    pub(super) fn new(index: usize, message: impl Into<String>) -> Self {
        Self { column: index + 1, message: message.into() }
    }
}
