//! Starting runs, describing and listing them.

use std::collections::HashSet;

use rstest::rstest;
use serde_json::{Value, json};

use super::{begin, get, human, llm, only, orchestration, print, run, text};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, refused};

#[rstest]
#[tokio::test]
async fn a_run_in_the_background_is_found_again(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([print("first", "1", Some("ask")), llm("ask", None)])).start();
    let client = server.client(dialect);
    let begun = client.call("Run", json!({"orchestration_id": "o1", "message": "hi", "background": true})).await.answer();
    let run_id = text(&begun, "run_id").to_owned();
    assert_eq!(begun["status"], "running");
    assert!(begun.get("response").is_none() && begun.get("shared_state").is_none(), "{begun}");
    let mut call = service.called().await;
    let at_work = get(&client, &run_id).await;
    assert_eq!((&at_work["status"], &at_work["ended_at"], &at_work["error"]), (&json!("running"), &Value::Null, &Value::Null));
    assert_eq!(
        at_work["current_steps"],
        json!([{"step_id": "ask", "step_name": "ASK", "step_type": "llm", "attempt": 1, "started_at": at_work["current_steps"][0]["started_at"]}])
    );
    assert_eq!(
        (&at_work["shared_state"], super::history(&at_work)),
        (&json!({"user_input": "hi", "user_query": "hi", "first": "1"}), vec!["first"])
    );
    call.answer("2").await;
    let events = super::watched(&client, &run_id).await;
    let ended = get(&client, &run_id).await;
    assert_eq!(
        (&ended["status"], &ended["orchestration_id"], &ended["orchestration_name"]),
        (&json!("completed"), &json!("o1"), &json!("O1"))
    );
    assert_eq!((&ended["current_steps"], &ended["pending"]), (&json!([]), &json!([])));
    assert!(ended["ended_at"].is_string() && ended["started_at"].is_string());
    assert_eq!(json!(events.last().unwrap().0.to_string()), text_of(&ended["last_event_id"]));
}

/// Numbers of 64 bits are numbers or texts in JSON.
fn text_of(number: &Value) -> Value {
    number.as_str().map_or_else(|| number.to_string(), str::to_owned).into()
}

#[rstest]
#[tokio::test]
async fn runs_of_the_same_moment_have_ids_of_their_own(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([print("p", "{state.user_input}", None)])).start();
    let client = server.client(dialect);
    let runs = (0..40).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let answer = run(&client, &number.to_string()).await;
            assert_eq!(answer["response"], number.to_string());
            text(&answer, "run_id").to_owned()
        })
    });
    let mut ids = HashSet::new();
    for run in runs.collect::<Vec<_>>() {
        ids.insert(run.await.unwrap());
    }
    assert_eq!(ids.len(), 40);
    assert!(ids.iter().all(|id| id.len() == 36 && id.starts_with("run_")), "{ids:?}");
}

#[rstest]
#[tokio::test]
async fn what_does_not_exist_is_not_run(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().start();
    let client = server.client(dialect);
    let unknown = refused(404, "Orchestration 'o1' not found");
    assert_eq!(client.call("Run", json!({"orchestration_id": "o1"})).await, unknown);
    assert_eq!(client.open("StreamRun", json!({"orchestration_id": "o1"})).await.err(), Some(unknown));
    assert_eq!(client.stranger().call("Run", json!({"orchestration_id": "o1"})).await, refused(401, "Not authenticated"));
    assert_eq!(client.call("ListRuns", json!({})).await.answer(), json!({"runs": [], "next_page_token": ""}));
}

