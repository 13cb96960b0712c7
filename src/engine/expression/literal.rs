//! Texts and numbers as they are written in an expression.

use super::lexer::Token;

/// Reads a text with its prefix, if there is one, and returns how many characters it takes.
pub(super) fn text(rest: &[char]) -> Option<Result<(usize, String), String>> {
    let prefix = rest.iter().take(2).take_while(|character| character.is_ascii_alphabetic()).count();
    let quote = *rest.get(prefix).filter(|character| matches!(character, '\'' | '"'))?;
    let raw = match rest[..prefix] {
        [] | ['u' | 'U'] => false,
        ['r' | 'R'] => true,
        _ => return Some(Err("texts with this prefix are not known here; write the text without it, and join values with `+`".to_owned())),
    };
    let triple = rest[prefix..].starts_with(&[quote; 3]);
    let width = if triple { 3 } else { 1 };
    Some(read(&rest[prefix + width..], &[quote; 3][..width], raw).map(|(length, text)| (prefix + width + length, text)))
}

/// Reads a text up to its closing quotes.
fn read(rest: &[char], closing: &[char], raw: bool) -> Result<(usize, String), String> {
    let mut text = String::new();
    let mut place = 0;
    loop {
        match rest[place..] {
            [] => return Err("the text has no closing quote".to_owned()),
            _ if rest[place..].starts_with(closing) => return Ok((place + closing.len(), text)),
            ['\n', ..] if closing.len() == 1 => return Err("the text has no closing quote on its line".to_owned()),
            ['\\', next, ..] if raw => {
                text.extend(['\\', next]);
                place += 2;
            }
            ['\\', ..] => place += 1 + escape(&rest[place + 1..], &mut text)?,
            [character, ..] => {
                text.push(character);
                place += 1;
            }
        }
    }
}

/// Reads what follows a backslash, and returns how many characters that is.
fn escape(rest: &[char], text: &mut String) -> Result<usize, String> {
    let Some(first) = rest.first() else { return Err("the text has no closing quote".to_owned()) };
    let plain = match first {
        '\n' => return Ok(1),
        'x' => return code(&rest[1..], 2, 16, text).map(|length| length + 1),
        'u' => return code(&rest[1..], 4, 16, text).map(|length| length + 1),
        'U' => return code(&rest[1..], 8, 16, text).map(|length| length + 1),
        '0'..='7' => {
            let digits = rest.iter().take(3).take_while(|character| character.is_digit(8)).count();
            return code(rest, digits, 8, text);
        }
        'N' => return Err("characters are not known by name here; write the character itself".to_owned()),
        '\\' | '\'' | '"' => *first,
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        other => {
            text.extend(['\\', *other]);
            return Ok(1);
        }
    };
    text.push(plain);
    Ok(1)
}

/// Reads a character given by its number.
fn code(rest: &[char], digits: usize, radix: u32, text: &mut String) -> Result<usize, String> {
    let number: String = rest.iter().take(digits).collect();
    let all_digits = number.len() == digits && number.chars().all(|character| character.is_digit(radix));
    let character = all_digits.then(|| u32::from_str_radix(&number, radix).ok()).flatten().and_then(char::from_u32);
    text.push(character.ok_or_else(|| format!("`{number}` is no number of a character; {digits} digits are needed"))?);
    Ok(digits)
}

/// Reads a number, and returns how many characters it takes.
pub(super) fn number(rest: &[char]) -> Result<(usize, Token), String> {
    let length = length(rest);
    let written: String = rest[..length].iter().collect();
    let token = parse(&written).ok_or_else(|| format!("`{written}` is no number that is known here"))?;
    Ok((length, token))
}

/// Returns how long a number is, with letters that do not belong to one but follow it at once.
fn length(rest: &[char]) -> usize {
    let letters =
        |from: usize| from + rest[from..].iter().take_while(|character| character.is_alphanumeric() || **character == '_').count();
    let digits = |from: usize| from + rest[from..].iter().take_while(|character| character.is_ascii_digit() || **character == '_').count();
    if matches!(rest, ['0', 'x' | 'X' | 'o' | 'O' | 'b' | 'B', ..]) {
        return letters(0);
    }
    let mut end = digits(0);
    if rest.get(end) == Some(&'.') {
        end = digits(end + 1);
    }
    if let ['e' | 'E', '+' | '-', digit, ..] = rest[end..]
        && digit.is_ascii_digit()
    {
        end += 2;
    }
    letters(end)
}

fn parse(written: &str) -> Option<Token> {
    let digits = without_underscores(written)?.to_ascii_lowercase();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            return i128::from_str_radix(digits, radix).ok().map(Token::Int);
        }
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let leading_zero = digits.starts_with('0') && digits.bytes().any(|byte| byte != b'0');
        return if leading_zero { None } else { digits.parse().ok().map(Token::Int) };
    }
    digits.parse().ok().map(Token::Float)
}

/// Removes underscores, which stand only between digits.
pub(super) fn without_underscores(written: &str) -> Option<String> {
    let wrong = written.starts_with('_')
        || written.ends_with('_')
        || ["__", "_.", "._", "_e", "e_", "_E", "E_"].iter().any(|pair| written.contains(pair));
    (!wrong).then(|| written.replace('_', ""))
}
