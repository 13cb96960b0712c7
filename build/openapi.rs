//! Writes the OpenAPI document of the REST side.

use std::collections::BTreeSet;

use heck::{ToSnakeCase, ToTitleCase, ToUpperCamelCase};
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema as Model, SchemaType, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, Deprecated, Discriminator, InfoBuilder, KnownFormat, LicenseBuilder, OpenApiBuilder, Ref, RefOr,
    Required, ResponseBuilder, SchemaFormat, ServerBuilder,
};

use crate::model::{Enum, Field, Kind, Message, Method, Schema, Service};
use crate::options::{Habit, Route};

// A component's name has no blank in OpenAPI 3.1.
const API_KEY: &str = "ApiKey";
const ADMIN_TOKEN: &str = "AdminToken";

/// How a call can be refused: the status, the name of the response and its meaning.
const REFUSALS: [(&str, &str, &str); 9] = [
    ("400", "BadRequest", "The request breaks a rule of the API, or the state of the server does not allow it."),
    ("401", "Unauthenticated", "The key is missing, unknown, revoked or expired."),
    ("403", "PermissionDenied", "The call wants the admin token."),
    ("404", "NotFound", "What the call names does not exist."),
    ("409", "Conflict", "Somebody else was faster, or the `Idempotency-Key` came with another request before."),
    ("413", "TooLarge", "The body is larger than the server takes."),
    ("415", "UnsupportedMediaType", "The body is not `application/json`."),
    ("500", "Failed", "The agent or the server failed."),
    ("503", "Unavailable", "The server is starting, stopping or out of room."),
];

const IDEMPOTENCY_KEY: &str = "Makes the call safe to repeat: the same key with the same request gives the same run or answer, also after a \
restart of the server; with another request it is refused with 409. A key belongs to the API key that it came with, and is kept as long as the run. \
1 to 255 visible ASCII characters.";

const ACCEPTED: &str = "Accepted: the work goes on in the background or waits for a person; `status` tells.";

const LAST_EVENT_ID: &str = "The `id:` of the last frame that came: what follows it is told. It stands for `after` where that is not set. Browsers send it by themselves.";

/// Writes the document as JSON.
pub(crate) fn document(schema: &Schema) -> Result<String, Box<dyn std::error::Error>> {
    let mut paths = PathsBuilder::new();
    for (service, method) in schema.methods() {
        if let Some(route) = &method.route {
            paths = paths.path(&route.path, PathItem::new(verb(route), operation(schema, service, method, route)));
        }
    }
    let tags = schema.services.iter().map(|service| TagBuilder::new().name(tag(service)).description(Some(&service.comment)).build());
    let info = InfoBuilder::new()
        .title("Synapse")
        .version("v1")
        .description(Some(
            "Runs AI agents and orchestrations for other programs. Every route is an rpc of the gRPC service of the same name.",
        ))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .build();
    let server = ServerBuilder::new().url("http://localhost:8000").description(Some("A server on this machine")).build();
    let document = OpenApiBuilder::new()
        .info(info)
        .servers(Some([server]))
        .tags(Some(tags))
        .paths(paths.build())
        .components(Some(components(schema).build()))
        .build();
    Ok(document.to_pretty_json()? + "\n")
}

fn components(schema: &Schema) -> ComponentsBuilder {
    let mut components = ComponentsBuilder::new().security_scheme(API_KEY, bearer("An API key: `sk-syn-` and 64 hexadecimal digits."));
    components = components.security_scheme(ADMIN_TOKEN, bearer("The token of the server's administrator."));
    for message in shown(schema) {
        components = components.schema(component(message), model(message, &[]));
        if let Some(oneof) = &message.oneof {
            for variant in &oneof.variants {
                let Kind::Message(inner) = &variant.kind else { continue };
                components = components.schema(variant_name(message, variant), variant_model(schema.message(inner), variant, message));
            }
        }
    }
    for words in schema.enums.values() {
        components = components.schema(words.path.concat(), word_model(words));
    }
    for (_, method) in schema.methods() {
        if let Some(route) = method.route.as_ref().filter(|route| route.body && !route.parameters.is_empty()) {
            let message = schema.message(&method.input);
            components = components.schema(body_name(message), model(message, &route.parameters));
        }
    }
    for (_, name, description) in REFUSALS {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Error"))).build();
        components =
            components.response(name, ResponseBuilder::new().description(description).content("application/json", content).build());
    }
    components
}

/// Returns the messages that the document shows: those that a route reaches, and the error.
fn shown(schema: &Schema) -> Vec<&Message> {
    let mut names = BTreeSet::new();
    for (_, method) in schema.methods() {
        let Some(route) = &method.route else { continue };
        if route.body && route.parameters.is_empty() {
            reach(schema, &method.input, &mut names);
        }
        match &route.response_body {
            None => reach(schema, &method.output, &mut names),
            Some(body) => {
                let field = schema.message(&method.output).fields.iter().find(|field| field.name == *body);
                if let Some(Kind::Message(inner)) = field.map(|field| &field.kind) {
                    reach(schema, inner, &mut names);
                }
            }
        }
    }
    names.insert(format!("{}.Error", crate::PACKAGE));
    names.iter().map(|name| schema.message(name)).collect()
}

