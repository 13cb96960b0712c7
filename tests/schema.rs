//! The generator of `build/`: what it makes of a schema, and what stops the build.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../build/check.rs"]
mod check;
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
    let imports = [
        "buf/validate/validate.proto",
        "google/api/annotations.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/timestamp.proto",
        "synapse/options/v1/options.proto",
    ];
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

    let document = document(&schema);
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
    assert!(type_attribute(&schema, "TideEvent.event").contains("tag = \"type\""));
    assert!(rust::field_attributes(&schema).contains(&("synapse.v1.TideEvent.event".to_owned(), "#[serde(flatten)]".to_owned())));
    let document = document(&schema);
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

/// An event with something beside its oneof.
fn event(beside: &str) -> String {
    format!(
        "// Something happened.\nmessage TideEvent {{\n  // What.\n  oneof event {{\n    // It is high.\n    Tide high = 1;\n    // It is low.\n    Tide low = 2;\n  }}\n{beside}\n}}\n"
    )
}

const NUMBER: &str = "  // The number.\n  uint64 id = 9 [(synapse.options.v1.event_id) = true];";

fn document(schema: &Schema) -> Value {
    serde_json::from_str(&openapi::document(schema).unwrap()).unwrap()
}

fn type_attribute(schema: &Schema, name: &str) -> &'static str {
    let path = format!("synapse.v1.{name}");
    rust::type_attributes(schema).into_iter().find(|(candidate, _)| *candidate == path).unwrap().1
}

fn attribute(schema: &Schema, field: &str) -> String {
    let path = format!("synapse.v1.{field}");
    rust::field_attributes(schema).into_iter().find(|(candidate, _)| *candidate == path).unwrap().1
}

#[test]
fn an_event_id_is_the_id_of_the_frame_and_no_part_of_the_data() {
    let schema = read(&(service("get: \"/t\"", "", HARBOUR, "stream TideEvent") + &event(NUMBER))).unwrap();
    assert!(rust::events(&schema).contains("impl StreamEvent for TideEvent {\n    fn event_id(&self) -> u64 { self.id }"));
    assert!(!rust::events(&schema).contains("type_first!"));
    assert_eq!(attribute(&schema, "TideEvent.id"), "#[serde(skip)]");
    let document = document(&schema);
    assert_eq!(document["components"]["schemas"]["TideEventHigh"]["properties"].as_object().unwrap().len(), 2);
    let meaning = &document["paths"]["/t"]["get"]["responses"]["200"]["description"];
    assert!(meaning.as_str().unwrap().contains("its `id` numbers it"), "{meaning}");
}

#[test]
fn a_stream_without_event_ids_numbers_nothing() {
    let schema = read(&(service("get: \"/t\"", "", HARBOUR, "stream TideEvent") + &event(""))).unwrap();
    assert!(rust::events(&schema).contains("impl StreamEvent for TideEvent {\n    fn event_id(&self) -> u64 { 0 }"));
}

#[test]
fn fields_beside_a_oneof_stand_behind_those_of_each_variant() {
    let beside =
        "  // The step.\n  optional string step_name = 10 [(synapse.options.v1.omit_unset) = true];\n  // How deep.\n  uint32 depth = 11;";
    let schema = read(&(service("get: \"/t\"", "", HARBOUR, "stream TideEvent") + &event(&format!("{NUMBER}\n{beside}")))).unwrap();
    assert!(rust::events(&schema).contains("type_first!(TideEvent, event);"));
    assert!(type_attribute(&schema, "TideEvent").ends_with("#[serde(remote = \"Self\")]"));
    assert_eq!(attribute(&schema, "TideEvent.event"), "#[serde(flatten, skip_serializing)]");
    let document = document(&schema);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["TideEvent"]["oneOf"].as_array().unwrap().len(), 2);
    for variant in ["TideEventHigh", "TideEventLow"] {
        let names: Vec<&String> = schemas[variant]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["type", "height", "step_name", "depth"]);
        assert_eq!(schemas[variant]["required"], json!(["type", "height", "depth"]));
    }
}

