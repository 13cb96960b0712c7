//! The vault: files that agents read and write and that a message may mention as `@[path]`, and nothing outside it.

mod directory;
mod excerpt;
mod held;
mod mention;
mod outputs;
mod path;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::files::aside;
use crate::error::{Error, Reason, Result};
use directory::{Directory, Kind};
pub use excerpt::{Excerpt, Place};
use held::{Held, VAULT_BYTES, VAULT_NAMES};
use path::VaultPath;

/// The vault's directory, inside the data directory.
pub(super) const VAULT_DIRECTORY: &str = "vault";

/// The largest file that agents read or write, in bytes.
pub const VAULT_FILE_BYTES: usize = 4 << 20;

/// The most entries of a directory that are listed.
const LISTED: usize = 1000;

/// The vault of a data directory. Clones share it; changes are made one at a time.
#[derive(Debug, Clone)]
pub struct Vault {
    root: Arc<PathBuf>,
    /// What the vault holds. Whoever changes the vault has it.
    held: Arc<Mutex<Held>>,
}

/// What [`Vault::write`] does where there is a file already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is refused.
    Keep,
    /// The file is replaced.
    Replace,
}

/// The entries of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The files and directories, by name. What is neither is not listed.
    pub entries: Vec<Entry>,
    /// Whether there are more than are listed.
    pub more: bool,
}

/// A file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name inside its directory.
    pub name: String,
    /// The size in bytes; none for a directory.
    pub bytes: Option<u64>,
    /// When it was last changed.
    pub modified: Timestamp,
}

impl Vault {
    /// Names the vault of a data directory. It need not exist.
    pub fn open(data_dir: &Path) -> Self {
        Self { root: Arc::new(data_dir.join(VAULT_DIRECTORY)), held: Arc::default() }
    }

    /// Puts behind every mention `@[path]` the text of that file of the vault, fenced. A mention of anything but a
    /// readable text file inside the vault stays as it is.
    pub async fn expand(&self, message: &str) -> Result<String> {
        if !message.contains("@[") {
            return Ok(message.to_owned());
        }
        let (vault, message) = (self.clone(), message.to_owned());
        aside(move || Ok(vault.expand_now(&message))).await
    }

    fn expand_now(&self, message: &str) -> String {
        mention::expand(message, |path| self.text(&VaultPath::parse(path).ok()?, mention::FILE_BYTES).ok())
    }

    /// Lists a directory; an empty path is the vault itself.
    pub async fn list(&self, path: &str) -> Result<Listing> {
        let (vault, path) = (self.clone(), VaultPath::parse_directory(path)?);
        aside(move || {
            let listed = vault.directory(path.names()).and_then(|directory| list(&directory));
            match listed {
                Err(error) if error.kind() == io::ErrorKind::NotFound && path.names().is_empty() => {
                    Ok(Listing { entries: Vec::new(), more: false })
                }
                listed => listed.map_err(|error| refused(&path, error)),
            }
        })
        .await
    }

    /// Reads at most `lines` lines of a text file, beginning at a place; long lines and many are read in parts.
    pub async fn read(&self, path: &str, from: Place, lines: usize) -> Result<Excerpt> {
        let (vault, path) = (self.clone(), VaultPath::parse(path)?);
        aside(move || {
            let text = vault.text(&path, VAULT_FILE_BYTES as u64).map_err(|error| refused(&path, error))?;
            excerpt::excerpt(&path, &text, from, lines)
        })
        .await
    }

    /// Writes a file, durably: readers see the old text or the new one, never a part. Makes the directories on the way.
    pub async fn write(&self, path: &str, text: String, existing: Existing) -> Result<()> {
        let path = VaultPath::parse(path)?;
        self.change(move |vault, held| vault.put(held, &path, text.as_bytes(), existing).map_err(|error| refused(&path, error))).await
    }

    /// Replaces a text that occurs in a file exactly once.
    pub async fn patch(&self, path: &str, old: String, new: String) -> Result<()> {
        let path = VaultPath::parse(path)?;
        self.change(move |vault, held| {
            let text = vault.text(&path, VAULT_FILE_BYTES as u64).map_err(|error| refused(&path, error))?;
            let patched = patched(&path, &text, &old, &new)?;
            vault.put(held, &path, patched.as_bytes(), Existing::Replace).map_err(|error| refused(&path, error))
        })
        .await
    }

