//! Parses what binds closest: literals, names, brackets, and what follows them.

use super::fault::Fault;
use super::lexer::Token;
use super::parser::Parser;
use super::tree::{Argument, Kind, Node};
use super::{function, method};

impl Parser {
    /// Parses a value and what follows it: `.key`, `[index]`, `.method(...)`.
    pub(super) fn primary(&mut self) -> Result<Node, Fault> {
        let mut value = self.atom()?;
        loop {
            let place = self.place();
            value = if self.accept(".") {
                self.attribute(value, place)?
            } else if self.accept("[") {
                self.subscript(value, place)?
            } else if self.is_sign("(") {
                return Err(Fault::new(
                    place,
                    "only functions and methods can be called, such as `len(state.items)` and `state.name.lower()`",
                ));
            } else {
                return Ok(value);
            };
        }
    }

    fn attribute(&mut self, value: Node, place: usize) -> Result<Node, Fault> {
        let Token::Word(name) = self.token() else { return Err(self.unexpected()) };
        let name = name.clone();
        if name.starts_with('_') {
            return Err(Fault::new(
                self.place(),
                format!("`{name}` begins with `_`, and such names are not read after a dot; write `['{name}']` for a key"),
            ));
        }
        let place_of_name = self.place();
        self.advance();
        if !self.accept("(") {
            return Node::new(place, Kind::Attribute(Box::new(value), name));
        }
        if !method::NAMES.contains(&name.as_str()) {
            return Err(Fault::new(place_of_name, format!("there is no method `{name}` here; there are {}", listed(&method::NAMES))));
        }
        let arguments = self.arguments()?;
        Node::new(place_of_name, Kind::Method(Box::new(value), name, arguments))
    }

    fn subscript(&mut self, value: Node, place: usize) -> Result<Node, Fault> {
        let start = if self.is_sign(":") { Node::new(place, Kind::None)? } else { self.expression()? };
        if self.accept("]") {
            return Node::new(place, Kind::Index(Box::new([value, start])));
        }
        let end = self.bound(place)?;
        let step = self.bound(place)?;
        self.expect("]")?;
        Node::new(place, Kind::Slice(Box::new([value, start, end, step])))
    }

    /// Parses a further bound of a slice, which may be left out, with or without its colon.
    fn bound(&mut self, place: usize) -> Result<Node, Fault> {
        let colon = self.accept(":");
        if colon && !self.is_sign(":") && !self.is_sign("]") { self.expression() } else { Node::new(place, Kind::None) }
    }

    fn atom(&mut self) -> Result<Node, Fault> {
        let place = self.place();
        let kind = match self.token().clone() {
            Token::Int(number) => Kind::Int(number),
            Token::Float(number) => Kind::Float(number),
            Token::Text(text) => return self.texts(text, place),
            Token::Word(_) => return self.word(place),
            Token::Sign("(") => return self.parenthesis(place),
            Token::Sign("[") => return self.list(place),
            Token::Sign("{") => return self.braces(place),
            Token::Sign(_) | Token::End => return Err(self.unexpected()),
        };
        self.advance();
        Node::new(place, kind)
    }

    /// Texts that follow each other are one.
    fn texts(&mut self, mut text: String, place: usize) -> Result<Node, Fault> {
        self.advance();
        while let Token::Text(more) = self.token() {
            text.push_str(more);
            self.advance();
        }
        Node::new(place, Kind::Text(text))
    }

    fn word(&mut self, place: usize) -> Result<Node, Fault> {
        if self.is_word("lambda") {
            return Err(Fault::new(place, "functions cannot be made in an expression; write a transform step"));
        }
        let name = self.name()?;
        let kind = match name.as_str() {
            "None" => Kind::None,
            "True" => Kind::Bool(true),
            "False" => Kind::Bool(false),
            _ if self.accept("(") => return self.function(name, place),
            _ => {
                self.names.push((place, name.clone()));
                Kind::Name(name)
            }
        };
        Node::new(place, kind)
    }

