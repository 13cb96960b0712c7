//! The values of an expression while it is evaluated.

use std::rc::Rc;

use serde_json::{Map, Number, Value as Json};

use super::super::python_text;
use super::budget::Budget;
use super::collection::{List, Object};

/// A value. Those of the state are not copied.
#[derive(Clone)]
pub(super) enum Value<'s> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// Text of the state or of the source.
    Kept(&'s str),
    /// Text that the expression made.
    Text(Rc<str>),
    List(List<'s>),
    Tuple(Rc<[Value<'s>]>),
    Object(Object<'s>),
}

impl<'s> From<&'s Json> for Value<'s> {
    fn from(json: &'s Json) -> Self {
        match json {
            Json::Null => Self::None,
            Json::Bool(flag) => Self::Bool(*flag),
            Json::Number(number) => number.as_i128().map_or_else(|| Self::Float(number.as_f64().unwrap_or(f64::NAN)), Self::Int),
            Json::String(text) => Self::Kept(text),
            Json::Array(items) => Self::List(List::Kept(items)),
            Json::Object(members) => Self::Object(Object::Kept(members)),
        }
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'s> From<Vec<Value<'s>>> for Value<'s> {
    fn from(items: Vec<Value<'s>>) -> Self {
        Self::List(List::Made(items.into()))
    }
}

impl<'s> Value<'s> {
    /// Tells whether the value is true as Python sees it.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(flag) => *flag,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Kept(text) => !text.is_empty(),
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => items.len() > 0,
            Self::Tuple(items) => !items.is_empty(),
            Self::Object(members) => members.len() > 0,
        }
    }

    /// Returns the name that Python has for what the value is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Kept(_) | Self::Text(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Object(_) => "dict",
        }
    }

    /// Returns the text, if the value is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Kept(text) => Some(text),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the integer, if the value is one; a truth value counts as 0 or 1.
    pub(super) fn int(&self) -> Option<i128> {
        match self {
            Self::Bool(flag) => Some((*flag).into()),
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the items of a list or a tuple.
    pub(super) fn sequence(&self) -> Option<List<'s>> {
        match self {
            Self::List(items) => Some(items.clone()),
            Self::Tuple(items) => Some(List::Made(Rc::clone(items))),
            _ => None,
        }
    }

    /// Returns what a loop over the value meets: items, characters or keys.
    pub(super) fn elements(&self, budget: &Budget) -> Result<Vec<Value<'s>>, String> {
        if let Some(items) = self.sequence() {
            budget.spend(items.len())?;
            return Ok(items.iter().collect());
        }
        if let Some(text) = self.text() {
            budget.spend(text.len())?;
            return Ok(text.chars().map(|character| Value::from(character.to_string())).collect());
        }
        let Self::Object(members) = self else { return Err(format!("a list is needed here, and this is {}", self.described())) };
        budget.spend(members.len())?;
        Ok(members.iter().map(|(key, _)| key).collect())
    }

    /// Says in a fault what the value is.
    pub(super) fn described(&self) -> String {
        match self {
            Self::None => "`None` (perhaps of a missing key; test it before with `is not None`)".to_owned(),
            other => format!("`{}`", other.kind()),
        }
    }

    /// Returns what `str(value)` is.
    pub(super) fn to_text(&self, budget: &Budget) -> Result<String, String> {
        let mut out = String::new();
        match self.text() {
            Some(text) => {
                budget.make_text(text.len())?;
                out.push_str(text);
            }
            None => self.write_repr(&mut out, budget)?,
        }
        Ok(out)
    }

    /// Writes what `repr(value)` is.
    pub(super) fn write_repr(&self, out: &mut String, budget: &Budget) -> Result<(), String> {
        budget.spend(1)?;
        match self {
            Self::None => out.push_str("None"),
            Self::Bool(true) => out.push_str("True"),
            Self::Bool(false) => out.push_str("False"),
            Self::Int(number) => out.push_str(&number.to_string()),
            Self::Float(number) => out.push_str(&python_text::float_text(*number)),
            Self::Kept(text) => write_quoted(out, text, budget)?,
            Self::Text(text) => write_quoted(out, text, budget)?,
            Self::List(items) => write_items(out, '[', items, ']', budget)?,
            Self::Tuple(items) if items.len() == 1 => {
                out.push('(');
                items[0].write_repr(out, budget)?;
                out.push_str(",)");
            }
            Self::Tuple(items) => write_items(out, '(', &List::Made(Rc::clone(items)), ')', budget)?,
            Self::Object(members) => write_members(out, members, budget)?,
        }
        Ok(())
    }

    /// Returns the value as JSON: tuples are lists, and integers that JSON here cannot hold are text.
    pub(super) fn to_json(&self, budget: &Budget) -> Result<Json, String> {
        budget.spend(1)?;
        Ok(match self {
            Self::None => Json::Null,
            Self::Bool(flag) => Json::Bool(*flag),
            Self::Int(number) => Number::from_i128(*number).map_or_else(|| Json::String(number.to_string()), Json::Number),
            Self::Float(number) => {
                Number::from_f64(*number).map(Json::Number).ok_or("the value is no finite number, and JSON has no other ones")?
            }
            Self::Kept(_) | Self::Text(_) => Json::String(self.to_text(budget)?),
            Self::List(items) => items.iter().map(|item| item.to_json(budget)).collect::<Result<_, _>>()?,
            Self::Tuple(items) => items.iter().map(|item| item.to_json(budget)).collect::<Result<_, _>>()?,
            Self::Object(members) => Json::Object(to_map(members, budget)?),
        })
    }
}

fn to_map(members: &Object<'_>, budget: &Budget) -> Result<Map<String, Json>, String> {
    members.iter().map(|(key, value)| Ok((key.to_text(budget)?, value.to_json(budget)?))).collect()
}

fn write_quoted(out: &mut String, text: &str, budget: &Budget) -> Result<(), String> {
    budget.make_text(text.len())?;
    python_text::write_quoted(out, text);
    Ok(())
}

fn write_items(out: &mut String, open: char, items: &List<'_>, close: char, budget: &Budget) -> Result<(), String> {
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        python_text::write_separator(out, index);
        item.write_repr(out, budget)?;
    }
    out.push(close);
    Ok(())
}

fn write_members(out: &mut String, members: &Object<'_>, budget: &Budget) -> Result<(), String> {
    out.push('{');
    for (index, (key, value)) in members.iter().enumerate() {
        python_text::write_separator(out, index);
        key.write_repr(out, budget)?;
        out.push_str(": ");
        value.write_repr(out, budget)?;
    }
    out.push('}');
    Ok(())
}
