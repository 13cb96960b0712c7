//! Writes the Rust that is generated beside prost's messages: serde attributes, validation, the checked services and the REST handlers.

use std::collections::BTreeSet;
use std::fmt::Write;

use heck::{ToShoutySnakeCase, ToSnakeCase};

use crate::model::{Field, Kind, Method, Schema, Service};

// A path without a leading dot is matched as a whole: with one it would reach everything inside too.

/// Returns the attributes of types: the enum of a oneof is told by `type`, and what stands beside it is told after it.
pub(crate) fn type_attributes(schema: &Schema) -> Vec<(String, &'static str)> {
    let mut attributes = Vec::new();
    for message in schema.messages.values() {
        if let Some(oneof) = &message.oneof {
            let attribute = "#[derive(serde::Serialize, serde::Deserialize)] #[serde(tag = \"type\", rename_all = \"snake_case\")]";
            attributes.push((format!("{}.{}", message.full_name, oneof.name), attribute));
        }
        let attribute = match message.mixed() {
            Some(_) => "#[derive(serde::Serialize, serde::Deserialize)] #[serde(remote = \"Self\")]",
            None => "#[derive(serde::Serialize, serde::Deserialize)]",
        };
        attributes.push((message.full_name.clone(), attribute));
    }
    attributes
}

/// Returns the attributes of fields: what is missing in JSON has its default, and a oneof's fields stand beside the others.
pub(crate) fn field_attributes(schema: &Schema) -> Vec<(String, String)> {
    let mut attributes = Vec::new();
    for message in schema.messages.values() {
        for field in &message.fields {
            attributes.push((format!("{}.{}", message.full_name, field.name), field_attribute(schema, field)));
        }
        if let Some(oneof) = &message.oneof {
            let attribute = if message.mixed().is_some() { "#[serde(flatten, skip_serializing)]" } else { "#[serde(flatten)]" };
            attributes.push((format!("{}.{}", message.full_name, oneof.name), attribute.to_owned()));
        }
    }
    attributes
}

fn field_attribute(schema: &Schema, field: &Field) -> String {
    let omitted = field.options.omit_unset;
    let attribute = match &field.kind {
        _ if field.options.event_id => "#[serde(skip)]",
        Kind::Enum(name) => {
            let each = if field.repeated { "words" } else { "word" };
            let functions = ["serialize", "deserialize"]
                .map(|verb| format!("{verb}_with = \"crate::wire::word::{verb}_{each}::<{}, _>\"", enum_path(schema, name)));
            let skipped = if omitted { ", skip_serializing_if = \"crate::wire::word::unset\"" } else { "" };
            return format!("#[serde(default, {}{skipped})]", functions.join(", "));
        }
        Kind::Value if !field.repeated => "#[serde(default, deserialize_with = \"crate::wire::json::present\")]",
        _ if omitted => "#[serde(default, skip_serializing_if = \"Option::is_none\")]",
        _ => "#[serde(default)]",
    };
    attribute.to_owned()
}

/// Returns the path of an enum's type from everywhere.
fn enum_path(schema: &Schema, full_name: &str) -> String {
    format!("crate::wire::v1::{}", rust_path(&schema.enums[full_name].path))
}

/// Writes the words of every enum.
pub(crate) fn vocabulary(schema: &Schema) -> String {
    let mut code = String::new();
    for (full_name, read) in &schema.enums {
        let words: Vec<_> = read.words.iter().map(|word| (&word.name, word.number)).collect();
        let _ = writeln!(
            code,
            "impl Words for {} {{\n    const WORDS: &'static [(&'static str, i32)] = &{words:?};\n}}",
            enum_path(schema, full_name)
        );
    }
    code
}

/// Writes what REST needs to tell events: their ids, and the order of their fields.
pub(crate) fn events(schema: &Schema) -> String {
    let mut code = String::new();
    let streamed: BTreeSet<&String> = schema.methods().filter(|(_, method)| method.streaming).map(|(_, method)| &method.output).collect();
    for message in streamed.into_iter().map(|name| schema.message(name)) {
        let id = message
            .fields
            .iter()
            .find(|field| field.options.event_id)
            .map_or("0".to_owned(), |field| format!("self.{}", rust_name(&field.name)));
        let _ = writeln!(code, "impl StreamEvent for {} {{\n    fn event_id(&self) -> u64 {{ {id} }}\n}}", rust_path(&message.path));
    }
    for message in schema.messages.values() {
        if let Some(oneof) = message.mixed() {
            let _ = writeln!(code, "type_first!({}, {});", rust_path(&message.path), rust_name(&oneof.name));
        }
    }
    code
}

