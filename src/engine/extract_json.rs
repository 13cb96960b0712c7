//! Finds JSON in the text of a model: the whole text, fenced blocks, or what stands in brackets.

use serde_json::Value;

/// How many times its own length a text may be parsed, when brackets stand in brackets that are no JSON.
const PASSES: usize = 32;

/// Returns the JSON that the text holds. The first way that finds something wins: the whole text, its fenced blocks, its bracketed parts.
pub(crate) fn extract(text: &str) -> Vec<Value> {
    if let Ok(value) = serde_json::from_str(text.trim()) {
        return vec![value];
    }
    let fenced: Vec<Value> = text.split("```").skip(1).step_by(2).filter_map(fenced).collect();
    if fenced.is_empty() { bracketed(text) } else { fenced }
}

/// Parses a fenced block, with or without the name of a language.
fn fenced(block: &str) -> Option<Value> {
    let unnamed = block.trim_start_matches(|character: char| character.is_ascii_alphanumeric());
    serde_json::from_str(block.trim()).or_else(|_| serde_json::from_str(unnamed.trim())).ok()
}

/// Parses what stands in brackets, outermost first; inside of what is no JSON there may be some.
fn bracketed(text: &str) -> Vec<Value> {
    let mut values = Vec::new();
    let mut effort = text.len().saturating_mul(PASSES);
    let mut after = 0;
    for (start, end) in brackets(text) {
        if start < after {
            continue;
        }
        let Some(left) = effort.checked_sub(end - start) else { break };
        effort = left;
        if let Ok(value) = serde_json::from_str(&text[start..end]) {
            values.push(value);
            after = end;
        }
    }
    values
}

/// Finds the brackets that are closed, in the order in which they open.
fn brackets(text: &str) -> Vec<(usize, usize)> {
    let mut scan = Scan::default();
    let mut in_string = false;
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            // Text in JSON ends on its line; a quote that does not was one of prose.
            b'\n' => in_string = false,
            b'"' => in_string = !in_string && !scan.open.is_empty(),
            _ if in_string => {}
            b'{' | b'[' => scan.open(byte, place),
            b'}' => scan.close(b'{', place),
            b']' => scan.close(b'[', place),
            _ => {}
        }
    }
    scan.found.into_iter().filter(|(_, end)| *end > 0).collect()
}

/// What is known of the brackets so far.
#[derive(Default)]
struct Scan {
    /// Where brackets begin and end; the end is 0 as long as there is none.
    found: Vec<(usize, usize)>,
    /// Those not yet closed: their byte and their number in `found`.
    open: Vec<(u8, usize)>,
    /// How many of those are braces.
    braces: usize,
}

impl Scan {
    fn open(&mut self, byte: u8, place: usize) {
        self.open.push((byte, self.found.len()));
        self.found.push((place, 0));
        self.braces += usize::from(byte == b'{');
    }

    /// Closes the last bracket of that kind; those opened after it are never closed.
    fn close(&mut self, kind: u8, place: usize) {
        let any = if kind == b'{' { self.braces > 0 } else { self.open.len() > self.braces };
        while any && let Some((byte, number)) = self.open.pop() {
            self.braces -= usize::from(byte == b'{');
            if byte == kind {
                self.found[number].1 = place + 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_text_that_is_json_is_taken_whole() {
        assert_eq!(extract(" [1, {\"a\": 2}]\n"), [json!([1, {"a": 2}])]);
        assert_eq!(extract("42"), [json!(42)]);
        assert_eq!(extract("\"```json\\n{}\\n```\""), [json!("```json\n{}\n```")]);
    }

    #[test]
    fn fenced_blocks_come_before_brackets() {
        let text = "see {\"no\": 1}\n```json\n{\"a\": [1]}\n```\nor\n```\n[2]\n``` and ```python\nprint({})\n```";
        assert_eq!(extract(text), [json!({"a": [1]}), json!([2])]);
        assert_eq!(extract("```json {\"a\": 1} ```"), [json!({"a": 1})]);
        assert_eq!(extract("cut off:\n```json\n{\"a\": 1}\n"), [json!({"a": 1})]);
        assert_eq!(extract("```\nnothing\n``` but {\"a\": 1}"), [json!({"a": 1})]);
    }

    #[test]
    fn brackets_of_prose_hide_no_json() {
        assert_eq!(
            extract(r#"[sic] so {"a": "}{\"[", "b": [1]}, then {x: {"c": 3}} and [4] :]"#),
            [json!({"a": "}{\"[", "b": [1]}), json!({"c": 3}), json!([4])]
        );
        assert_eq!(extract("{ never closed, [ nor this {\"a\": 1}"), [json!({"a": 1})]);
        assert_eq!(extract("{a 5\" pipe\n {\"b\": 2}"), [json!({"b": 2})]);
        assert_eq!(extract("[1, {\"a\": 2 ]"), Vec::<Value>::new());
        assert_eq!(extract("no JSON at all"), Vec::<Value>::new());
    }

    #[test]
    fn hostile_brackets_take_no_time() {
        let size = 200_000;
        let begin = Instant::now();
        for text in [
            "{".repeat(size),
            "[".repeat(size) + &"]".repeat(size),
            "{".repeat(size) + &"]".repeat(size),
            "[\"".repeat(size),
            "[[[[[[[[[[".repeat(12) + &"1,".repeat(size) + "x" + &"]".repeat(120),
            "{\"a\":".repeat(size),
            "```".repeat(size),
        ] {
            extract(&text);
        }
        assert!(begin.elapsed().as_secs() < 10, "{:?}", begin.elapsed());
    }

    proptest! {
        #[test]
        fn json_is_found_in_any_prose(before in "[a-zé \\]}:\"\n]{0,20}", number: i64, word in "\\PC{0,10}", after in "[a-zé {}\\[\\]\"`\n]{0,20}") {
            let value = json!({"n": number, "list": [{"w": word}]});
            let found = extract(&format!("{before}\n{value}\n{after}"));
            prop_assert!(found.contains(&value), "{found:?}");
        }
    }
}
