//! Steps that ask people: questions, answers, and what happens without one.

use rstest::rstest;
use serde_json::{Value, json};

use super::{answer, entered, events, get, history, human, llm, of_type, only, plain, print, run, step, text, with};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup, eventually, refused};

#[rstest]
#[tokio::test]
async fn a_run_waits_for_a_person_and_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let fields = json!([{"key": "decision", "type": "select", "options": ["yes", "no"], "note": [1, 2]}]);
    let ask = step(
        "ask",
        "human",
        json!({"human_prompt": "OK, {state.user_input}?", "human_fields": fields, "input_keys": ["user_input"], "human_channel_id": "c", "output_key": "ask", "next_step_id": "p"}),
    );
    let mut server =
        Setup::new().orchestrations(only([ask, print("p", "{state.ask.decision} {state.human_response.decision}", None)])).start();
    let client = server.client(dialect);
    let paused = run(&client, "Bo").await;
    let (run_id, question) = (text(&paused, "run_id").to_owned(), &paused["human_input_required"]);
    let expected = json!({"step_id": "ask", "prompt": "OK, Bo?", "fields": fields, "agent_context": "Bo", "question_id": question["question_id"], "expires_at": null});
    assert_eq!((&paused["status"], question), (&json!("paused"), &expected));
    assert_eq!(paused["pending"], json!([expected]));
    for absent in ["response", "shared_state"] {
        assert!(paused.get(absent).is_none(), "{absent}: {paused}");
    }
    let told = events(&client, "Bo").await;
    assert_eq!(
        told.iter().map(|event| text(event, "type")).collect::<Vec<_>>(),
        ["orchestration_start", "step_start", "human_input_required", "done"]
    );
    server.restart().await;
    let client = server.client(dialect);
    let waiting = get(&client, &run_id).await;
    assert_eq!((&waiting["status"], &waiting["pending"]), (&json!("paused"), &json!([expected])));
    assert_eq!(waiting["current_steps"][0]["step_id"], "ask");
    let done = answer(&client, &run_id, None, json!({"decision": "yes"})).await.answer();
    assert_eq!((&done["status"], &done["response"], history(&done)), (&json!("completed"), &json!("yes yes"), vec!["ask", "p"]));
}