#[rstest]
#[tokio::test]
async fn runs_are_listed_by_what_they_are(#[values(Rest, Grpc)] dialect: Dialect) {
    let orchestrations = json!([orchestration("o1", [print("p", "p", None)]), orchestration("o2", [human("h", None)])]);
    let server = Setup::new().orchestrations(orchestrations).start();
    let client = server.client(dialect);
    let mut made = Vec::new();
    for number in 0..7 {
        let id = if number % 3 == 0 { "o2" } else { "o1" };
        let answer = client.call("Run", json!({"orchestration_id": id})).await.answer();
        made.push(text(&answer, "run_id").to_owned());
    }
    client.say(json!({"message": "a chat is no run of an orchestration"})).await;
    made.reverse();
    let list = async |filter: Value| {
        let page = client.call("ListRuns", filter).await.answer();
        let ids = page["runs"].as_array().unwrap().iter().map(|run| text(run, "run_id").to_owned()).collect::<Vec<_>>();
        (ids, text(&page, "next_page_token").to_owned(), page)
    };
    let (all, token, page) = list(json!({})).await;
    assert_eq!((all, token.as_str()), (made.clone(), ""));
    let newest = &page["runs"][0];
    assert_eq!(
        (&newest["orchestration_id"], &newest["orchestration_name"], &newest["status"], &newest["ended_at"]),
        (&json!("o2"), &json!("O2"), &json!("paused"), &Value::Null)
    );
    let (paused, ..) = list(json!({"status": "paused"})).await;
    let (of_one, ..) = list(json!({"orchestration_id": "o1"})).await;
    let (none, ..) = list(json!({"orchestration_id": "o1", "status": "paused"})).await;
    assert_eq!((paused.len(), of_one.len(), none.len()), (3, 4, 0));
    let (mut read, mut token) = (Vec::new(), String::new());
    loop {
        let (page, next, _) = list(json!({"limit": 3, "page_token": token})).await;
        assert!(page.len() <= 3);
        read.extend(page);
        if next.is_empty() {
            break;
        }
        token = next;
    }
    assert_eq!(read, made);
    let middle = text(&page["runs"][3], "started_at");
    let (after, ..) = list(json!({"started_after": middle})).await;
    let (before, ..) = list(json!({"started_before": middle})).await;
    assert_eq!([before, after].concat().len(), 7, "from this time on, or before it");
    for (wrong, what) in
        [(json!({"page_token": "nonsense"}), "page_token"), (json!({"limit": 0}), "limit"), (json!({"limit": 201}), "limit")]
    {
        let (status, detail) = client.call("ListRuns", wrong).await.refusal();
        assert!(status == 400 && detail.contains(what), "{status} {detail}");
    }
}

#[rstest]
#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_a_run(#[values(Rest, Grpc)] dialect: Dialect, #[values(true, false)] stream: bool) {
    let service = ModelService::new().await;
    let server = Setup::new().model(&service.url()).orchestrations(only([llm("ask", None)])).start();
    let client = server.client(dialect);
    let asking = tokio::spawn({
        let client = client.clone();
        async move {
            if stream {
                client.open("StreamRun", super::start("")).await.unwrap().until("thinking").await;
            } else {
                run(&client, "").await;
            }
        }
    });
    let mut call = service.called().await;
    asking.abort();
    let _ = asking.await;
    call.answer("done all the same").await;
    let listed = client.call("ListRuns", json!({})).await.answer();
    let run_id = text(&listed["runs"][0], "run_id");
    let events = super::watched(&client, run_id).await;
    assert_eq!(events[events.len() - 2].1["response"], "done all the same");
}

#[rstest]
#[tokio::test]
async fn a_message_is_what_the_run_begins_with(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([print("p", "{state.user_input}|{state.user_query}", None)])).start();
    let client = server.client(dialect);
    assert_eq!(client.call("Run", json!({"orchestration_id": "o1"})).await.answer()["response"], "|");
    assert_eq!(run(&client, "größer 😀").await["response"], "größer 😀|größer 😀");
    let (status, detail) = client.call("Run", super::start(&"x".repeat(1_000_001))).await.refusal();
    assert!(status == 400 && detail.contains("`message`"), "{detail}");
    let run_id = begin(&client).await;
    assert_eq!(super::watched(&client, &run_id).await[0].1["orchestration_id"], "o1");
}
