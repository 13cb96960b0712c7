//! Reads the images of a message and looks at what they really are.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use crate::error::{Error, Result};
use crate::provider::Image;

/// The most bytes of one image, decoded.
const IMAGE_BYTES: usize = 8 << 20;

/// Takes base64 with and without padding.
const FORGIVING: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Reads images given as data URIs (RFC 2397) or bare base64.
pub(super) fn read(images: &[String]) -> Result<Vec<Image>> {
    images
        .iter()
        .enumerate()
        .map(|(index, text)| read_one(text).map_err(|fault| Error::invalid(format!("`images[{index}]` {fault}"))))
        .collect()
}

/// Tells whether what a tool calls an image is one, of a fitting size.
pub(super) fn is_image(image: &Image) -> bool {
    let bytes = FORGIVING.decode(image.base64.as_bytes()).unwrap_or_default();
    bytes.len() <= IMAGE_BYTES && media_type(&bytes) == Some(image.media_type.as_str())
}

fn read_one(text: &str) -> Result<Image, String> {
    let base64 = match text.strip_prefix("data:") {
        None => text,
        Some(uri) => uri.split_once(";base64,").ok_or("must be a data URI with `;base64,`")?.1,
    };
    // Other tools break long lines and leave the padding out; providers want neither.
    let base64: String = base64.split_ascii_whitespace().collect();
    let bytes = FORGIVING.decode(&base64).map_err(|error| format!("is not base64: {error}"))?;
    if bytes.len() > IMAGE_BYTES {
        return Err(format!("is larger than {IMAGE_BYTES} bytes"));
    }
    let media_type = media_type(&bytes).ok_or("is no PNG, JPEG, GIF or WebP image")?;
    Ok(Image { media_type: media_type.to_owned(), base64: STANDARD.encode(bytes).into() })
}

/// Tells the type of an image by its first bytes: what a caller claims may be wrong.
fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

    #[test]
    fn the_type_is_told_by_the_content() {
        let broken = PIXEL.trim_end_matches('=').replace("ABCA", "AB\r\nCA");
        for text in [PIXEL.to_owned(), broken, format!("data:image/jpeg;base64,{PIXEL}")] {
            assert_eq!(read(&[text]).unwrap()[0].media_type, "image/png");
        }
    }

    #[test]
    fn what_is_no_image_is_refused_by_its_place() {
        for text in ["data:image/png,abc", "%%%", "aGVsbG8="] {
            let error = read(&[PIXEL.to_owned(), text.to_owned()]).unwrap_err();
            assert!(error.detail().starts_with("`images[1]` "), "{error}");
        }
    }
}
