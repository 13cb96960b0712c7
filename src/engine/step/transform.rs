//! Transform steps: a Python program makes a value of the state.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::{Attempt, Done, Failure, FailureKind};
use crate::engine::python_text;
use crate::engine::run::Told;
use crate::error::{Error, Reason};
use crate::python::{Answer, Fault, Program, Raised};

/// How long a program may take where its step names no time.
const PROGRAM_TIME: Duration = Duration::from_mins(1);

/// What tracebacks call the program.
const FILE: &str = "transform.py";

/// Runs the program. It works on a copy of the state; what it leaves in `result` is written.
pub(super) async fn perform(attempt: &Attempt, code: &str) -> Result<Done, Failure> {
    let names = Map::from_iter([("state".to_owned(), Value::Object((*attempt.state.values).clone()))]);
    let program = Program { file: FILE.to_owned(), code: code.to_owned(), names };
    let left = attempt.deadline.saturating_duration_since(Instant::now());
    let limit = if attempt.step.timeout_seconds.is_some() { left } else { left.min(PROGRAM_TIME) };
    let answer = attempt.engine.python.run(&program, limit).await.map_err(|fault| failure(&fault))?;
    if !answer.printed.is_empty() {
        tracing::debug!(step = attempt.step.id, printed = answer.printed, "a program printed");
    }
    Ok(done(answer))
}

/// Takes the result; what was printed counts only where there is nothing else.
fn done(answer: Answer) -> Done {
    let output = match answer.result {
        Value::Null => Some(answer.printed).filter(|printed| !printed.is_empty()).map(Value::from),
        result => Some(result),
    };
    let told = Told::Transform(output.as_ref().map(python_text::str));
    Done { output, told, ..Done::default() }
}

/// Tells the author of a program what is wrong and where, and the log everything.
fn failure(fault: &Fault) -> Failure {
    let (place, cause) = match fault {
        Fault::Raised(Raised { traceback, .. }) | Fault::Refused(Raised { traceback, .. }) => (line(traceback), Some(traceback.clone())),
        _ => (None, None),
    };
    let place = place.map(|line| format!(" (line {line})")).unwrap_or_default();
    let error = Error::new(Reason::AgentFailed, format!("Transform error: {fault}{place}"));
    let error = cause.into_iter().fold(error, Error::because);
    Failure { kind: FailureKind::Transform, error }
}

/// Returns the innermost line of the program that a traceback names.
fn line(traceback: &str) -> Option<u32> {
    let frame = format!("File \"{FILE}\", line ");
    let rest = &traceback[traceback.rfind(&frame)? + frame.len()..];
    rest[..rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prints_count_only_without_a_result() {
        let came = |result: Value, printed: &str| done(Answer { result, printed: printed.to_owned() });
        assert_eq!(came(json!({"n": 1}), "debug").output, Some(json!({"n": 1})));
        assert_eq!(came(json!({"n": 1}), "").told, Told::Transform(Some("{'n': 1}".to_owned())));
        assert_eq!(came(Value::Null, "two\n").output, Some("two\n".into()));
        assert_eq!((came(Value::Null, "").output, came(Value::Null, "").told), (None, Told::Transform(None)));
    }

    #[test]
    fn a_failure_names_the_line_of_the_program() {
        let traceback = "Traceback (most recent call last):\n  File \"transform.py\", line 7, in <module>\n  File \"transform.py\", line 2, in half\n    return 1 / n\n";
        let raised =
            Raised { error: "ZeroDivisionError: division by zero".to_owned(), traceback: traceback.to_owned(), printed: String::new() };
        let failure = failure(&Fault::Raised(raised));
        assert_eq!(failure.error.detail(), "Transform error: ZeroDivisionError: division by zero (line 2)");
        assert!(failure.error.chain().contains("in half"));
    }
}
