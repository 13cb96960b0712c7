//! What the generator knows of the schema: services, messages and fields, read from the descriptors and checked.

use std::collections::{BTreeMap, BTreeSet};

use heck::ToShoutySnakeCase;
use prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind as ProtoKind, MessageDescriptor, MethodDescriptor,
};

use crate::options::{self, FieldOptions, Habit, Route};

/// A sentence that stops the build.
pub(crate) type Fault = String;

/// The whole API.
pub(crate) struct Schema {
    pub(crate) services: Vec<Service>,
    /// Messages by full name.
    pub(crate) messages: BTreeMap<String, Message>,
    /// Enums by full name: those that a field has.
    pub(crate) enums: BTreeMap<String, Enum>,
}

pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) methods: Vec<Method>,
}

pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) streaming: bool,
    pub(crate) admin: bool,
    pub(crate) habits: Vec<Habit>,
    /// None for an rpc that REST does not have.
    pub(crate) route: Option<Route>,
}

pub(crate) struct Message {
    pub(crate) full_name: String,
    /// The names from the outermost message inwards.
    pub(crate) path: Vec<String>,
    pub(crate) comment: String,
    pub(crate) fields: Vec<Field>,
    pub(crate) oneof: Option<OneOf>,
    /// Whether clients send it.
    pub(crate) request: bool,
}

/// A choice of words: on REST the name of the value without its prefix, in lower case.
pub(crate) struct Enum {
    /// The names from the outermost message inwards.
    pub(crate) path: Vec<String>,
    pub(crate) comment: String,
    /// The values but the first, which stands for unset.
    pub(crate) words: Vec<Word>,
}

pub(crate) struct Word {
    pub(crate) name: String,
    pub(crate) number: i32,
    pub(crate) comment: String,
}

/// A streamed choice: on REST the chosen message's fields beside `type`.
pub(crate) struct OneOf {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) variants: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) kind: Kind,
    pub(crate) repeated: bool,
    /// Whether unset and the default value are told apart.
    pub(crate) optional: bool,
    pub(crate) deprecated: bool,
    pub(crate) options: FieldOptions,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Kind {
    Text,
    Flag,
    /// A whole number with its smallest and largest value, as JSON writes them.
    Integer {
        bits: u32,
        signed: bool,
    },
    Real,
    /// Any JSON value.
    Value,
    /// Any JSON object.
    Object,
    /// A moment.
    Time,
    /// A message of the schema, by full name.
    Message(String),
    /// An enum of the schema, by full name.
    Enum(String),
}

impl Method {
    pub(crate) fn has(&self, habit: Habit) -> bool {
        self.habits.contains(&habit)
    }
}

impl Message {
    /// Returns the fields that JSON has, but those of the oneof.
    pub(crate) fn told(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| !field.options.event_id)
    }

    /// Returns the oneof that has other fields beside it.
    pub(crate) fn mixed(&self) -> Option<&OneOf> {
        self.oneof.as_ref().filter(|_| self.told().next().is_some())
    }
}

impl Schema {
    /// Reads the messages and services of a package.
    pub(crate) fn read(pool: &DescriptorPool, package: &str) -> Result<Self, Fault> {
        let mut schema = Self { services: Vec::new(), messages: BTreeMap::new(), enums: BTreeMap::new() };
        for file in pool.files().filter(|file| file.package_name() == package) {
            for message in file.messages() {
                schema.add_message(&file, &message)?;
            }
        }
        schema.add_enums(pool)?;
        for service in pool.services().filter(|service| service.parent_file().package_name() == package) {
            let file = service.parent_file();
            options::none(&file, service.name(), &service.options())?;
            let methods = service.methods().map(|method| schema.method(&file, &method)).collect::<Result<_, _>>()?;
            let comment = comment(&file, service.path(), service.name())?;
            schema.services.push(Service { name: service.name().to_owned(), comment, methods });
        }
        schema.mark_requests();
        schema.check(pool)?;
        Ok(schema)
    }