#[rstest]
#[case::a_name_of_a_variant("  // H.\n  double height = 3;", "TideEvent", "`height` would stand twice")]
#[case::the_name_of_the_choice("  // T.\n  string type = 3;", "TideEvent", "`type` would stand twice")]
#[case::two_ids(
    "  // A.\n  uint64 a = 3 [(synapse.options.v1.event_id) = true];\n  // B.\n  uint64 b = 4 [(synapse.options.v1.event_id) = true];",
    "TideEvent",
    "two fields with `event_id`"
)]
#[case::an_id_that_is_a_word("  // A.\n  string a = 3 [(synapse.options.v1.event_id) = true];", "TideEvent.a", "a plain `uint64`")]
#[case::an_id_that_may_be_unset(
    "  // A.\n  optional uint64 a = 3 [(synapse.options.v1.event_id) = true];",
    "TideEvent.a",
    "a plain `uint64`"
)]
fn an_event_that_cannot_be_told_stops_the_build(#[case] beside: &str, #[case] place: &str, #[case] fault: &str) {
    let Err(message) = read(&(service("get: \"/t\"", "", HARBOUR, "stream TideEvent") + &event(beside))) else {
        panic!("the schema was taken")
    };
    assert!(message.starts_with(&format!("proto/synapse/v1/tides.proto: `synapse.v1.{place}`: ")), "{message}");
    assert!(message.contains(fault), "{message}");
}

#[test]
fn an_event_id_that_no_stream_tells_stops_the_build() {
    let Err(message) = read(&(service("get: \"/t\"", "", HARBOUR, "Tide") + &event(NUMBER))) else { panic!("the schema was taken") };
    assert!(message.contains("`synapse.v1.TideEvent`: has an `event_id`, and no stream tells it"), "{message}");
}

#[test]
fn an_idempotent_rpc_documents_its_key_and_the_conflict() {
    let options = "    option (synapse.options.v1.idempotent) = true;\n    option (synapse.options.v1.may_accept) = true;\n";
    let document = document(&read(&service("post: \"/t\" body: \"*\"", options, HARBOUR, "Tide")).unwrap());
    let operation = &document["paths"]["/t"]["post"];
    let key = &operation["parameters"][0];
    assert_eq!((&key["name"], &key["in"], &key["required"]), (&json!("Idempotency-Key"), &json!("header"), &json!(false)));
    assert_eq!((&key["schema"]["minLength"], &key["schema"]["maxLength"]), (&json!(1), &json!(255)));
    assert_eq!(operation["responses"]["409"]["$ref"], json!("#/components/responses/Conflict"));
    assert_eq!(operation["responses"]["202"]["content"], operation["responses"]["200"]["content"]);
    assert!(operation["responses"]["202"]["description"].as_str().unwrap().starts_with("Accepted: "));
}

