//! Watching runs: everybody is told the same, from wherever they begin.

use rstest::rstest;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{answer, begin, human, llm, only, print, run, start, step, text, watched};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Events, ModelService, Setup, Told, refused};

async fn watch(client: &crate::support::Client, run_id: &str, after: u64) -> Events {
    client.open("WatchRun", json!({"run_id": run_id, "after": after})).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_run_that_has_ended_is_told_from_anywhere(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([print("a", "a", Some("b")), print("b", "b", None)])).start();
    let client = server.client(dialect);
    let told = client.open("StreamRun", start("")).await.unwrap().numbered().await;
    let run_id = text(&told[0].1, "run_id").to_owned();
    let last = told.last().unwrap().0;
    assert_eq!(told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..=last).chain([last]).collect::<Vec<_>>());
    for after in 0..=last {
        let expected = &told[usize::try_from(after).unwrap()..];
        assert_eq!(watch(&client, &run_id, after).await.numbered().await, expected, "after {after}");
        let by_header = client.header("last-event-id", after).open("WatchRun", json!({"run_id": run_id})).await.unwrap();
        assert_eq!(by_header.numbered().await, expected, "after {after} by the header");
    }
    let both = client.header("last-event-id", 1).open("WatchRun", json!({"run_id": run_id, "after": 3})).await.unwrap();
    assert_eq!(both.numbered().await, told[3..], "what the request says counts");
    let beyond = client.open("WatchRun", json!({"run_id": run_id, "after": last + 1})).await.err();
    assert_eq!(beyond, Some(refused(400, &format!("`after`: run '{run_id}' has {last} events only; watch from one of them, or from 0"))));
    let (status, detail) = client.header("last-event-id", "x").open("WatchRun", json!({"run_id": run_id})).await.err().unwrap().refusal();
    assert!(status == 400 && detail.contains("Last-Event-ID"), "{detail}");
}

#[rstest]
#[tokio::test]
async fn both_protocols_tell_the_same() {
    let server = Setup::new()
        .script(json!({"text": "words", "chunk_chars": 1}))
        .orchestrations(only([llm("a", Some("b")), print("b", "{state.a}", None)]))
        .start();
    let run_id = text(&run(&server.client(Grpc), "").await, "run_id").to_owned();
    assert_eq!(watched(&server.client(Rest), &run_id).await, watched(&server.client(Grpc), &run_id).await);
}

#[rstest]
#[tokio::test]
async fn watching_goes_through_a_pause_to_the_end(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([human("ask", Some("again")), human("again", Some("p")), print("p", "p", None)])).start();
    let client = server.client(dialect);
    let mut from_start = client.open("StreamRun", start("")).await.unwrap();
    let run_id = text(&from_start.until("orchestration_start").await, "run_id").to_owned();
    let paused = from_start.numbered().await;
    let mut early = watch(&client, &run_id, 0).await;
    early.until("human_input_required").await;
    let known = early.id();
    assert_eq!(Some(known), paused.iter().rev().nth(1).map(|(id, _)| *id));
    let resumed = client.open("StreamResume", json!({"run_id": run_id, "response": "x"})).await.unwrap().numbered().await;
    assert_eq!(resumed[0].0, known + 1, "the numbers go on");
    answer(&client, &run_id, None, json!("y")).await.answer();
    let rest = early.numbered().await;
    let whole = watched(&client, &run_id).await;
    assert_eq!(whole[usize::try_from(known).unwrap()..], rest, "and nothing is missing");
    assert_eq!(resumed[..resumed.len() - 1], rest[..resumed.len() - 1]);
    assert_eq!(whole.iter().filter(|(_, event)| event["type"] == "orchestration_complete").count(), 1);
}