    /// Returns a message that is known to exist.
    pub(crate) fn message(&self, full_name: &str) -> &Message {
        &self.messages[full_name]
    }

    /// Returns every method with its service.
    pub(crate) fn methods(&self) -> impl Iterator<Item = (&Service, &Method)> {
        self.services.iter().flat_map(|service| service.methods.iter().map(move |method| (service, method)))
    }

    fn add_message(&mut self, file: &FileDescriptor, message: &MessageDescriptor) -> Result<(), Fault> {
        options::none(file, message.full_name(), &message.options())?;
        let path = path(file, message.full_name());
        let mut fields = Vec::new();
        let mut oneof: Option<OneOf> = None;
        for descriptor in message.fields() {
            let field = read_field(file, &descriptor)?;
            match descriptor.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
                None => fields.push(field),
                Some(_) if !matches!(field.kind, Kind::Message(_)) => {
                    return Err(at(
                        file,
                        descriptor.full_name(),
                        "a variant of a oneof must be a message, so that its fields can stand beside `type`",
                    ));
                }
                Some(container) => match &mut oneof {
                    None => {
                        options::none(file, container.full_name(), &container.options())?;
                        let comment = comment(file, container.path(), container.full_name())?;
                        oneof = Some(OneOf { name: container.name().to_owned(), comment, variants: vec![field] });
                    }
                    Some(oneof) if oneof.name == container.name() => oneof.variants.push(field),
                    Some(_) => return Err(at(file, message.full_name(), "has two oneofs; REST can tell one only")),
                },
            }
        }
        for inner in message.child_messages() {
            self.add_message(file, &inner)?;
        }
        let full_name = message.full_name().to_owned();
        let comment = comment(file, message.path(), &full_name)?;
        self.messages.insert(full_name.clone(), Message { full_name, path, comment, fields, oneof, request: false });
        Ok(())
    }

    fn method(&self, file: &FileDescriptor, method: &MethodDescriptor) -> Result<Method, Fault> {
        if method.is_client_streaming() {
            return Err(at(file, method.full_name(), "a client stream has no REST form"));
        }
        let options = options::method(file, method)?;
        let read = Method {
            name: method.name().to_owned(),
            comment: comment(file, method.path(), method.full_name())?,
            input: method.input().full_name().to_owned(),
            output: method.output().full_name().to_owned(),
            streaming: method.is_server_streaming(),
            admin: options.admin,
            habits: options.habits,
            route: options.route,
        };
        for name in [&read.input, &read.output] {
            if !self.messages.contains_key(name) {
                return Err(at(file, method.full_name(), &format!("`{name}` is no message of this package")));
            }
        }
        self.check_method(file, method.full_name(), &read)?;
        Ok(read)
    }

    fn add_enums(&mut self, pool: &DescriptorPool) -> Result<(), Fault> {
        for field in self.messages.values().flat_map(|message| &message.fields) {
            let Kind::Enum(name) = &field.kind else { continue };
            if let Some(descriptor) = pool.get_enum_by_name(name) {
                self.enums.insert(name.clone(), read_enum(&descriptor)?);
            }
        }
        Ok(())
    }

    fn mark_requests(&mut self) {
        let mut waiting: Vec<String> = self.methods().map(|(_, method)| method.input.clone()).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(message) = self.messages.get_mut(&name) else { continue };
            message.request = true;
            waiting.extend(message.fields.iter().filter_map(|field| match &field.kind {
                Kind::Message(inner) => Some(inner.clone()),
                _ => None,
            }));
        }
    }
}

