//! The file of the custom tools: imported tools are added, what people wrote stays.

use std::path::Path;

use reqwest::Url;
use serde_json::{Map, Value};

use super::files;
use crate::definition::{CUSTOM_TOOLS_FILE, Problem};
use crate::error::{Error, Reason, Result};

/// What became of tools that were put into the file, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PutTools {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that were there under the same name.
    pub updated: Vec<String>,
    /// Those of `updated` whose headers were left out, because their address is another one now: headers often hold the key of the old one.
    pub without_headers: Vec<String>,
}

/// Reads a document that tools are made of.
pub fn read_document(path: &Path) -> Result<String> {
    let text = files::read_text(path).map_err(|error| files::refused(path, error))?;
    text.ok_or_else(|| Error::not_found(format!("`{}` does not exist", path.display())))
}

/// Puts tools into `custom_tools.json`, all or none. Of a tool that is there already, fields that the new one does not have stay.
/// A file that cannot be read is an error and stays as it is. It blocks on the disk.
pub fn put_custom_tools(data_dir: &Path, tools: Vec<Map<String, Value>>) -> Result<PutTools> {
    let path = data_dir.join(CUSTOM_TOOLS_FILE);
    let refused = |error| files::refused(&path, error);
    let _lock = files::lock(&path.with_extension("json.lock")).map_err(refused)?;
    let mut records = match files::read_text(&path).map_err(refused)? {
        None => Vec::new(),
        Some(text) => serde_json::from_str::<Vec<Value>>(text.trim_start_matches('\u{feff}')).map_err(|error| unusable(&error))?,
    };
    let mut put = PutTools::default();
    for tool in tools {
        let name = tool.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = records.iter_mut().filter_map(Value::as_object_mut).find(|record| record.get("name") == tool.get("name"));
        if let Some(record) = known {
            if origin(record) != origin(&tool) && record.remove("headers").is_some() {
                put.without_headers.push(name.clone());
            }
            record.extend(tool);
            put.updated.push(name);
        } else {
            records.push(Value::Object(tool));
            put.added.push(name);
        }
    }
    files::replace(&path, format!("{:#}\n", Value::Array(records)).as_bytes()).map_err(refused)?;
    Ok(put)
}

/// Returns scheme, host and port of a tool's address.
fn origin(tool: &Map<String, Value>) -> Option<String> {
    Some(Url::parse(tool.get("url")?.as_str()?).ok()?.origin().ascii_serialization())
}

fn unusable(error: &serde_json::Error) -> Error {
    let problem = Problem::fatal(CUSTOM_TOOLS_FILE, format!("is no JSON array of tools: {error}; repair it or put back a copy"));
    Error::new(Reason::FailedPrecondition, problem.to_string())
}
