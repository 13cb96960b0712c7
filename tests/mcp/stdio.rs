//! Servers that are programs: what their calls return, and what becomes of those that misbehave.

use std::time::Duration;

use serde_json::{Value, json};
use synapse::provider::Image;
use synapse::tool::Origin;
use tokio::time::Instant;

use crate::setup::{House, call, eventually, program, runs, told};

fn house() -> House {
    House::new(&json!([program("own", &[])]))
}

#[tokio::test]
async fn a_tool_is_described_and_called() {
    let house = house();
    let echo = house.tool("own__echo").await;
    let description = echo.description();
    assert_eq!((description.name.as_str(), description.description.as_str()), ("own__echo", "Does echo."));
    assert_eq!((description.schema.clone(), echo.origin()), (json!({"type": "object"}), Origin::Mcp));
    assert_eq!(told(echo.call(call(json!({"text": "héllo"}))).await), Ok("héllo".to_owned()));
}

#[tokio::test]
async fn calls_run_side_by_side() {
    let house = house();
    let (slow, begun) = (house.tool("own__slow").await, Instant::now());
    let calls = (0..10).map(|_| slow.call(call(json!({"seconds": 1}))));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(told(result), Ok("at last".to_owned()));
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn every_part_of_a_result_arrives() {
    let house = house();
    let output = house.tool("own__parts").await.call(call(json!({}))).await.unwrap();
    assert_eq!(output.text, "one\ntwo");
    assert_eq!(output.images, [Image { media_type: "image/png".to_owned(), base64: "iVBORw0KGgo=".into() }]);
    assert_eq!(house.call("own__structured", json!({})).await, Ok(r#"{"answer":42}"#.to_owned()));
}

#[tokio::test]
async fn failures_are_told() {
    let house = house();
    assert_eq!(house.call("own__fail", json!({})).await, Err("the file is gone".to_owned()));
    assert_eq!(house.call("own__refuse", json!({})).await, Err("tool server `own` refuses the call: no tool `refuse` here".to_owned()));
}

#[tokio::test]
async fn a_call_carries_its_idempotency_id() {
    let meta: Value = serde_json::from_str(&house().call("own__meta", json!({})).await.unwrap()).unwrap();
    assert_eq!(meta["synapse/idempotency-id"], "call-1");
}

#[tokio::test]
async fn progress_and_log_messages_are_taken() {
    assert_eq!(house().call("own__progress", json!({})).await, Ok("done".to_owned()));
}

#[tokio::test]
async fn a_server_that_asks_gets_an_answer() {
    let answers: Value = serde_json::from_str(&house().call("own__ask", json!({})).await.unwrap()).unwrap();
    assert_eq!(answers["ping"], json!({}));
    assert_eq!(answers["roots"], json!({"roots": []}));
    assert_eq!(answers["elicitation"]["action"], "decline");
    assert_eq!(answers["sampling"]["code"], -32601);
}

#[tokio::test]
async fn a_child_gets_a_clean_environment() {
    let environment: Value = serde_json::from_str(&house().call("own__environment", json!({})).await.unwrap()).unwrap();
    let ours = ["PATH", "HOME", "LANG", "TMPDIR", "USER", "OWN"];
    let others = environment.as_object().unwrap().keys().filter(|name| !ours.contains(&name.as_str()));
    // Python and its launchers set some for themselves; cargo has set a dozen for this process.
    assert_eq!(others.filter(|name| name.starts_with("CARGO") || name.starts_with("SYNAPSE")).count(), 0, "{environment}");
    assert!(environment["PATH"].is_string() && environment["OWN"] == "value");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled() {
    let house = house();
    let never = house.tool("own__never").await;
    drop(tokio::time::timeout(Duration::from_millis(300), never.call(call(json!({})))).await);
    eventually("the cancellation", async || {
        let seen = house.call("own__cancelled", json!({})).await.unwrap();
        (seen != "[]").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_call_without_an_answer_ends_in_time() {
    let house = House::with(&json!([program("own", &[])]), |limits| limits.mcp_call_time = Duration::from_secs(1));
    let before = house.call("own__pid", json!({})).await;
    let expected = Err("tool server `own` gave no result within 1 seconds".to_owned());
    assert_eq!(house.call("own__never", json!({})).await, expected);
    assert_eq!(house.call("own__echo", json!({"text": "still here"})).await, Ok("still here".to_owned()));
    assert_eq!(house.call("own__pid", json!({})).await, before);
}

#[tokio::test]
async fn a_server_that_hangs_is_started_again() {
    let house = House::with(&json!([program("own", &[])]), |limits| limits.mcp_call_time = Duration::from_secs(1));
    let before = house.call("own__pid", json!({})).await.unwrap();
    let expected = Err("tool server `own` gave no result within 1 seconds".to_owned());
    assert_eq!(house.call("own__hang", json!({})).await, expected);
    eventually("another process", async || house.call("own__pid", json!({})).await.ok().filter(|process| *process != before)).await;
    eventually("the end of the old process", async || (!runs(&before)).then_some(())).await;
}

#[tokio::test]
async fn a_server_that_does_not_read_is_started_again() {
    let house = house();
    let before = house.call("own__pid", json!({})).await.unwrap();
    house.call("own__deafen", json!({})).await.unwrap();
    let text = "x".repeat(500_000);
    match house.call("own__echo", json!({"text": text})).await {
        Ok(again) => assert_eq!(again, text), // it was not sent as a whole, so it was sent again
        Err(failure) => assert!(failure.contains("it did not read a message within 10 seconds"), "{failure}"),
    }
    assert_ne!(house.call("own__pid", json!({})).await.unwrap(), before);
}

#[tokio::test]
async fn a_flood_of_requests_ends_the_connection() {
    fails_and_goes_on("flood", json!({}), "it does not read: more than 1000 messages wait for it").await;
}

#[tokio::test]
async fn the_path_of_a_record_does_not_change_what_its_command_means() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/false", directory.path().join("sh")).unwrap();
    let script = format!("PATH=$OWN_PATH; exec python3 {}/tests/mcp/server.py", env!("CARGO_MANIFEST_DIR"));
    let variables = json!({"PATH": directory.path(), "OWN_PATH": env!("PATH")});
    let house = House::new(&json!([{"name": "own", "command": "sh", "args": ["-c", script], "env": variables}]));
    assert_eq!(house.call("own__echo", json!({"text": "a"})).await, Ok("a".to_owned()));
}

#[tokio::test]
async fn the_deadline_of_a_call_is_kept() {
    let house = house();
    let (never, begun) = (house.tool("own__never").await, Instant::now());
    let mut soon = call(json!({}));
    soon.deadline = begun + Duration::from_millis(500);
    assert!(told(never.call(soon).await).unwrap_err().contains("gave no result"));
    assert!(begun.elapsed() < Duration::from_secs(5));
}

/// A call during which the server misbehaves fails with a reason, and the next call works with a new process.
async fn fails_and_goes_on(tool: &str, arguments: Value, reason: &str) {
    let house = house();
    let before = house.call("own__pid", json!({})).await.unwrap();
    let failure = house.call(&format!("own__{tool}"), arguments).await.unwrap_err();
    assert!(failure.starts_with(&format!("tool server `own` failed during the call: {reason}")), "{failure}");
    assert!(failure.contains("whether the work was done is unknown"), "{failure}");
    assert_ne!(house.call("own__pid", json!({})).await.unwrap(), before);
    eventually("the end of the old process", async || (!runs(&before)).then_some(())).await;
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_call_is_told() {
    fails_and_goes_on("crash", json!({}), "it ended (exit status: 3)").await;
}

#[tokio::test]
async fn a_message_of_50_mb_is_not_read() {
    fails_and_goes_on("large", json!({"bytes": 50_000_000}), "it sent a message of more than 16777216 bytes").await;
}

#[tokio::test]
async fn a_line_without_an_end_is_not_read() {
    fails_and_goes_on("endless", json!({}), "it sent a message of more than 16777216 bytes").await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_told() {
    fails_and_goes_on("binary", json!({}), "it sent bytes that are no UTF-8").await;
}

#[tokio::test]
async fn a_line_that_is_no_message_is_told() {
    fails_and_goes_on("garbage", json!({}), "it printed something that is no message of the protocol").await;
}

#[tokio::test]
async fn output_beyond_the_limit_of_the_call_is_told_and_the_server_stays() {
    let house = house();
    let before = house.call("own__pid", json!({})).await.unwrap();
    let expected = "the result has 2000000 bytes; at most 1048576 are read, so ask for less";
    assert_eq!(house.call("own__large", json!({"bytes": 2_000_000})).await, Err(expected.to_owned()));
    assert_eq!(house.call("own__pid", json!({})).await.unwrap(), before);
}

#[tokio::test]
async fn a_call_reaches_a_server_that_died_in_between() {
    let house = house();
    let echo = house.tool("own__echo").await;
    let process = house.call("own__pid", json!({})).await.unwrap();
    assert!(std::process::Command::new("kill").args(["-9", &process]).status().unwrap().success());
    eventually("the end of the process", async || (!runs(&process)).then_some(())).await;
    assert_eq!(told(echo.call(call(json!({"text": "again"}))).await), Ok("again".to_owned()));
}

#[tokio::test]
async fn a_changed_list_is_read_again() {
    let house = house();
    assert!(!house.names(&["all"]).await.contains(&"own__added".to_owned()));
    house.call("own__change", json!({})).await.unwrap();
    eventually("the new tool", async || house.names(&["all"]).await.contains(&"own__added".to_owned()).then_some(())).await;
}

#[tokio::test]
async fn every_page_of_a_list_is_read() {
    let house = House::new(&json!([program("own", &["--pages", "30"])]));
    let names = house.names(&["all"]).await;
    assert_eq!((names.len(), names[29].as_str()), (30, "own__page_29"));
}

#[tokio::test]
async fn a_list_without_an_end_is_read_so_far() {
    let house = House::new(&json!([program("own", &["--pages", "1000000"])]));
    assert_eq!(house.names(&["all"]).await.len(), 100);
}

#[tokio::test]
async fn a_list_is_kept_within_limits() {
    for (count, bytes, kept) in [("3", "70000", 1), ("100", "65000", 65), ("1200", "1", 1000)] {
        let house = House::new(&json!([program("own", &["--heavy", count, bytes])]));
        assert_eq!(house.names(&["all"]).await.len(), kept, "{count} tools of {bytes} bytes");
    }
}

#[tokio::test]
async fn tools_with_broken_schemas_are_left_out() {
    for arguments in [&[][..], &["--no-schema"]] {
        let names = House::new(&json!([program("own", arguments)])).names(&["all"]).await;
        assert!(names.contains(&"own__echo".to_owned()));
        assert!(!names.iter().any(|name| name.contains("broken") || name.contains("no_")), "{names:?}");
    }
}

#[tokio::test]
async fn odd_names_are_shown_in_plain_letters_and_still_reach_their_tool() {
    let house = House::new(&json!([program("my own", &[])]));
    let it = house.tool("my own__do.it").await;
    assert_eq!(it.description().name, "my_own__do_it");
    assert_eq!(told(it.call(call(json!({}))).await), Ok("did it".to_owned()));
    assert_eq!(house.names(&["my_own__do_it"]).await, ["my_own__do_it"]);
}

#[tokio::test]
async fn a_banner_before_the_first_message_does_no_harm() {
    let house = House::new(&json!([program("own", &["--banner"])]));
    assert_eq!(house.call("own__echo", json!({"text": "a"})).await, Ok("a".to_owned()));
}

#[tokio::test]
async fn a_server_dies_with_everything_that_it_started() {
    for end in ["close", "record", "permission", "drop"] {
        let mut house = house();
        let own = house.call("own__pid", json!({})).await.unwrap();
        let grandchild = house.call("own__grandchild", json!({})).await.unwrap();
        assert!(runs(&own) && runs(&grandchild));
        match end {
            "close" => house.servers.close().await,
            "record" => {
                house.records.clear();
                assert_eq!(house.names(&["all"]).await, [""; 0]);
            }
            "permission" => {
                house.settings.set("allow_stdio_mcp", json!(false));
                assert_eq!(house.names(&["all"]).await, [""; 0]);
            }
            _ => drop(house),
        }
        eventually(end, async || (!runs(&own) && !runs(&grandchild)).then_some(())).await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_want_to_end_is_killed() {
    let house = House::new(&json!([program("own", &["--stubborn"])]));
    let own = house.call("own__pid", json!({})).await.unwrap();
    house.servers.close().await;
    assert!(!runs(&own));
}

#[tokio::test]
async fn a_runtime_that_ends_leaves_nobody_behind() {
    let process = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = house();
            let process = house.call("own__grandchild", json!({})).await.unwrap();
            std::mem::forget(house);
            process
        })
    });
    let process = process.join().unwrap();
    eventually("the end of the grandchild", async || (!runs(&process)).then_some(())).await;
}
