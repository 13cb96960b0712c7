//! Walks the tree of an expression and says what its value is.

use serde_json::{Map, Value as Json};

use super::arguments::Arguments;
use super::budget::Budget;
use super::collection::Object;
use super::fault::Fault;
use super::tree::{Argument, Clause, Comparison, Kind, Node};
use super::value::Value;
use super::{arithmetic, compare, function, method, subscript};

/// Evaluates an expression over a state.
pub(super) struct Evaluator<'s> {
    state: &'s Map<String, Json>,
    budget: &'s Budget,
    /// The names that comprehensions made, innermost last.
    names: Vec<(&'s str, Value<'s>)>,
}

impl<'s> Evaluator<'s> {
    pub(super) fn new(state: &'s Map<String, Json>, budget: &'s Budget) -> Self {
        Self { state, budget, names: Vec::new() }
    }

    /// Returns the value of a part of the expression.
    pub(super) fn evaluate(&mut self, node: &'s Node) -> Result<Value<'s>, Fault> {
        at(node, self.budget.spend(1))?;
        match &node.kind {
            Kind::None => Ok(Value::None),
            Kind::Bool(flag) => Ok(Value::Bool(*flag)),
            Kind::Int(number) => Ok(Value::Int(*number)),
            Kind::Float(number) => Ok(Value::Float(*number)),
            Kind::Text(text) => Ok(Value::Kept(text)),
            Kind::Name(name) => self.name(name, node),
            Kind::And(operands) => self.first(operands, false),
            Kind::Or(operands) => self.first(operands, true),
            Kind::Not(operand) => Ok(Value::Bool(!self.evaluate(operand)?.truth())),
            Kind::Compare(operands, comparisons) => self.compare(operands, comparisons, node),
            Kind::Conditional(parts) => self.conditional(parts),
            Kind::Comprehension(element, clauses) | Kind::Generator(element, clauses) => Ok(self.generated(element, clauses, None)?.into()),
            _ => self.operation(node),
        }
    }

    /// Returns the value of a part whose own parts are all evaluated before.
    fn operation(&mut self, node: &'s Node) -> Result<Value<'s>, Fault> {
        match &node.kind {
            Kind::List(items) => Ok(self.all(items)?.into()),
            Kind::Tuple(items) => Ok(Value::Tuple(self.all(items)?.into())),
            Kind::Object(members) => self.object(members, node),
            Kind::Unary(sign, operand) => at(node, arithmetic::unary(sign, &self.evaluate(operand)?)),
            Kind::Binary(operands, sign) => self.binary(operands, sign, node),
            Kind::Attribute(value, name) => at(node, subscript::attribute(&self.evaluate(value)?, name)),
            Kind::Index(parts) => self.index(parts, node),
            Kind::Slice(parts) => self.slice(parts, node),
            Kind::Function(name, arguments) => self.function(name, arguments, node),
            Kind::IsInstance(value, kinds) => Ok(Value::Bool(function::is_instance(&self.evaluate(value)?, kinds))),
            Kind::Method(value, name, arguments) => self.method(value, name, arguments, node),
            _ => Err(Fault::new(node.place, "a set in braces stands only after `in`; write a list")),
        }
    }

    /// The parser knows which names an expression has, but not whether a comprehension has made them yet.
    fn name(&self, name: &str, node: &Node) -> Result<Value<'s>, Fault> {
        match self.names.iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None if name == "state" => Ok(Value::Object(Object::Kept(self.state))),
            None => Err(Fault::new(node.place, format!("`{name}` has no value yet; a comprehension makes its names from left to right"))),
        }
    }

