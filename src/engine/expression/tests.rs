//! What expressions do, told by the corpus, by bombs, and by Python itself (`tests/oracle.rs`).

mod oracle;

use std::thread;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::super::python_text;
use super::*;

fn state(value: &Json) -> &Map<String, Json> {
    value.as_object().unwrap()
}

fn value(source: &str) -> Json {
    evaluate(source, &Map::new()).unwrap()
}

fn fault(source: &str) -> String {
    evaluate(source, &Map::new()).map(|value| panic!("{source} is {value}")).unwrap_err().to_string()
}

/// Where we deliberately differ from the corpus: what ours is, None for a fault, and why.
const DIFFERENT: [(&str, Option<&str>); 8] = [
    // Objects in lists are read like all others; the other product cannot, and takes the condition for false.
    ("state.items[0].name", Some("gamma")),
    // Functions that the other product lacks and everybody expects.
    ("any(x == 'a' for x in state.tags)", Some("True")),
    ("isinstance(state.n, int)", Some("True")),
    // The value of a step is JSON, which has no tuples.
    ("(state.n, 1)", Some("[21, 1]")),
    // No functions are made, and nothing with `_` is read: this is how the other product is escaped from.
    ("lambda: 1", None),
    ("state.__class__", None),
    ("().__class__", None),
    // JSON here keeps integers beyond 64 bits as floats: only `big` looks different.
    ("state", Some("'big': 1.2345678901234568e+29, ")),
];

#[test]
fn conditions_are_evaluated_as_in_the_corpus() {
    let corpus: Json = serde_json::from_str(include_str!("../../../tests/corpus/conditions.json")).unwrap();
    let cases = corpus["conds"].as_array().unwrap();
    assert!(cases.len() > 90, "{}", cases.len());
    for case in cases {
        let source = case["expr"].as_str().unwrap();
        let ours = evaluate(source, state(&corpus["state"])).ok();
        let text = ours.as_ref().map(python_text::str);
        if let Some((_, expected)) = DIFFERENT.iter().find(|(different, _)| *different == source) {
            assert_eq!(text.is_some(), expected.is_some(), "{source}");
            assert!(text.unwrap_or_default().contains(expected.unwrap_or_default()), "{source}");
            continue;
        }
        assert_eq!(text.as_deref(), case["expect"]["str"].as_str(), "{source}");
        assert_eq!(ours.as_ref().map(truth), case["expect"]["bool"].as_bool(), "{source}");
        assert_eq!(holds(source, state(&corpus["state"])).ok(), case["expect"]["bool"].as_bool(), "{source}");
    }
}

