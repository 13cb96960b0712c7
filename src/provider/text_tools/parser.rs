//! Reads an answer while it arrives: what is text is told at once, what may be a call is held back until that is sure.

use serde_json::{Map, Value};

use super::code::Code;
use super::marks::{CLOSE, Mark, OPEN, begun_mark, first_mark};
use crate::provider::Chunk;

/// The most bytes that the first line of a block of code may have, and the blanks behind it, while it is waited for an object.
const WAITED_BYTES: usize = 32;

/// A tool's name and its arguments.
pub(super) type Called = (String, Value);

/// What was read of an answer. Every byte is looked at a few times, however the answer comes.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// What is neither told nor read as a call yet.
    held: String,
    /// Where the rest of it begins, while it is read.
    at: usize,
    /// Up to where it has no end, for each mark.
    searched: [usize; 2],
    /// Blanks at the end of the text, which are told together with what follows.
    blank: String,
    /// Whether anything but blanks was text.
    spoken: bool,
    code: Code,
    calls: Vec<Called>,
}

impl Parser {
    /// Reads on, and returns what can be told already.
    pub(super) fn read(&mut self, text: &str) -> Vec<Chunk> {
        self.held.push_str(text);
        let mut chunks = Vec::new();
        self.advance(false, &mut chunks);
        let read = std::mem::take(&mut self.at);
        self.held.drain(..read);
        self.searched = self.searched.map(|searched| searched.saturating_sub(read));
        chunks
    }

    /// Ends the answer, and returns the rest of it and its calls.
    pub(super) fn finish(mut self) -> (Vec<Chunk>, Vec<Called>) {
        let mut chunks = Vec::new();
        self.advance(true, &mut chunks);
        if self.calls.is_empty() && !self.blank.is_empty() {
            chunks.push(Chunk::Text(self.blank));
        }
        (chunks, self.calls)
    }

    fn advance(&mut self, ended: bool, chunks: &mut Vec<Chunk>) {
        loop {
            if !self.spoken && self.calls.is_empty() {
                self.say(self.rest().len() - self.rest().trim_start().len(), chunks);
                if may_be_bare(self.rest()) {
                    if !ended {
                        return;
                    }
                    if let Some(call) = bare(self.rest()) {
                        return self.calls.push(call);
                    }
                }
            }
            let Some((start, mark)) = first_mark(self.rest()) else { break };
            self.say(start, chunks);
            let taken = match mark {
                Mark::Reasoning => self.reasoning(chunks),
                Mark::Call => self.call(),
            };
            match taken {
                Taken::Yes => {}
                Taken::NotYet if !ended => return,
                Taken::NotYet | Taken::No => self.say(mark.begin().len(), chunks),
            }
        }
        let begun = if ended { 0 } else { begun_mark(self.rest()) };
        self.say(self.rest().len() - begun, chunks);
    }

    fn rest(&self) -> &str {
        &self.held[self.at..]
    }

    /// Takes the reasoning that the rest begins with.
    fn reasoning(&mut self, chunks: &mut Vec<Chunk>) -> Taken {
        let Some(end) = self.end(Mark::Reasoning) else { return Taken::NotYet };
        let said = self.held[self.at + Mark::Reasoning.begin().len()..end].trim();
        if !said.is_empty() {
            chunks.push(Chunk::Reasoning(said.to_owned()));
        }
        self.at = end + Mark::Reasoning.end().len();
        Taken::Yes
    }

    /// Takes the call that the rest begins with.
    fn call(&mut self) -> Taken {
        if self.code.is_open() {
            return Taken::No;
        }
        let Some(end) = self.end(Mark::Call) else { return Taken::NotYet };
        let Some(call) = object(&self.held[self.at + OPEN.len()..end]).and_then(call) else { return Taken::No };
        self.calls.push(call);
        self.at = end + CLOSE.len();
        Taken::Yes
    }

    /// Finds the end that belongs to the mark with which the rest begins.
    fn end(&mut self, mark: Mark) -> Option<usize> {
        let searched = &mut self.searched[mark as usize];
        let (bytes, end) = (self.held.as_bytes(), mark.end().as_bytes());
        let from = (*searched).max(self.at);
        let found = bytes[from..].windows(end.len()).position(|window| window.eq_ignore_ascii_case(end)).map(|start| from + start);
        *searched = found.unwrap_or((bytes.len() + 1).saturating_sub(end.len()));
        found
    }

    /// Takes the beginning of the rest as text.
    fn say(&mut self, bytes: usize, chunks: &mut Vec<Chunk>) {
        let text = &self.held[self.at..self.at + bytes];
        self.at += bytes;
        self.code.read(text);
        let end = text.trim_end().len();
        if end == 0 {
            return self.blank.push_str(text);
        }
        self.spoken = true;
        let mut said = std::mem::replace(&mut self.blank, text[end..].to_owned());
        said.push_str(&text[..end]);
        chunks.push(Chunk::Text(said));
    }
}