    fn all(&mut self, nodes: &'s [Node]) -> Result<Vec<Value<'s>>, Fault> {
        nodes.iter().map(|node| self.evaluate(node)).collect()
    }

    /// Returns the first operand with that truth, or the last one; those after it are not evaluated.
    fn first(&mut self, operands: &'s [Node], truth: bool) -> Result<Value<'s>, Fault> {
        let mut value = Value::None;
        for operand in operands {
            value = self.evaluate(operand)?;
            if value.truth() == truth {
                break;
            }
        }
        Ok(value)
    }

    fn conditional(&mut self, [condition, then, otherwise]: &'s [Node; 3]) -> Result<Value<'s>, Fault> {
        if self.evaluate(condition)?.truth() { self.evaluate(then) } else { self.evaluate(otherwise) }
    }

    /// Compares neighbours until one comparison does not hold.
    fn compare(&mut self, operands: &'s [Node], comparisons: &[Comparison], node: &Node) -> Result<Value<'s>, Fault> {
        let mut left = self.evaluate(&operands[0])?;
        for (comparison, operand) in comparisons.iter().zip(&operands[1..]) {
            let right = match (&operand.kind, comparison) {
                (Kind::Set(items), Comparison::In | Comparison::NotIn) => self.all(items)?.into(),
                _ => self.evaluate(operand)?,
            };
            if !at(node, compare::holds(&left, *comparison, &right, self.budget))? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// Returns the items of a comprehension, up to the first one with that truth.
    fn generated(&mut self, element: &'s Node, clauses: &'s [Clause], until: Option<bool>) -> Result<Vec<Value<'s>>, Fault> {
        let mut made = Vec::new();
        self.generate(element, clauses, until, &mut made)?;
        Ok(made)
    }

    /// Adds the items of the inner clauses; tells whether to go on.
    fn generate(
        &mut self,
        element: &'s Node,
        clauses: &'s [Clause],
        until: Option<bool>,
        made: &mut Vec<Value<'s>>,
    ) -> Result<bool, Fault> {
        let Some((clause, inner)) = clauses.split_first() else {
            let item = self.evaluate(element)?;
            let go_on = until != Some(item.truth());
            made.push(item);
            return Ok(go_on);
        };
        let items = self.evaluate(&clause.items)?;
        for item in at(&clause.items, items.elements(self.budget))? {
            let known = self.names.len();
            self.bind(clause, item)?;
            let go_on = !self.holds(&clause.conditions)? || self.generate(element, inner, until, made)?;
            self.names.truncate(known);
            if !go_on {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether all conditions hold; those after one that does not are not evaluated.
    fn holds(&mut self, conditions: &'s [Node]) -> Result<bool, Fault> {
        for condition in conditions {
            if !self.evaluate(condition)?.truth() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Gives an item its name, or the parts of an item theirs.
    fn bind(&mut self, clause: &'s Clause, item: Value<'s>) -> Result<(), Fault> {
        if let [name] = clause.names.as_slice() {
            self.names.push((name, item));
            return Ok(());
        }
        let parts = at(&clause.items, item.elements(self.budget))?;
        if parts.len() != clause.names.len() {
            let message = format!("the items have {} parts, and there are {} names for them", parts.len(), clause.names.len());
            return Err(Fault::new(clause.items.place, message));
        }
        self.names.extend(clause.names.iter().map(String::as_str).zip(parts));
        Ok(())
    }

    fn object(&mut self, members: &'s [Node], node: &Node) -> Result<Value<'s>, Fault> {
        let parts = self.all(members)?;
        at(node, function::object(parts.chunks_exact(2).map(|member| (&member[0], &member[1])), self.budget))
    }

    fn binary(&mut self, [left, right]: &'s [Node; 2], sign: &str, node: &Node) -> Result<Value<'s>, Fault> {
        let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
        at(node, arithmetic::binary(&left, sign, &right, self.budget))
    }

    fn index(&mut self, [value, index]: &'s [Node; 2], node: &Node) -> Result<Value<'s>, Fault> {
        let (value, index) = (self.evaluate(value)?, self.evaluate(index)?);
        at(node, subscript::index(&value, &index, self.budget))
    }

    fn slice(&mut self, [value, start, end, step]: &'s [Node; 4], node: &Node) -> Result<Value<'s>, Fault> {
        let value = self.evaluate(value)?;
        let bounds = [self.evaluate(start)?, self.evaluate(end)?, self.evaluate(step)?];
        at(node, subscript::slice(&value, &bounds, self.budget))
    }

    fn function(&mut self, name: &str, arguments: &'s [Argument], node: &Node) -> Result<Value<'s>, Fault> {
        if let ("any" | "all", [Argument { name: None, value }]) = (name, arguments)
            && let Kind::Generator(element, clauses) = &value.kind
        {
            let truth = name == "any";
            let found = self.generated(element, clauses, Some(truth))?.last().is_some_and(|last| last.truth() == truth);
            return Ok(Value::Bool(found == truth));
        }
        let arguments = self.arguments(arguments)?;
        at(node, function::call(name, arguments, self.budget))
    }

    fn method(&mut self, value: &'s Node, name: &str, arguments: &'s [Argument], node: &Node) -> Result<Value<'s>, Fault> {
        let value = self.evaluate(value)?;
        let arguments = self.arguments(arguments)?;
        at(node, method::call(&value, name, &arguments, self.budget))
    }

    fn arguments(&mut self, arguments: &'s [Argument]) -> Result<Arguments<'s>, Fault> {
        let mut given = Arguments { values: Vec::new(), named: Vec::new() };
        for argument in arguments {
            let value = self.evaluate(&argument.value)?;
            match &argument.name {
                Some(name) => given.named.push((name, value)),
                None => given.values.push(value),
            }
        }
        Ok(given)
    }
}

/// Says where a fault is.
fn at<T>(node: &Node, result: Result<T, String>) -> Result<T, Fault> {
    result.map_err(|message| Fault::new(node.place, message))
}
