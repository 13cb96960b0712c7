//! The operators that make values: arithmetic, bits, and joining and repeating of texts and lists.

use super::budget::Budget;
use super::collection::List;
use super::format;
use super::number::Number;
use super::value::Value;

/// Says that an integer is too large.
const TOO_LARGE: &str = "the number has more than 128 bits; make one operand a float, as in `10.0 ** 50`";

/// Says that a number was divided by zero.
const BY_ZERO: &str = "this divides by zero; test the divisor before";

/// Returns what an operator makes of one value.
pub(super) fn unary<'s>(sign: &str, value: &Value<'_>) -> Result<Value<'s>, String> {
    match (sign, Number::of(value)) {
        ("-", Some(Number::Int(number))) => number.checked_neg().map(Value::Int).ok_or_else(|| TOO_LARGE.to_owned()),
        ("-", Some(Number::Float(number))) => Ok(Value::Float(-number)),
        ("+", Some(Number::Int(number))) => Ok(Value::Int(number)),
        ("+", Some(Number::Float(number))) => Ok(Value::Float(number)),
        ("~", Some(Number::Int(number))) => Ok(Value::Int(!number)),
        _ => Err(format!("`{sign}` needs a number, and this is {}", value.described())),
    }
}

/// Returns what an operator makes of two values.
pub(super) fn binary<'s>(left: &Value<'s>, sign: &str, right: &Value<'s>, budget: &Budget) -> Result<Value<'s>, String> {
    match (sign, left, right) {
        ("&", Value::Bool(left), Value::Bool(right)) => return Ok(Value::Bool(left & right)),
        ("|", Value::Bool(left), Value::Bool(right)) => return Ok(Value::Bool(left | right)),
        ("^", Value::Bool(left), Value::Bool(right)) => return Ok(Value::Bool(left ^ right)),
        _ => {}
    }
    match (Number::of(left), Number::of(right)) {
        (Some(Number::Int(left)), Some(Number::Int(right))) => ints(left, sign, right),
        (Some(a), Some(b)) => floats(a.float(), sign, b.float()).unwrap_or_else(|| Err(mismatch(left, sign, right))),
        _ => sequences(left, sign, right, budget),
    }
}

fn mismatch(left: &Value<'_>, sign: &str, right: &Value<'_>) -> String {
    format!(
        "`{sign}` does not work on {} and {}; convert one with `str(...)`, `int(...)` or `float(...)`",
        left.described(),
        right.described()
    )
}

fn ints<'s>(left: i128, sign: &str, right: i128) -> Result<Value<'s>, String> {
    if right == 0 && matches!(sign, "/" | "//" | "%") || (sign == "**" && left == 0 && right < 0) {
        return Err(BY_ZERO.to_owned());
    }
    let result = match sign {
        "+" => left.checked_add(right),
        "-" => left.checked_sub(right),
        "*" => left.checked_mul(right),
        "/" => return Ok(Value::Float(divide(left, right))),
        "//" => floor_divide(left, right),
        "%" => Some(floor_remainder(left, right)),
        "**" if right < 0 => return Ok(Value::Float((left as f64).powf(right as f64))),
        "**" => power(left, right),
        "<<" | ">>" if right < 0 => return Err(format!("`{sign}` needs a count that is not negative")),
        "<<" => power(2, right).and_then(|factor| left.checked_mul(factor)),
        ">>" => Some(left >> right.min(127)),
        "&" => Some(left & right),
        "|" => Some(left | right),
        "^" => Some(left ^ right),
        _ => None,
    };
    result.map(Value::Int).ok_or_else(|| TOO_LARGE.to_owned())
}

/// Divides as if without end and rounds once, also where an operand has no float of its value.
fn divide(left: i128, right: i128) -> f64 {
    let divisor = right.unsigned_abs();
    let mut quotient = left.unsigned_abs() / divisor;
    let mut rest = left.unsigned_abs() % divisor;
    let mut exponent = 0;
    while rest != 0 && quotient < 1 << 64 {
        rest *= 2;
        quotient = quotient * 2 + u128::from(rest >= divisor);
        rest -= if rest >= divisor { divisor } else { 0 };
        exponent -= 1;
    }
    // What is left over lies far behind the last bit of a float, and decides which way a half goes.
    let size = (quotient | u128::from(rest != 0)) as f64 * 2_f64.powi(exponent);
    if (left < 0) == (right < 0) { size } else { -size }
}

/// Divides towards minus infinity, as Python does.
fn floor_divide(left: i128, right: i128) -> Option<i128> {
    let quotient = left.checked_div(right)?;
    let rounded_up = left % right != 0 && (left < 0) != (right < 0);
    Some(quotient - i128::from(rounded_up))
}

