//! An expression as a tree.

use super::fault::Fault;

/// How deep the tree of an expression may be, so that nothing that walks it runs out of stack.
pub(super) const DEPTH: usize = 64;

/// A part of an expression.
pub(super) struct Node {
    /// Where it is: an index of the source in characters.
    pub place: usize,
    /// How many levels it has, itself included.
    height: usize,
    /// What it is.
    pub kind: Kind,
}

/// What a part of an expression is.
pub(super) enum Kind {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    Name(String),
    List(Vec<Node>),
    Tuple(Vec<Node>),
    /// `{a, b}`, which stands only after `in`.
    Set(Vec<Node>),
    /// Keys and values in turn.
    Object(Vec<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Unary(&'static str, Box<Node>),
    Binary(Box<[Node; 2]>, &'static str),
    /// Operands, and the comparisons between them.
    Compare(Vec<Node>, Vec<Comparison>),
    /// The condition, and what the value is if it holds and if not.
    Conditional(Box<[Node; 3]>),
    Attribute(Box<Node>, String),
    /// What is indexed, and the index.
    Index(Box<[Node; 2]>),
    /// What is cut, then from where, to where and in which steps; None where it is not said.
    Slice(Box<[Node; 4]>),
    Function(String, Vec<Argument>),
    /// The value and the types that it may have.
    IsInstance(Box<Node>, Vec<String>),
    Method(Box<Node>, String, Vec<Argument>),
    /// `[element for names in items]`.
    Comprehension(Box<Node>, Vec<Clause>),
    /// The same in round brackets: `any` and `all` take only as many items as they need.
    Generator(Box<Node>, Vec<Clause>),
}

/// What is given to a function or method.
pub(super) struct Argument {
    /// Its name, if it is given by name.
    pub name: Option<String>,
    pub value: Node,
}

/// `for a, b in items if condition if condition`.
pub(super) struct Clause {
    pub names: Vec<String>,
    pub items: Node,
    pub conditions: Vec<Node>,
}

/// How two values are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    NotIn,
    Is,
    IsNot,
}

impl Node {
    /// Makes a node, and refuses one that is too high.
    pub(super) fn new(place: usize, kind: Kind) -> Result<Self, Fault> {
        let height = 1 + kind.height_below();
        if height > DEPTH {
            return Err(too_deep(place));
        }
        Ok(Self { place, height, kind })
    }
}

/// Says that an expression is nested too deep.
pub(super) fn too_deep(place: usize) -> Fault {
    Fault::new(place, format!("the expression is nested more than {DEPTH} levels deep; write it in several steps"))
}

impl Kind {
    /// Returns the height of the highest part.
    fn height_below(&self) -> usize {
        let highest = |nodes: &[Node]| nodes.iter().map(|node| node.height).max().unwrap_or(0);
        let arguments = |arguments: &[Argument]| arguments.iter().map(|argument| argument.value.height).max().unwrap_or(0);
        match self {
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::Name(_) => 0,
            Self::List(nodes)
            | Self::Tuple(nodes)
            | Self::Set(nodes)
            | Self::Object(nodes)
            | Self::And(nodes)
            | Self::Or(nodes)
            | Self::Compare(nodes, _) => highest(nodes),
            Self::Not(node) | Self::Unary(_, node) | Self::Attribute(node, _) | Self::IsInstance(node, _) => node.height,
            Self::Binary(nodes, _) | Self::Index(nodes) => highest(&nodes[..]),
            Self::Conditional(nodes) => highest(&nodes[..]),
            Self::Slice(nodes) => highest(&nodes[..]),
            Self::Function(_, values) => arguments(values),
            Self::Method(object, _, values) => object.height.max(arguments(values)),
            Self::Comprehension(element, clauses) | Self::Generator(element, clauses) => {
                clauses.len() + clauses.iter().map(Clause::height).fold(element.height, usize::max)
            }
        }
    }
}

impl Clause {
    fn height(&self) -> usize {
        self.conditions.iter().map(|condition| condition.height).fold(self.items.height, usize::max)
    }
}
