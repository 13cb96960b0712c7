//! The rules of the schema, kept for both protocols before a handler sees a request.

use std::fmt;

/// A request that knows its rules.
pub trait Validate {
    /// Tells the first rule that the request breaks.
    fn validate(&self) -> Result<(), Violation>;
}

/// A broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, with dots from the outermost message inwards.
    pub field: String,
    /// What the field must be.
    pub rule: String,
}

impl Violation {
    fn new(field: &str, rule: impl Into<String>) -> Self {
        Self { field: field.to_owned(), rule: rule.into() }
    }

    /// Puts the name of the message's field in front.
    #[must_use]
    pub fn within(self, field: &str) -> Self {
        Self { field: format!("{field}.{}", self.field), ..self }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}` {}", self.field, self.rule)
    }
}

/// The rules that the generated code names.
mod rule {
    use super::Violation;
    use crate::wire::word::{Words, choice};

    type Checked = Result<(), Violation>;

    pub(super) fn required(field: &str, present: bool) -> Checked {
        if present { Ok(()) } else { Err(Violation::new(field, "is required")) }
    }

    pub(super) fn items(field: &str, count: usize, least: Option<u64>, most: Option<u64>) -> Checked {
        range_of(field, count as u64, least, most, "items")
    }

    pub(super) fn length(field: &str, text: &str, least: Option<u64>, most: Option<u64>) -> Checked {
        if least == Some(1) && text.is_empty() {
            return Err(Violation::new(field, "must not be empty"));
        }
        range_of(field, text.chars().count() as u64, least, most, "characters")
    }

    pub(super) fn range(field: &str, number: i128, least: Option<i64>, most: Option<i64>) -> Checked {
        match (least, most) {
            (Some(least), _) if number < i128::from(least) => Err(Violation::new(field, format!("must be at least {least}, not {number}"))),
            (_, Some(most)) if number > i128::from(most) => Err(Violation::new(field, format!("must be at most {most}, not {number}"))),
            _ => Ok(()),
        }
    }

    #[allow(dead_code, clippy::allow_attributes, reason = "whether requests have enums depends on the schema")]
    pub(super) fn word<T: Words>(field: &str, number: i32) -> Checked {
        let known = T::WORDS.iter().any(|(_, candidate)| *candidate == number);
        if known { Ok(()) } else { Err(Violation::new(field, format!("{}, not number {number}", choice::<T>()))) }
    }

    fn range_of(field: &str, count: u64, least: Option<u64>, most: Option<u64>, unit: &str) -> Checked {
        match (least, most) {
            (Some(least), _) if count < least => Err(Violation::new(field, format!("must have at least {least} {unit}, not {count}"))),
            (_, Some(most)) if count > most => Err(Violation::new(field, format!("must have at most {most} {unit}, not {count}"))),
            _ => Ok(()),
        }
    }
}

/// The rules of every message that clients send.
#[allow(unused_imports, clippy::pedantic, clippy::allow_attributes, reason = "generated")]
mod generated {
    use super::{Validate, Violation, rule};
    use crate::wire::v1::*;

    include!(concat!(env!("OUT_DIR"), "/validate.rs"));
}