    fn function(&mut self, name: String, place: usize) -> Result<Node, Fault> {
        if name == "isinstance" {
            return self.is_instance(place);
        }
        if !function::NAMES.contains(&name.as_str()) {
            return Err(Fault::new(place, format!("there is no function `{name}` here; there are {}", listed(&function::NAMES))));
        }
        let arguments = self.arguments()?;
        Node::new(place, Kind::Function(name, arguments))
    }

    fn is_instance(&mut self, place: usize) -> Result<Node, Fault> {
        let value = self.expression()?;
        self.expect(",")?;
        let several = self.accept("(");
        let mut kinds = vec![self.kind()?];
        while several && self.accept(",") && !self.is_sign(")") {
            kinds.push(self.kind()?);
        }
        if several {
            self.expect(")")?;
        }
        self.expect(")")?;
        Node::new(place, Kind::IsInstance(Box::new(value), kinds))
    }

    fn kind(&mut self) -> Result<String, Fault> {
        let place = self.place();
        let name = self.name()?;
        if function::KINDS.contains(&name.as_str()) {
            return Ok(name);
        }
        Err(Fault::new(place, format!("`isinstance` knows the types {}", listed(&function::KINDS))))
    }

    /// Parses what is given to a function, up to the closing bracket.
    fn arguments(&mut self) -> Result<Vec<Argument>, Fault> {
        let mut arguments = Vec::new();
        while !self.accept(")") {
            let name = if matches!(self.token(), Token::Word(_)) && *self.following() == Token::Sign("=") {
                let name = self.name()?;
                self.advance();
                Some(name)
            } else {
                None
            };
            let first_name = self.names.len();
            let mut value = self.expression()?;
            if self.is_word("for") {
                value = self.comprehension(value, first_name, Kind::Generator)?;
            }
            arguments.push(Argument { name, value });
            if !self.is_sign(")") {
                self.expect(",")?;
            }
        }
        Ok(arguments)
    }

    /// Parses a bracketed expression, a tuple or a generator.
    fn parenthesis(&mut self, place: usize) -> Result<Node, Fault> {
        self.advance();
        if self.accept(")") {
            return Node::new(place, Kind::Tuple(Vec::new()));
        }
        let first_name = self.names.len();
        let mut value = self.expression()?;
        if self.is_word("for") {
            value = self.comprehension(value, first_name, Kind::Generator)?;
        }
        if self.accept(")") {
            return Ok(value);
        }
        self.expect(",")?;
        let items = self.items(vec![value], ")")?;
        Node::new(place, Kind::Tuple(items))
    }

    fn list(&mut self, place: usize) -> Result<Node, Fault> {
        self.advance();
        if self.accept("]") {
            return Node::new(place, Kind::List(Vec::new()));
        }
        let first_name = self.names.len();
        let value = self.expression()?;
        if self.is_word("for") {
            let list = self.comprehension(value, first_name, Kind::Comprehension)?;
            return self.expect("]").map(|()| list);
        }
        if !self.is_sign("]") {
            self.expect(",")?;
        }
        let items = self.items(vec![value], "]")?;
        Node::new(place, Kind::List(items))
    }

    /// Parses an object, or a set where there are no keys.
    fn braces(&mut self, place: usize) -> Result<Node, Fault> {
        self.advance();
        let mut members = Vec::new();
        while !self.accept("}") {
            members.push(self.expression()?);
            if !self.is_sign(":") && members.len() == 1 {
                if !self.is_sign("}") {
                    self.expect(",")?;
                }
                let items = self.items(members, "}")?;
                return Node::new(place, Kind::Set(items));
            }
            self.expect(":")?;
            members.push(self.expression()?);
            if !self.is_sign("}") {
                self.expect(",")?;
            }
        }
        Node::new(place, Kind::Object(members))
    }

    /// Parses further items up to the closing sign; a comma may stand before it.
    fn items(&mut self, mut items: Vec<Node>, closing: &str) -> Result<Vec<Node>, Fault> {
        while !self.accept(closing) {
            items.push(self.expression()?);
            if !self.is_sign(closing) {
                self.expect(",")?;
            }
        }
        Ok(items)
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