fn reach(schema: &Schema, name: &str, names: &mut BTreeSet<String>) {
    if !names.insert(name.to_owned()) {
        return;
    }
    let message = schema.message(name);
    for field in &message.fields {
        if let Kind::Message(inner) = &field.kind {
            reach(schema, inner, names);
        }
    }
    // A variant is shown as a schema of its own, with `type`; only what its fields name is reached.
    for variant in message.oneof.iter().flat_map(|oneof| &oneof.variants) {
        let Kind::Message(inner) = &variant.kind else { continue };
        for field in &schema.message(inner).fields {
            if let Kind::Message(inner) = &field.kind {
                reach(schema, inner, names);
            }
        }
    }
}

fn operation(schema: &Schema, service: &Service, method: &Method, route: &Route) -> Operation {
    let input = schema.message(&method.input);
    let (summary, description) = split(&method.comment);
    let mut operation = OperationBuilder::new()
        .operation_id(Some(method.name.to_snake_case()))
        .tag(tag(service))
        .summary(Some(summary))
        .description(description)
        .security(SecurityRequirement::new::<_, [&str; 0], _>(if method.admin { ADMIN_TOKEN } else { API_KEY }, []));
    for field in input.fields.iter().filter(|field| route.parameters.contains(&field.name) || !route.body) {
        let in_path = route.parameters.contains(&field.name);
        let parameter = ParameterBuilder::new()
            .name(&field.name)
            .parameter_in(if in_path { ParameterIn::Path } else { ParameterIn::Query })
            .required(if in_path || field.options.required { Required::True } else { Required::False })
            .description(Some(&field.comment))
            .schema(Some(bare(field)));
        operation = operation.parameter(parameter);
    }
    for parameter in headers(method) {
        operation = operation.parameter(parameter);
    }
    if route.body {
        let name = if route.parameters.is_empty() { component(input) } else { body_name(input) };
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(name))).build();
        operation = operation
            .request_body(Some(RequestBodyBuilder::new().required(Some(Required::True)).content("application/json", content).build()));
    }
    operation = operation.response("200", answer(schema, method, route));
    if method.has(Habit::MayAccept) {
        let mut accepted = answer(schema, method, route);
        accepted.description = ACCEPTED.into();
        operation = operation.response("202", accepted);
    }
    let refusals = REFUSALS.iter().filter(|(status, ..)| match *status {
        "403" => method.admin,
        "409" => method.has(Habit::Idempotent),
        "413" | "415" => route.body,
        _ => true,
    });
    for (status, name, _) in refusals {
        operation = operation.response(*status, Ref::from_response_name(*name));
    }
    operation.build()
}

/// Returns the headers that an rpc takes beside its message.
fn headers(method: &Method) -> Vec<ParameterBuilder> {
    let header = |name, meaning, schema: ObjectBuilder| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header).required(Required::False);
        parameter.description(Some(meaning)).schema(Some(schema))
    };
    let key = || ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(255)).pattern(Some("^[!-~]+$"));
    let number =
        || ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))).minimum(Some(0));
    let mut headers = Vec::new();
    if method.has(Habit::Idempotent) {
        headers.push(header("Idempotency-Key", IDEMPOTENCY_KEY, key()));
    }
    if method.has(Habit::Resumable) {
        headers.push(header("Last-Event-ID", LAST_EVENT_ID, number()));
    }
    headers
}

fn answer(schema: &Schema, method: &Method, route: &Route) -> utoipa::openapi::Response {
    let output = schema.message(&method.output);
    let whole = || RefOr::from(Ref::from_schema_name(component(output)));
    let field = route.response_body.as_ref().and_then(|body| output.fields.iter().find(|field| field.name == *body));
    let (media, description, content) = match field {
        Some(field) => ("application/json", field.comment.as_str(), typed(field)),
        None if method.streaming => ("text/event-stream", stream_meaning(output), whole()),
        None => ("application/json", output.comment.as_str(), whole()),
    };
    ResponseBuilder::new().description(description).content(media, ContentBuilder::new().schema(Some(content)).build()).build()
}

fn stream_meaning(event: &Message) -> &'static str {
    if event.fields.iter().any(|field| field.options.event_id) {
        "A stream of events: each frame's `data` is one of these, and its `id` numbers it; a frame without one is a live hint."
    } else {
        "A stream of events: each frame's `data` is one of these."
    }
}

/// Describes a message as an object, without the fields that stand elsewhere.
fn model(message: &Message, without: &[String]) -> RefOr<Model> {
    match &message.oneof {
        Some(oneof) => {
            let mut discriminator = Discriminator::new("type");
            let mut union = OneOfBuilder::new().description(Some(format!("{} {}", message.comment, oneof.comment)));
            for variant in &oneof.variants {
                let reference = Ref::from_schema_name(variant_name(message, variant));
                discriminator.mapping.insert(variant.name.clone(), reference.ref_location.clone());
                union = union.item(reference);
            }
            union.discriminator(Some(discriminator)).into()
        }
        None => properties(ObjectBuilder::new().description(Some(&message.comment)), message, without).into(),
    }
}