    /// Deletes a file, or an empty directory.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let path = VaultPath::parse(path)?;
        self.change(move |vault, held| vault.remove(held, &path).map_err(|error| refused(&path, error))).await
    }

    /// Makes a change, aside and alone. It is finished even if the caller leaves meanwhile.
    async fn change<T: Send + 'static>(&self, change: impl FnOnce(&Self, &mut Held) -> Result<T> + Send + 'static) -> Result<T> {
        let (vault, mut held) = (self.clone(), self.held.clone().lock_owned().await);
        aside(move || change(&vault, &mut held)).await
    }

    fn put(&self, held: &mut Held, path: &VaultPath, contents: &[u8], existing: Existing) -> io::Result<()> {
        if contents.len() > VAULT_FILE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let (directories, name) = path.split();
        let before = self.directory(directories).map_or(Ok(None), |directory| directory.look(name))?;
        match before {
            Some(_) if existing == Existing::Keep => return Err(io::ErrorKind::AlreadyExists.into()),
            Some(look) if look.kind != Kind::File => return Err(io::ErrorKind::InvalidInput.into()),
            _ => {}
        }
        let mut directory = Directory::make_root(&self.root)?;
        held.make_room(&directory, path.names().len() as u64, contents.len() as u64)?;
        for name in directories {
            let made = directory.make(name)?;
            held.changed(None, made.then_some(0));
            directory = directory.enter(name)?;
        }
        directory.put(name, contents, existing)?;
        held.changed(before.map(|look| look.bytes), Some(contents.len() as u64));
        Ok(())
    }

    fn remove(&self, held: &mut Held, path: &VaultPath) -> io::Result<()> {
        let (directories, name) = path.split();
        let directory = self.directory(directories)?;
        let look = directory.look(name)?.ok_or(io::ErrorKind::NotFound)?;
        directory.remove(name, look.kind)?;
        held.changed(Some(look.bytes), None);
        Ok(())
    }

    fn directory(&self, names: &[String]) -> io::Result<Directory> {
        names.iter().try_fold(Directory::root(&self.root)?, |directory, name| directory.enter(name))
    }

    fn text(&self, path: &VaultPath, limit: u64) -> io::Result<String> {
        let (directories, name) = path.split();
        self.directory(directories)?.text(name, limit)
    }
}

fn list(directory: &Directory) -> io::Result<Listing> {
    let mut names = directory.names()?;
    names.sort_unstable();
    let mut entries = Vec::new();
    let mut names = names.into_iter();
    for name in names.by_ref() {
        if let Some(look) = directory.look(&name)?.filter(|look| look.kind != Kind::Other) {
            let bytes = (look.kind == Kind::File).then_some(look.bytes);
            entries.push(Entry { name: name.to_string_lossy().into_owned(), bytes, modified: look.modified });
        }
        if entries.len() == LISTED {
            break;
        }
    }
    Ok(Listing { entries, more: names.next().is_some() })
}

fn patched(path: &VaultPath, text: &str, old: &str, new: &str) -> Result<String> {
    let (first, last) = (text.find(old), text.rfind(old));
    match first {
        _ if old.is_empty() => Err(Error::invalid("the old text is empty; give a text that occurs in the file exactly once")),
        None => Err(Error::invalid(format!(
            "the old text does not occur in `{path}`; read the file and give a text exactly as it stands there"
        ))),
        Some(_) if first != last => {
            Err(Error::invalid(format!("the old text occurs in `{path}` more than once; give more of what stands around it")))
        }
        Some(start) => Ok([&text[..start], new, &text[start + old.len()..]].concat()),
    }
}

/// Says why the file system refuses, in words for people and models.
fn refused(path: &VaultPath, error: io::Error) -> Error {
    let invalid = |text: &str| Error::invalid(format!("`{path}` {text}"));
    let (mebibytes, all) = (VAULT_FILE_BYTES >> 20, VAULT_BYTES >> 20);
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found(format!("`{path}` does not exist in the vault")),
        io::ErrorKind::AlreadyExists => invalid("exists in the vault already; choose another name or overwrite it"),
        io::ErrorKind::NotADirectory => invalid("leads through something that is no directory of the vault"),
        io::ErrorKind::InvalidInput => invalid("is no regular file, and links, pipes and devices are left alone"),
        io::ErrorKind::IsADirectory => invalid("is a directory; name a file"),
        io::ErrorKind::DirectoryNotEmpty => invalid("is a directory with files in it; delete those first"),
        io::ErrorKind::InvalidData => invalid("is no text"),
        io::ErrorKind::FileTooLarge => invalid(&format!("has more than {mebibytes} MiB, the most of a file that agents read or write")),
        io::ErrorKind::QuotaExceeded if error.raw_os_error().is_none() => {
            let full = format!("the vault is full: it holds at most {all} MiB and {VAULT_NAMES} files; delete some");
            Error::new(Reason::Unavailable, full)
        }
        io::ErrorKind::StorageFull => {
            Error::new(Reason::Unavailable, "the disk of the vault is full; make room and try again").because(error)
        }
        kind => Error::new(Reason::Unavailable, format!("`{path}` cannot be read or written: {kind}")).because(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_without_a_file_behind_it_stays_as_it_is(message in "([@\\[\\]a\n./`é]|@\\[){0,40}") {
            let vault = Vault::open(Path::new("/nonexistent"));
            prop_assert_eq!(vault.expand_now(&message), message);
        }
    }
}
