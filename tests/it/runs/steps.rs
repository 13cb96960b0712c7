//! What each kind of step does.

use rstest::rstest;
use serde_json::{Value, json};

use super::{events, history, llm, of_type, only, only_with, print, run, step};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup};

#[rstest]
#[tokio::test]
async fn steps_that_compute_pass_values_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let schema = json!({"state_schema": {"unit": {"type": "string", "default": "km"}}});
    let steps = [
        step("found", "extract_json", json!({"input_keys": ["user_input"], "output_key": "found", "next_step_id": "twice"})),
        step(
            "twice",
            "transform",
            json!({"transform_code": "result = state['found']['n'] * 2", "output_key": "twice", "next_step_id": "big"}),
        ),
        step("big", "if_else", json!({"if_condition": "state.twice > 10", "if_true_step_id": "said", "output_key": "big"})),
        print("said", "{state.twice} {state.unit} {state.found.n} {state.nothing}", Some("list")),
        step("list", "merge", json!({"input_keys": ["said", "twice"], "output_key": "list", "next_step_id": "end"})),
        step("end", "end", json!({})),
    ];
    let server = Setup::new().orchestrations(only_with(schema, steps)).start();
    let answer = run(&server.client(dialect), r#"take {"n": 21}, please"#).await;
    assert_eq!(answer["status"], "completed", "{answer}");
    let expected = json!({"unit": "km", "user_input": "take {\"n\": 21}, please", "user_query": "take {\"n\": 21}, please", "found": {"n": 21},
        "twice": 42, "big": true, "said": "42 km 21 {state.nothing}",
        "list": [{"source": "SAID (said)", "data": "42 km 21 {state.nothing}"}, {"source": "TWICE (twice)", "data": 42}]});
    assert_eq!(answer["shared_state"], expected);
    assert_eq!(history(&answer), ["found", "twice", "big", "said", "list"]);
    assert!(answer["response"].as_str().unwrap().starts_with("[{'source': 'SAID (said)'"), "{answer}");
}

