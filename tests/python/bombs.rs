//! Programs that would hang or abort their interpreter: each ends with a clear message, and the next one works.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Map, Value, json};
use synapse::python::{Fault, INPUT_BYTES, Program, SOURCE_BYTES};

use crate::{PATIENCE, program, python};

/// How long a program may take that would never end.
const SOON: Duration = Duration::from_secs(3);

const TIME: &str = "took longer than 3 s";
const MEMORY: &str = "needs more memory than the 512 MB it may have";
const OUTPUT: &str = "printed more than 1 MB or returned more than 8 MB";

#[rstest]
#[case::a_tower_of_powers("result = 10**10**10", &[TIME, MEMORY])]
#[case::an_endless_loop("while True: pass", &[TIME])]
#[case::a_loop_that_catches_everything("while True:\n try:\n  1/0\n except BaseException: pass", &[TIME])]
#[case::a_sleeper("import time\ntime.sleep(10**6)", &[TIME])]
#[case::a_regex_that_blows_up("import re\nre.match(r'(a+)+$', 'a' * 50 + 'b')", &[TIME])]
#[case::a_flood_past_the_stream("import os\nwhile True: os.write(1, b'x' * 4096)", &[TIME])]
#[case::a_flood_that_catches_everything("while True:\n try: print('x' * 1000)\n except BaseException: pass", &[TIME])]
#[case::one_that_hangs_up("import os\nos.closerange(0, 64)\nwhile True: pass", &[TIME])]
#[case::one_that_ignores_signals("import signal\nfor s in (15, 2, 1): signal.signal(s, signal.SIG_IGN)\nwhile True: pass", &[TIME])]
#[tokio::test]
async fn what_would_never_end_is_stopped(#[case] code: &str, #[case] messages: &[&str]) {
    ends_with(code, SOON, messages).await;
}

#[rstest]
#[case::a_text_of_ten_billion("result = 'a' * 10**10", &[MEMORY])]
#[case::a_list_that_grows("kept = []\nwhile True: kept.append(bytearray(1 << 20))", &[MEMORY])]
#[case::a_list_of_all_numbers("result = list(range(10**9))", &[MEMORY])]
#[case::a_text_that_doubles("text = 'ab'\nwhile True: text += text", &[MEMORY])]
#[case::threads_without_end("import threading\nstop = threading.Event()\nwhile True: threading.Thread(target=stop.wait).start()", &["can't start new thread", MEMORY])]
#[case::pipes_without_end("import os\nwhile True: os.pipe()", &["Too many open files"])]
#[case::a_flood_of_prints("while True: print('x' * 1000)", &[OUTPUT])]
#[case::a_flood_of_complaints("import sys\nwhile True: print('x' * 1000, file=sys.stderr)", &[OUTPUT])]
#[case::a_flood_of_bytes("import sys\nwhile True: sys.stdout.buffer.write(b'x' * 1000)", &[OUTPUT])]
#[case::a_huge_answer("result = 'a' * (9 << 20)", &[OUTPUT])]
#[case::a_deep_answer("for _ in range(100_000): result = [result]", &["nested more than 100 levels"])]
#[case::an_answer_that_holds_itself("result = []\nresult.append(result)", &["or holds itself"])]
#[case::deep_parentheses("result = eval('(' * 5000 + ')' * 5000)", &["SyntaxError", "MemoryError", MEMORY])]
#[case::a_sum_of_two_hundred_thousand("result = eval('+'.join('1' * 200_000))", &["RecursionError", "MemoryError", MEMORY, "it crashed"])]
#[case::a_recursion("def f(): return f()\nf()", &["maximum recursion depth exceeded"])]
#[case::a_recursion_without_its_limit("import sys\nsys.setrecursionlimit(10**9)\ndef f(x): return f([x])\nresult = f(0)", &["it crashed", "SystemError", MEMORY])]
#[case::a_leap("import os\nos._exit(3)", &["before it had an answer: exit code 3"])]
#[case::an_abort("import os\nos.abort()", &["before it had an answer: signal 6"])]
#[case::a_suicide("import os\nos.kill(os.getpid(), 9)", &["before it had an answer: signal 9"])]
#[case::a_false_answer("import os\nos.write(3, b'nonsense\\n')", &["where only the answer is written"])]
#[case::not_a_number("result = {'a': [1, float('nan')]}", &["`result` holds nan, which JSON cannot"])]
#[case::not_a_key("result = {float('nan'): 1}", &["Out of range float values"])]
#[case::half_a_character("result = '\\ud800'", &["lone surrogate"])]
#[case::half_a_character_in_an_error("raise ValueError('\\ud800')", &["ValueError: \\ud800"])]
#[case::no_character_at_all("result = '\\0' + open\0", &["null bytes"])]
#[case::a_text_that_fails("class C:\n def __str__(self): raise KeyError('mine')\nresult = C()", &["KeyError: 'mine'"])]
#[case::an_error_that_fails("class E(Exception):\n def __str__(self): raise KeyError('mine')\nraise E", &["E"])]
#[case::an_end_with_a_word("import sys\nsys.exit('enough')", &["SystemExit: enough"])]
#[case::errors_in_a_circle("a, b = ValueError('a'), ValueError('b')\na.__context__, b.__context__ = b, a\nraise a", &["ValueError: a"])]
#[case::a_broken_library("import json, traceback\njson.dumps = traceback.TracebackException = None\nresult = 1", &["TypeError", "before it had an answer"])]
#[tokio::test]
async fn what_asks_too_much_is_told_so(#[case] code: &str, #[case] messages: &[&str]) {
    ends_with(code, PATIENCE, messages).await;
}

