//! What is wrong with a data directory, all at once, for `synapse check`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::admin_token::ADMIN_TOKEN_FILE;
use super::files::read_text;
use super::key_file::{KEYS_FILE, KeyFile};
use super::vault::VAULT_DIRECTORY;
use crate::definition::{
    AGENTS_FILE, CUSTOM_TOOLS_FILE, DATABASES_FILE, MCP_SERVERS_FILE, ORCHESTRATIONS_FILE, PRICING_FILE, Problem, SETTINGS_FILE, agents,
    broken_references, custom_tools, databases, mcp_servers, orchestrations, pricing, settings,
};

/// Reads everything in a data directory and names what is wrong. It blocks on the disk and changes nothing.
pub fn check(data_dir: &Path) -> Vec<Problem> {
    if let Err(error) = fs::read_dir(data_dir) {
        return vec![Problem::fatal(&data_dir.to_string_lossy(), format!("is no readable directory: {error}"))];
    }
    let mut problems = Vec::new();
    let agents = read(data_dir, AGENTS_FILE, agents, &mut problems);
    let orchestrations = read(data_dir, ORCHESTRATIONS_FILE, orchestrations, &mut problems);
    read(data_dir, CUSTOM_TOOLS_FILE, custom_tools, &mut problems);
    read(data_dir, MCP_SERVERS_FILE, mcp_servers, &mut problems);
    read(data_dir, DATABASES_FILE, databases, &mut problems);
    read(data_dir, PRICING_FILE, pricing, &mut problems);
    read(data_dir, SETTINGS_FILE, settings, &mut problems);
    read(data_dir, KEYS_FILE, |text| KeyFile::parse(text).map(|file| ((), file.keys().1)), &mut problems);
    // Without one of the files its records would all seem to be missing.
    if let (Some(agents), Some(orchestrations)) = (agents, orchestrations) {
        problems.extend(broken_references(&agents, &orchestrations));
    }
    problems.extend([KEYS_FILE, ADMIN_TOKEN_FILE].into_iter().filter_map(|name| open_to_others(data_dir, name)));
    problems.extend(unreadable_vault(data_dir));
    problems
}

/// Reads a file and collects its problems. A missing file is empty; one that cannot be used gives nothing.
fn read<T: Default>(
    data_dir: &Path,
    name: &str,
    read: impl Fn(&str) -> Result<(T, Vec<Problem>), Problem>,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let contents = match read_text(&data_dir.join(name)) {
        Ok(None) => return Some(T::default()),
        Ok(Some(text)) => read(&text),
        Err(error) => Err(Problem::fatal(name, format!("cannot be read: {error}"))),
    };
    match contents {
        Ok((contents, found)) => {
            problems.extend(found);
            Some(contents)
        }
        Err(problem) => {
            problems.push(problem);
            None
        }
    }
}

fn open_to_others(data_dir: &Path, name: &str) -> Option<Problem> {
    let mode = fs::metadata(data_dir.join(name)).ok()?.permissions().mode() & 0o777;
    let text = format!("may be read by others (mode {mode:o}); run `chmod 600` on it");
    (mode & 0o077 != 0).then(|| Problem { fatal: false, ..Problem::fatal(name, text) })
}

fn unreadable_vault(data_dir: &Path) -> Option<Problem> {
    let path = data_dir.join(VAULT_DIRECTORY);
    let error = fs::read_dir(path).err().filter(|error| error.kind() != std::io::ErrorKind::NotFound)?;
    Some(Problem { fatal: false, ..Problem::fatal(VAULT_DIRECTORY, format!("is no readable directory: {error}")) })
}
