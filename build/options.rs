//! The options that the generator knows; any other stops the build, because a rule that nothing keeps is worse than none.

use prost_reflect::{DynamicMessage, FieldDescriptor, FileDescriptor, Kind as ProtoKind, MethodDescriptor, Value};

use crate::model::{Fault, at};

/// How REST reaches a method.
pub(crate) struct Route {
    /// `get`, `post`, `put`, `patch` or `delete`.
    pub(crate) verb: String,
    pub(crate) path: String,
    /// The fields that the path names, in its order.
    pub(crate) parameters: Vec<String>,
    /// Whether the body is the request; otherwise fields that the path does not name come as query parameters.
    pub(crate) body: bool,
    /// The field that is the whole answer.
    pub(crate) response_body: Option<String>,
}

pub(crate) struct MethodOptions {
    pub(crate) route: Option<Route>,
    pub(crate) admin: bool,
    pub(crate) habits: Vec<Habit>,
}

/// What an rpc does beyond a plain call.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Habit {
    /// Takes `Idempotency-Key`.
    Idempotent,
    /// Takes `Last-Event-ID`.
    Resumable,
    /// May answer 202.
    MayAccept,
}

/// Every habit and its option.
const HABITS: [(&str, Habit); 3] = [
    ("synapse.options.v1.idempotent", Habit::Idempotent),
    ("synapse.options.v1.resumable", Habit::Resumable),
    ("synapse.options.v1.may_accept", Habit::MayAccept),
];

/// The rules of a field.
#[derive(Default)]
pub(crate) struct FieldOptions {
    pub(crate) required: bool,
    pub(crate) min_length: Option<u64>,
    pub(crate) max_length: Option<u64>,
    pub(crate) min_items: Option<u64>,
    pub(crate) max_items: Option<u64>,
    pub(crate) minimum: Option<i64>,
    pub(crate) maximum: Option<i64>,
    pub(crate) omit_unset: bool,
    pub(crate) event_id: bool,
}

/// Refuses every option of a declaration that has none that we know.
pub(crate) fn none(file: &FileDescriptor, name: &str, options: &DynamicMessage) -> Result<(), Fault> {
    only(file, name, options, &[])
}

/// Reads the options of a method.
pub(crate) fn method(file: &FileDescriptor, method: &MethodDescriptor) -> Result<MethodOptions, Fault> {
    let name = method.full_name();
    let options = method.options();
    let known: Vec<&str> = HABITS.iter().map(|(option, _)| *option).chain(["google.api.http", "synapse.options.v1.access"]).collect();
    only(file, name, &options, &known)?;
    let mut read = MethodOptions { route: None, admin: false, habits: Vec::new() };
    for (extension, value) in options.extensions() {
        match value {
            Value::Message(rule) => read.route = Some(route(file, name, rule)?),
            Value::Bool(true) => {
                let habit = HABITS.iter().find(|(option, _)| *option == extension.full_name());
                read.habits.extend(habit.map(|(_, habit)| *habit));
            }
            value => read.admin = value.as_enum_number() == Some(1),
        }
    }
    Ok(read)
}

/// Reads the options of a field.
pub(crate) fn field(file: &FileDescriptor, field: &FieldDescriptor) -> Result<FieldOptions, Fault> {
    let name = field.full_name();
    let options = field.options();
    only(file, name, &options, &["buf.validate.field", "synapse.options.v1.omit_unset", "synapse.options.v1.event_id", "deprecated"])?;
    let mut read = FieldOptions::default();
    for (extension, value) in options.extensions() {
        match (extension.name(), value) {
            (_, Value::Message(rules)) => read_rules(file, field, rules, &mut read)?,
            ("event_id", value) => read.event_id = value.as_bool() == Some(true),
            (_, value) => read.omit_unset = value.as_bool() == Some(true),
        }
    }
    if read.event_id && (field.kind() != ProtoKind::Uint64 || field.supports_presence() || field.is_list()) {
        return Err(at(file, name, "`event_id` needs a plain `uint64`"));
    }
    let presence = field.supports_presence() || (matches!(field.kind(), ProtoKind::Enum(_)) && !field.is_list());
    if (read.omit_unset || read.required) && !presence {
        return Err(at(file, name, "`required` and `omit_unset` need a field that can be unset: make it `optional`"));
    }
    Ok(read)
}

