//! Cuts an expression into its words, numbers, texts and signs.

use super::SOURCE_BYTES;
use super::fault::Fault;
use super::literal;

/// A piece of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(String),
    Int(i128),
    Float(f64),
    Text(String),
    Sign(&'static str),
    End,
}

/// The signs, longer ones before those that they begin with.
const SIGNS: [&str; 38] = [
    "**", "//", "==", "!=", "<=", ">=", "<<", ">>", ":=", "&&", "||", "->", "+=", "-=", "+", "-", "*", "/", "%", "&", "|", "^", "~", "<",
    ">", "=", "!", "?", "(", ")", "[", "]", "{", "}", ",", ":", ".", ";",
];

/// Returns the pieces of an expression with their places; the last one is the end.
pub(super) fn tokens(source: &str) -> Result<Vec<(usize, Token)>, Fault> {
    if source.len() > SOURCE_BYTES {
        let message =
            format!("the expression has {} bytes, and at most {SOURCE_BYTES} are taken; do more in a transform step", source.len());
        return Err(Fault::new(0, message));
    }
    let characters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut place = 0;
    loop {
        place += blank(&characters[place..]);
        let rest = &characters[place..];
        if rest.is_empty() {
            tokens.push((place, Token::End));
            return Ok(tokens);
        }
        let (length, token) = token(rest).map_err(|message| Fault::new(place, message))?;
        tokens.push((place, token));
        place += length;
    }
}

/// Returns how many characters say nothing: blanks, line breaks, and comments.
fn blank(characters: &[char]) -> usize {
    let mut length = 0;
    let mut comment = false;
    for (index, character) in characters.iter().enumerate() {
        let continued = *character == '\\' && matches!(characters.get(index + 1), Some('\n' | '\r'));
        match character {
            '\n' => comment = false,
            '#' => comment = true,
            character if comment || continued || character.is_ascii_whitespace() => {}
            _ => break,
        }
        length = index + 1;
    }
    length
}

fn token(rest: &[char]) -> Result<(usize, Token), String> {
    if let Some(text) = literal::text(rest) {
        return text.map(|(length, text)| (length, Token::Text(text)));
    }
    let next_is_digit = rest.get(1).is_some_and(char::is_ascii_digit);
    match rest[0] {
        first if first.is_ascii_digit() || (first == '.' && next_is_digit) => literal::number(rest),
        first if first.is_alphabetic() || first == '_' => Ok(word(rest)),
        first => sign(rest).ok_or_else(|| format!("`{first}` does not belong into an expression")),
    }
}

fn word(rest: &[char]) -> (usize, Token) {
    let word: String = rest.iter().take_while(|character| character.is_alphanumeric() || **character == '_').collect();
    (word.chars().count(), Token::Word(word))
}

fn sign(rest: &[char]) -> Option<(usize, Token)> {
    let sign = SIGNS.iter().find(|sign| sign.chars().eq(rest.iter().copied().take(sign.len())))?;
    Some((sign.len(), Token::Sign(sign)))
}
