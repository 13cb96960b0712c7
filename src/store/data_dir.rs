//! The data directory belongs to one server at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::files::{open_private, refused};
use crate::error::{Error, Reason, Result};

/// The file whose lock says that a server is running.
const LOCK_FILE: &str = "synapse.lock";

/// The right to serve a data directory, until it is dropped or the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Creates a data directory, for its owner only, unless it exists.
pub fn create_data_dir(directory: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|error| refused(directory, error))
}

impl DataDirLock {
    /// Takes a directory, which is created unless it exists.
    pub fn take(directory: &Path) -> Result<Self> {
        create_data_dir(directory)?;
        let path = directory.join(LOCK_FILE);
        let file = open_private(&path, OpenOptions::new().create(true).truncate(false)).map_err(|error| refused(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                Reason::FailedPrecondition,
                format!("another synapse serves `{}`; stop it or set `SYNAPSE_DATA_DIR`", directory.display()),
            )),
            Err(TryLockError::Error(error)) => Err(refused(&path, error)),
        }
    }
}
