//! Records as they are kept.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::super::record::{Began, Chat, Delegate, Finished, Nested, Note, Outcome, Question, Record, Spent, Told};
use crate::store::Image;

fn text() -> impl Strategy<Value = String> {
    any::<String>()
}

fn number() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has no others", |number| number.is_finite())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        number().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), btree_map(text(), inner, 0..4).prop_map(|map| object(map).into())]
    })
}

fn object(map: BTreeMap<String, Value>) -> Map<String, Value> {
    map.into_iter().collect()
}

fn values() -> impl Strategy<Value = Map<String, Value>> {
    btree_map(text(), value(), 0..4).prop_map(object)
}

fn spent() -> impl Strategy<Value = Spent> {
    (any::<u64>(), any::<u64>(), any::<u64>(), number()).prop_map(|(input_tokens, output_tokens, cached_tokens, cost)| Spent {
        input_tokens,
        output_tokens,
        cached_tokens,
        cost,
    })
}

fn delegate() -> impl Strategy<Value = Option<Delegate>> {
    of((text(), text(), text()).prop_map(|(agent_id, agent_name, call_id)| Delegate { agent_id, agent_name, call_id }))
}

fn began() -> impl Strategy<Value = Record> {
    let image = (text(), text()).prop_map(|(media_type, base64)| Image { media_type, base64: base64.into() });
    let chat = (text(), text(), any::<bool>(), vec(image, 0..2), any::<bool>())
        .prop_map(|(agent_id, agent_name, continued, images, background)| Chat { agent_id, agent_name, continued, images, background });
    (text(), any::<i64>(), text(), text(), of(chat))
        .prop_map(|(run_id, at, message, session_id, chat)| Record::Began(Began { run_id, at, message, session_id, chat }))
}

fn note() -> impl Strategy<Value = Note> {
    prop_oneof![
        (text(), delegate()).prop_map(|(message, delegate)| Note::Thinking { message, delegate }),
        (text(), any::<u32>(), delegate()).prop_map(|(thought, turn, delegate)| Note::Thought { thought, turn, delegate }),
        (text(), values(), text(), delegate()).prop_map(|(tool_name, args, call_id, delegate)| Note::ToolExecution {
            tool_name,
            args,
            call_id,
            delegate
        }),
        (text(), text(), text(), delegate()).prop_map(|(tool_name, preview, call_id, delegate)| Note::ToolResult {
            tool_name,
            preview,
            call_id,
            delegate
        }),
        (text(), any::<u64>(), any::<u64>(), number(), of(text()), delegate()).prop_map(
            |(stage, chars_before, chars_after, reduction_pct, archive_path, delegate)| Note::Compact {
                stage,
                chars_before,
                chars_after,
                reduction_pct,
                archive_path,
                delegate
            }
        ),
        text().prop_map(|message| Note::Warning { message }),
    ]
}

fn told() -> impl Strategy<Value = Told> {
    prop_oneof![
        Just(Told::Nothing),
        text().prop_map(Told::Text),
        (text(), text(), of(text())).prop_map(|(text, intent, tool_name)| Told::Answer { text, intent, tool_name }),
        (text(), text()).prop_map(|(label, reasoning)| Told::Route { label, reasoning }),
        (text(), any::<bool>()).prop_map(|(condition, holds)| Told::If { condition, holds }),
        (text(), text(), of(text())).prop_map(|(expression, value, case)| Told::Switch { expression, value, case }),
        (any::<u32>(), text()).prop_map(|(inputs, strategy)| Told::Merge { inputs, strategy }),
        of(text()).prop_map(Told::Transform),
    ]
}