#[rstest]
#[tokio::test]
async fn text_is_told_as_it_is_generated_and_not_kept(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([llm("ask", None)])).start();
    let client = server.client(dialect);
    let mut events = client.open("StreamRun", start("")).await.unwrap();
    let mut call = service.called().await;
    call.begin().await;
    call.say("one ").await;
    let delta = events.until("text_delta").await;
    assert_eq!((&delta["text"], &delta["orch_step_id"], events.id()), (&json!("one "), &json!("ask"), 0));
    let listed = client.call("ListRuns", json!({})).await.answer();
    let mut late = watch(&client, text(&listed["runs"][0], "run_id"), 0).await;
    late.until("thinking").await;
    call.say("two").await;
    assert_eq!(late.until("text_delta").await["text"], "two");
    call.end("stop").await;
    assert_eq!(late.until("final").await["response"], "one two");
    let run_id = text(&listed["runs"][0], "run_id");
    assert!(watched(&client, run_id).await.iter().all(|(_, event)| event["type"] != "text_delta"));
}

#[tokio::test]
async fn a_watcher_that_reads_nothing_delays_nobody() {
    let steps = [
        step("l", "loop", json!({"loop_count": 400, "loop_step_ids": ["p"], "next_step_id": "ask"})),
        print("p", &"many words ".repeat(300), None),
        human("ask", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let client = server.client(Rest);
    let paused = run(&client, "").await;
    let run_id = text(&paused, "run_id").to_owned();
    let mut deaf = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let head =
            format!("GET /api/v1/orchestrations/runs/{run_id}/stream HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", server.key);
        socket.write_all(head.as_bytes()).await.unwrap();
        socket.read_exact(&mut [0; 12]).await.unwrap();
        deaf.push(socket);
    }
    let started = std::time::Instant::now();
    assert_eq!(answer(&client, &run_id, None, json!("x")).await.answer()["status"], "completed");
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    let told = watched(&server.client(Grpc), &run_id).await;
    let mut bytes = Vec::new();
    deaf[7].read_to_end(&mut bytes).await.ok();
    let text = String::from_utf8_lossy(&bytes);
    let ids: Vec<u64> = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse().ok()).collect();
    assert_eq!(ids, told.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "it is told everything once it reads");
}

#[tokio::test]
async fn a_thousand_watchers_are_told_the_same() {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([llm("a", Some("b")), llm("b", None)])).start();
    let client = server.client(Grpc);
    let run_id = begin(&client).await;
    let mut first = service.called().await;
    let mut watchers = Vec::new();
    for _ in 0..1000 {
        watchers.push(watch(&client, &run_id, 0).await);
    }
    first.answer("one").await;
    service.called().await.answer("two").await;
    let mut expected: Option<Vec<(u64, Value)>> = None;
    for watcher in watchers {
        let told: Vec<(u64, Value)> = watcher.numbered().await.into_iter().filter(|(id, _)| *id > 0).collect();
        match &expected {
            Some(expected) => assert_eq!(*expected, told),
            None => expected = Some(told),
        }
    }
    assert_eq!(expected.unwrap(), watched(&client, &run_id).await);
}

#[rstest]
#[tokio::test]
async fn a_watcher_is_told_to_come_again_when_the_server_stops(#[values(Rest, Grpc)] dialect: Dialect) {
    let setup = Setup::new().orchestrations(only([human("ask", None)])).environment("SYNAPSE_SHUTDOWN_TIMEOUT", 0.3);
    let mut server = setup.start();
    let client = server.client(dialect);
    let run_id = text(&run(&client, "").await, "run_id").to_owned();
    let mut events = watch(&client, &run_id, 0).await;
    events.until("human_input_required").await;
    let known = events.id();
    server.process.terminate();
    assert_eq!(events.rest_of().await, [Told::ComeAgain]);
    assert_eq!(server.process.ended().await, Some(0));
    server.start_again();
    let client = server.client(dialect);
    let again = watch(&client, &run_id, known).await;
    answer(&client, &run_id, None, json!("x")).await.answer();
    assert_eq!(again.numbered().await[0].0, known + 1);
}