/// Returns what is left by that division; it has the sign of the divisor.
fn floor_remainder(left: i128, right: i128) -> i128 {
    let rest = left.wrapping_rem(right);
    if rest != 0 && (rest < 0) != (right < 0) { rest + right } else { rest }
}

fn power(base: i128, exponent: i128) -> Option<i128> {
    match base {
        0 | 1 => Some(if exponent == 0 { 1 } else { base }),
        -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => base.checked_pow(u32::try_from(exponent).ok()?),
    }
}

/// Returns nothing where floats have no such operator.
fn floats<'s>(left: f64, sign: &str, right: f64) -> Option<Result<Value<'s>, String>> {
    if right == 0.0 && matches!(sign, "/" | "//" | "%") || (sign == "**" && left == 0.0 && right < 0.0) {
        return Some(Err(BY_ZERO.to_owned()));
    }
    let result = match sign {
        "+" => left + right,
        "-" => left - right,
        "*" => left * right,
        "/" => left / right,
        "//" => floor_divide_floats(left, right),
        "%" => remainder(left, right),
        "**" if left < 0.0 && right.fract() != 0.0 => return Some(Err("a root of a negative number is no real number".to_owned())),
        "**" => left.powf(right),
        _ => return None,
    };
    let overflow = sign == "**" && result.is_infinite() && left.is_finite() && right.is_finite();
    Some(if overflow { Err("the number is larger than a float can be".to_owned()) } else { Ok(Value::Float(result)) })
}

/// The remainder has the sign of the divisor, as Python has it.
fn remainder(left: f64, right: f64) -> f64 {
    let rest = left % right;
    if rest == 0.0 {
        0.0_f64.copysign(right)
    } else if (rest < 0.0) == (right < 0.0) {
        rest
    } else {
        rest + right
    }
}

fn floor_divide_floats(left: f64, right: f64) -> f64 {
    let rest = left % right;
    let rounded_up = rest != 0.0 && (rest < 0.0) != (right < 0.0);
    let quotient = (left - rest) / right - if rounded_up { 1.0 } else { 0.0 };
    if quotient == 0.0 {
        return 0.0_f64.copysign(left / right);
    }
    let floor = quotient.floor();
    if quotient - floor > 0.5 { floor + 1.0 } else { floor }
}

fn sequences<'s>(left: &Value<'s>, sign: &str, right: &Value<'s>, budget: &Budget) -> Result<Value<'s>, String> {
    match (sign, left.text(), right.text()) {
        ("+", Some(left), Some(right)) => {
            budget.make_text(left.len() + right.len())?;
            Ok(Value::from(format!("{left}{right}")))
        }
        ("%", Some(template), _) => format::percent(template, right, budget).map(Value::from),
        ("+", _, _) if left.kind() == right.kind() => joined(left, right, budget).ok_or_else(|| mismatch(left, sign, right))?,
        ("*", _, _) => match (left.int(), right.int()) {
            (Some(count), _) => repeated(right, count, budget),
            (_, Some(count)) => repeated(left, count, budget),
            _ => Err(mismatch(left, sign, right)),
        },
        _ => Err(mismatch(left, sign, right)),
    }
}

fn joined<'s>(left: &Value<'s>, right: &Value<'s>, budget: &Budget) -> Option<Result<Value<'s>, String>> {
    let (first, second) = (left.sequence()?, right.sequence()?);
    let items = budget.spend(first.len() + second.len()).map(|()| first.iter().chain(second.iter()).collect());
    Some(items.map(|items| like(left, items)))
}

/// Makes a tuple where there was one, and a list otherwise.
pub(super) fn like<'s>(value: &Value<'s>, items: Vec<Value<'s>>) -> Value<'s> {
    if matches!(value, Value::Tuple(_)) { Value::Tuple(items.into()) } else { items.into() }
}

fn repeated<'s>(value: &Value<'s>, count: i128, budget: &Budget) -> Result<Value<'s>, String> {
    let count = i64::try_from(count).map_err(|_| format!("nothing can be repeated {count} times"))?;
    let count = usize::try_from(count).unwrap_or(0);
    if let Some(text) = value.text() {
        budget.make_text(text.len().saturating_mul(count))?;
        return Ok(Value::from(if text.is_empty() { String::new() } else { text.repeat(count) }));
    }
    let items = value.sequence().ok_or_else(|| format!("`*` repeats texts and lists, and this is {}", value.described()))?;
    budget.spend(items.len().saturating_mul(count))?;
    let count = if items.len() == 0 { 0 } else { count };
    Ok(like(value, (0..count).flat_map(|_| List::iter(&items).collect::<Vec<_>>()).collect()))
}
