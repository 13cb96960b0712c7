//! The clock: what day and time it is, anywhere.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use serde::Deserialize;
use serde_json::json;

use super::builtin::BuiltIn;
use super::{Failure, Tool};
use crate::clock;

/// The time zone where none is named.
const DEFAULT_ZONE: &str = "UTC";

#[derive(Deserialize)]
struct Arguments {
    timezone: Option<String>,
}

/// Makes the tool `get_datetime`.
pub fn get_datetime() -> Arc<dyn Tool> {
    let schema = json!({
        "type": "object",
        "properties": {"timezone": {"type": "string", "description": "IANA name, for example Europe/Berlin; UTC if left out"}},
        "additionalProperties": false,
    });
    // The one that is part of the binary: a machine may have none, or an old one.
    let zones = TimeZoneDatabase::bundled();
    BuiltIn::tool("get_datetime", "Tells the present date, time and weekday.", schema, move |arguments: Arguments| {
        let told = tell(&zones, clock::now(), arguments.timezone.as_deref().unwrap_or(DEFAULT_ZONE));
        std::future::ready(told)
    })
}

fn tell(zones: &TimeZoneDatabase, now: Timestamp, name: &str) -> Result<String, Failure> {
    let zone = zones
        .get(name.trim())
        .map_err(|_| Failure::new(format!("time zone `{name}` does not exist; give an IANA name like `Europe/Berlin` or `UTC`")))?;
    let now = now.to_zoned_datetime(zone);
    let told = json!({
        "iso": now.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        "date": now.strftime("%Y-%m-%d").to_string(),
        "time": now.strftime("%H:%M:%S").to_string(),
        "weekday": now.strftime("%A").to_string(),
        "timezone": now.time_zone().iana_name().unwrap_or(DEFAULT_ZONE),
        "unix": now.timestamp().as_second(),
    });
    Ok(told.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told(seconds: i64, zone: &str) -> Value {
        let now = Timestamp::from_second(seconds).unwrap();
        serde_json::from_str(&tell(&TimeZoneDatabase::bundled(), now, zone).unwrap()).unwrap()
    }

    #[test]
    fn the_time_is_told_in_any_zone_in_summer_and_in_winter() {
        let utc = json!({"iso": "2026-11-23T20:53:09+00:00", "date": "2026-11-23", "time": "20:53:09", "weekday": "Monday",
            "timezone": "UTC", "unix": 1_795_467_189});
        assert_eq!(told(1_795_467_189, "UTC"), utc);
        assert_eq!(told(1_795_467_189, "Asia/Kolkata")["iso"], "2026-11-24T02:23:09+05:30");
        assert_eq!(told(1_795_467_189, "europe/berlin")["timezone"], "Europe/Berlin");
        assert_eq!(told(1_795_467_189 - 180 * 86400, "Europe/Berlin")["time"], "22:53:09");
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let failure = tell(&TimeZoneDatabase::bundled(), Timestamp::UNIX_EPOCH, "Europe/Atlantis").unwrap_err();
        assert_eq!(failure.0, "time zone `Europe/Atlantis` does not exist; give an IANA name like `Europe/Berlin` or `UTC`");
    }
}
