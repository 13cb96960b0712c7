//! Makes a tree of an expression: the grammar of Python, by precedence climbing.

use super::fault::Fault;
use super::lexer::{self, Token};
use super::tree::{Clause, Comparison, DEPTH, Kind, Node, too_deep};

/// Words that are no names.
const RESERVED: [&str; 10] = ["and", "or", "not", "in", "is", "if", "else", "for", "lambda", "await"];

/// Makes the tree of an expression, and refuses names that it cannot have.
pub(super) fn parse(source: &str) -> Result<Node, Fault> {
    let mut parser = Parser { tokens: lexer::tokens(source)?, next: 0, depth: 0, names: Vec::new() };
    if *parser.token() == Token::End {
        return Err(Fault::new(0, "the expression is empty; write one such as `state.score > 5`"));
    }
    let tree = parser.expression()?;
    if *parser.token() != Token::End {
        return Err(parser.unexpected());
    }
    match parser.names.iter().find(|(_, name)| name != "state") {
        Some((place, name)) => Err(Fault::new(*place, unknown(name))),
        None => Ok(tree),
    }
}

/// Says how a name that is not known is meant to be written.
fn unknown(name: &str) -> String {
    match name {
        "true" => "`true` is written `True` here".to_owned(),
        "false" => "`false` is written `False` here".to_owned(),
        "null" | "none" | "undefined" => format!("`{name}` is written `None` here"),
        name if super::function::NAMES.contains(&name) => format!("`{name}` is a function; call it, as in `{name}(state.key)`"),
        name => format!("`{name}` is not known here; write `state.{name}` for a key of the state, or quotes around it for text"),
    }
}

/// Where the parser is.
pub(super) struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
    /// The names met so far that no comprehension has made.
    pub(super) names: Vec<(usize, String)>,
}

impl Parser {
    pub(super) fn token(&self) -> &Token {
        &self.tokens[self.next].1
    }

    /// Returns the token after this one.
    pub(super) fn following(&self) -> &Token {
        &self.tokens[(self.next + 1).min(self.tokens.len() - 1)].1
    }

    pub(super) fn place(&self) -> usize {
        self.tokens[self.next].0
    }

