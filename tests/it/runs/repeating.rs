//! Idempotency keys: the same request happens once.

use rstest::rstest;
use serde_json::{Value, json};

use super::{human, llm, only, print, start, text};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, ModelService, Outcome, Setup, key_record};

async fn conflicts(client: &Client, rpc: &str, request: Value) {
    let (status, detail) = client.call(rpc, request).await.refusal();
    assert!(status == 409 && detail.contains("dempotency"), "{rpc}: {status} {detail}");
}

#[rstest]
#[tokio::test]
async fn the_same_request_runs_once_even_after_a_restart(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().orchestrations(only([print("p", "{state.user_input}", None)])).start();
    let client = server.client(dialect).keyed("k1");
    let first = client.call("Run", start("hi")).await.answer();
    assert_eq!(client.call("Run", start("hi")).await.answer(), first);
    let streamed = client.open("StreamRun", start("hi")).await.unwrap().numbered().await;
    assert_eq!(streamed[0].1["run_id"], first["run_id"]);
    conflicts(&client, "Run", start("other")).await;
    let other = server.client(dialect).keyed("k2").call("Run", start("hi")).await.answer();
    assert_ne!(other["run_id"], first["run_id"]);
    server.restart().await;
    let client = server.client(dialect).keyed("k1");
    assert_eq!(client.call("Run", start("hi")).await.answer(), first);
    conflicts(&client, "Run", start("other")).await;
    let (status, detail) = server.client(dialect).keyed("two words").call("Run", start("hi")).await.refusal();
    assert!(status == 400 && detail.contains("Idempotency-Key"), "{detail}");
}

#[rstest]
#[tokio::test]
async fn what_was_deleted_since_is_still_answered(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().orchestrations(only([print("p", "p", None)])).start();
    let first = server.client(dialect).keyed("k").call("Run", start("")).await.answer();
    let chat = server.client(dialect).keyed("c").chat(json!({"message": "hi"})).await.answer();
    server.write("orchestrations.json", "[]");
    server.write("user_agents.json", "[]");
    server.restart().await;
    assert_eq!(server.client(dialect).keyed("k").call("Run", start("")).await.answer(), first);
    assert_eq!(server.client(dialect).keyed("c").chat(json!({"message": "hi"})).await.answer(), chat);
}

#[rstest]
#[tokio::test]
async fn keys_belong_to_the_caller(#[values(Rest, Grpc)] dialect: Dialect) {
    let other = format!("sk-syn-{}", "ab".repeat(32));
    let server = Setup::new()
        .keys(&[key_record("7b0e5a3e-6f7f-4c62-9d5c-2d9d3c1f4a22", &other)])
        .orchestrations(only([print("p", "p", None)]))
        .start();
    let client = server.client(dialect).keyed("k");
    let mine = client.call("Run", start("")).await.answer();
    let theirs = client.bearer(&other).call("Run", start("another body")).await.answer();
    assert_ne!(mine["run_id"], theirs["run_id"]);
}

#[rstest]
#[tokio::test]
async fn two_equal_requests_at_once_are_one_run(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([llm("ask", None)])).start();
    let client = server.client(dialect).keyed("k");
    let runs: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.call("Run", start("hi")).await.answer() })
        })
        .collect();
    service.called().await.answer("once").await;
    let mut answers = Vec::new();
    for run in runs {
        answers.push(run.await.unwrap());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!(answers[0]["response"], "once");
}

#[rstest]
#[tokio::test]
async fn an_answer_is_given_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [human("ask", Some("again")), human("again", Some("p")), print("p", "{state.ask.response}{state.again.response}", None)];
    let mut server = Setup::new().orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let run_id = text(&client.call("Run", start("")).await.answer(), "run_id").to_owned();
    let resume = |response: &str| json!({"run_id": run_id, "response": response});
    let once = client.keyed("a").call("Resume", resume("1")).await.answer();
    assert_eq!((&once["status"], text(&once["human_input_required"], "step_id")), (&json!("paused"), "again"));
    assert_eq!(client.keyed("a").call("Resume", resume("1")).await.answer(), once, "it answers the first question, not the second");
    let streamed = client.keyed("a").open("StreamResume", resume("1")).await.unwrap().numbered().await;
    assert_eq!(streamed.iter().filter(|(_, event)| event["type"] == "human_input_required").count(), 1);
    conflicts(&client.keyed("a"), "Resume", resume("2")).await;
    let done = client.keyed("b").call("Resume", resume("2")).await.answer();
    assert_eq!(done["response"], "12");
    server.restart().await;
    let client = server.client(dialect);
    assert_eq!(client.keyed("a").call("Resume", resume("1")).await.answer(), once, "even after the run has ended");
    assert_eq!(client.keyed("b").call("Resume", resume("2")).await.answer(), done);
}

#[rstest]
#[tokio::test]
async fn equal_answers_at_once_are_one(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([human("ask", Some("p")), print("p", "{state.ask.response}", None)])).start();
    let client = server.client(dialect);
    let run_id = text(&client.call("Run", start("")).await.answer(), "run_id").to_owned();
    let resumes: Vec<_> = (0..8)
        .map(|_| {
            let (client, request) = (client.keyed("k"), json!({"run_id": run_id, "response": "x"}));
            tokio::spawn(async move { client.call("Resume", request).await })
        })
        .collect();
    for resume in resumes {
        assert_eq!(resume.await.unwrap().answer()["response"], "x");
    }
}

#[rstest]
#[tokio::test]
async fn a_retry_happens_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([llm("ask", None)])).start();
    let client = server.client(dialect);
    let run_id = super::begin(&client).await;
    service.called().await.respond("400 Bad Request", "", "{}").await;
    super::watched(&client, &run_id).await;
    let retry = |client: Client| {
        let request = json!({"run_id": run_id});
        tokio::spawn(async move { client.keyed("r").call("RetryRun", request).await })
    };
    let first = retry(client.clone());
    service.called().await.respond("400 Bad Request", "", "{}").await;
    let Outcome::Answered(first) = first.await.unwrap() else { panic!() };
    assert_eq!(first["status"], "failed");
    assert_eq!(retry(client.clone()).await.unwrap().answer(), first, "it is not retried once more");
}

#[rstest]
#[tokio::test]
async fn a_chat_is_answered_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut server = Setup::new().script(json!({"text": "{messages}"})).start();
    let request = json!({"message": "hi", "session_id": "s"});
    let first = server.client(dialect).keyed("k").chat(request.clone()).await.answer();
    assert_eq!(first["response"], "1");
    assert_eq!(server.client(dialect).keyed("k").chat(request.clone()).await.answer(), first);
    let streamed = server.client(dialect).keyed("k").events(request.clone()).await;
    assert_eq!((&streamed[0]["run_id"], &streamed[streamed.len() - 2]["content"]), (&first["run_id"], &json!("1")));
    conflicts(&server.client(dialect).keyed("k"), "Chat", json!({"message": "other", "session_id": "s"})).await;
    server.restart().await;
    assert_eq!(server.client(dialect).keyed("k").chat(request.clone()).await.answer(), first);
    assert_eq!(server.client(dialect).keyed("n").chat(request).await.answer()["response"], "3", "one turn was kept");
}