#[rstest]
#[tokio::test]
async fn models_agents_and_tools_work_in_steps(#[values(Rest, Grpc)] dialect: Dialect) {
    let tool = ModelService::new().await;
    let scripts = json!({"it": {"text": "a draft"}, "caller": {"calls": [{"tool": "ring", "arguments": {"times": 2}}]}, "talker": {"text": "from the agent"}});
    let steps = [
        llm("draft", Some("told")),
        step("told", "agent", json!({"agent_id": "a1", "output_key": "told", "next_step_id": "rung"})),
        step("rung", "tool", json!({"forced_tool": "ring", "model": "scripted.caller", "output_key": "rung"})),
    ];
    let server = Setup::new()
        .agents(json!([{"id": "a1", "name": "Alpha", "model": "scripted.talker", "tools": []}]))
        .setting("model", "scripted.it")
        .setting("scripted", scripts)
        .setting("allow_private_addresses", true)
        .file("custom_tools.json", json!([{"name": "ring", "method": "POST", "url": tool.url()}]).to_string())
        .orchestrations(only(steps))
        .start();
    let client = server.client(dialect);
    let running = tokio::spawn(async move { events(&client, "hi").await });
    let call = tool.called().await;
    assert!(call.asked.contains(r#""times":2"#), "{}", call.asked);
    assert!(call.asked.to_lowercase().contains("idempotency-key"), "{}", call.asked);
    call.respond("200 OK", "content-type: text/plain\r\n", "ding").await;
    let events = running.await.unwrap();
    let outcome = &of_type(&events, "final").last().unwrap()["data"];
    assert_eq!(outcome["status"], "completed", "{outcome}");
    let state = &outcome["shared_state"];
    assert_eq!((&state["draft"], &state["told"], &state["rung"]), (&json!("a draft"), &json!("from the agent"), &json!("ding")));
    let told = |kind: &str| of_type(&events, kind).iter().map(|event| event["orch_step_id"].clone()).collect::<Vec<_>>();
    assert_eq!(
        (told("llm_thought"), told("tool_execution"), told("tool_result")),
        (vec![json!("told")], vec![json!("rung")], vec![json!("rung")])
    );
    assert_eq!(told("thinking"), [json!("draft"), json!("told"), json!("rung")]);
}

#[rstest]
#[tokio::test]
async fn a_transform_that_raises_is_told_and_the_run_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("t", "transform", json!({"transform_code": "result = 1 / 0", "output_key": "t", "next_step_id": "p"})),
        print("p", "on", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    let error = of_type(&events, "step_error")[0];
    assert_eq!(error["error"], "Transform error: ZeroDivisionError: division by zero (line 1)");
    assert_eq!(of_type(&events, "transform_result")[0]["result"], Value::Null);
    let outcome = of_type(&events, "final").last().unwrap()["data"].clone();
    assert_eq!((&outcome["status"], history(&outcome)), (&json!("completed"), vec!["t", "p"]));
    assert!(outcome["shared_state"].get("t").is_none());
}

#[rstest]
#[tokio::test]
async fn a_tool_that_does_not_exist_is_told_and_the_run_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [step("t", "tool", json!({"forced_tool": "nothing", "next_step_id": "p"})), print("p", "on", None)];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    assert_eq!(of_type(&events, "step_error")[0]["error"], "tool `nothing` does not exist, or is none of the step's agent");
    assert_eq!(of_type(&events, "final").last().unwrap()["data"]["status"], "completed");
}

#[rstest]
#[case::a_tool(step("s", "tool", json!({"forced_tool": "ring", "max_turns": 2, "model": "scripted.caller"})), "tool `ring` failed in all of its 2 attempts")]
#[case::a_model(llm("s", None), "An internal error occurred while executing this step.")]
#[case::the_model_of_an_agent(step("s", "agent", json!({"agent_id": "a1"})), "An internal error occurred while executing this step.")]
#[case::an_evaluator(step("s", "evaluator", json!({"route_map": {"a": null}})), "An internal error occurred while executing this step.")]
#[case::an_agent_that_is_gone(step("s", "agent", json!({"agent_id": "gone"})), "agent `gone` of step `s` does not exist")]
#[case::no_kind(step("s", "jump", json!({})), "step `s` has the type `jump`, which does not exist")]
#[tokio::test]
async fn a_step_that_fails_fails_the_run(#[values(Rest, Grpc)] dialect: Dialect, #[case] step: Value, #[case] why: &str) {
    let scripts = json!({"it": {"error": "rejected"}, "caller": {"calls": [{"tool": "ring", "arguments": {}}]}});
    let server = Setup::new()
        .setting("model", "scripted.it")
        .setting("scripted", scripts)
        .setting("allow_private_addresses", true)
        .file("custom_tools.json", json!([{"name": "ring", "url": "http://127.0.0.1:1/"}]).to_string())
        .orchestrations(only([step, print("never", "never", None)]))
        .start();
    let answer = run(&server.client(dialect), "").await;
    assert_eq!(answer["status"], "failed", "{answer}");
    let response = answer["response"].as_str().unwrap();
    assert!(response.starts_with(&format!("Orchestration failed. Error: {why}")), "{response}");
    let failed = &answer["step_history"][0];
    assert_eq!((&failed["step_id"], &failed["status"]), (&json!("s"), &json!("failed")));
    assert!(failed["error"].as_str().unwrap().starts_with(why), "{failed}");
    assert_eq!(history(&answer), ["s"]);
}

#[rstest]
#[tokio::test]
async fn an_evaluator_chooses_a_way(#[values(Rest, Grpc)] dialect: Dialect) {
    let routes =
        json!({"route_map": {"short": "s", "long": "l", "end": null}, "route_descriptions": {"long": "many words"}, "output_key": "way"});
    let steps = [step("e", "evaluator", routes), print("s", "short it is", None), print("l", "long it is", None)];
    let server = Setup::new().orchestrations(only(steps)).start();
    let client = server.client(dialect);
    for (message, way, response) in [
        ("a long one", "long", "long it is"),
        ("who knows", "short", "short it is"),
        ("many words, please", "long", "long it is"),
        ("END", "end", "end"),
    ] {
        let events = events(&client, message).await;
        let [decision] = of_type(&events, "routing_decision")[..] else { panic!("one event for a decision: {events:?}") };
        assert_eq!((&decision["decision"], &decision["tool_name"]), (&json!(way), &json!(format!("route_{way}"))));
        assert!(
            !decision["reasoning"].as_str().unwrap().is_empty() && decision["arguments"]["reasoning"] == decision["reasoning"],
            "{decision}"
        );
        assert_eq!(of_type(&events, "final").last().unwrap()["response"], response);
    }
}

#[rstest]
#[tokio::test]
async fn private_keys_stay_inside(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("t", "transform", json!({"transform_code": "result = 'secret'", "output_key": "_mine", "next_step_id": "p"})),
        print("p", "{state._mine}", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let answer = run(&server.client(dialect), "").await;
    assert!(answer["shared_state"].get("_mine").is_none(), "{answer}");
    assert_eq!(answer["response"], "secret", "steps may use them");
    let run_id = answer["run_id"].as_str().unwrap();
    assert!(super::get(&server.client(dialect), run_id).await["shared_state"].get("_mine").is_none());
}

#[rstest]
#[tokio::test]
async fn a_run_without_steps_completes_and_a_missing_one_fails(#[values(Rest, Grpc)] dialect: Dialect) {
    let orchestrations = json!([{"id": "o1", "name": "O", "entry_step_id": "", "steps": []}, {"id": "o2", "name": "O", "entry_step_id": "gone", "steps": []}]);
    let server = Setup::new().orchestrations(orchestrations).start();
    let client = server.client(dialect);
    let empty = run(&client, "").await;
    assert_eq!((&empty["status"], &empty["response"]), (&json!("completed"), &json!("Orchestration completed. 0 steps executed.")));
    let missing = client.call("Run", json!({"orchestration_id": "o2"})).await.answer();
    assert_eq!(
        (&missing["status"], &missing["response"]),
        (&json!("failed"), &json!("Orchestration failed. Error: Step 'gone' not found"))
    );
}