fn read_field(file: &FileDescriptor, field: &FieldDescriptor) -> Result<Field, Fault> {
    if field.is_map() {
        return Err(at(file, field.full_name(), "a map loses the order of its keys; use google.protobuf.Struct"));
    }
    let integer = |bits, signed| Kind::Integer { bits, signed };
    let kind = match field.kind() {
        ProtoKind::String => Kind::Text,
        ProtoKind::Bool => Kind::Flag,
        ProtoKind::Int32 | ProtoKind::Sint32 | ProtoKind::Sfixed32 => integer(32, true),
        ProtoKind::Int64 | ProtoKind::Sint64 | ProtoKind::Sfixed64 => integer(64, true),
        ProtoKind::Uint32 | ProtoKind::Fixed32 => integer(32, false),
        ProtoKind::Uint64 | ProtoKind::Fixed64 => integer(64, false),
        ProtoKind::Float | ProtoKind::Double => Kind::Real,
        ProtoKind::Message(message) => match message.full_name() {
            "google.protobuf.Value" => Kind::Value,
            "google.protobuf.Struct" => Kind::Object,
            "google.protobuf.Timestamp" => Kind::Time,
            name if name.starts_with("google.protobuf.") => {
                return Err(at(file, field.full_name(), &format!("`{name}` has no JSON form here")));
            }
            name => Kind::Message(name.to_owned()),
        },
        ProtoKind::Enum(_) if field.supports_presence() => {
            return Err(at(file, field.full_name(), "an enum is unset by its first value; leave `optional` out"));
        }
        ProtoKind::Enum(word) => Kind::Enum(word.full_name().to_owned()),
        ProtoKind::Bytes => return Err(at(file, field.full_name(), "bytes have no JSON form here; use a string")),
    };
    Ok(Field {
        name: field.name().to_owned(),
        comment: comment(file, field.path(), field.full_name())?,
        repeated: field.cardinality() == Cardinality::Repeated,
        optional: field.supports_presence(),
        deprecated: field.field_descriptor_proto().options.as_ref().is_some_and(prost_types::FieldOptions::deprecated),
        options: options::field(file, field)?,
        kind,
    })
}

/// Reads an enum, whose values have its name in front and whose first value stands for unset.
fn read_enum(descriptor: &EnumDescriptor) -> Result<Enum, Fault> {
    let (file, name) = (descriptor.parent_file(), descriptor.full_name());
    options::none(&file, name, &descriptor.options())?;
    let prefix = descriptor.name().to_shouty_snake_case() + "_";
    let mut words = Vec::new();
    for value in descriptor.values() {
        options::none(&file, value.full_name(), &value.options())?;
        let word = value.name().strip_prefix(&prefix).filter(|word| (*word == "UNSPECIFIED") == (value.number() == 0));
        let word = word.ok_or_else(|| {
            at(&file, value.full_name(), &format!("values begin with `{prefix}`, and `{prefix}UNSPECIFIED = 0` stands for unset"))
        })?;
        let comment = comment(&file, value.path(), value.full_name())?;
        words.push(Word { name: word.to_lowercase(), number: value.number(), comment });
    }
    words.retain(|word| word.number != 0);
    Ok(Enum { path: path(&file, name), comment: comment(&file, descriptor.path(), name)?, words })
}

/// Returns the names from the outermost message inwards.
fn path(file: &FileDescriptor, full_name: &str) -> Vec<String> {
    full_name[file.package_name().len() + 1..].split('.').map(str::to_owned).collect()
}

/// Returns the comment above a declaration; one without is refused, because comments are the documentation in every language.
fn comment(file: &FileDescriptor, path: &[i32], name: &str) -> Result<String, Fault> {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let location = info.and_then(|info| info.location.iter().find(|location| location.path == path));
    let text = location.and_then(|location| location.leading_comments.as_deref()).unwrap_or_default();
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned();
    if text.is_empty() { Err(at(file, name, "has no comment")) } else { Ok(text) }
}

/// Says where the schema is wrong.
pub(crate) fn at(file: &FileDescriptor, name: &str, fault: &str) -> Fault {
    format!("proto/{}: `{name}`: {fault}", file.name())
}
