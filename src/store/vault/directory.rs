//! A directory of the vault, opened step by step without following a link, so that there is no way out of it.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fsync, linkat, mkdirat, open, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::Existing;
use super::held::VAULT_NAMES;
use crate::clock;

/// How names of files begin that are being written; the rest is random. They are not listed.
pub(super) const TEMPORARY: &str = ".synapse-";

/// How directories are opened.
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A directory that is open, wherever its name leads meanwhile.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A link, pipe, device or socket.
    Other,
}

/// What can be seen of an entry without opening it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) kind: Kind,
    pub(super) bytes: u64,
    pub(super) modified: Timestamp,
}

impl Directory {
    /// Opens the vault itself, which its operator may have put elsewhere with a link.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, DIRECTORY, Mode::empty())?))
    }

    /// Opens the vault itself; makes it unless it exists.
    pub(super) fn make_root(path: &Path) -> io::Result<Self> {
        match Self::root(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(path)?;
                Self::root(path)
            }
            root => root,
        }
    }

    /// Opens a directory inside this one.
    pub(super) fn enter(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        Ok(Self(openat(&self.0, name.as_ref(), DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?))
    }

    /// Makes a directory inside this one, durably and for its owner only, and tells whether there was none.
    pub(super) fn make(&self, name: &str) -> io::Result<bool> {
        match mkdirat(&self.0, name, Mode::RWXU) {
            Ok(()) => fsync(&self.0)?,
            Err(Errno::EXIST) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        Ok(true)
    }

    /// Looks at an entry without following it; nothing where there is none.
    pub(super) fn look(&self, name: impl AsRef<OsStr>) -> io::Result<Option<Look>> {
        let stat = match statat(&self.0, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => stat?,
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            _ => Kind::Other,
        };
        let bytes = if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 };
        Ok(Some(Look { kind, bytes, modified: Timestamp::from_second(stat.st_mtime).unwrap_or_default() }))
    }

    /// Returns the names of all entries, in no order, but those of files that are being written.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = self.all_names()?;
        names.retain(|name| !is_temporary(name));
        Ok(names)
    }

    /// Returns the names of all entries, in no order, and no more than tell that there are too many.
    pub(super) fn all_names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(OsStr::from_bytes(name).to_owned());
            }
            if names.len() as u64 > VAULT_NAMES {
                break;
            }
        }
        Ok(names)
    }

    /// Reads a text file of at most `limit` bytes.
    pub(super) fn text(&self, name: &str, limit: u64) -> io::Result<String> {
        // Not blocking, because opening a pipe would wait for its writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NXIO) => return Err(io::ErrorKind::InvalidInput.into()), // a link, a socket
            file => File::from(file?),
        };
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    /// Puts a private file there, durably and with all its contents at once.
    pub(super) fn put(&self, name: &str, contents: &[u8], existing: Existing) -> io::Result<()> {
        let temporary = format!("{TEMPORARY}{}", clock::random_id().simple());
        let put = self.write_temporary(&temporary, contents).and_then(|()| match existing {
            Existing::Replace => Ok(renameat(&self.0, &temporary, &self.0, name)?),
            Existing::Keep => Ok(linkat(&self.0, &temporary, &self.0, name, AtFlags::empty())?),
        });
        if put.is_err() || existing == Existing::Keep {
            let _ = unlinkat(&self.0, &temporary, AtFlags::empty()); // a name that stays is removed by the next count
        }
        put?;
        Ok(fsync(&self.0)?)
    }

    fn write_temporary(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(contents)?;
        file.sync_all()
    }

    /// Removes a file or an empty directory, durably. What is neither is left alone.
    pub(super) fn remove(&self, name: impl AsRef<OsStr>, kind: Kind) -> io::Result<()> {
        let flags = match kind {
            Kind::File => AtFlags::empty(),
            Kind::Directory => AtFlags::REMOVEDIR,
            Kind::Other => return Err(io::ErrorKind::InvalidInput.into()),
        };
        unlinkat(&self.0, name.as_ref(), flags)?;
        Ok(fsync(&self.0)?)
    }
}

/// Tells whether a name is one of a file that is being written.
pub(super) fn is_temporary(name: &OsStr) -> bool {
    name.as_bytes().starts_with(TEMPORARY.as_bytes())
}
