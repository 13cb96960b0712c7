//! Values as Python shows them: `str()` and `repr()` of parsed JSON.

use std::fmt::Write as _;

use serde_json::{Number, Value};

/// Returns what `str(value)` is: text as it is, everything else as `repr` shows it.
pub(crate) fn str(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => repr(other),
    }
}

/// Returns what `repr(value)` is.
pub(crate) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(&mut out, value);
    out
}

fn write_repr(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => write_number(out, number),
        Value::String(text) => write_quoted(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                write_separator(out, index);
                write_repr(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (index, (key, value)) in members.iter().enumerate() {
                write_separator(out, index);
                write_quoted(out, key);
                out.push_str(": ");
                write_repr(out, value);
            }
            out.push('}');
        }
    }
}

/// Writes what stands between the items of a list or an object.
pub(super) fn write_separator(out: &mut String, index: usize) {
    if index > 0 {
        out.push_str(", ");
    }
}

fn write_number(out: &mut String, number: &Number) {
    match number.as_f64() {
        Some(float) if number.is_f64() => out.push_str(&float_text(float)),
        _ => out.push_str(&number.to_string()),
    }
}

/// Returns the shortest text that reads as this number again, with an exponent of two digits where Python has one.
pub(super) fn float_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let text = shortest(number);
    match text.split_once('e') {
        Some((digits, exponent)) => format!("{digits}e{:+03}", exponent.parse::<i32>().unwrap_or_default()),
        None => text,
    }
}

/// Returns the shortest text that reads as this number again. Where two are equally near, as behind 2 to the 50th, Python takes the even one and the
/// standard library the larger one.
fn shortest(number: f64) -> String {
    let text = format!("{number:?}");
    let digits = text.split('e').next().unwrap_or_default();
    let behind = digits.split_once('.').map_or(0, |(_, behind)| behind.len());
    let even = if text.contains('e') { format!("{number:.behind$e}") } else { format!("{number:.behind$}") };
    if even.parse() == Ok(number) { even } else { text }
}

/// Writes text as a literal: in double quotes only if that saves escaping single ones.
pub(super) fn write_quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        write_character(out, character, quote);
    }
    out.push(quote);
}

fn write_character(out: &mut String, character: char, quote: char) {
    match character {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\\' => out.push_str("\\\\"),
        character if character == quote => out.extend(['\\', quote]),
        character if is_printable(character) => out.push(character),
        character => write_escape(out, u32::from(character)),
    }
}

fn write_escape(out: &mut String, code: u32) {
    // Writing to a string cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// Tells whether Python shows a character as it is. The standard library's own table is the same, but it is reached only through `escape_debug`, which
/// makes an exception for a combining character at the beginning.
fn is_printable(character: char) -> bool {
    if character.is_ascii() {
        return matches!(character, ' '..='~');
    }
    let mut buffer = [b' '; 5];
    character.encode_utf8(&mut buffer[1..]);
    let text = std::str::from_utf8(&buffer[..=character.len_utf8()]).unwrap_or_default();
    text.escape_debug().nth(1) == Some(character)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_python_shows_them() {
        let value = json!({"a": [null, true, false, 1, -0.0, 1.0, 1e16, 1e-5, 0.0001, 123_456_789_012_345.0, 5e-324], "it's": "\"", "both": "'\"\\\n\u{7f}\u{200b}é"});
        let expected = r#"{'a': [None, True, False, 1, -0.0, 1.0, 1e+16, 1e-05, 0.0001, 123456789012345.0, 5e-324], "it's": '"', 'both': '\'"\\\n\x7f\u200bé'}"#;
        assert_eq!(repr(&value), expected);
        assert_eq!((str(&json!("it's")), str(&json!([]))), ("it's".to_owned(), "[]".to_owned()));
    }

    #[test]
    fn floats_made_by_chance_look_as_in_python() {
        let program = "import random, struct\nrandom.seed(1)\nfor i in range(30000):\n f = struct.unpack('d', random.randbytes(8))[0] if i % 3 else random.randrange(1 << random.randrange(1, 80)) / 8\n print(struct.unpack('Q', struct.pack('d', f))[0], repr(f))";
        let output = Command::new("python3").args(["-c", program]).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        assert_eq!(shown.lines().count(), 30_000);
        for line in shown.lines() {
            let (bits, expected) = line.split_once(' ').unwrap();
            assert_eq!(float_text(f64::from_bits(bits.parse().unwrap())), expected);
        }
    }

    #[test]
    fn all_characters_are_escaped_as_in_python() {
        let program = "import unicodedata\nfor c in map(chr, range(0x110000)):\n if unicodedata.category(c) not in ('Cn', 'Cs'): print(ord(c), ascii(repr(c)))";
        let output = Command::new("python3").args(["-c", program]).output().unwrap();
        let shown: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert!(shown.len() > 140_000, "python3 has shown {} characters", shown.len());
        for line in shown {
            let (code, expected) = line.split_once(' ').unwrap();
            let character = char::from_u32(code.parse().unwrap()).unwrap();
            // `ascii` of `repr` escapes once more: compare whether the character was shown as it is.
            let ours = repr(&Value::String(character.to_string()));
            let escaped = expected.contains("\\\\") || character == '\\';
            assert_eq!(ours.contains('\\'), escaped, "U+{:04X}: {ours} and {expected}", u32::from(character));
        }
    }
}
