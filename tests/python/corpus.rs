//! Programs as people and models write them, with the answers that CPython 3.11 gave: ours are the same.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use synapse::python::{Answer, Fault, Program};

use crate::{PATIENCE, python};

/// Where we deliberately differ: the case, our answer, and why.
const EXCEPTIONS: [(&str, &str, &str); 2] = [
    (
        "function_def_recursive",
        r#"{"ok": "15511210043330985984000000", "stdout": ""}"#,
        "integers beyond 64 bit are text, because JSON readers round them",
    ),
    (
        "float_inf_nan",
        r#"{"err": "ValueError", "msg": "`result` holds inf, which JSON cannot; use None or a text"}"#,
        "JSON has no such numbers",
    ),
];

#[derive(Deserialize)]
struct Case {
    name: String,
    code: String,
    state: Value,
    expect: Value,
}

/// Writes an outcome as the corpus does.
fn outcome(answer: Result<Answer, Fault>) -> Value {
    match answer {
        Ok(Answer { result, printed }) => json!({"ok": result, "stdout": printed}),
        Err(Fault::Raised(raised)) => {
            let (error, message) = raised.error.split_once(": ").unwrap_or((&raised.error, ""));
            json!({"err": error, "msg": message})
        }
        Err(other) => json!({"fault": other.to_string()}),
    }
}

/// Returns what is expected of a case: an exception leaves no output, and ours tells none.
fn expected(case: &Case) -> Value {
    if let Some((_, ours, _)) = EXCEPTIONS.iter().find(|(name, ..)| *name == case.name) {
        return serde_json::from_str(ours).unwrap();
    }
    let mut expect = case.expect.as_object().unwrap().clone();
    if expect.contains_key("err") {
        expect.remove("stdout");
    }
    Value::Object(expect)
}

async fn agree(corpus: &str) {
    let cases: Vec<Case> = serde_json::from_str(corpus).unwrap();
    assert!(cases.len() > 30);
    let python = python();
    for case in cases {
        let names = Map::from_iter([("state".to_owned(), case.state.clone())]);
        let program = Program { file: "transform.py".to_owned(), code: case.code.clone(), names };
        let ours = outcome(python.run(&program, PATIENCE).await);
        assert_eq!(ours.to_string(), expected(&case).to_string(), "{}: {}", case.name, case.code);
    }
}

#[tokio::test]
async fn language_and_library_answer_as_recorded() {
    agree(include_str!("../corpus/transforms.json")).await;
}

#[tokio::test]
async fn whole_programs_answer_as_recorded() {
    agree(include_str!("../corpus/real.json")).await;
}