/// Writes `impl Validate` for every message that clients send.
pub(crate) fn validation(schema: &Schema) -> String {
    let mut code = String::new();
    for message in schema.messages.values().filter(|message| message.request) {
        let checks: String = message.fields.iter().map(|field| checks(schema, field)).collect();
        let _ = writeln!(
            code,
            "impl Validate for {} {{\n    fn validate(&self) -> Result<(), Violation> {{\n{checks}        Ok(())\n    }}\n}}",
            rust_path(&message.path)
        );
    }
    code
}

fn checks(schema: &Schema, field: &Field) -> String {
    let Field { name, options, .. } = field;
    let rust = rust_name(name);
    let mut code = String::new();
    let is_enum = matches!(field.kind, Kind::Enum(_));
    if options.required {
        let present = if is_enum { " != 0" } else { ".is_some()" };
        let _ = writeln!(code, "        rule::required(\"{name}\", self.{rust}{present})?;");
    }
    if options.min_items.is_some() || options.max_items.is_some() {
        let _ = writeln!(code, "        rule::items(\"{name}\", self.{rust}.len(), {:?}, {:?})?;", options.min_items, options.max_items);
    }
    let mut each = String::new();
    if options.min_length.is_some() || options.max_length.is_some() {
        let _ = write!(each, "rule::length(\"{name}\", value, {:?}, {:?})?;", options.min_length, options.max_length);
    }
    if options.minimum.is_some() || options.maximum.is_some() {
        let _ = write!(each, "rule::range(\"{name}\", i128::from(*value), {:?}, {:?})?;", options.minimum, options.maximum);
    }
    if let Kind::Message(_) = &field.kind {
        let _ = write!(each, "value.validate().map_err(|violation| violation.within(\"{name}\"))?;");
    }
    if let Kind::Enum(full_name) = &field.kind {
        let _ = write!(each, "rule::word::<{}>(\"{name}\", *value)?;", rust_path(&schema.enums[full_name].path));
    }
    if each.is_empty() {
        return code;
    }
    let _ = match (field.repeated, field.optional || matches!(field.kind, Kind::Message(_))) {
        (true, _) => writeln!(code, "        for value in &self.{rust} {{ {each} }}"),
        (false, true) => writeln!(code, "        if let Some(value) = &self.{rust} {{ {each} }}"),
        (false, false) if is_enum => writeln!(code, "        if self.{rust} != 0 {{ let value = &self.{rust}; {each} }}"),
        (false, false) => writeln!(code, "        {{ let value = &self.{rust}; {each} }}"),
    };
    code
}

/// Writes the services as one value, their gRPC routes, the table of methods, and the wrapper that checks every call of either protocol.
pub(crate) fn checked(schema: &Schema) -> String {
    let mut code = String::from("/// Every service of the API.\npub struct Services {\n");
    for service in &schema.services {
        let _ = writeln!(code, "    /// {}\n    pub {}: Arc<dyn {}>,", service.comment, field_name(service), trait_path(service));
    }
    code.push_str("}\n\nimpl Services {\n");
    for service in &schema.services {
        let (field, path) = (field_name(service), trait_path(service));
        let _ = writeln!(
            code,
            "    /// Returns the service with its check in front.\n    pub fn {field}(&self) -> Checked<dyn {path}> {{ Checked(self.{field}.clone()) }}"
        );
    }
    code.push_str("    /// Returns the gRPC services, which take messages up to `limit` bytes.\n    pub fn routes(&self, limit: usize) -> tonic::service::Routes {\n        let mut routes = tonic::service::RoutesBuilder::default();\n");
    for service in &schema.services {
        let (module, name, field) = (module(service), &service.name, field_name(service));
        let _ = writeln!(
            code,
            "        routes.add_service(v1::{module}_server::{name}Server::new(self.{field}()).max_decoding_message_size(limit));"
        );
    }
    code.push_str("        routes.routes()\n    }\n}\n");
    for service in &schema.services {
        forward(&mut code, service);
    }
    methods(&mut code, schema);
    code
}

fn forward(code: &mut String, service: &Service) {
    let _ = writeln!(code, "\n#[tonic::async_trait]\nimpl {0} for Checked<dyn {0}> {{", trait_path(service));
    for method in &service.methods {
        let (name, input, output) = (method.name.to_snake_case(), rust_type(&method.input), rust_type(&method.output));
        let answer = if method.streaming { format!("tonic::codegen::BoxStream<{output}>") } else { output };
        let _ = writeln!(
            code,
            "    async fn {name}(&self, request: tonic::Request<{input}>) -> Result<tonic::Response<{answer}>, tonic::Status> {{
        call(\"{}/{}\", request, |request| self.0.{name}(request)).await
    }}",
            service.name, method.name,
        );
    }
    code.push_str("}\n");
}