#[rstest]
#[tokio::test]
async fn several_questions_are_open_at_once(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("p", "parallel", json!({"parallel_branches": [["left"], ["right"], ["third"]], "next_step_id": "z"})),
        human("left", Some("l2")),
        human("right", Some("z")),
        human("third", Some("z")),
        print("l2", "l2 {state.left.response}", Some("z")),
        print("z", "{state.left.response} {state.right.response} {state.third.n}", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let paused = run(&client, "").await;
    let run_id = text(&paused, "run_id");
    let asked: Vec<&str> = paused["pending"].as_array().unwrap().iter().map(|question| text(question, "step_id")).collect();
    assert_eq!(asked, ["left", "right", "third"]);
    let (status, detail) = answer(&client, run_id, None, json!("x")).await.refusal();
    assert!(status == 400 && detail.starts_with("`step_id`: several questions are open; name one of `"), "{status} {detail}");
    let (status, detail) = answer(&client, run_id, Some("z"), json!("x")).await.refusal();
    assert!(status == 400 && detail.starts_with("`step_id`: no question `z` is open; open are `"), "{status} {detail}");
    let right = answer(&client, run_id, Some("right"), json!("R")).await.answer();
    let open: Vec<&str> = right["pending"].as_array().unwrap().iter().map(|question| text(question, "step_id")).collect();
    assert_eq!((&right["status"], open), (&json!("paused"), vec!["left", "third"]));
    let named = text(&paused["pending"][0], "question_id");
    answer(&client, run_id, Some(named), json!("L")).await.answer();
    let done = answer(&client, run_id, None, json!({"n": 3})).await.answer();
    assert_eq!((&done["status"], &done["response"]), (&json!("completed"), &json!("L R 3")));
    assert_eq!(done["shared_state"]["l2"], "l2 L");
}

#[rstest]
#[tokio::test]
async fn an_answer_has_to_fit_the_question(#[values(Rest, Grpc)] dialect: Dialect) {
    let fields = json!([{"name": "who", "type": "text", "required": true}, {"name": "age", "type": "number"}, {"name": "ok", "type": "select", "options": "yes, no"}]);
    let ask = step("ask", "human", json!({"human_fields": fields, "output_key": "ask"}));
    let server = Setup::new().orchestrations(only([ask])).start();
    let client = server.client(dialect);
    let paused = run(&client, "").await;
    assert_eq!(paused["human_input_required"]["prompt"], "Please provide input to continue.");
    let run_id = text(&paused, "run_id");
    let wrong = [
        (
            json!({"who": "", "age": "old", "ok": "maybe"}),
            "`response`: the answer does not fit the question: `who` is missing; `age` must be a number; `ok` must be one of `yes`, `no`",
        ),
        (json!("yes"), "`response`: `response` must be an object, because several things are asked for with `who`, `age`, `ok`"),
        (json!([1]), "`response` must be an object with the fields that were asked for, or a text"),
    ];
    for (given, detail) in wrong {
        assert_eq!(answer(&client, run_id, None, given.clone()).await, refused(400, detail));
        let request = json!({"run_id": run_id, "response": given});
        assert_eq!(client.open("StreamResume", request).await.err(), Some(refused(400, detail)));
    }
    assert_eq!(get(&client, run_id).await["status"], "paused", "nothing happened");
    let done = answer(&client, run_id, None, json!({"who": "Bo", "age": 7, "ok": "no"})).await.answer();
    assert_eq!(done["shared_state"]["ask"], json!({"who": "Bo", "age": 7, "ok": "no"}));
}

#[rstest]
#[case::a_default_answer(json!({"human_timeout_action": "answer", "human_timeout_answer": {"response": "late"}}), "completed", "late", "timeout")]
#[case::a_failure(json!({"human_timeout_action": "fail"}), "failed", "Orchestration failed. Error: nobody answered within 1 s", "")]
#[case::another_branch(json!({"human_timeout_action": "branch", "human_timeout_step_id": "other"}), "completed", "another way", "")]
#[tokio::test]
async fn a_question_may_have_a_deadline(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[case] fields: Value,
    #[case] status: &str,
    #[case] response: &str,
    #[case] source: &str,
) {
    let mut ask = with(human("ask", Some("p")), fields);
    ask["human_timeout_seconds"] = 1.into();
    let server =
        Setup::new().orchestrations(only([ask, print("p", "{state.ask.response}", None), print("other", "another way", None)])).start();
    let client = server.client(dialect);
    let paused = run(&client, "").await;
    assert!(paused["human_input_required"]["expires_at"].is_string(), "{paused}");
    let told = super::watched(&client, text(&paused, "run_id")).await;
    let told: Vec<Value> = told.into_iter().map(|(_, event)| event).collect();
    let last = of_type(&told, "final").last().copied().unwrap();
    assert_eq!((&last["data"]["status"], &last["response"]), (&json!(status), &json!(response)));
    let sources: Vec<&str> = of_type(&told, "human_input_received").iter().map(|event| text(event, "source")).collect();
    assert_eq!(sources, Vec::from_iter(Some(source).filter(|source| !source.is_empty())));
}

#[rstest]
#[tokio::test]
async fn a_deadline_is_kept_over_a_restart(#[values(Rest, Grpc)] dialect: Dialect) {
    let mut ask = human("ask", Some("p"));
    (ask["human_timeout_seconds"], ask["human_timeout_action"]) = (1.into(), "answer".into());
    let mut server = Setup::new().orchestrations(only([ask, print("p", "on", None)])).start();
    let run_id = text(&run(&server.client(dialect), "").await, "run_id").to_owned();
    server.restart().await;
    let client = server.client(dialect);
    eventually("the end", async || (get(&client, &run_id).await["status"] == "completed").then_some(())).await;
}

#[rstest]
#[tokio::test]
async fn every_pass_of_a_loop_asks_again(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("l", "loop", json!({"loop_count": 2, "loop_step_ids": ["ask", "echo"], "next_step_id": "z"})),
        human("ask", None),
        print("echo", "{state.ask.response}", None),
        print("z", "{state.echo}", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let first = run(&client, "").await;
    let run_id = text(&first, "run_id");
    let second = answer(&client, run_id, Some("ask"), json!("one")).await.answer();
    assert_eq!(second["status"], "paused");
    assert_ne!(first["pending"][0]["question_id"], second["pending"][0]["question_id"]);
    let (status, detail) = answer(&client, run_id, Some(text(&first["pending"][0], "question_id")), json!("x")).await.refusal();
    assert!(status == 400 && detail.contains("no question"), "an answer to the question before is not taken: {detail}");
    let done = answer(&client, run_id, None, json!("two")).await.answer();
    let list = json!([{"iteration": 1, "agent": "ECHO", "result": "one"}, {"iteration": 2, "agent": "ECHO", "result": "two"}]);
    assert_eq!(done["shared_state"]["echo"], list);
}

#[rstest]
#[tokio::test]
async fn what_follows_an_answer_is_streamed(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([human("ask", Some("again")), human("again", Some("p")), print("p", "p", None)])).start();
    let client = server.client(dialect);
    let run_id = text(&run(&client, "").await, "run_id").to_owned();
    let resume = |response: &str| json!({"run_id": run_id, "response": response});
    let told = plain(client.open("StreamResume", resume("a")).await.unwrap()).await;
    let kinds: Vec<&str> = told.iter().map(|event| text(event, "type")).collect();
    assert_eq!(kinds, ["human_input_received", "step_start", "human_input_required", "done"]);
    let told = plain(client.open("StreamResume", resume("b")).await.unwrap()).await;
    assert_eq!((entered(&told), &told[told.len() - 2]["data"]["status"]), (vec!["p"], &json!("completed")));
}

#[rstest]
#[tokio::test]
async fn only_a_run_that_waits_takes_an_answer(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([print("p", "p", None)])).start();
    let client = server.client(dialect);
    let run_id = text(&run(&client, "").await, "run_id").to_owned();
    let ended = refused(400, &format!("Run '{run_id}' is not waiting for an answer; it is completed"));
    assert_eq!(answer(&client, &run_id, None, json!("x")).await, ended);
    assert_eq!(client.open("StreamResume", json!({"run_id": run_id, "response": "x"})).await.err(), Some(ended));
    let unknown = refused(404, "Run 'nope' not found");
    assert_eq!(answer(&client, "nope", None, json!("x")).await, unknown);
    for rpc in ["StreamResume", "StreamRetryRun", "WatchRun"] {
        assert_eq!(client.open(rpc, json!({"run_id": "nope"})).await.err(), Some(unknown.clone()), "{rpc}");
    }
    for rpc in ["GetRun", "CancelRun", "RetryRun"] {
        assert_eq!(client.call(rpc, json!({"run_id": "nope"})).await, unknown, "{rpc}");
    }
}

