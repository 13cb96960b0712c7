//! The generator of `build/`: what it makes of a schema, and what stops the build.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../build/model.rs"]
mod model;
#[path = "../build/openapi.rs"]
mod openapi;
#[path = "../build/options.rs"]
mod options;
#[path = "../build/rust.rs"]
mod rust;

use model::Schema;
use protox::Compiler;
use rstest::rstest;
use serde_json::{Value, json};

const PACKAGE: &str = "synapse.v1";

/// Reads a schema whose one file has this body.
fn read(body: &str) -> Result<Schema, String> {
    let folder = tempfile::tempdir().unwrap();
    let imports =
        ["buf/validate/validate.proto", "google/api/annotations.proto", "google/protobuf/struct.proto", "synapse/options/v1/options.proto"];
    let imports = imports.map(|file| format!("import \"{file}\";")).join("\n");
    std::fs::create_dir_all(folder.path().join("synapse/v1")).unwrap();
    std::fs::write(
        folder.path().join("synapse/v1/tides.proto"),
        format!("syntax = \"proto3\";\npackage synapse.v1;\n{imports}\n// What is wrong.\nmessage Error {{\n  // The sentence.\n  string detail = 1;\n}}\n{body}"),
    )
    .unwrap();
    let mut compiler = Compiler::new([folder.path(), std::path::Path::new("proto")]).unwrap();
    compiler.include_source_info(true).include_imports(true).open_file("synapse/v1/tides.proto").unwrap();
    Schema::read(&compiler.descriptor_pool(), PACKAGE)
}

/// A service with one rpc, so that each test shows only what it is about.
fn service(http: &str, options: &str, request: &str, answer: &str) -> String {
    format!(
        "// Tells tides.\nservice TideService {{\n  // Tells a tide. It may be low.\n  rpc GetTide(GetTideRequest) returns ({answer}) {{\n    option (google.api.http) = {{{http}}};\n{options}  }}\n}}\n\
         // Asks for a tide.\nmessage GetTideRequest {{\n{request}\n}}\n\
         // A tide.\nmessage Tide {{\n  // The height in metres.\n  double height = 1;\n}}\n"
    )
}

const HARBOUR: &str = "  // The harbour.\n  string harbour = 1;";

