//! What calls say beside their message: `idempotency-key` and `last-event-id`, headers on REST and metadata on gRPC.

use tonic::metadata::MetadataMap;

use crate::error::{Error, Result};

/// The most characters that an idempotency key has. The schema says the same in `build/openapi.rs`.
const KEY_CHARACTERS: usize = 255;

/// Reads `idempotency-key`.
pub(super) fn idempotency_key(metadata: &MetadataMap) -> Result<Option<String>> {
    let Some(key) = metadata.get("idempotency-key") else { return Ok(None) };
    let key = key.as_encoded_bytes();
    if key.is_empty() || key.len() > KEY_CHARACTERS || !key.iter().all(u8::is_ascii_graphic) {
        return Err(Error::invalid(format!("the header `Idempotency-Key` must have 1 to {KEY_CHARACTERS} visible ASCII characters")));
    }
    Ok(Some(key.iter().copied().map(char::from).collect()))
}

/// Reads `last-event-id`.
pub(super) fn last_event_id(metadata: &MetadataMap) -> Result<Option<u64>> {
    let Some(id) = metadata.get("last-event-id") else { return Ok(None) };
    let number = id.to_str().ok().and_then(|id| id.parse().ok());
    number.map(Some).ok_or_else(|| Error::invalid("the header `Last-Event-ID` must be the `id:` of an event, a whole number"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::error::Reason;

    fn metadata(name: &'static str, value: &[u8]) -> MetadataMap {
        MetadataMap::from_headers(HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())]))
    }

    #[test]
    fn an_idempotency_key_is_read_and_nonsense_is_refused() {
        let read = |key: &[u8]| idempotency_key(&metadata("idempotency-key", key));
        assert_eq!(read(b"order-7:\"a\"").unwrap().as_deref(), Some("order-7:\"a\""));
        assert_eq!(read(&[b'k'; 255]).unwrap().unwrap().len(), 255);
        assert_eq!(idempotency_key(&MetadataMap::new()).unwrap(), None);
        for wrong in [b"".as_slice(), &[b'k'; 256], b"a b", "é".as_bytes(), b"a\tb"] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.reason(), Reason::InvalidArgument);
            assert!(error.detail().contains("`Idempotency-Key`"), "{error}");
        }
    }

    #[test]
    fn the_id_of_the_last_event_is_a_number_or_refused() {
        let read = |id: &[u8]| last_event_id(&metadata("last-event-id", id));
        assert_eq!(read(b"42").unwrap(), Some(42));
        assert_eq!(last_event_id(&MetadataMap::new()).unwrap(), None);
        for wrong in [b"".as_slice(), b"-1", b"1.5", b"latest", b"18446744073709551616", "½".as_bytes()] {
            let error = read(wrong).unwrap_err();
            assert_eq!(error.reason(), Reason::InvalidArgument);
            assert!(error.detail().contains("`Last-Event-ID`"), "{error}");
        }
    }
}
