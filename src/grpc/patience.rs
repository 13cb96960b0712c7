//! How long a caller waits: `grpc-timeout`, as the gRPC protocol over HTTP/2 writes it. REST callers may send it too.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// Reads `grpc-timeout`: at most eight digits and a unit, `H`, `M`, `S`, `m`, `u` or `n`. One that cannot be read is as good as none.
pub(super) fn patience(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_and_nonsense_is_not() {
        let read = |text: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().unwrap());
            patience(&metadata)
        };
        assert_eq!(read("1500m"), Some(Duration::from_millis(1500)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        for text in ["", "S", "12", "-1S", "123456789S", "1.5S", "1x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
