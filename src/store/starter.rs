//! What a new data directory begins with.

use std::path::Path;

use super::files::{self, refused};
use crate::definition::{AGENTS_FILE, ORCHESTRATIONS_FILE, SETTINGS_FILE};
use crate::error::Result;

/// The starter's files. The agents come last: once they are there, the starter is complete.
const FILES: [(&str, &str); 3] = [
    (SETTINGS_FILE, include_str!("../../examples/starter/settings.json")),
    (ORCHESTRATIONS_FILE, include_str!("../../examples/starter/orchestrations.json")),
    (AGENTS_FILE, include_str!("../../examples/starter/user_agents.json")),
];

/// Writes starter definitions into a data directory that has none, and tells whether it did. It never overwrites a file,
/// and completes what an interrupted start left. It blocks on the disk.
pub fn write_starter(data_dir: &Path) -> Result<bool> {
    if data_dir.join(AGENTS_FILE).exists() {
        return Ok(false);
    }
    for (name, contents) in FILES {
        let path = data_dir.join(name);
        let kept = files::read_text(&path).map_err(|error| refused(&path, error))?;
        if kept.is_some_and(|kept| kept != contents) {
            return Ok(false); // somebody's own
        }
    }
    for (name, contents) in FILES {
        let path = data_dir.join(name);
        files::create(&path, contents.as_bytes()).map_err(|error| refused(&path, error))?;
    }
    Ok(true)
}