fn read_rules(file: &FileDescriptor, field: &FieldDescriptor, rules: &DynamicMessage, read: &mut FieldOptions) -> Result<(), Fault> {
    let name = field.full_name();
    for (rule, value) in rules.fields() {
        match (rule.name(), value) {
            ("required", value) => read.required = value.as_bool() == Some(true),
            (kind, Value::Message(rules)) => {
                if !suits(kind, field) {
                    return Err(at(file, name, &format!("the rule `{kind}` does not suit the type of the field")));
                }
                for (rule, value) in rules.fields() {
                    read_rule(kind, rule.name(), value, read)
                        .ok_or_else(|| at(file, name, &format!("the rule `{kind}.{}` is not known to build/options.rs", rule.name())))?;
                }
            }
            (rule, _) => return Err(at(file, name, &format!("the rule `{rule}` is not known to build/options.rs"))),
        }
    }
    Ok(())
}

/// Tells whether rules of this kind are about fields of this type.
fn suits(rules: &str, field: &FieldDescriptor) -> bool {
    match rules {
        "repeated" => field.is_list(),
        "string" => field.kind() == ProtoKind::String,
        "int32" => field.kind() == ProtoKind::Int32,
        "int64" => field.kind() == ProtoKind::Int64,
        "uint32" => field.kind() == ProtoKind::Uint32,
        "uint64" => field.kind() == ProtoKind::Uint64,
        _ => true,
    }
}

fn read_rule(kind: &str, rule: &str, value: &Value, read: &mut FieldOptions) -> Option<()> {
    let size = || value.as_u64();
    let bound = || match value {
        Value::I32(number) => Some(i64::from(*number)),
        Value::I64(number) => Some(*number),
        Value::U32(number) => Some(i64::from(*number)),
        Value::U64(number) => i64::try_from(*number).ok(),
        _ => None,
    };
    let (place, found) = match (kind, rule) {
        ("string", "min_len") => (&mut read.min_length, size()?),
        ("string", "max_len") => (&mut read.max_length, size()?),
        ("repeated", "min_items") => (&mut read.min_items, size()?),
        ("repeated", "max_items") => (&mut read.max_items, size()?),
        ("int32" | "int64" | "uint32" | "uint64", "gte") => {
            read.minimum = Some(bound()?);
            return Some(());
        }
        ("int32" | "int64" | "uint32" | "uint64", "lte") => {
            read.maximum = Some(bound()?);
            return Some(());
        }
        _ => return None,
    };
    *place = Some(found);
    Some(())
}

fn route(file: &FileDescriptor, name: &str, rule: &DynamicMessage) -> Result<Route, Fault> {
    let mut read = Route { verb: String::new(), path: String::new(), parameters: Vec::new(), body: false, response_body: None };
    for (field, value) in rule.fields() {
        let text = value.as_str().unwrap_or_default();
        match field.name() {
            verb @ ("get" | "post" | "put" | "patch" | "delete") => (read.verb, read.path) = (verb.to_owned(), text.to_owned()),
            "body" if text == "*" => read.body = true,
            "response_body" => read.response_body = Some(text.to_owned()),
            other => return Err(at(file, name, &format!("google.api.http: `{other}: {text}` is not known to build/options.rs"))),
        }
    }
    for segment in read.path.split('/').filter(|segment| segment.contains(['{', '*', '='])) {
        let parameter =
            segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|field| !field.contains(['{', '*', '=', '.']));
        match parameter {
            Some(field) => read.parameters.push(field.to_owned()),
            None => return Err(at(file, name, &format!("google.api.http: the path segment `{segment}` is not known to build/options.rs"))),
        }
    }
    Ok(read)
}

/// Refuses options other than the known ones.
fn only(file: &FileDescriptor, name: &str, options: &DynamicMessage, known: &[&str]) -> Result<(), Fault> {
    let plain = options.fields().map(|(field, _)| field.name().to_owned());
    let extended = options.extensions().map(|(extension, _)| extension.full_name().to_owned());
    match plain.chain(extended).find(|option| !known.contains(&option.as_str())) {
        Some(option) => Err(at(file, name, &format!("the option `{option}` is not known to build/options.rs"))),
        None => Ok(()),
    }
}