#[test]
fn a_plain_rpc_has_neither_headers_nor_other_answers() {
    let document = document(&read(&service("post: \"/t\" body: \"*\"", "", HARBOUR, "Tide")).unwrap());
    let operation = &document["paths"]["/t"]["post"];
    assert_eq!(
        (&operation["parameters"], &operation["responses"]["409"], &operation["responses"]["202"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
}

const RESUMABLE: &str = "    option (synapse.options.v1.resumable) = true;\n";

#[test]
fn a_resumable_stream_documents_where_it_goes_on() {
    let request = format!("{HARBOUR}\n  // The last event.\n  optional uint64 after = 2;");
    let schema = read(&(service("get: \"/t/{harbour}\"", RESUMABLE, &request, "stream TideEvent") + &event(NUMBER))).unwrap();
    let document = document(&schema);
    let parameters = document["paths"]["/t/{harbour}"]["get"]["parameters"].as_array().unwrap();
    let names: Vec<_> =
        parameters.iter().map(|parameter| (parameter["in"].as_str().unwrap(), parameter["name"].as_str().unwrap())).collect();
    assert_eq!(names, [("path", "harbour"), ("query", "after"), ("header", "Last-Event-ID")]);
    assert_eq!(parameters[2]["schema"]["type"], json!("integer"));
}

#[rstest]
#[case::no_after(RESUMABLE, HARBOUR, "stream TideEvent", NUMBER, "`resumable` needs")]
#[case::no_number(RESUMABLE, "  // A.\n  uint64 after = 1;", "stream TideEvent", "", "`resumable` needs")]
#[case::no_stream(RESUMABLE, "  // A.\n  uint64 after = 1;", "Tide", "", "`resumable` needs")]
#[case::a_stream_that_is_accepted("    option (synapse.options.v1.may_accept) = true;\n", HARBOUR, "stream TideEvent", "", "`may_accept`")]
fn a_habit_that_does_not_suit_the_rpc_stops_the_build(
    #[case] options: &str,
    #[case] request: &str,
    #[case] answer: &str,
    #[case] beside: &str,
    #[case] fault: &str,
) {
    let Err(message) = read(&(service("get: \"/t\"", options, request, answer) + &event(beside))) else { panic!("the schema was taken") };
    assert!(message.starts_with("proto/synapse/v1/tides.proto: `synapse.v1.TideService.GetTide`: "), "{message}");
    assert!(message.contains(fault), "{message}");
}

const SEASON: &str = "// A part of the year.\nenum Season {\n  // Any.\n  SEASON_UNSPECIFIED = 0;\n  // It is warm.\n  SEASON_DRY = 1;\n  // It is wet.\n  SEASON_RAINY_MONTHS = 4;\n}\n";

#[test]
fn an_enum_is_told_in_words() {
    let request = "  // When.\n  Season season = 1 [(buf.validate.field).required = true];\n  // Not then.\n  repeated Season without = 2;\n  // Since.\n  google.protobuf.Timestamp since = 3;";
    let schema = read(&(service("get: \"/t\"", "", request, "Tide") + SEASON)).unwrap();
    assert!(rust::vocabulary(&schema).contains("impl Words for crate::wire::v1::Season {"));
    assert!(rust::vocabulary(&schema).contains(r#"&[("dry", 1), ("rainy_months", 4)]"#));
    assert!(attribute(&schema, "GetTideRequest.season").contains("crate::wire::word::deserialize_word::<crate::wire::v1::Season, _>"));
    assert!(attribute(&schema, "GetTideRequest.without").contains("crate::wire::word::deserialize_words::<crate::wire::v1::Season, _>"));
    let validation = rust::validation(&schema);
    assert!(validation.contains(r#"rule::required("season", self.season != 0)?;"#), "{validation}");
    assert!(validation.contains(r#"for value in &self.without { rule::word::<Season>("without", *value)?; }"#), "{validation}");

    let document = document(&schema);
    let words = &document["components"]["schemas"]["Season"];
    assert_eq!((&words["type"], &words["enum"]), (&json!("string"), &json!(["dry", "rainy_months"])));
    assert_eq!(words["description"], json!("A part of the year.\n\n- `dry`: It is warm.\n- `rainy_months`: It is wet."));
    let parameters = &document["paths"]["/t"]["get"]["parameters"];
    assert_eq!(parameters[0]["schema"]["$ref"], json!("#/components/schemas/Season"));
    assert_eq!(parameters[1]["schema"]["items"]["$ref"], json!("#/components/schemas/Season"));
    assert_eq!(parameters[2]["schema"]["format"], json!("date-time"));
}

#[test]
fn a_message_that_may_be_unset_may_be_null() {
    let request = "  // H.\n  string harbour = 1;\n";
    let coast = "// A coast.\nmessage Coast {\n  // Now.\n  Tide now = 1;\n  // Next.\n  Tide next = 2 [(synapse.options.v1.omit_unset) = true];\n  // Mean.\n  Tide mean = 3 [(buf.validate.field).required = true];\n}\n";
    let document = document(&read(&(service("get: \"/t\"", "", request, "Coast") + coast)).unwrap());
    let fields = &document["components"]["schemas"]["Coast"]["properties"];
    let tide = json!("#/components/schemas/Tide");
    assert_eq!((&fields["now"]["oneOf"][0]["$ref"], &fields["now"]["oneOf"][1]["type"]), (&tide, &json!("null")));
    assert_eq!((&fields["next"]["$ref"], &fields["mean"]["$ref"]), (&tide, &tide));
}

#[rstest]
#[case::a_value_without_the_prefix("SEASON_UNSPECIFIED = 0;\n  // D.\n  DRY = 1;", "  // S.\n  Season season = 1;", "begin with `SEASON_`")]
#[case::a_first_value_with_a_meaning("SEASON_DRY = 0;", "  // S.\n  Season season = 1;", "`SEASON_UNSPECIFIED = 0` stands for unset")]
#[case::an_optional_enum("SEASON_UNSPECIFIED = 0;", "  // S.\n  optional Season season = 1;", "leave `optional` out")]
fn an_enum_that_has_no_words_stops_the_build(#[case] values: &str, #[case] request: &str, #[case] fault: &str) {
    let season = format!("// A part of the year.\nenum Season {{\n  // A.\n  {values}\n}}\n");
    let Err(message) = read(&(service("get: \"/t\"", "", request, "Tide") + &season)) else { panic!("the schema was taken") };
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
