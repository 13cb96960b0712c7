//! The oldest way of Python to put values into a text: `'%s of %d' % (a, b)`.

use super::budget::Budget;
use super::value::Value;

/// Returns what `template % value` is. There are `%s`, `%r`, `%d` and `%%`.
pub(super) fn percent(template: &str, value: &Value<'_>, budget: &Budget) -> Result<String, String> {
    budget.make_text(template.len())?;
    let mut values = match value {
        Value::Tuple(items) => items.to_vec(),
        single => vec![single.clone()],
    }
    .into_iter();
    let mut pieces = template.split('%');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    while let Some(piece) = pieces.next() {
        let mut rest = piece.chars();
        let sign = rest.next();
        if sign.is_none() {
            // Two signs in a row stand for one.
            let after = pieces.next().ok_or("the text ends with `%`; write `%%` for the sign itself")?;
            text.push('%');
            text.push_str(after);
            continue;
        }
        let value = values.next().ok_or("the text has more `%` than there are values")?;
        text.push_str(&shown(sign, &value, budget)?);
        text.push_str(rest.as_str());
    }
    let unused = values.next().is_some() && !matches!(value, Value::Object(_) | Value::List(_));
    if unused { Err("there are more values than `%` in the text".to_owned()) } else { Ok(text) }
}

fn shown(sign: Option<char>, value: &Value<'_>, budget: &Budget) -> Result<String, String> {
    let mut out = String::new();
    match sign {
        Some('s') => return value.to_text(budget),
        Some('r') => value.write_repr(&mut out, budget)?,
        Some('d') if matches!(value, Value::Int(_) | Value::Bool(_) | Value::Float(_)) => out = super::number::int(value)?.to_string(),
        Some('d') => return Err(format!("`%d` needs a number, and this is {}", value.described())),
        _ => return Err("only `%s`, `%r`, `%d` and `%%` are known here; use `str(...)` and `round(...)`".to_owned()),
    }
    Ok(out)
}
