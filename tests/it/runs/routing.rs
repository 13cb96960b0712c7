//! Where runs go: conditions, branches, loops, ends and the loop guard.

use rstest::rstest;
use serde_json::{Value, json};

use super::{entered, events, history, llm, of_type, only, only_with, print, run, step};
use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{ModelService, Setup};

fn if_else(id: &str, condition: &str, ways: Value) -> Value {
    let mut made = step(id, "if_else", ways);
    made["if_condition"] = condition.into();
    made
}

#[rstest]
#[case::true_without_a_way_ends(json!({"if_false_step_id": "f", "next_step_id": "n"}), "yes", None)]
#[case::true_has_a_way(json!({"if_true_step_id": "t", "if_false_step_id": "f"}), "yes", Some("t"))]
#[case::false_has_a_way(json!({"if_true_step_id": "t", "if_false_step_id": "f"}), "no", Some("f"))]
#[case::false_without_a_way_goes_on_behind(json!({"if_true_step_id": "t", "next_step_id": "n"}), "no", Some("n"))]
#[tokio::test]
async fn a_condition_leads(
    #[values(Rest, Grpc)] dialect: Dialect,
    #[case] ways: Value,
    #[case] message: &str,
    #[case] target: Option<&str>,
) {
    let steps = [if_else("i", "state.user_input == 'yes'", ways), print("t", "t", None), print("f", "f", None), print("n", "n", None)];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), message).await;
    let [decision] = of_type(&events, "if_decision")[..] else { panic!("one event for a decision: {events:?}") };
    let result = if message == "yes" { "true" } else { "false" };
    assert_eq!((&decision["result"], &decision["decision"], &decision["target_step_id"]), (&json!(result), &json!(result), &json!(target)));
    assert_eq!(entered(&events), std::iter::once("i").chain(target).collect::<Vec<_>>());
}

