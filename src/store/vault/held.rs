//! What the vault holds: counted now and then, because people put files there too, and reckoned in between.

use std::io;
use std::time::{Duration, Instant};

use super::directory::{Directory, Kind, is_temporary};
use super::path::DEPTH;

/// The most bytes in the vault.
pub(super) const VAULT_BYTES: u64 = 1 << 30;

/// The most files and directories in the vault.
pub(super) const VAULT_NAMES: u64 = 100_000;

/// How long a count is relied on.
const COUNT_AGE: Duration = Duration::from_mins(1);

/// How long a count is relied on that says that the vault is full.
const FULL_AGE: Duration = Duration::from_secs(1);

/// What the vault holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    names: u64,
    bytes: u64,
    counted: Option<Instant>,
}

impl Held {
    /// Makes sure that as many names and bytes more find room, counting again where the last count is too old to say so.
    pub(super) fn make_room(&mut self, root: &Directory, names: u64, bytes: u64) -> io::Result<()> {
        let fits = |held: &Self| held.names + names <= VAULT_NAMES && held.bytes + bytes <= VAULT_BYTES;
        let reliable = if fits(self) { COUNT_AGE } else { FULL_AGE };
        if self.counted.is_none_or(|counted| counted.elapsed() > reliable) {
            *self = Self { counted: Some(Instant::now()), ..Self::default() };
            self.count(root, 0)?;
        }
        if fits(self) { Ok(()) } else { Err(io::ErrorKind::QuotaExceeded.into()) }
    }

    /// Reckons with an entry that was replaced, added or removed: its size before, its size now.
    pub(super) fn changed(&mut self, before: Option<u64>, now: Option<u64>) {
        self.bytes = (self.bytes + now.unwrap_or_default()).saturating_sub(before.unwrap_or_default());
        self.names = (self.names + u64::from(now.is_some())).saturating_sub(u64::from(before.is_some()));
    }

    /// Counts a directory, and removes what an interrupted write left there.
    fn count(&mut self, directory: &Directory, depth: usize) -> io::Result<()> {
        for name in directory.all_names()? {
            if self.names > VAULT_NAMES {
                return Ok(());
            }
            let Some(look) = directory.look(&name)? else { continue };
            if look.kind == Kind::File && is_temporary(&name) {
                directory.remove(&name, look.kind)?;
                continue;
            }
            self.names += 1;
            self.bytes += look.bytes;
            if look.kind == Kind::Directory && depth < DEPTH {
                // One that is not ours to read, or that went away, counts as empty.
                if let Ok(inside) = directory.enter(&name) {
                    self.count(&inside, depth + 1)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_has_room_for_so_many_bytes_and_names() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::File::create(directory.path().join("large")).unwrap().set_len(VAULT_BYTES - 10).unwrap();
        let root = Directory::root(directory.path()).unwrap();
        let mut held = Held::default();
        assert!(held.make_room(&root, 1, 10).is_ok());
        assert_eq!(held.make_room(&root, 1, 11).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        held.names = VAULT_NAMES;
        assert!(held.make_room(&root, 1, 0).is_err());
        held.changed(Some(VAULT_BYTES - 10), None);
        assert!(held.make_room(&root, 1, VAULT_BYTES).is_ok());
    }

    #[test]
    fn a_full_vault_is_counted_again_when_its_count_is_old() {
        let directory = tempfile::tempdir().unwrap();
        let root = Directory::root(directory.path()).unwrap();
        let counted = Instant::now().checked_sub(FULL_AGE * 2);
        let mut held = Held { names: VAULT_NAMES, bytes: 0, counted };
        assert!(held.make_room(&root, 1, 0).is_ok());
    }
}
