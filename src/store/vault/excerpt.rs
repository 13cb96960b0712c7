//! Parts of a text: some lines of it, or some of a line that is too long.

use super::path::VaultPath;
use crate::error::{Error, Result};

/// The most characters that are read at once, well below what goes into the vault again.
const READ_CHARACTERS: usize = 50_000;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line, from 1.
    pub line: usize,
    /// The character of the line, from 1.
    pub character: usize,
}

impl Place {
    /// Where a text begins.
    pub const START: Self = Self { line: 1, character: 1 };
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The part, line ends included.
    pub text: String,
    /// How many lines the whole text has.
    pub total_lines: usize,
    /// Where the text goes on; nothing at its end.
    pub next: Option<Place>,
}

/// Takes a part out of a text.
pub(super) fn excerpt(path: &VaultPath, text: &str, from: Place, lines: usize) -> Result<Excerpt> {
    let total_lines = text.split_inclusive('\n').count();
    if from.line > total_lines.max(1) {
        return Err(Error::invalid(format!("`{path}` has {total_lines} lines; there is no line {}", from.line)));
    }
    let (mut part, mut left, mut place) = (String::new(), READ_CHARACTERS, from);
    for line in text.split_inclusive('\n').skip(from.line.saturating_sub(1)).take(lines) {
        let rest = &line[start_of(line, place.character.saturating_sub(1))..];
        let taken = &rest[..start_of(rest, left)];
        let characters = taken.chars().count();
        part.push_str(taken);
        left -= characters;
        if taken.len() < rest.len() {
            place.character += characters;
            return Ok(Excerpt { text: part, total_lines, next: Some(place) });
        }
        place = Place { line: place.line + 1, character: 1 };
    }
    Ok(Excerpt { text: part, total_lines, next: Some(place).filter(|place| place.line <= total_lines) })
}

/// Returns where in a text a character begins; the end of the text if it has no such character.
fn start_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(start, _)| start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path() -> VaultPath {
        VaultPath::parse("a.txt").unwrap()
    }

    proptest! {
        #[test]
        fn the_parts_of_a_text_are_the_text(text in "[aé\n]{0,60}", lines in 1..4usize) {
            let (mut whole, mut next) = (String::new(), Some(Place::START));
            while let Some(place) = next {
                let part = excerpt(&path(), &text, place, lines).unwrap();
                whole += &part.text;
                next = part.next;
            }
            prop_assert_eq!(whole, text);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_read_in_parts() {
        let text = "é".repeat(READ_CHARACTERS + 1) + "\nend";
        let first = excerpt(&path(), &text, Place::START, 9).unwrap();
        let next = Place { line: 1, character: READ_CHARACTERS + 1 };
        assert_eq!((first.text.chars().count(), first.next), (READ_CHARACTERS, Some(next)));
        let second = excerpt(&path(), &text, next, 9).unwrap();
        assert_eq!((second.text.as_str(), second.next, second.total_lines), ("é\nend", None, 2));
    }

    #[test]
    fn a_line_that_is_not_there_is_named() {
        let error = excerpt(&path(), "a\nb\n", Place { line: 3, character: 1 }, 1).unwrap_err();
        assert_eq!(error.detail(), "`a.txt` has 2 lines; there is no line 3");
    }
}