    /// Goes on to the next token; there is none after the end.
    pub(super) fn advance(&mut self) {
        self.next = (self.next + 1).min(self.tokens.len() - 1);
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        matches!(self.token(), Token::Sign(found) if *found == sign)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.token(), Token::Word(found) if found == word)
    }

    pub(super) fn accept(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.accept(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes a word that can be a name.
    pub(super) fn name(&mut self) -> Result<String, Fault> {
        match self.token() {
            Token::Word(word) if !RESERVED.contains(&word.as_str()) => {
                let word = word.clone();
                self.advance();
                Ok(word)
            }
            _ => Err(self.unexpected()),
        }
    }

    /// Says that the token cannot stand where it stands.
    pub(super) fn unexpected(&self) -> Fault {
        let message = match self.token() {
            Token::End => "the expression ends too early: a value or a closing bracket is missing".to_owned(),
            Token::Sign("=") => "`=` sets a value, and an expression only looks at values; compare with `==`".to_owned(),
            Token::Sign("&&") => "`&&` is written `and` here".to_owned(),
            Token::Sign("||") => "`||` is written `or` here".to_owned(),
            Token::Sign("!") => "`!` is written `not` here".to_owned(),
            Token::Sign("?") => "`a ? b : c` is written `b if a else c` here".to_owned(),
            Token::Sign(sign) => format!("`{sign}` is not expected here"),
            Token::Word(word) => format!("`{word}` is not expected here; join conditions with `and` or `or`, and put text into quotes"),
            Token::Int(_) | Token::Float(_) | Token::Text(_) => {
                "a value is not expected here; an operator such as `==` is missing before it".to_owned()
            }
        };
        Fault::new(self.place(), message)
    }

    /// Parses something one level deeper, and refuses a level too many.
    fn nested(&mut self, parse: fn(&mut Self) -> Result<Node, Fault>) -> Result<Node, Fault> {
        if self.depth == DEPTH {
            return Err(too_deep(self.place()));
        }
        self.depth += 1;
        let node = parse(self);
        self.depth -= 1;
        node
    }

    /// Parses a whole expression.
    pub(super) fn expression(&mut self) -> Result<Node, Fault> {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Result<Node, Fault> {
        let then = self.disjunction()?;
        let place = self.place();
        if !self.accept_word("if") {
            return Ok(then);
        }
        let condition = self.disjunction()?;
        if !self.accept_word("else") {
            return Err(Fault::new(place, "`if` has no `else`; write `a if condition else b`"));
        }
        Node::new(place, Kind::Conditional(Box::new([condition, then, self.expression()?])))
    }

    pub(super) fn disjunction(&mut self) -> Result<Node, Fault> {
        self.joined("or", Self::conjunction, Kind::Or)
    }

    fn conjunction(&mut self) -> Result<Node, Fault> {
        self.joined("and", Self::inversion, Kind::And)
    }

    /// Parses operands with the same word between them. They are one level, however many they are.
    fn joined(&mut self, word: &str, operand: fn(&mut Self) -> Result<Node, Fault>, kind: fn(Vec<Node>) -> Kind) -> Result<Node, Fault> {
        let first = operand(self)?;
        if !self.is_word(word) {
            return Ok(first);
        }
        let place = self.place();
        let mut operands = vec![first];
        while self.accept_word(word) {
            operands.push(operand(self)?);
        }
        Node::new(place, kind(operands))
    }

    fn inversion(&mut self) -> Result<Node, Fault> {
        let place = self.place();
        if !self.accept_word("not") {
            return self.comparison();
        }
        let operand = self.nested(Self::inversion)?;
        Node::new(place, Kind::Not(Box::new(operand)))
    }

    fn comparison(&mut self) -> Result<Node, Fault> {
        let first = self.binary(0)?;
        let place = self.place();
        let mut operands = vec![first];
        let mut comparisons = Vec::new();
        while let Some(comparison) = self.comparison_sign() {
            comparisons.push(comparison);
            operands.push(self.binary(0)?);
        }
        if comparisons.is_empty() {
            return Ok(operands.remove(0));
        }
        Node::new(place, Kind::Compare(operands, comparisons))
    }

    fn comparison_sign(&mut self) -> Option<Comparison> {
        let comparison = match self.token() {
            Token::Sign("==") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            Token::Word(word) if word == "in" => Comparison::In,
            Token::Word(word) if word == "is" => Comparison::Is,
            Token::Word(word) if word == "not" && *self.following() == Token::Word("in".to_owned()) => Comparison::NotIn,
            _ => return None,
        };
        self.advance();
        match comparison {
            Comparison::Is if self.accept_word("not") => return Some(Comparison::IsNot),
            Comparison::NotIn => self.advance(),
            _ => {}
        }
        Some(comparison)
    }

    /// Parses operators that bind at least so closely.
    fn binary(&mut self, least: usize) -> Result<Node, Fault> {
        let mut left = self.unary()?;
        while let Some((closeness, sign)) = self.operator().filter(|(closeness, _)| *closeness >= least) {
            let place = self.place();
            self.advance();
            let right = self.binary(closeness + 1)?;
            left = Node::new(place, Kind::Binary(Box::new([left, right]), sign))?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<(usize, &'static str)> {
        let Token::Sign(sign) = self.token() else { return None };
        let closeness = match *sign {
            "|" => 0,
            "^" => 1,
            "&" => 2,
            "<<" | ">>" => 3,
            "+" | "-" => 4,
            "*" | "/" | "//" | "%" => 5,
            _ => return None,
        };
        Some((closeness, sign))
    }

    fn unary(&mut self) -> Result<Node, Fault> {
        let (Token::Sign(sign @ ("+" | "-" | "~")), place) = (self.token(), self.place()) else { return self.power() };
        let sign = *sign;
        self.advance();
        let operand = self.nested(Self::unary)?;
        Node::new(place, Kind::Unary(sign, Box::new(operand)))
    }

    fn power(&mut self) -> Result<Node, Fault> {
        let base = self.primary()?;
        let place = self.place();
        if !self.accept("**") {
            return Ok(base);
        }
        let exponent = self.nested(Self::unary)?;
        Node::new(place, Kind::Binary(Box::new([base, exponent]), "**"))
    }

    /// Parses `for names in items if condition` as often as it stands there, and forgets the names that it makes.
    pub(super) fn comprehension(
        &mut self,
        element: Node,
        first_name: usize,
        kind: fn(Box<Node>, Vec<Clause>) -> Kind,
    ) -> Result<Node, Fault> {
        let place = self.place();
        let mut clauses = Vec::new();
        while self.accept_word("for") {
            clauses.push(self.clause()?);
        }
        let made = |name: &String| clauses.iter().any(|clause| clause.names.contains(name));
        let mut index = 0;
        self.names.retain(|(_, name)| {
            index += 1;
            index <= first_name || !made(name)
        });
        Node::new(place, kind(Box::new(element), clauses))
    }

    fn clause(&mut self) -> Result<Clause, Fault> {
        let bracket = self.accept("(");
        let mut names = vec![self.name()?];
        while self.accept(",") {
            names.push(self.name()?);
        }
        if bracket {
            self.expect(")")?;
        }
        if !self.accept_word("in") {
            return Err(self.unexpected());
        }
        let items = self.disjunction()?;
        let mut conditions = Vec::new();
        while self.accept_word("if") {
            conditions.push(self.disjunction()?);
        }
        Ok(Clause { names, items, conditions })
    }
}
