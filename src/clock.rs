//! Time and ids: the one door through which anything unrepeatable enters.

use std::time::SystemTime;

use jiff::Timestamp;
use uuid::Uuid;

/// Returns the present moment, to the millisecond.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millisecond(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX)
}

/// Makes an id whose order is the order of making (UUIDv7, RFC 9562).
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn ordered_id() -> Uuid {
    Uuid::now_v7()
}

/// Makes an id that says nothing (UUIDv4, RFC 9562).
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn random_id() -> Uuid {
    Uuid::new_v4()
}

/// Fills an array with bytes that nobody can guess, from the operating system.
pub fn secret_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Writes bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Makes the id of a run: `run_` and a UUIDv7 without hyphens.
pub fn run_id() -> String {
    format!("run_{}", ordered_id().simple())
}

/// Makes the id of a session that a client did not name: `api_` and 12 lower-case hexadecimal digits.
pub fn session_id() -> String {
    format!("api_{}", &random_id().simple().to_string()[..12])
}
