//! A path inside the vault: names from its root on, none of which leads out.

use std::fmt;
use std::path::{Component, Path};

use super::directory::TEMPORARY;
use crate::error::{Error, Result};

/// The most directories on the way to a file, the file included.
pub(super) const DEPTH: usize = 16;

/// The longest name, in bytes; file systems take no longer ones.
const NAME_BYTES: usize = 255;

/// A path inside the vault.
#[derive(Debug, Clone)]
pub(super) struct VaultPath(Vec<String>);

impl VaultPath {
    /// Reads the path of a file.
    pub(super) fn parse(path: &str) -> Result<Self> {
        let parsed = Self::parse_directory(path)?;
        if parsed.0.is_empty() { Err(Error::invalid("the path is empty; name a file of the vault, like `notes/a.md`")) } else { Ok(parsed) }
    }

    /// Reads the path of a directory; an empty one is the vault itself.
    pub(super) fn parse_directory(path: &str) -> Result<Self> {
        let mut names = Vec::new();
        for component in Path::new(path).components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => names.extend(name.to_str().map(str::to_owned)),
                _ => return Err(Error::invalid(format!("`{path}` leaves the vault; write a path inside it, like `notes/a.md`"))),
            }
        }
        if names.len() > DEPTH {
            return Err(Error::invalid(format!("the path has more than {DEPTH} names; use fewer directories")));
        }
        match names.iter().find(|name| !is_fitting(name)) {
            Some(_) => Err(Error::invalid(format!("a name in the path is longer than {NAME_BYTES} bytes or not allowed; choose another"))),
            None => Ok(Self(names)),
        }
    }

    /// Returns the names from the root on.
    pub(super) fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns the directories on the way, and the last name.
    pub(super) fn split(&self) -> (&[String], &str) {
        self.0.split_last().map_or((&[], ""), |(name, directories)| (directories, name))
    }
}

impl fmt::Display for VaultPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_empty() { "." } else { "" })?;
        formatter.write_str(&self.0.join("/"))
    }
}

fn is_fitting(name: &str) -> bool {
    name.len() <= NAME_BYTES && !name.contains(char::is_control) && !name.starts_with(TEMPORARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_names_and_leads_nowhere_else() {
        assert_eq!(VaultPath::parse("./a//b/./c.txt").unwrap().to_string(), "a/b/c.txt");
        assert_eq!(VaultPath::parse_directory("").unwrap().to_string(), ".");
        for path in ["", ".", "/a", "..", "a/../b", "a\0b", "a\nb", ".synapse-x", &"x".repeat(256), &"a/".repeat(17)] {
            assert!(VaultPath::parse(path).is_err(), "{path}");
        }
        assert!(VaultPath::parse(&"a/".repeat(16)).is_ok());
    }
}
