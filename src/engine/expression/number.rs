//! Numbers: where integers and floats meet, and how other values become one.

use std::cmp::Ordering;

use super::arguments::refused;
use super::literal::without_underscores;
use super::value::Value;

/// The first number that is beyond an integer of 128 bits with a sign, 2 to the 127th.
const BEYOND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;

/// A number.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    /// Returns the number, if the value is one; a truth value counts as 0 or 1.
    pub(super) fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Float(number) => Some(Self::Float(*number)),
            other => other.int().map(Self::Int),
        }
    }

    pub(super) fn float(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    /// Orders two numbers exactly, also where an integer has no float of its value. `nan` has no order.
    pub(super) fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (Self::Float(left), Self::Float(right)) => left.partial_cmp(&right),
            (Self::Int(left), Self::Float(right)) => order_mixed(left, right),
            (Self::Float(left), Self::Int(right)) => order_mixed(right, left).map(Ordering::reverse),
        }
    }
}

fn order_mixed(left: i128, right: f64) -> Option<Ordering> {
    match truncated(right) {
        Some(whole) => left.cmp(&whole).then_with(|| 0.0_f64.total_cmp(&(right.fract() + 0.0))).into(),
        None => 0.0.partial_cmp(&right),
    }
}

/// Cuts the part behind the point off, if what remains has at most 128 bits.
fn truncated(number: f64) -> Option<i128> {
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
    (number.abs() < BEYOND).then_some(number as i128)
}

/// Returns what `int(value)` is.
pub(super) fn int(value: &Value<'_>) -> Result<i128, String> {
    match (Number::of(value), value.text()) {
        (Some(Number::Int(number)), _) => Ok(number),
        (Some(Number::Float(number)), _) => truncated(number).ok_or_else(|| format!("{number:?} is no integer of 128 bits")),
        (None, Some(text)) => parsed(text).ok_or_else(|| "`int` takes text that is a whole number, such as '12'".to_owned()),
        (None, None) => Err(refused("int", std::slice::from_ref(value))),
    }
}

/// Returns what `float(value)` is.
pub(super) fn float(value: &Value<'_>) -> Result<f64, String> {
    match (Number::of(value), value.text()) {
        (Some(number), _) => Ok(number.float()),
        (None, Some(text)) => parsed(text).ok_or_else(|| "`float` takes text that is a number, such as '1.5'".to_owned()),
        (None, None) => Err(refused("float", std::slice::from_ref(value))),
    }
}

fn parsed<T: std::str::FromStr>(text: &str) -> Option<T> {
    without_underscores(text.trim())?.parse().ok()
}

/// Returns what `round(value)` is: halves go to the even neighbour.
pub(super) fn round(value: &Value<'_>) -> Result<i128, String> {
    match Number::of(value) {
        Some(Number::Int(number)) => Ok(number),
        Some(Number::Float(number)) => int(&Value::Float(number.round_ties_even())),
        None => Err(refused("round", std::slice::from_ref(value))),
    }
}

/// Returns what `round(value, digits)` is.
pub(super) fn round_to<'s>(value: &Value<'s>, digits: i128) -> Result<Value<'s>, String> {
    match Number::of(value) {
        Some(Number::Int(number)) if digits >= 0 => Ok(Value::Int(number)),
        Some(Number::Int(number)) => Ok(Value::Int(round_int(number, digits.unsigned_abs()))),
        Some(Number::Float(number)) => Ok(Value::Float(round_float(number, digits))),
        None => Err(refused("round", std::slice::from_ref(value))),
    }
}

fn round_int(number: i128, zeros: u128) -> i128 {
    let Some(unit) = u32::try_from(zeros).ok().and_then(|zeros| 10_i128.checked_pow(zeros)) else { return 0 };
    let below = number.div_euclid(unit);
    let rest = number.rem_euclid(unit);
    let up = match rest.cmp(&(unit / 2)) {
        Ordering::Less => false,
        Ordering::Equal => below % 2 != 0,
        Ordering::Greater => true,
    };
    (below + i128::from(up)).saturating_mul(unit)
}

fn round_float(number: f64, digits: i128) -> f64 {
    match i32::try_from(digits) {
        // The decimal text of a float is exact, and so is its rounding.
        Ok(digits @ 0..=330) if number.is_finite() => format!("{number:.*}", digits.unsigned_abs() as usize).parse().unwrap_or(number),
        Ok(digits @ -310..=-1) if number.is_finite() => {
            let unit = 10_f64.powi(-digits);
            (number / unit).round_ties_even() * unit
        }
        _ if digits < 0 && number.is_finite() => 0.0_f64.copysign(number),
        _ => number,
    }
}