#[test]
fn an_annotated_rpc_becomes_a_route_a_checked_service_and_a_documented_operation() {
    let rules = "  // The harbour.\n  string harbour = 1 [(buf.validate.field).string.min_len = 2];\n  // How many.\n  uint32 count = 2 [(buf.validate.field).uint32.lte = 9];";
    let schema = read(&service("get: \"/api/v1/tides/{harbour}\"", "", rules, "Tide")).unwrap();
    assert!(rust::rest(&schema).contains(r#"router.route("/api/v1/tides/{harbour}", axum::routing::get("#));
    assert!(rust::checked(&schema).contains(r#"call("TideService/GetTide", request"#));
    let validation = rust::validation(&schema);
    assert!(validation.contains(r#"rule::length("harbour", value, Some(2), None)"#), "{validation}");
    assert!(validation.contains(r#"rule::range("count", i128::from(*value), None, Some(9))"#), "{validation}");

    let document: Value = serde_json::from_str(&openapi::document(&schema).unwrap()).unwrap();
    let operation = &document["paths"]["/api/v1/tides/{harbour}"]["get"];
    assert_eq!(
        (&operation["operationId"], &operation["summary"], &operation["description"]),
        (&json!("get_tide"), &json!("Tells a tide"), &json!("It may be low."))
    );
    assert_eq!(operation["parameters"][0]["schema"]["minLength"], json!(2));
    assert_eq!(operation["parameters"][1]["schema"]["maximum"], json!(9));
    assert_eq!(operation["parameters"][1]["in"], json!("query"));
    assert_eq!(operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"], json!("#/components/schemas/Tide"));
}

#[test]
fn a_streaming_rpc_becomes_a_stream_of_events_told_apart_by_type() {
    let event = "// Something happened.\nmessage TideEvent {\n  // What.\n  oneof event {\n    // It is high.\n    Tide high = 1;\n    // It is low.\n    Tide low_water = 2;\n  }\n}\n";
    let schema = read(&(service("get: \"/api/v1/tides\"", "", HARBOUR, "stream TideEvent") + event)).unwrap();
    assert!(rust::rest(&schema).contains("gateway.stream(service.get_tide(request).await)"));
    assert!(rust::type_attributes(&schema)[0].1.contains("tag = \"type\""));
    assert!(rust::field_attributes(&schema).contains(&("synapse.v1.TideEvent.event".to_owned(), "#[serde(flatten)]")));
    let document: Value = serde_json::from_str(&openapi::document(&schema).unwrap()).unwrap();
    let answer = &document["paths"]["/api/v1/tides"]["get"]["responses"]["200"]["content"]["text/event-stream"];
    assert_eq!(answer["schema"]["$ref"], json!("#/components/schemas/TideEvent"));
    assert_eq!(
        document["components"]["schemas"]["TideEvent"]["discriminator"]["mapping"]["low_water"],
        json!("#/components/schemas/TideEventLowWater")
    );
    assert_eq!(document["components"]["schemas"]["TideEventLowWater"]["properties"]["type"]["enum"], json!(["low_water"]));
}

#[rstest]
#[case::a_rule_nobody_keeps(
    "get: \"/t\"",
    "  // H.\n  string harbour = 1 [(buf.validate.field).string.pattern = \"x\"];",
    "GetTideRequest.harbour",
    "`string.pattern`"
)]
#[case::a_rule_in_cel(
    "get: \"/t\"",
    "  // H.\n  string harbour = 1 [(buf.validate.field).cel = {id: \"a\"}];",
    "GetTideRequest.harbour",
    "`cel`"
)]
#[case::an_unknown_option("get: \"/t\"", "  // H.\n  string harbour = 1 [jstype = JS_STRING];", "GetTideRequest.harbour", "`jstype`")]
#[case::a_body_in_a_field("post: \"/t\" body: \"harbour\"", HARBOUR, "TideService.GetTide", "`body: harbour`")]
#[case::a_second_binding("get: \"/t\" additional_bindings {get: \"/u\"}", HARBOUR, "TideService.GetTide", "`additional_bindings")]
#[case::a_wild_path("get: \"/t/{harbour=**}\"", HARBOUR, "TideService.GetTide", "`{harbour=**}`")]
#[case::a_path_without_a_field("get: \"/t/{port}\"", HARBOUR, "TideService.GetTide", "`port`")]
#[case::no_comment("get: \"/t\"", "  string harbour = 1;", "GetTideRequest.harbour", "has no comment")]
#[case::a_rule_for_another_type(
    "get: \"/t\"",
    "  // H.\n  string harbour = 1 [(buf.validate.field).repeated.max_items = 2];",
    "GetTideRequest.harbour",
    "does not suit"
)]
#[case::bytes("get: \"/t\"", "  // H.\n  bytes harbour = 1;", "GetTideRequest.harbour", "use a string")]
#[case::a_map("get: \"/t\"", "  // H.\n  map<string, string> harbour = 1;", "GetTideRequest.harbour", "google.protobuf.Struct")]
#[case::required_without_presence(
    "get: \"/t\"",
    "  // H.\n  string harbour = 1 [(buf.validate.field).required = true];",
    "GetTideRequest.harbour",
    "make it `optional`"
)]
#[case::a_message_in_the_query("get: \"/t\"", "  // H.\n  Tide harbour = 1;", "TideService.GetTide", "give the rpc a body")]
fn what_the_generator_does_not_know_stops_the_build(#[case] http: &str, #[case] request: &str, #[case] place: &str, #[case] fault: &str) {
    let Err(message) = read(&service(http, "", request, "Tide")) else { panic!("the schema was taken") };
    assert!(message.starts_with(&format!("proto/synapse/v1/tides.proto: `synapse.v1.{place}`: ")), "{message}");
    assert!(message.contains(fault), "{message}");
}

#[test]
fn an_unknown_option_of_a_method_stops_the_build() {
    let Err(message) = read(&service("get: \"/t\"", "    option idempotency_level = IDEMPOTENT;\n", HARBOUR, "Tide")) else {
        panic!("the schema was taken")
    };
    assert!(message.contains("`synapse.v1.TideService.GetTide`: the option `idempotency_level`"), "{message}");
}

#[test]
fn a_oneof_of_plain_values_stops_the_build() {
    let event =
        "// Something happened.\nmessage TideEvent {\n  // What.\n  oneof event {\n    // It is high.\n    string high = 1;\n  }\n}\n";
    let Err(message) = read(&(service("get: \"/t\"", "", HARBOUR, "stream TideEvent") + event)) else { panic!("the schema was taken") };
    assert!(message.contains("`synapse.v1.TideEvent.high`: a variant of a oneof must be a message"), "{message}");
}