fn finished() -> impl Strategy<Value = Record> {
    (any::<u32>(), any::<i64>(), of(value()), told(), of(text()), of(text()), any::<bool>(), spent()).prop_map(
        |(execution, at, output, told, error, next, breaks, spent)| {
            Record::Finished(Box::new(Finished { execution, at, output, told, error, next, breaks, spent }))
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    (text(), vec(values(), 0..3), of(text()), of(text()), of(any::<i64>()), any::<bool>()).prop_map(
        |(prompt, fields, agent_context, channel_id, expires_at, interrupted)| Question {
            prompt,
            fields,
            agent_context,
            channel_id,
            expires_at,
            interrupted,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let nested = (text(), text()).prop_map(|(orchestration_id, message)| Nested { orchestration_id, message });
    let outcome = select(vec![Outcome::Completed, Outcome::Failed, Outcome::Cancelled]);
    prop_oneof![
        began(),
        (any::<u32>(), any::<u32>(), text(), any::<u32>(), any::<i64>(), of(nested))
            .prop_map(|(execution, frame, step, attempt, at, nested)| Record::Started { execution, frame, step, attempt, at, nested }),
        (any::<u32>(), note()).prop_map(|(execution, note)| Record::Noted { execution, note }),
        finished(),
        (any::<u32>(), any::<i64>(), text(), of(any::<i64>()), spent())
            .prop_map(|(execution, at, error, retry_at, spent)| Record::Failed { execution, at, error, retry_at, spent }),
        any::<u32>().prop_map(|execution| Record::Interrupted { execution }),
        (any::<u32>(), question()).prop_map(|(execution, question)| Record::Asked { execution, question }),
        (any::<u32>(), any::<i64>(), value(), any::<bool>(), of(text()), any::<bool>())
            .prop_map(|(execution, at, answer, timeout, next, breaks)| Record::Answered { execution, at, answer, timeout, next, breaks }),
        (any::<u32>(), any::<i64>()).prop_map(|(execution, at)| Record::Passed { execution, at }),
        (any::<u32>(), text(), any::<u32>(), any::<u32>()).prop_map(|(frame, step, iterations, max_iterations)| Record::Skipped {
            frame,
            step,
            iterations,
            max_iterations
        }),
        any::<i64>().prop_map(|at| Record::Rested { at }),
        any::<i64>().prop_map(|at| Record::Woken { at }),
        (any::<i64>(), outcome, of(text()), of(text())).prop_map(|(at, outcome, error, reason)| Record::Ended {
            at,
            outcome,
            error,
            reason
        }),
        any::<i64>().prop_map(|at| Record::Retried { at }),
    ]
}

/// Adds a field that nobody knows to every object whose fields are ours.
fn from_the_future(value: &mut Value) {
    let Some(object) = value.as_object_mut() else { return };
    for key in ["chat", "nested", "note", "question", "spent", "delegate"] {
        object.get_mut(key).into_iter().for_each(from_the_future);
    }
    object.insert("from_the_future".to_owned(), json!({"a": [1]}));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_record_is_read_as_it_was_written_even_with_fields_that_nobody_knows(record in record()) {
        let written = serde_json::to_string(&record).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Record>(&written).unwrap(), &record);
        let mut later: Value = serde_json::from_str(&written).unwrap();
        from_the_future(&mut later);
        prop_assert_eq!(&serde_json::from_str::<Record>(&later.to_string()).unwrap(), &record);
    }
}

#[test]
fn records_of_the_first_release_are_read() {
    let began = json!({"record": "began", "run_id": "r", "at": 1, "message": "m", "session_id": "s"});
    let finished = json!({"record": "finished", "execution": 1, "at": 2, "output": null, "told": {"transform": null}, "next": null});
    let answered = json!({"record": "answered", "execution": 2, "at": 3, "answer": {"a": 1}, "timeout": false, "next": "b"});
    let read = |value: Value| serde_json::from_value::<Record>(value).unwrap();
    assert!(matches!(read(began), Record::Began(Began { chat: None, .. })));
    let Record::Finished(finished) = read(finished) else { panic!("another record") };
    assert_eq!((finished.output, finished.told), (Some(Value::Null), Told::Transform(None)));
    assert!(matches!(read(answered), Record::Answered { breaks: false, .. }));
}
