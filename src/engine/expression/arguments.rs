//! What is given to a function or method.

use super::value::Value;

/// What is given to a function or method.
pub(super) struct Arguments<'s> {
    /// In their order.
    pub values: Vec<Value<'s>>,
    /// By their names.
    pub named: Vec<(&'s str, Value<'s>)>,
}

impl<'s> Arguments<'s> {
    /// Takes out what was given by that name.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'s>> {
        let index = self.named.iter().position(|(given, _)| *given == name)?;
        Some(self.named.swap_remove(index).1)
    }

    /// Returns the values, and refuses names that nobody took out.
    pub(super) fn only(&self, function: &str) -> Result<&[Value<'s>], String> {
        match self.named.first() {
            Some((name, _)) => Err(format!("`{function}` has no parameter `{name}` here")),
            None => Ok(&self.values),
        }
    }
}

/// Says that a function does not take what it was given.
pub(super) fn refused(function: &str, values: &[Value<'_>]) -> String {
    match values {
        [] => format!("`{function}` needs a value"),
        values => format!("`{function}` does not take {}", values.iter().map(Value::described).collect::<Vec<_>>().join(" and ")),
    }
}
