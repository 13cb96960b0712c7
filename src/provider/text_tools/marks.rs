//! The marks that begin and end calls and reasoning in the middle of a text.

/// The beginning of a call among text.
pub(super) const OPEN: &str = "<tool_call>";
/// The end of a call among text.
pub(super) const CLOSE: &str = "</tool_call>";
/// The beginning and the end of reasoning, in upper or lower case.
const REASONING: (&str, &str) = ("[REASONING]", "[/REASONING]");

/// What begins in the middle of a text.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// Reasoning.
    Reasoning,
    /// A call.
    Call,
}

impl Mark {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Reasoning, Self::Call];

    /// Returns how it begins.
    pub(super) const fn begin(self) -> &'static str {
        match self {
            Self::Reasoning => REASONING.0,
            Self::Call => OPEN,
        }
    }

    /// Returns how it ends.
    pub(super) const fn end(self) -> &'static str {
        match self {
            Self::Reasoning => REASONING.1,
            Self::Call => CLOSE,
        }
    }
}

/// Finds the first mark, in upper or lower case.
pub(super) fn first_mark(text: &str) -> Option<(usize, Mark)> {
    let bytes = text.as_bytes();
    let begins = |start: usize, mark: Mark| {
        let begin = mark.begin().as_bytes();
        bytes[start..].get(..begin.len()).is_some_and(|found| found.eq_ignore_ascii_case(begin))
    };
    let starts = (0..bytes.len()).filter(|start| matches!(bytes[*start], b'[' | b'<'));
    starts.flat_map(|start| Mark::ALL.map(|mark| (start, mark))).find(|(start, mark)| begins(*start, *mark))
}

/// Returns how many bytes at the end of a text may be the beginning of a mark.
pub(super) fn begun_mark(text: &str) -> usize {
    let bytes = text.as_bytes();
    let begins = |length: usize| {
        let end = &bytes[bytes.len() - length..];
        Mark::ALL.iter().any(|mark| end.eq_ignore_ascii_case(&mark.begin().as_bytes()[..length]))
    };
    (1..OPEN.len()).rev().find(|length| *length <= bytes.len() && begins(*length)).unwrap_or(0)
}