/// Describes a variant with its `type` and with the fields that stand beside the oneof.
fn variant_model(message: &Message, variant: &Field, whole: &Message) -> RefOr<Model> {
    let kind =
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some([variant.name.as_str()])).description(Some("What happened."));
    let object = ObjectBuilder::new().description(Some(&message.comment)).property("type", kind).required("type");
    properties(properties(object, message, &[]), whole, &[]).into()
}

/// Describes an enum as one of its words.
fn word_model(words: &Enum) -> RefOr<Model> {
    let meanings: Vec<String> = words.words.iter().map(|word| format!("- `{}`: {}", word.name, word.comment)).collect();
    let description = format!("{}\n\n{}", words.comment, meanings.join("\n"));
    let names = words.words.iter().map(|word| word.name.as_str());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).description(Some(description)).into()
}

fn properties(mut object: ObjectBuilder, message: &Message, without: &[String]) -> ObjectBuilder {
    for field in message.told().filter(|field| !without.contains(&field.name)) {
        object = object.property(&field.name, typed(field));
        if if message.request { field.options.required } else { !field.options.omit_unset } {
            object = object.required(&field.name);
        }
    }
    object
}

/// Describes a field's value with its comment, its rules and whether it may be null.
fn typed(field: &Field) -> RefOr<Model> {
    if field.repeated {
        let items = ArrayBuilder::new()
            .items(single(field, false, None))
            .description(Some(&field.comment))
            .min_items(field.options.min_items.and_then(|items| usize::try_from(items).ok()))
            .max_items(field.options.max_items.and_then(|items| usize::try_from(items).ok()))
            .deprecated(field.deprecated.then_some(Deprecated::True));
        return items.into();
    }
    let nullable = (field.optional || field.kind == Kind::Time) && !field.options.omit_unset && !field.options.required;
    single(field, nullable, Some(&field.comment))
}

/// Describes a parameter's value, whose comment stands at the parameter.
fn bare(field: &Field) -> RefOr<Model> {
    if field.repeated { ArrayBuilder::new().items(single(field, false, None)).into() } else { single(field, false, None) }
}

fn single(field: &Field, nullable: bool, comment: Option<&String>) -> RefOr<Model> {
    let length = |length: Option<u64>| length.and_then(|length| usize::try_from(length).ok());
    let of = |kind: Type| if nullable { SchemaType::from_iter([kind, Type::Null]) } else { SchemaType::new(kind) };
    let object = ObjectBuilder::new().description(comment).deprecated(field.deprecated.then_some(Deprecated::True));
    let described = match &field.kind {
        Kind::Text => {
            object.schema_type(of(Type::String)).min_length(length(field.options.min_length)).max_length(length(field.options.max_length))
        }
        Kind::Flag => object.schema_type(of(Type::Boolean)),
        Kind::Real => object.schema_type(of(Type::Number)).format(Some(SchemaFormat::KnownFormat(KnownFormat::Double))),
        Kind::Integer { bits, signed } => {
            let format = if *bits == 32 { KnownFormat::Int32 } else { KnownFormat::Int64 };
            let least = if *signed { None } else { Some(0) };
            let object = object.schema_type(of(Type::Integer)).format(Some(SchemaFormat::KnownFormat(format)));
            object.minimum(field.options.minimum.or(least)).maximum(field.options.maximum)
        }
        Kind::Time => object.schema_type(of(Type::String)).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))),
        Kind::Value => object.schema_type(SchemaType::AnyValue),
        Kind::Object => object.schema_type(of(Type::Object)).additional_properties(Some(AdditionalProperties::FreeForm(true))),
        Kind::Message(inner) | Kind::Enum(inner) => {
            let name: String = inner[crate::PACKAGE.len() + 1..].split('.').collect();
            if nullable && matches!(field.kind, Kind::Message(_)) {
                let null = ObjectBuilder::new().schema_type(Type::Null);
                return OneOfBuilder::new().item(Ref::from_schema_name(name)).item(null).description(comment).into();
            }
            return Ref::builder().ref_location_from_schema_name(name).description(comment.cloned()).build().into();
        }
    };
    described.into()
}

fn bearer(description: &str) -> SecurityScheme {
    SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build())
}

fn verb(route: &Route) -> HttpMethod {
    match route.verb.as_str() {
        "post" => HttpMethod::Post,
        "put" => HttpMethod::Put,
        "patch" => HttpMethod::Patch,
        "delete" => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// Splits a comment into its first sentence and the rest.
fn split(comment: &str) -> (&str, Option<&str>) {
    match comment.split_once(". ") {
        Some((first, rest)) => (first, Some(rest)),
        None => (comment.trim_end_matches('.'), None),
    }
}

fn tag(service: &Service) -> String {
    service.name.trim_end_matches("Service").to_title_case()
}

fn component(message: &Message) -> String {
    message.path.concat()
}

fn variant_name(message: &Message, variant: &Field) -> String {
    component(message) + &variant.name.to_upper_camel_case()
}

fn body_name(message: &Message) -> String {
    component(message) + "Body"
}
