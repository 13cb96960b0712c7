//! What people expect of Python, and have.

use rstest::rstest;
use serde_json::{Map, Value, json};
use synapse::python::Program;

use crate::{PATIENCE, program, python, result, run};

#[rstest]
#[case::event_loops("import asyncio\nasync def main():\n await asyncio.sleep(0.01)\n return await asyncio.gather(*[asyncio.sleep(0, i) for i in range(3)])\nresult = asyncio.run(main())", json!([0, 1, 2]))]
#[case::threads("from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool: result = list(pool.map(abs, range(-20, 0)))[:2]", json!([20, 19]))]
#[case::a_thread_that_never_ends("import threading\nthreading.Thread(target=threading.Event().wait).start()\nresult = 1", json!(1))]
#[case::time_zones("from zoneinfo import ZoneInfo\nfrom datetime import datetime\nresult = str(datetime(2026, 7, 1, tzinfo=ZoneInfo('Europe/Paris')).utcoffset())", json!("2:00:00"))]
#[case::local_time_is_utc("from datetime import datetime, timezone\nresult = datetime.now().astimezone().utcoffset().total_seconds()", json!(0.0))]
#[case::hashes("import hashlib\nresult = hashlib.sha256(b'a').hexdigest()[:8]", json!("ca978112"))]
#[case::compression("import gzip, zlib\nresult = gzip.decompress(gzip.compress(b'abc')).decode()", json!("abc"))]
#[case::a_database_in_memory("import sqlite3\nresult = sqlite3.connect(':memory:').execute('select 40 + 2').fetchone()[0]", json!(42))]
#[case::tables("import csv, io\nresult = list(csv.DictReader(io.StringIO('a,b\\n1,2')))", json!([{"a": "1", "b": "2"}]))]
#[case::markup("import xml.etree.ElementTree as tree\nresult = tree.fromstring('<a><b>1</b></a>').find('b').text", json!("1"))]
#[case::chance("import secrets\nresult = len(secrets.token_hex(4))", json!(8))]
#[case::pickles("import pickle\nclass P: x = 1\nresult = pickle.loads(pickle.dumps(P())).x", json!(1))]
#[case::annotations("from __future__ import annotations\ndef f(x: Nothing) -> Nothing: return x\nresult = f(1)", json!(1))]
#[case::own_alarms("import signal, time\ndef stop(*_): raise TimeoutError('mine')\nsignal.signal(signal.SIGALRM, stop)\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\ntry: time.sleep(600)\nexcept TimeoutError as e: result = str(e)", json!("mine"))]
#[case::memory_that_was_too_much_once("try: 'a' * 10**10\nexcept MemoryError: result = 'less then'", json!("less then"))]
#[case::its_name("result = __name__", json!("__main__"))]
#[case::an_orderly_end("import sys\nresult = 3\nsys.exit()", json!(3))]
#[case::media_types("import mimetypes\nresult = mimetypes.guess_type('a.png')[0]", json!("image/png"))]
#[case::no_input("try: input()\nexcept EOFError: result = 'nothing'", json!("nothing"))]
#[tokio::test]
async fn ordinary_programs_work(#[case] code: &str, #[case] expected: Value) {
    assert_eq!(result(code).await, expected);
}

#[rstest]
#[case::largest("2**64 - 1", json!(u64::MAX))]
#[case::smallest("-2**63", json!(i64::MIN))]
#[case::larger("[2**64, {'a': (-2**63 - 1,)}]", json!(["18446744073709551616", {"a": ["-9223372036854775809"]}]))]
#[case::truths("[True, False, None]", json!([true, false, null]))]
#[case::keys("{1: 1, None: 2, True: 3, 1.5: 4}", json!({"1": 3, "null": 2, "1.5": 4}))]
#[case::others("[b'a', {1}, 2j, print, object]", json!(["b'a'", "{1}", "2j", "<built-in function print>", "<class 'object'>"]))]
#[case::floats("[0.1 + 0.2, 1e22, 5e-324, 1.7976931348623157e308, 123456789.123456789, -0.0, 8.41e21]", json!([0.300_000_000_000_000_04, 1e22, 5e-324, f64::MAX, 123_456_789.123_456_79, -0.0, 8.41e21]))]
#[tokio::test]
async fn values_become_json(#[case] code: &str, #[case] expected: Value) {
    assert_eq!(result(&format!("result = {code}")).await.to_string(), expected.to_string());
}

#[tokio::test]
async fn numbers_go_in_and_out_unchanged() {
    let numbers: Vec<f64> = (1..2000).map(|number| 1.0 / f64::from(number) * 1e5_f64.powi(number % 9 - 4)).collect();
    let names = Map::from_iter([("numbers".to_owned(), json!(numbers))]);
    let program = Program { names, ..program("result = [[n, repr(n)] for n in numbers]") };
    let answer = python().run(&program, PATIENCE).await.unwrap();
    for (number, pair) in numbers.iter().zip(answer.result.as_array().unwrap()) {
        assert_eq!(pair[0].as_f64(), Some(*number));
        assert_eq!(pair[1].as_str().unwrap().parse(), Ok(*number));
    }
}

#[tokio::test]
async fn prints_are_kept_beside_the_result() {
    let answer =
        run("import sys\nprint('one', end='')\nsys.stdout.write(' é \\ud800\\n')\nsys.stdout.buffer.write(b'\\xff')\nsys.stdout.close()")
            .await
            .unwrap();
    assert_eq!((answer.result, answer.printed.as_str()), (Value::Null, "one é \\ud800\n\u{fffd}"));
}
