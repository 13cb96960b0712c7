//! What a schema must keep beyond the grammar of protobuf, so that REST can tell it.

use std::collections::BTreeSet;

use prost_reflect::{DescriptorPool, FileDescriptor};

use crate::model::{Fault, Field, Kind, Message, Method, Schema, at};
use crate::options::{Habit, Route};

impl Schema {
    /// Checks a method against its messages.
    pub(crate) fn check_method(&self, file: &FileDescriptor, name: &str, method: &Method) -> Result<(), Fault> {
        if let Some(route) = &method.route {
            self.check_route(file, name, method, route)?;
        }
        let is_number =
            |field: &&Field| field.name == "after" && field.kind == Kind::Integer { bits: 64, signed: false } && !field.repeated;
        let numbered = || self.message(&method.output).fields.iter().any(|field| field.options.event_id);
        let after = || self.message(&method.input).fields.iter().any(|field| is_number(&field));
        if method.has(Habit::Resumable) && !(method.streaming && numbered() && after()) {
            return Err(at(file, name, "`resumable` needs a stream whose events have an `event_id`, and `uint64 after` in the request"));
        }
        if method.has(Habit::MayAccept) && method.streaming {
            return Err(at(file, name, "`may_accept` is about a single answer, not about a stream"));
        }
        Ok(())
    }

    fn check_route(&self, file: &FileDescriptor, name: &str, method: &Method, route: &Route) -> Result<(), Fault> {
        let has = |message: &str, field: &str| self.message(message).fields.iter().any(|candidate| candidate.name == field);
        for parameter in &route.parameters {
            let field = self.message(&method.input).fields.iter().find(|field| field.name == *parameter);
            if !field.is_some_and(|field| field.kind == Kind::Text && !field.repeated && !field.optional) {
                return Err(at(file, name, &format!("the path names `{parameter}`, which is no plain string field of the request")));
            }
        }
        if let Some(field) = route.response_body.as_ref().filter(|field| method.streaming || !has(&method.output, field)) {
            return Err(at(file, name, &format!("`response_body` names `{field}`, which is no field of a single response")));
        }
        let unreadable = |field: &&Field| matches!(field.kind, Kind::Message(_) | Kind::Object | Kind::Value);
        let query = self.message(&method.input).fields.iter().filter(|field| !route.body && !route.parameters.contains(&field.name));
        match query.into_iter().find(unreadable) {
            Some(field) => Err(at(file, name, &format!("`{}` cannot be a query parameter; give the rpc a body", field.name))),
            None => Ok(()),
        }
    }

    /// Checks the messages, once all of them and all methods are known.
    pub(crate) fn check(&self, pool: &DescriptorPool) -> Result<(), Fault> {
        let streamed: BTreeSet<&str> =
            self.methods().filter(|(_, method)| method.streaming).map(|(_, method)| method.output.as_str()).collect();
        for message in self.messages.values() {
            let Some(descriptor) = pool.get_message_by_name(&message.full_name) else { continue };
            let fault = |fault: &str| Err(at(&descriptor.parent_file(), &message.full_name, fault));
            match message.fields.iter().filter(|field| field.options.event_id).count() {
                0 => {}
                1 if streamed.contains(message.full_name.as_str()) => {}
                1 => return fault("has an `event_id`, and no stream tells it"),
                _ => return fault("has two fields with `event_id`"),
            }
            if let Some(twice) = self.told_twice(message) {
                return fault(&format!("`{twice}` would stand twice beside `type`; give one of them another name"));
            }
        }
        Ok(())
    }

    /// Returns a name that two fields of an event would share: `type`, one of the variant, one beside the oneof.
    fn told_twice<'a>(&'a self, message: &'a Message) -> Option<&'a str> {
        let mut variants = message.oneof.iter().flat_map(|oneof| &oneof.variants);
        variants.find_map(|variant| {
            let Kind::Message(inner) = &variant.kind else { return None };
            let mut taken = BTreeSet::from(["type"]);
            let fields = self.message(inner).told().chain(message.told());
            fields.map(|field| field.name.as_str()).find(|name| !taken.insert(name))
        })
    }
}
