//! A program, the line that a worker gets of it, and the answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Fault;

/// The longest source in bytes.
pub const SOURCE_BYTES: usize = 256 << 10;

/// The most bytes that a worker gets, source and variables in JSON.
pub const INPUT_BYTES: usize = 16 << 20;

/// The most bytes that a worker answers, in JSON.
pub const ANSWER_BYTES: usize = 8 << 20;

/// The most bytes that a program prints.
pub const PRINTED_BYTES: usize = 1 << 20;

/// A program with what it sees.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// What tracebacks call the source, for example `transform.py`.
    pub file: String,
    /// The source.
    pub code: String,
    /// Variables that stand there from the start, beside `json` and `result`.
    pub names: Map<String, Value>,
}

/// What a program left behind. Whether prints stand in for a missing result is the caller's choice.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Answer {
    /// The variable `result`; null where it was not set.
    pub result: Value,
    /// What was printed.
    pub printed: String,
}

/// The line that a worker gets.
#[derive(Serialize)]
struct Request<'a> {
    file: &'a str,
    code: &'a str,
    names: &'a Map<String, Value>,
    most_printed: usize,
    most_answered: usize,
}

impl Program {
    /// Writes the line that a worker gets, if it is not too long.
    pub(super) fn request(&self) -> Result<Vec<u8>, Fault> {
        let Self { file, code, names } = self;
        within("the source", code.len(), SOURCE_BYTES)?;
        let request = Request { file, code, names, most_printed: PRINTED_BYTES, most_answered: ANSWER_BYTES };
        let mut line = serde_json::to_vec(&request).map_err(|error| Fault::NotStarted(error.into()))?;
        within("what the program gets", line.len(), INPUT_BYTES)?;
        line.push(b'\n');
        Ok(line)
    }
}

fn within(what: &'static str, size: usize, most: usize) -> Result<(), Fault> {
    if size > most { Err(Fault::TooLarge { what, size, most }) } else { Ok(()) }
}
