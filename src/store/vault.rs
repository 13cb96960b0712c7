//! The vault: files that a message may mention as `@[path]`, and nothing outside it.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};

use super::files::aside;
use crate::error::Result;

/// The vault's directory, inside the data directory.
pub(super) const VAULT_DIRECTORY: &str = "vault";

/// The most mentions that are looked up in one message; the others stay as they are.
const MENTIONS: usize = 16;

/// The largest file that is put into a message, in bytes; a mention of a larger one stays as it is.
const FILE_LIMIT: u64 = 256 << 10;

/// The vault of a data directory.
#[derive(Debug, Clone)]
pub struct Vault {
    root: PathBuf,
}

impl Vault {
    /// Names the vault of a data directory. It need not exist.
    pub fn open(data_dir: &Path) -> Self {
        Self { root: data_dir.join(VAULT_DIRECTORY) }
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
        let mut expanded = String::with_capacity(message.len());
        let mut rest = message;
        for _ in 0..MENTIONS {
            let Some((path, end)) = next_mention(rest) else { break };
            expanded.push_str(&rest[..end]);
            rest = &rest[end..];
            if let Ok(text) = self.read(path) {
                let fence = fence(&text);
                let _ = write!(expanded, "\n{fence}\n{}\n{fence}\n", text.trim_end_matches('\n'));
            }
        }
        expanded + rest
    }

    /// Reads a file, opening every directory on the way without following links, so that there is no way out.
    fn read(&self, path: &str) -> io::Result<String> {
        let steps = Path::new(path).components().map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(io::Error::other("the path leaves the vault")),
        });
        let steps = steps.collect::<io::Result<Vec<_>>>()?;
        let (name, directories) = steps.split_last().ok_or(io::ErrorKind::NotFound)?;
        let directory_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut directory: OwnedFd = open(&self.root, directory_flags, Mode::empty())?;
        for name in directories {
            directory = openat(&directory, *name, directory_flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        // Not blocking, because opening a pipe would wait for its writer.
        let file = openat(&directory, *name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        text_of(File::from(file))
    }
}

fn text_of(file: File) -> io::Result<String> {
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > FILE_LIMIT {
        return Err(io::Error::other("it is no regular file of a fitting size"));
    }
    let mut text = String::new();
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(text) }
}

/// Finds the next mention: its path, and where it ends.
fn next_mention(text: &str) -> Option<(&str, usize)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("@[")? + 2;
        let end = start + text[start..].find([']', '\n'])?;
        let path = &text[start..end];
        if text[end..].starts_with(']') && !path.is_empty() {
            return Some((path, end + 1));
        }
        from = start;
    }
}

/// Returns a fence that is longer than every row of backticks in the text, so that the text cannot end it.
fn fence(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or_default();
    "`".repeat(longest.max(2) + 1)
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

        #[test]
        fn a_fence_is_in_no_text(text in "[`a\n]{0,30}") {
            let fence = fence(&text);
            prop_assert!(fence.len() >= 3 && !text.contains(&fence));
        }
    }
}
