//! Lists and objects: those of the state are looked at where they are, those that an expression makes are shared.

use std::rc::Rc;

use serde_json::{Map, Value as Json};

use super::value::Value;

/// The items of a list.
#[derive(Clone)]
pub(super) enum List<'s> {
    /// A list of the state.
    Kept(&'s [Json]),
    /// A list that the expression made.
    Made(Rc<[Value<'s>]>),
}

impl<'s> List<'s> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Kept(items) => items.len(),
            Self::Made(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Value<'s>> {
        match self {
            Self::Kept(items) => items.get(index).map(Value::from),
            Self::Made(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Value<'s>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// The members of an object, in their order.
#[derive(Clone)]
pub(super) enum Object<'s> {
    /// An object of the state.
    Kept(&'s Map<String, Json>),
    /// An object that the expression made. Its source bounds how many members it has.
    Made(Rc<[(Rc<str>, Value<'s>)]>),
}

impl<'s> Object<'s> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Kept(members) => members.len(),
            Self::Made(members) => members.len(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'s>> {
        match self {
            Self::Kept(members) => members.get(key).map(Value::from),
            Self::Made(members) => members.iter().find(|(name, _)| **name == *key).map(|(_, value)| value.clone()),
        }
    }

    /// Goes through keys and values.
    pub(super) fn iter(&self) -> Box<dyn Iterator<Item = (Value<'s>, Value<'s>)> + '_> {
        match self {
            Self::Kept(members) => Box::new(members.iter().map(|(key, value)| (Value::Kept(key), Value::from(value)))),
            Self::Made(members) => Box::new(members.iter().map(|(key, value)| (Value::Text(Rc::clone(key)), value.clone()))),
        }
    }
}