async fn ends_with(code: &str, limit: Duration, messages: &[&str]) {
    let python = python();
    // So that the limit measures the program, not the start of the interpreter.
    assert_eq!(python.run(&program("result = 1"), PATIENCE).await.unwrap().result, json!(1));
    let fault = python.run(&program(code), limit).await.unwrap_err().to_string();
    assert!(messages.iter().any(|message| fault.contains(message)), "{fault}");
    assert_eq!(python.run(&program("result = 1 + 1"), PATIENCE).await.unwrap().result, json!(2));
}

#[tokio::test]
async fn a_source_that_is_too_long_or_too_deep_is_refused() {
    let python = python();
    let sum = format!("result = {}1", "1+".repeat(100_000));
    let fault = python.run(&program(&sum), PATIENCE).await.unwrap_err().to_string();
    assert!(["nested too deeply", "RecursionError", "it crashed"].iter().any(|message| fault.contains(message)), "{fault}");
    let fault = python.run(&program(&"1+".repeat(SOURCE_BYTES)), PATIENCE).await.unwrap_err();
    assert_eq!(fault.to_string(), "the source has 524288 bytes, and at most 262144 are taken");
    assert_eq!(python.run(&program("result = 1 + 1"), PATIENCE).await.unwrap().result, json!(2));
}

#[tokio::test]
async fn variables_may_be_large_but_not_larger() {
    let python = python();
    let with =
        |size| Program { names: Map::from_iter([("text".to_owned(), Value::String("x".repeat(size)))]), ..program("result = len(text)") };
    assert_eq!(python.run(&with(INPUT_BYTES - 1000), PATIENCE).await.unwrap().result, json!(INPUT_BYTES - 1000));
    let fault = python.run(&with(INPUT_BYTES), PATIENCE).await.unwrap_err();
    assert!(matches!(fault, Fault::TooLarge { .. }), "{fault}");
}

#[tokio::test]
async fn a_result_just_below_the_limit_arrives() {
    let answer = python().run(&program("result = 'é' * 3_500_000\nprint('x' * 1_000_000)"), PATIENCE).await.unwrap();
    assert_eq!((answer.result.as_str().unwrap().len(), answer.printed.len()), (7_000_000, 1_000_001));
}
