//! Large outputs: what is too long for a conversation goes into the vault, and the model gets its beginning and its place.

use serde::de::IgnoredAny;
use serde_json::json;

use super::vault::READ;
use crate::clock;
use crate::definition::Settings;
use crate::store::{VAULT_FILE_BYTES, Vault};

/// The most characters of an output that stay in the conversation, unless `vault_threshold` says otherwise.
const THRESHOLD: u64 = 100_000;

/// The characters of a large output that a model sees at once.
const PREVIEW: usize = 500;

/// The directory of the vault that large outputs go to.
const DIRECTORY: &str = "tool_outputs";

/// The most characters of a tool's name in the name of a file.
const NAME: usize = 64;

/// Returns a text as it goes into the conversation where it cannot be put into the vault: cut if it is longer than `vault_threshold`.
pub fn cut_long(settings: &Settings, text: String, why: &str) -> String {
    let threshold = threshold(settings);
    if start_of(&text, threshold) == text.len() { text } else { cut(text, threshold, why) }
}

fn threshold(settings: &Settings) -> usize {
    usize::try_from(settings.count("vault_threshold", THRESHOLD)).unwrap_or(usize::MAX)
}

/// Returns an output as it goes into the conversation. One that is longer than `vault_threshold` is put into the vault, or cut where that is
/// turned off or full. What was read from the vault stays as it is.
pub async fn stash(vault: &Vault, settings: &Settings, tool: &str, output: String) -> String {
    let threshold = threshold(settings);
    if tool == READ || start_of(&output, threshold) == output.len() {
        return output;
    }
    if !settings.flag("vault_enabled", true) {
        return cut(output, threshold, "the vault is turned off");
    }
    let kept = &output[..output.floor_char_boundary(VAULT_FILE_BYTES)];
    let is_json = kept.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(kept).is_ok();
    let file_type = if is_json { "json" } else { "txt" };
    match vault.keep(DIRECTORY, &file_name(tool, file_type), kept.to_owned()).await {
        Ok(path) => replacement(&path, file_type, &output, kept),
        Err(error) => {
            tracing::warn!(cause = error.chain(), "an output of {tool} could not be put into the vault: {error}");
            cut(output, threshold, error.detail())
        }
    }
}

fn replacement(path: &str, file_type: &str, output: &str, kept: &str) -> String {
    let part =
        if kept.len() < output.len() { format!("; only its first {} characters were kept", kept.chars().count()) } else { String::new() };
    json!({
        "vault_file": path,
        "file_type": file_type,
        "size_chars": output.chars().count(),
        "total_lines": output.lines().count(),
        "content_preview": &output[..start_of(output, PREVIEW)],
        "message": format!("the output is too long to be shown and was put into the vault{part}; read it in parts with `{READ}`, or work with this preview"),
    })
    .to_string()
}

/// Cuts an output and says so.
fn cut(mut output: String, characters: usize, why: &str) -> String {
    let all = output.chars().count();
    output.truncate(start_of(&output, characters));
    output + &format!("\n[the output has {all} characters and was cut after {characters}: {why}]")
}

/// Returns where a character begins; the end of the text if it has no such character.
fn start_of(text: &str, character: usize) -> usize {
    if text.len() <= character { text.len() } else { text.char_indices().nth(character).map_or(text.len(), |(start, _)| start) }
}

fn file_name(tool: &str, file_type: &str) -> String {
    let plain = |character: char| if character.is_ascii_alphanumeric() || "-_".contains(character) { character } else { '_' };
    let tool: String = tool.chars().take(NAME).map(plain).collect();
    format!("{tool}_{}.{file_type}", clock::now().strftime("%Y%m%dT%H%M%S%3f"))
}
