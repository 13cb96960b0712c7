//! Outputs that are kept in the vault for a while: each under a name of its own, the oldest making room for the newest.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::directory::{Directory, Kind};
use super::held::Held;
use super::path::VaultPath;
use super::{Existing, Vault, refused};
use crate::error::{Error, Reason, Result};

/// The most outputs in a directory.
const OUTPUTS: usize = 500;

/// The most bytes of the outputs in a directory.
const OUTPUT_BYTES: u64 = 256 << 20;

/// The most files that get the same name, told apart by a number.
const NAMESAKES: usize = 1000;

impl Vault {
    /// Puts a text into a directory of outputs and returns its path. A name that is taken gets a number; the oldest files of the directory
    /// are deleted once it holds too many.
    pub async fn keep(&self, directory: &str, name: &str, text: String) -> Result<String> {
        let (directory, name) = (VaultPath::parse(directory)?, name.to_owned());
        self.change(move |vault, held| {
            vault.make_way(held, &directory, text.len() as u64).map_err(|error| refused(&directory, error))?;
            for number in 1..=NAMESAKES {
                let path = VaultPath::parse(&format!("{directory}/{}", numbered(&name, number)))?;
                match vault.put(held, &path, text.as_bytes(), Existing::Keep) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    put => return put.map(|()| path.to_string()).map_err(|error| refused(&path, error)),
                }
            }
            Err(Error::new(Reason::FailedPrecondition, format!("`{directory}/{name}` exists {NAMESAKES} times already")))
        })
        .await
    }

    /// Deletes the oldest files of a directory until one more finds room among the outputs.
    fn make_way(&self, held: &mut Held, path: &VaultPath, bytes: u64) -> io::Result<()> {
        let Ok(directory) = self.directory(path.names()) else { return Ok(()) };
        let mut files = files(&directory)?;
        files.sort_unstable();
        let (mut count, mut total) = (files.len(), files.iter().map(|(_, _, bytes)| bytes).sum::<u64>());
        for (_, name, size) in files {
            if count < OUTPUTS && total + bytes <= OUTPUT_BYTES {
                break;
            }
            directory.remove(&name, Kind::File)?;
            held.changed(Some(size), None);
            (count, total) = (count - 1, total - size);
        }
        Ok(())
    }
}

/// Returns the files of a directory: when they were changed, their names and sizes.
fn files(directory: &Directory) -> io::Result<Vec<(Timestamp, OsString, u64)>> {
    let mut files = Vec::new();
    for name in directory.names()? {
        if let Some(look) = directory.look(&name)?.filter(|look| look.kind == Kind::File) {
            files.push((look.modified, name, look.bytes));
        }
    }
    Ok(files)
}

/// Puts a number before the ending of a name; the first has none.
fn numbered(name: &str, number: usize) -> String {
    let path = Path::new(name);
    match (path.file_stem().and_then(|stem| stem.to_str()), path.extension().and_then(|ending| ending.to_str())) {
        _ if number == 1 => name.to_owned(),
        (Some(stem), Some(ending)) => format!("{stem}-{number}.{ending}"),
        _ => format!("{name}-{number}"),
    }
}