fn methods(code: &mut String, schema: &Schema) {
    code.push_str("\n/// Every rpc.\npub const METHODS: &[Method] = &[\n");
    for (service, method) in schema.methods() {
        let route = method.route.as_ref().map(|route| (route.verb.to_uppercase(), route.path.clone()));
        let _ = writeln!(
            code,
            "    Method {{ grpc: \"/{}.{}/{}\", rest: {route:?}, admin: {} }},",
            crate::PACKAGE,
            service.name,
            method.name,
            method.admin
        );
    }
    code.push_str("];\n");
}

/// Writes a REST handler for every route and the router of all of them.
pub(crate) fn rest(schema: &Schema) -> String {
    let mut code = String::new();
    let routed = || schema.methods().filter(|(_, method)| method.route.is_some());
    for (_, method) in routed() {
        binding(&mut code, schema, method);
    }
    for service in &schema.services {
        let _ = writeln!(code, "use {} as _;", trait_path(service));
    }
    code.push_str("/// Returns the router of every route.\npub fn router(services: &Services, gateway: &Gateway) -> axum::Router {\n    let mut router = axum::Router::new();\n");
    for (service, method) in routed() {
        handler(&mut code, service, method);
    }
    code.push_str("    router\n}\n");
    code
}

fn binding(code: &mut String, schema: &Schema, method: &Method) {
    let Some(route) = &method.route else { return };
    let mut fields = String::new();
    for field in &schema.message(&method.input).fields {
        let in_path = route.parameters.contains(&field.name);
        if in_path || !route.body {
            let shape = match field.kind {
                Kind::Flag => "Flag",
                Kind::Integer { .. } | Kind::Real => "Number",
                _ => "Text",
            };
            let (name, repeated) = (&field.name, field.repeated);
            let _ = write!(fields, "Parameter {{ name: {name:?}, shape: Shape::{shape}, repeated: {repeated}, in_path: {in_path} }}, ");
        }
    }
    let _ = writeln!(
        code,
        "const {}: Binding = Binding {{ body: {}, parameters: &[{fields}] }};",
        method.name.to_shouty_snake_case(),
        route.body
    );
}

fn handler(code: &mut String, service: &Service, method: &Method) {
    let Some(route) = &method.route else { return };
    let (name, binding) = (method.name.to_snake_case(), method.name.to_shouty_snake_case());
    let answer = match (&route.response_body, method.streaming) {
        (_, true) => format!("gateway.stream(service.{name}(request).await)"),
        (Some(field), false) => format!("gateway.single(service.{name}(request).await, |answer| &answer.{})", rust_name(field)),
        (None, false) => format!("gateway.single(service.{name}(request).await, |answer| answer)"),
    };
    let _ = writeln!(
        code,
        "    let (service, own) = (services.{}(), gateway.clone());
    router = router.route({:?}, axum::routing::{}(move |request: axum::extract::Request| {{
        let (service, gateway) = (service.clone(), own.clone());
        async move {{
            match gateway.read(request, &{binding}).await {{
                Ok(request) => {answer},
                Err(refusal) => refusal,
            }}
        }}
    }}));",
        field_name(service),
        route.path,
        route.verb
    );
}

fn module(service: &Service) -> String {
    service.name.to_snake_case()
}

fn trait_path(service: &Service) -> String {
    format!("v1::{}_server::{}", module(service), service.name)
}

fn field_name(service: &Service) -> String {
    service.name.trim_end_matches("Service").to_snake_case()
}

/// Returns the path of a type, as prost names it.
fn rust_path(path: &[String]) -> String {
    let last = path.len() - 1;
    let names = path.iter().enumerate();
    names.map(|(index, name)| if index < last { name.to_snake_case() } else { name.clone() }).collect::<Vec<_>>().join("::")
}

fn rust_type(full_name: &str) -> String {
    format!("v1::{}", &full_name[crate::PACKAGE.len() + 1..])
}

/// Returns the name that prost gives a field: a keyword is marked.
fn rust_name(field: &str) -> String {
    const KEYWORDS: [&str; 12] = ["type", "match", "ref", "move", "use", "in", "for", "loop", "mod", "where", "async", "fn"];
    if KEYWORDS.contains(&field) { format!("r#{field}") } else { field.to_owned() }
}