/// What became of a mark.
enum Taken {
    Yes,
    /// Its end has not come.
    NotYet,
    /// It is text.
    No,
}

/// Returns whether an answer that begins so may be one bare call.
fn may_be_bare(text: &str) -> bool {
    if text.is_empty() || text.starts_with('{') || "```".starts_with(text) {
        return true;
    }
    let Some(fenced) = text.strip_prefix("```") else { return false };
    let Some((info, code)) = fenced.split_once('\n') else { return fenced.len() <= WAITED_BYTES };
    let begun = code.trim_start();
    let waited = info.len().max(code.len() - begun.len());
    waited <= WAITED_BYTES && (begun.is_empty() || begun.starts_with('{'))
}

/// Reads an answer that is a call and nothing else, bare or as one block of code.
fn bare(text: &str) -> Option<Called> {
    let text = text.trim();
    let fenced = text.strip_prefix("```").and_then(|text| text.strip_suffix("```"));
    let object = object(fenced.map_or(Some(text), |text| text.split_once('\n').map(|(_, code)| code))?)?;
    // An object with more in it is data that happens to have a `tool`.
    let only = object.keys().all(|key| ["tool", "arguments"].contains(&key.as_str()));
    only.then(|| call(object)).flatten()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(text).ok()
}

fn call(mut object: Map<String, Value>) -> Option<Called> {
    let name = object.get("tool")?.as_str()?.trim().to_owned();
    let arguments = object.remove("arguments").filter(|arguments| !arguments.is_null());
    (!name.is_empty()).then(|| (name, arguments.unwrap_or_else(|| Value::Object(Map::new()))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::words;
    use super::*;

    /// Reads pieces of an answer, and tells its text, its reasoning and its calls.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a str>) -> (String, String, Vec<Called>) {
        let mut parser = Parser::default();
        let mut chunks: Vec<Chunk> = pieces.into_iter().flat_map(|piece| parser.read(piece)).collect();
        let (rest, calls) = parser.finish();
        chunks.extend(rest);
        let (mut text, mut reasoning) = (String::new(), String::new());
        for chunk in chunks {
            match chunk {
                Chunk::Text(more) => text.push_str(&more),
                Chunk::Reasoning(more) => reasoning.push_str(&more),
                other => panic!("{other:?}"),
            }
        }
        (text, reasoning, calls)
    }

    fn calls(text: &str) -> Vec<Called> {
        read([text]).2
    }

    fn look(arguments: Value) -> Called {
        ("look".to_owned(), arguments)
    }

    #[test]
    fn an_answer_that_is_a_call_is_one() {
        for text in [
            r#"{"tool": "look", "arguments": {"x": 1}}"#,
            "\n {\"tool\": \" look \", \"arguments\": {\"x\": 1}} \n",
            "```json\n{\"tool\": \"look\", \"arguments\": {\"x\": 1}}\n```",
            "```\n{\"tool\": \"look\", \"arguments\": {\"x\": 1}}\n```\n",
            "[REASONING]hm[/REASONING]\n{\"tool\": \"look\", \"arguments\": {\"x\": 1}}",
            "<tool_call>\n{\"tool\": \"look\", \"arguments\": {\"x\": 1}}\n</tool_call>",
            "Let me see.\n<tool_call>{\"tool\": \"look\", \"arguments\": {\"x\": 1}, \"why\": \"I must\"}</tool_call>\n",
        ] {
            assert_eq!(calls(text), [look(json!({"x": 1}))], "{text}");
        }
        assert_eq!(calls(r#"{"tool": "look"}"#), [look(json!({}))]);
        assert_eq!(calls(r#"{"tool": "look", "arguments": null}"#), [look(json!({}))]);
        assert_eq!(calls(r#"{"tool": "look", "arguments": "x"}"#), [look(json!("x"))]);
    }

    #[test]
    fn an_answer_that_shows_a_call_is_text() {
        for text in [
            r#"You could write {"tool": "look", "arguments": {}} here."#,
            "For example:\n{\"tool\": \"look\", \"arguments\": {}}",
            "{\"tool\": \"look\", \"arguments\": {}}\nThat is how it is done.",
            "Like this:\n```json\n{\"tool\": \"look\", \"arguments\": {}}\n```",
            "Like this:\n```\n<tool_call>{\"tool\": \"look\", \"arguments\": {}}</tool_call>\n```\n",
            "```\n<tool_call>{\"tool\": \"look\", \"arguments\": {}}</tool_call>\n```",
            "Write `<tool_call>{\"tool\": \"look\", \"arguments\": {}}</tool_call>` to look.",
            r#"{"tool": "hammer", "price": 7}"#,
            r#"{"tool": " ", "arguments": {}}"#,
            r#"{"tool": 7, "arguments": {}}"#,
            r#"[{"tool": "look", "arguments": {}}]"#,
            "<tool_call>look</tool_call>",
            "<tool_call>{\"tool\": \"look\"}",
            "[REASONING] never ends {\"tool\": \"look\"}",
            "```rust\nfn main() {}\n```\n",
            "{",
            "  \n",
        ] {
            assert_eq!(read([text]), (text.to_owned(), String::new(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn several_calls_stand_among_text_and_reasoning() {
        let (text, reasoning, calls) = read(["[Reasoning] first, look [/reasoning] One moment.\n\
            <tool_call>{\"tool\": \"look\"}</tool_call>\n<tool_call>{\"tool\": \"look\", \"arguments\": {\"x\": 2}}</tool_call>\nDone."]);
        assert_eq!((text.trim(), reasoning.as_str()), ("One moment.\n\n\nDone.", "first, look"));
        assert_eq!(calls, [look(json!({})), look(json!({"x": 2}))]);
    }

    #[test]
    fn text_is_told_as_soon_as_it_can_be_no_call() {
        let mut parser = Parser::default();
        let text = |text: &str| vec![Chunk::Text(text.to_owned())];
        assert_eq!(parser.read("Hel"), text("Hel"));
        assert_eq!(parser.read("lo <"), text("lo"));
        assert!(parser.read("tool_").is_empty());
        assert_eq!(parser.read("box>"), text(" <tool_box>"));
        let mut parser = Parser::default();
        assert!(parser.read("```rust\n").is_empty());
        assert_eq!(parser.read("fn"), text("```rust\nfn"));
        let mut parser = Parser::default();
        assert!(parser.read("<tool_call>{\"tool\"").is_empty());
        assert!(parser.read(": \"look\"}</tool_call>").is_empty());
        assert_eq!(parser.finish(), (Vec::new(), vec![look(json!({}))]));
    }

    #[test]
    fn a_model_that_repeats_itself_is_read_in_one_go() {
        const BYTES: usize = 1 << 18;
        let ends = ["", CLOSE, "[/REASONING]"];
        for part in [
            OPEN,
            "[REASONING]",
            "<tool_call>{\"tool\":\"",
            "<tool_call></tool_call>",
            " ",
            "\n",
            "{",
            "`",
            "<",
            "[REASONING][/REASONING]",
            "```\n  ",
        ] {
            for end in ends {
                let text = part.repeat(BYTES / part.len()) + end;
                let pieces = text.as_bytes().chunks(64).map(|piece| std::str::from_utf8(piece).unwrap());
                assert!(read(pieces).2.is_empty());
                assert!(read([text.as_str()]).2.is_empty());
            }
        }
    }

    /// Texts made of what the parser looks for.
    fn tricky() -> impl Strategy<Value = String> {
        let parts = [
            OPEN,
            CLOSE,
            "[REASONING]",
            "[/reasoning]",
            r#"{"tool": "look", "arguments": {}}"#,
            r#"{"tool":"#,
            "{",
            "}",
            "```",
            "`",
            "\n",
            " ",
            "json",
            "ähm",
            "<",
        ];
        prop::collection::vec(prop::sample::select(parts.to_vec()), 0..12).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_text_is_read_the_same_in_any_pieces(text in prop_oneof![tricky(), any::<String>()], size in 1_usize..6) {
            let characters: Vec<char> = text.chars().collect();
            let pieces: Vec<String> = characters.chunks(size).map(|piece| piece.iter().collect()).collect();
            prop_assert_eq!(read(pieces.iter().map(String::as_str)), read([text.as_str()]));
        }

        #[test]
        fn text_without_calls_and_reasoning_stays_whole(text in tricky()) {
            let (said, reasoning, calls) = read([text.as_str()]);
            if reasoning.is_empty() && calls.is_empty() && !text.to_lowercase().contains("[/reasoning]") {
                prop_assert_eq!(said, text);
            }
        }

        #[test]
        fn prose_with_a_call_in_it_is_no_call(before in "[a-zA-Z ,.\n]{0,20}[a-z]", after in "[a-zA-Z ,.\n]{0,20}", fenced: bool) {
            let call = r#"{"tool": "look", "arguments": {"x": [1, {}]}}"#;
            let call = if fenced { format!("\n```json\n{call}\n```\n") } else { call.to_owned() };
            let text = format!("{before}{call}{after}");
            prop_assert_eq!(read([text.as_str()]), (text.clone(), String::new(), Vec::new()));
        }

        #[test]
        fn a_call_in_words_is_read_back(name in "[a-zA-Z0-9_-]{1,64}", key: String, value: String, text in "[a-z .]{0,9}", count in 1_usize..4) {
            let arguments = json!({ key: [value, {"deep": null}] });
            let one = crate::provider::ToolCall { id: "i".to_owned(), name: name.clone(), arguments: arguments.clone(), signatures: Vec::new() };
            let written = words::called(&text, &vec![one; count]);
            prop_assert_eq!(calls(&written), vec![(name, arguments); count]);
        }
    }
}
