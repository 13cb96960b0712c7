//! The vault as tools: what an agent keeps in files.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::builtin::BuiltIn;
use super::{Failure, Tool};
use crate::error::{Error, Reason};
use crate::store::{Entry, Excerpt, Existing, Place, Vault};

/// The most lines that are read at once, and as many as are read unless the call says otherwise.
const LINES: usize = 2000;

/// The name of the tool that reads.
pub const READ: &str = "vault_read";

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
struct File {
    path: String,
}

#[derive(Deserialize)]
struct Part {
    path: String,
    from_line: Option<usize>,
    from_character: Option<usize>,
    lines: Option<usize>,
}

#[derive(Deserialize)]
struct Contents {
    path: String,
    content: String,
}

#[derive(Deserialize)]
struct Patch {
    path: String,
    old_text: String,
    new_text: String,
}

/// Makes the tools of a vault.
pub fn tools(vault: &Vault) -> Vec<Arc<dyn Tool>> {
    vec![list(vault.clone()), read(vault.clone()), create(vault.clone()), write(vault.clone()), patch(vault.clone()), delete(vault.clone())]
}

fn list(vault: Vault) -> Arc<dyn Tool> {
    let about = "Lists the files and directories in a directory of the vault, with sizes in bytes and times.";
    let properties = json!({"path": {"type": "string", "description": "the directory, for example notes; the whole vault if left out"}});
    BuiltIn::in_order("vault_list", about, schema(&properties, &[]), move |arguments: Directory| {
        let vault = vault.clone();
        async move {
            let listing = vault.list(&arguments.path).await.map_err(failure)?;
            let entries: Vec<_> = listing.entries.iter().map(entry).collect();
            Ok(json!({"entries": entries, "more": listing.more}).to_string())
        }
    })
}

fn read(vault: Vault) -> Arc<dyn Tool> {
    let about = "Reads a text file of the vault. A long file is read in parts; the last line of the answer then says how to go on.";
    let properties = json!({
        "path": path(),
        "from_line": {"type": "integer", "minimum": 1, "description": "the first line to read; 1 if left out"},
        "lines": {"type": "integer", "minimum": 1, "maximum": LINES, "description": "how many lines to read"},
        "from_character": {"type": "integer", "minimum": 1, "description": "where in the first line to begin; 1 if left out"},
    });
    BuiltIn::in_order(READ, about, schema(&properties, &["path"]), move |part: Part| {
        let vault = vault.clone();
        async move {
            let from = Place { line: part.from_line.unwrap_or(1).max(1), character: part.from_character.unwrap_or(1).max(1) };
            let excerpt = vault.read(&part.path, from, part.lines.unwrap_or(LINES).clamp(1, LINES)).await.map_err(failure)?;
            Ok(told(excerpt))
        }
    })
}

fn create(vault: Vault) -> Arc<dyn Tool> {
    let about = "Creates a text file in the vault, with the directories on the way. A file that exists is not overwritten.";
    BuiltIn::in_order("vault_create", about, contents(), move |file: Contents| put(vault.clone(), file, Existing::Keep))
}

fn write(vault: Vault) -> Arc<dyn Tool> {
    let about = "Writes a text file of the vault, with the directories on the way. A file that exists is overwritten.";
    BuiltIn::in_order("vault_write", about, contents(), move |file: Contents| put(vault.clone(), file, Existing::Replace))
}

async fn put(vault: Vault, file: Contents, existing: Existing) -> Result<String, Failure> {
    let bytes = file.content.len();
    vault.write(&file.path, file.content, existing).await.map_err(failure)?;
    Ok(format!("`{}` was written: {bytes} bytes", file.path))
}

fn patch(vault: Vault) -> Arc<dyn Tool> {
    let about = "Replaces a text in a file of the vault. The old text must occur in the file exactly once.";
    let properties = json!({
        "path": path(),
        "old_text": {"type": "string", "minLength": 1, "description": "the text to be replaced, exactly as it stands in the file"},
        "new_text": {"type": "string", "description": "what stands there afterwards"},
    });
    BuiltIn::in_order("vault_patch", about, schema(&properties, &["path", "old_text", "new_text"]), move |patch: Patch| {
        let vault = vault.clone();
        async move {
            vault.patch(&patch.path, patch.old_text, patch.new_text).await.map_err(failure)?;
            Ok(format!("`{}` was patched", patch.path))
        }
    })
}

fn delete(vault: Vault) -> Arc<dyn Tool> {
    let about = "Deletes a file of the vault, or an empty directory.";
    BuiltIn::in_order("vault_delete", about, schema(&json!({"path": path()}), &["path"]), move |file: File| {
        let vault = vault.clone();
        async move {
            vault.delete(&file.path).await.map_err(failure)?;
            Ok(format!("`{}` was deleted", file.path))
        }
    })
}

fn schema(properties: &Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn path() -> Value {
    json!({"type": "string", "minLength": 1, "description": "the file inside the vault, for example notes/plan.md"})
}

fn contents() -> Value {
    let properties = json!({"path": path(), "content": {"type": "string", "description": "the whole text of the file"}});
    schema(&properties, &["path", "content"])
}

fn entry(entry: &Entry) -> Value {
    let modified = entry.modified.to_string();
    match entry.bytes {
        Some(bytes) => json!({"name": entry.name, "bytes": bytes, "modified": modified}),
        None => json!({"name": format!("{}/", entry.name), "modified": modified}),
    }
}

/// Adds to a part of a file how to read on.
fn told(excerpt: Excerpt) -> String {
    let Some(next) = excerpt.next else { return excerpt.text };
    let Place { line, character } = next;
    let end = if excerpt.text.ends_with('\n') { "" } else { "\n" };
    let on = if character == 1 { String::new() } else { format!(" and from_character {character}") };
    format!("{}{end}[the file has {} lines; to read on, call {READ} with from_line {line}{on}]", excerpt.text, excerpt.total_lines)
}

/// Tells a model why; what is wrong with the server itself goes to the log too.
#[expect(clippy::needless_pass_by_value, reason = "what `map_err` takes")]
fn failure(error: Error) -> Failure {
    if matches!(error.reason(), Reason::Internal | Reason::Unavailable) {
        tracing::warn!(cause = error.chain(), "the vault failed: {error}");
    }
    Failure::new(error.detail())
}
