//! What a remote tool returned, as models read it.

use rmcp::model::{CallToolResult, ContentBlock, ResourceContents};

use crate::provider::Image;
use crate::tool::{Failure, Output};

/// The kinds of images that models take.
const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Reads a result: every part of it, in order.
pub(super) fn output(result: CallToolResult, limit: usize) -> Result<Output, Failure> {
    let failed = result.is_error == Some(true);
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for part in result.content {
        match part {
            ContentBlock::Image(image) if IMAGES.contains(&image.mime_type.as_str()) => {
                images.push(Image { media_type: image.mime_type, base64: image.data.into() });
            }
            other => texts.extend(text(other)),
        }
    }
    if texts.is_empty() {
        texts.extend(result.structured_content.map(|structure| structure.to_string()));
    }
    let output = Output { text: texts.join("\n"), images };
    let size = output.text.len() + output.images.iter().map(|image| image.base64.len()).sum::<usize>();
    if size > limit {
        return Err(Failure::new(format!("the result has {size} bytes; at most {limit} are read, so ask for less")));
    }
    match failed {
        true if output.text.is_empty() => Err(Failure::new("the tool failed and did not say why")),
        true => Err(Failure::new(output.text)),
        false => Ok(output),
    }
}

/// Describes a part in words; nothing where there is nothing to say.
fn text(part: ContentBlock) -> Option<String> {
    let text = match part {
        ContentBlock::Text(text) => text.text,
        ContentBlock::Image(image) => format!("[an image of type `{}`, which models do not take]", image.mime_type),
        ContentBlock::Audio(audio) => format!("[audio of type `{}`, which is not played to models]", audio.mime_type),
        ContentBlock::ResourceLink(link) => {
            let about = link.description.or(link.title).map(|about| format!(": {about}")).unwrap_or_default();
            format!("[{}]({}){about}", link.name, link.uri)
        }
        ContentBlock::Resource(embedded) => match embedded.resource {
            ResourceContents::TextResourceContents { text, .. } => text,
            ResourceContents::BlobResourceContents { uri, mime_type, .. } => {
                format!("[the resource {uri} of type `{}`, which is no text]", mime_type.as_deref().unwrap_or("unknown"))
            }
            _ => "[a resource of an unknown kind]".to_owned(),
        },
        _ => "[a part of an unknown kind]".to_owned(),
    };
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(result: serde_json::Value) -> Result<Output, Failure> {
        output(serde_json::from_value(result).unwrap(), 1000)
    }

    #[test]
    fn every_part_is_kept_in_order() {
        let output = read(json!({"content": [
            {"type": "text", "text": "one"},
            {"type": "image", "mimeType": "image/png", "data": "aaaa"},
            {"type": "image", "mimeType": "image/tiff", "data": "bbbb"},
            {"type": "audio", "mimeType": "audio/wav", "data": "cccc"},
            {"type": "resource", "resource": {"uri": "file:///a", "text": "two"}},
            {"type": "resource", "resource": {"uri": "file:///b", "blob": "dddd", "mimeType": "application/pdf"}},
            {"type": "resource_link", "uri": "file:///c", "name": "c", "description": "the third"},
        ], "structuredContent": {"not": "needed"}}))
        .unwrap();
        assert_eq!(
            output.text,
            "one\n[an image of type `image/tiff`, which models do not take]\n[audio of type `audio/wav`, which is not played to models]\ntwo\n\
             [the resource file:///b of type `application/pdf`, which is no text]\n[c](file:///c): the third"
        );
        assert_eq!(output.images, [Image { media_type: "image/png".to_owned(), base64: "aaaa".into() }]);
    }

    #[test]
    fn structure_is_told_where_there_is_no_text() {
        assert_eq!(read(json!({"content": [], "structuredContent": {"a": 1}})).unwrap().text, r#"{"a":1}"#);
        assert_eq!(read(json!({"content": []})).unwrap(), Output::default());
    }

    #[test]
    fn an_error_is_a_failure_with_its_text() {
        assert_eq!(read(json!({"isError": true, "content": [{"type": "text", "text": "no such file"}]})).unwrap_err().0, "no such file");
        assert_eq!(read(json!({"isError": true, "content": []})).unwrap_err().0, "the tool failed and did not say why");
    }

    #[test]
    fn a_result_beyond_the_limit_is_a_failure() {
        let failure = read(json!({"content": [{"type": "text", "text": "x".repeat(1001)}]})).unwrap_err();
        assert_eq!(failure.0, "the result has 1001 bytes; at most 1000 are read, so ask for less");
    }
}