#[rstest]
#[tokio::test]
async fn a_switch_compares_texts(#[values(Rest, Grpc)] dialect: Dialect) {
    let schema = json!({"state_schema": {"v": {"default": null}}});
    let switch = step(
        "s",
        "switch",
        json!({"switch_expression": "state.data.v", "switch_cases": {"True": "t", "None": "n", "1.5": "f", "{'a': [1]}": "o", "x": null},
        "switch_default_step_id": "d", "output_key": "value"}),
    );
    let found = step("x", "extract_json", json!({"input_keys": ["user_input"], "output_key": "data", "next_step_id": "s"}));
    let ends = ["t", "n", "f", "o", "d"].map(|id| print(id, id, None));
    let server = Setup::new().orchestrations(only_with(schema, [vec![found, switch], ends.into()].concat())).start();
    let client = server.client(dialect);
    let cases =
        [(json!(true), "t"), (json!(null), "n"), (json!(1.5), "f"), (json!({"a": [1]}), "o"), (json!("else"), "d"), (json!(1), "d")];
    for (value, way) in cases {
        let answer = run(&client, &json!({"v": value}).to_string()).await;
        assert_eq!((&answer["response"], &answer["shared_state"]["value"]), (&json!(way), &value), "{answer}");
    }
    let answer = run(&client, r#"{"v": "x"}"#).await;
    assert_eq!((&answer["status"], history(&answer)), (&json!("completed"), vec!["x", "s"]), "a case without a way ends the run");
}

#[rstest]
#[tokio::test]
async fn branches_route_by_themselves_and_meet_behind(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("p", "parallel", json!({"parallel_branches": [["i"], ["x"]], "next_step_id": "m"})),
        if_else("i", "True", json!({"if_true_step_id": "yes", "if_false_step_id": "no"})),
        print("yes", "yes", Some("m")),
        print("no", "no", Some("m")),
        print("x", "x", Some("y")),
        print("y", "y", Some("m")),
        step("m", "merge", json!({"merge_strategy": "dict", "input_keys": ["yes", "no", "x", "y"], "output_key": "m"})),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    let outcome = &of_type(&events, "final").last().unwrap()["data"];
    assert_eq!(outcome["shared_state"]["m"], json!({"YES (yes)": "yes", "X (x)": "x", "Y (y)": "y"}));
    assert_eq!(entered(&events).iter().filter(|step| **step == "m").count(), 1);
    let branches: Vec<&Value> = of_type(&events, "branch_start").iter().map(|event| &event["branch_index"]).collect();
    assert_eq!(branches, [&json!(0), &json!(1)]);
    assert_eq!(of_type(&events, "parallel_complete")[0]["branch_count"], 2);
}

#[rstest]
#[tokio::test]
async fn a_branch_that_lists_steps_takes_them_as_listed(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("p", "parallel", json!({"parallel_branches": [["a", "c", "a"], ["d"]], "max_concurrency": 1})),
        print("a", "a", Some("b")),
        print("b", "b", None),
        print("c", "c", None),
        print("d", "d", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    assert_eq!(entered(&events), ["p", "a", "c", "a", "d"], "one branch after the other");
}

#[rstest]
#[tokio::test]
async fn branches_work_at_the_same_time(#[values(Rest, Grpc)] dialect: Dialect) {
    let service = ModelService::new().await;
    let steps = [step("p", "parallel", json!({"parallel_branches": [["left"], ["right"]]})), llm("left", None), llm("right", None)];
    let server = Setup::new().model(&service.url()).orchestrations(only(steps)).start();
    let client = server.client(dialect);
    let running = tokio::spawn(async move { run(&client, "").await });
    let (mut first, mut second) = (service.called().await, service.called().await);
    second.answer("two").await;
    first.answer("one").await;
    let state = running.await.unwrap()["shared_state"].clone();
    let mut said = [state["left"].clone(), state["right"].clone()];
    said.sort_by_key(Value::to_string);
    assert_eq!(said, [json!("one"), json!("two")]);
}

#[rstest]
#[tokio::test]
async fn an_end_ends_what_it_stands_in(#[values(Rest, Grpc)] dialect: Dialect) {
    let steps = [
        step("p", "parallel", json!({"parallel_branches": [["stop"], ["x"]], "next_step_id": "l"})),
        step("stop", "end", json!({})),
        print("x", "x", None),
        step("l", "loop", json!({"loop_count": 5, "loop_step_ids": ["body", "out"], "next_step_id": "z"})),
        print("body", "b", None),
        step("out", "end", json!({})),
        print("z", "z", Some("fin")),
        step("fin", "end", json!({"next_step_id": "never"})),
        print("never", "never", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    let steps = entered(&events);
    assert_eq!(steps.iter().filter(|step| **step == "body").count(), 1, "{steps:?}");
    assert_eq!(&steps[steps.len() - 2..], ["z", "fin"]);
    let outcome = of_type(&events, "final").last().unwrap()["data"].clone();
    assert_eq!((&outcome["status"], &outcome["shared_state"]["x"]), (&json!("completed"), &json!("x")));
    assert_eq!(of_type(&events, "loop_complete")[0]["iterations_completed"], 1);
}

#[rstest]
#[tokio::test]
async fn a_loop_collects_routes_and_ends_early(#[values(Rest, Grpc)] dialect: Dialect) {
    let count = "result = (state.get('last') or 0) + 1";
    let steps = [
        step(
            "l",
            "loop",
            json!({"loop_count": 9, "loop_step_ids": ["n", "odd", "small"], "loop_until": "state.last >= 3", "output_key": "all", "next_step_id": "z"}),
        ),
        step("n", "transform", json!({"transform_code": count, "output_key": "last"})),
        if_else("odd", "state.last == 2", json!({"if_true_step_id": "small", "if_false_step_id": "extra"})),
        print("extra", "e{state.last}", Some("small")),
        print("small", "s{state.last}", None),
        print("z", "{state.all}", None),
    ];
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    assert_eq!(entered(&events), ["l", "n", "odd", "extra", "small", "n", "odd", "small", "n", "odd", "extra", "small", "z"]);
    assert_eq!(of_type(&events, "loop_iteration").len(), 3);
    let state = &of_type(&events, "final").last().unwrap()["data"]["shared_state"];
    let list = |values: [Value; 3], name: &str| -> Value {
        (1..).zip(values).map(|(iteration, value)| json!({"iteration": iteration, "agent": name, "result": value})).collect()
    };
    let small = list([json!("s1"), json!("s2"), json!("s3")], "SMALL");
    assert_eq!(state["small"], small);
    assert_eq!(state["all"], json!({"N": list([json!(1), json!(2), json!(3)], "N"), "SMALL": small}));
}

#[rstest]
#[case::itself(vec![step("a", "print", json!({"print_content": "x", "next_step_id": "a", "max_iterations": 2}))], vec!["a", "a"])]
#[case::a_circle(vec![print("a", "a", Some("b")), print("b", "b", Some("a"))], vec!["a", "b", "a", "b", "a", "b"])]
#[case::an_evaluator(vec![print("a", "a", Some("e")), step("e", "evaluator", json!({"route_map": {"again": "a"}, "max_iterations": 2, "next_step_id": "z"})), print("z", "z", None)],
    vec!["a", "e", "a", "e", "a", "z"])]
#[tokio::test]
async fn the_loop_guard_stops_circles(#[values(Rest, Grpc)] dialect: Dialect, #[case] steps: Vec<Value>, #[case] path: Vec<&str>) {
    let server = Setup::new().orchestrations(only(steps)).start();
    let events = events(&server.client(dialect), "").await;
    assert_eq!(entered(&events), path);
    let limit = of_type(&events, "loop_limit_reached");
    assert_eq!(limit[0]["iterations"], limit[0]["max_iterations"]);
    assert_eq!(of_type(&events, "final").last().unwrap()["data"]["status"], "completed");
}