#[test]
fn bombs_are_faults_and_take_no_time() {
    let nested = |open: &str, close: &str| format!("{}1{}", open.repeat(200_000), close.repeat(200_000));
    let begin = Instant::now();
    for bomb in [
        "10**10**10".to_owned(),
        "2**100000".to_owned(),
        "1 << 10**9".to_owned(),
        "'a'*10**10".to_owned(),
        "[0]*10**10".to_owned(),
        "['a'*9**6]*9**9".to_owned(),
        "len([[[[[1]*100]*100]*100]*100]*100 * 10**7)".to_owned(),
        "str([[[[[1]*1000]*1000]*1000]*1000]*1000)".to_owned(),
        "[[[[1]*1000]*1000]*1000]*1000".to_owned(),
        "[[[1]*1000]*1000]*1000 == [[[1]*1000]*1000]*1000".to_owned(),
        "''.join(['a'*9**6]*9**5)".to_owned(),
        "('a'*9**6).replace('a', 'b'*9**6)".to_owned(),
        "[1 for a in state.l for b in state.l for c in state.l for d in state.l]".to_owned(),
        "sum([[1]*1000]*1000, [])".to_owned(),
        nested("(", ")"),
        nested("[", "]"),
        nested("not ", ""),
        format!("1{}", "+1".repeat(200_000)),
        format!("1{}", "+1".repeat(2000)),
        format!("{}1", "-".repeat(4000)),
        format!("{}1", "not ".repeat(1000)),
        format!("{}1{}", "(".repeat(2000), ")".repeat(2000)),
        format!("{}1{}", "[".repeat(2000), "]".repeat(2000)),
        format!("{}1{}", "(1+".repeat(800), ")".repeat(800)),
        format!("state{}", ".a".repeat(2000)),
        format!("1{}", "**1".repeat(1300)),
        format!("[1{}]", " for a in []".repeat(300)),
        format!("1{}", " if 1 else 1".repeat(300)),
    ] {
        let state = json!({"l": vec![0; 100]});
        assert!(evaluate(&bomb, state.as_object().unwrap()).is_err(), "{}", &bomb[..bomb.len().min(80)]);
    }
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn the_deepest_expression_needs_little_stack() {
    let work = || {
        for source in [
            format!("{}1{}", "(".repeat(63), ")".repeat(63)),
            format!("{}1{}", "[".repeat(63), "]".repeat(63)),
            format!("{}1{}", "len([".repeat(31), "])".repeat(31)),
            format!("1{}", "+1".repeat(63)),
            format!("{}1", "not ".repeat(62)),
            format!("{}1{}", "(1 if 1 else ".repeat(20), ")".repeat(20)),
        ] {
            evaluate(&source, &Map::new()).unwrap();
        }
        let long = vec!["1 == 2"; 300].join(" or ");
        evaluate(&long, &Map::new()).unwrap();
    };
    thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn a_large_state_is_looked_at_and_not_copied() {
    let state = json!({"text": "x".repeat(8 << 20), "list": vec![1; 500_000]});
    let state = state.as_object().unwrap();
    assert_eq!(evaluate("len(state.text) + len(state.list)", state).unwrap(), json!((8 << 20) + 500_000));
    assert_eq!(evaluate("'y' in state.text or 2 in state.list", state).unwrap(), json!(false));
    assert!(holds("state", state).unwrap());
}

#[test]
fn a_fault_names_the_place_and_the_way_out() {
    let state = json!({"n": 5});
    let fault = |source: &str| evaluate(source, state.as_object().unwrap()).unwrap_err().to_string();
    for (source, expected) in [
        ("", "the expression is empty; write one such as `state.score > 5` (at character 1 of the expression)"),
        ("state.n = 5", "`=` sets a value, and an expression only looks at values; compare with `==` (at character 9 of the expression)"),
        (
            "n > 5",
            "`n` is not known here; write `state.n` for a key of the state, or quotes around it for text (at character 1 of the expression)",
        ),
        ("state.n == true", "`true` is written `True` here (at character 12 of the expression)"),
        ("state.n && 1", "`&&` is written `and` here (at character 9 of the expression)"),
        (
            "state.x > 5",
            "`None` (perhaps of a missing key; test it before with `is not None`) and `int` have no order; compare numbers with numbers and text with text (at character 9 of the expression)",
        ),
        ("state.n.sub", "`.sub` needs an object, and this is `int` (at character 8 of the expression)"),
        (
            "state.n._x",
            "`_x` begins with `_`, and such names are not read after a dot; write `['_x']` for a key (at character 9 of the expression)",
        ),
        (
            "sorted(x for y in [1])",
            "`x` is not known here; write `state.x` for a key of the state, or quotes around it for text (at character 8 of the expression)",
        ),
        ("1 / 0", "this divides by zero; test the divisor before (at character 3 of the expression)"),
        ("'a", "the text has no closing quote (at character 1 of the expression)"),
        (
            "'é' + state.n",
            "`+` does not work on `str` and `int`; convert one with `str(...)`, `int(...)` or `float(...)` (at character 5 of the expression)",
        ),
        ("[x for x in x]", "`x` has no value yet; a comprehension makes its names from left to right (at character 13 of the expression)"),
        ("{1} == 1", "a set in braces stands only after `in`; write a list (at character 1 of the expression)"),
    ] {
        assert_eq!(fault(source), expected);
    }
}

#[test]
fn checking_needs_no_state() {
    for good in ["state.a.b > 1", "{'a': [x for x, y in state.p if y]}['a'][-1:]", "state.x in {'a', 'b'}", "# only a comment\n1"] {
        assert_eq!(check(good), Ok(()), "{good}");
    }
    for bad in [
        "state.a >",
        "foo(1)",
        "state.a.eval()",
        "x",
        "[x for y in [1]]",
        "f'{1}'",
        "state.a b",
        "1 2",
        "a := 1",
        "state.x; 1",
        "state..x",
        "x[",
        "len",
    ] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

#[test]
fn integers_are_exact_up_to_128_bits() {
    assert_eq!(value("2**64 == 2**64 + 1"), json!(false));
    assert_eq!(value("2**53 + 1 == 2.0**53"), json!(false));
    assert_eq!(value("10**20"), json!("100000000000000000000"));
    assert_eq!(value("18446744073709551615"), json!(u64::MAX));
    assert!(fault("2**127").contains("128 bits"));
    assert!(fault("float('inf')").contains("no finite number"));
    assert_eq!(value("5 < float('inf')"), json!(true));
}

#[test]
fn values_become_json() {
    assert_eq!(value("{'a': (1, [2.5, None]), 'a' + 'b': True}"), json!({"a": [1, [2.5, null]], "ab": true}));
    assert_eq!(value("[k + str(v) for k, v in {'a': 1, 'b': 2}.items() if v > 1]"), json!(["b2"]));
}

/// Pieces of which expressions are made, most of them wrong ones.
const PIECES: &str = r#"state .a .b [0] ['a'] [ ] ( ) { } , : :: = == < != in not is and or if else for x lambda None True 1 0 -1 2.5 1e400 170141183460469231731687303715884105727 0x 1_ ''
'é😀' " ''' r' f'' \ # + - * ** / // % & << >> ~ len( str( sorted( round(1.5, isinstance( .lower() .split( .join( '%s' “"#;

fn one_of(pieces: &'static str) -> impl Strategy<Value = &'static str> {
    select(pieces.split_whitespace().collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_source_ends_the_process(pieces in vec(one_of(PIECES), 0..14), glue in select(vec!["", " ", "\n"])) {
        let state = json!({"a": [1, "x", null, {"b": 2.5}], "b": i64::MIN});
        let source = pieces.join(glue);
        let found = evaluate(&source, state.as_object().unwrap());
        prop_assert!(found.is_err() || check(&source).is_ok());
    }
}
