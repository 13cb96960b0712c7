//! Mentions in messages: `@[path]` gets the text of that file behind it.

use std::fmt::Write;

/// The most mentions that are looked up in one message; the others stay as they are.
const MENTIONS: usize = 16;

/// The largest file that is put into a message, in bytes; a mention of a larger one stays as it is.
pub(super) const FILE_BYTES: u64 = 256 << 10;

/// Puts behind every mention what `read` returns for its path, fenced.
pub(super) fn expand(message: &str, read: impl Fn(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(message.len());
    let mut rest = message;
    for _ in 0..MENTIONS {
        let Some((path, end)) = next_mention(rest) else { break };
        expanded.push_str(&rest[..end]);
        rest = &rest[end..];
        if let Some(text) = read(path) {
            let fence = fence(&text);
            let _ = write!(expanded, "\n{fence}\n{}\n{fence}\n", text.trim_end_matches('\n'));
        }
    }
    expanded + rest
}

/// Finds the next mention: its path, and where it ends.
fn next_mention(text: &str) -> Option<(&str, usize)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("@[")? + 2;
        let end = start + text[start..].find([']', '\n'])?;
        let path = &text[start..end];
        if text[end..].starts_with(']') && !path.is_empty() {
            return Some((path, end + 1));
        }
        from = start;
    }
}

/// Returns a fence that is longer than every row of backticks in the text, so that the text cannot end it.
fn fence(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fence_is_in_no_text(text in "[`a\n]{0,30}") {
            let fence = fence(&text);
            prop_assert!(fence.len() >= 3 && !text.contains(&fence));
        }
    }
}