#[rstest]
#[tokio::test]
async fn of_two_answers_one_wins(#[values(Rest, Grpc)] dialect: Dialect) {
    let server = Setup::new().orchestrations(only([human("ask", Some("p")), print("p", "{state.ask.response}", None)])).start();
    let client = server.client(dialect);
    for _ in 0..10 {
        let run_id = text(&run(&client, "").await, "run_id").to_owned();
        let answers = (0..8).map(|number| {
            let (client, run_id) = (client.clone(), run_id.clone());
            tokio::spawn(async move { (number, answer(&client, &run_id, None, json!(number.to_string())).await) })
        });
        let mut won = Vec::new();
        for answered in answers.collect::<Vec<_>>() {
            let (number, outcome) = answered.await.unwrap();
            match outcome {
                crate::support::Outcome::Answered(done) => won.push((number, done["response"].clone())),
                crate::support::Outcome::Refused { status, detail } => {
                    assert!(status == 400 && detail.contains("is not waiting"), "{detail}");
                }
            }
        }
        let [(number, response)] = &won[..] else { panic!("{won:?}") };
        assert_eq!(*response, json!(number.to_string()));
    }
}

#[rstest]
#[tokio::test]
async fn a_question_is_answered_while_other_branches_work(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let steps = [
        step("p", "parallel", json!({"parallel_branches": [["ask"], ["slow"]], "next_step_id": "z"})),
        human("ask", Some("then")),
        print("then", "{state.ask.response} then", Some("z")),
        llm("slow", Some("z")),
        print("z", "{state.then}, {state.slow}", None),
    ];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let mut events = client.open("StreamRun", super::start("")).await.unwrap();
    let run_id = text(&events.until("orchestration_start").await, "run_id").to_owned();
    events.until("human_input_required").await;
    let mut call = service.called().await;
    assert_eq!(get(&client, &run_id).await["status"], "running", "it waits, and it works");
    let begun = client.call("Resume", json!({"run_id": run_id, "response": "first", "background": true})).await.answer();
    assert_eq!(begun["status"], "running");
    assert_eq!(events.until("final").await["response"], "first then", "the stream goes on, because the run did not stop");
    call.answer("last").await;
    let rest = plain(events).await;
    assert_eq!(of_type(&rest, "final").last().unwrap()["response"], "first then, last");
}
