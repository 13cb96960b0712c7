//! Reading and replacing files so that neither a crash nor another process ever sees half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::clock;
use crate::error::{Error, Reason, Result};

/// The largest file that is read, in bytes.
const FILE_LIMIT: u64 = 64 << 20;

/// Only the owner may read or write.
const PRIVATE: u32 = 0o600;

/// Reads a text file; nothing where there is none.
pub(super) fn read_text(path: &Path) -> io::Result<Option<String>> {
    let kind = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?.file_type(),
    };
    if !kind.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(io::Error::other(format!("it is larger than {FILE_LIMIT} bytes")));
    }
    Ok(Some(text))
}

/// Replaces a file with a private one, durably: readers see the old contents or the new, never a part.
pub(super) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let temporary = write_beside(path, contents)?;
    let renamed = fs::rename(&temporary, path);
    if renamed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    renamed?;
    sync_directory(path)
}

/// Creates a private file, durably and with all its contents at once. Returns false, and changes nothing, where one exists.
pub(super) fn create(path: &Path, contents: &[u8]) -> io::Result<bool> {
    let temporary = write_beside(path, contents)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        linked => linked?,
    }
    sync_directory(path)?;
    Ok(true)
}

/// Waits until this process alone holds the lock file. Dropping the file gives the lock back.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file = open_private(path, OpenOptions::new().create(true).truncate(false))?;
    file.lock()?;
    Ok(file)
}

/// Opens a file for writing that only its owner may use. It belongs to the owner of the directory, so that a server
/// can read what its administrator wrote as root.
pub(super) fn open_private(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = options.write(true).mode(PRIVATE).open(path)?;
    let owner = fs::metadata(directory_of(path))?;
    if file.metadata()?.uid() != owner.uid() {
        let _ = fchown(&file, Some(owner.uid()), Some(owner.gid())); // only root may; everybody else is the owner already
    }
    Ok(file)
}

/// Runs blocking work aside from the threads that serve requests.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

/// Tells the caller that the disk refuses, and the log why.
pub(super) fn refused(path: &Path, error: io::Error) -> Error {
    Error::new(Reason::Unavailable, format!("`{}` cannot be read or written: {error}", path.display())).because(error)
}

fn write_beside(path: &Path, contents: &[u8]) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", clock::random_id().simple()));
    let written = open_private(&temporary, OpenOptions::new().create_new(true)).and_then(|mut file| {
        file.write_all(contents)?;
        file.sync_all()
    });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map(|()| temporary)
}

/// Makes a new name durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large");
        File::create(&path).unwrap().set_len(FILE_LIMIT + 1).unwrap();
        assert_eq!(read_text(&path).unwrap_err().to_string(), "it is larger than 67108864 bytes");
        File::options().write(true).open(&path).unwrap().set_len(FILE_LIMIT).unwrap();
        assert_eq!(read_text(&path).unwrap().unwrap().len() as u64, FILE_LIMIT);
    }

    #[test]
    fn an_existing_file_is_not_created_again_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(create(&path, b"one").unwrap());
        assert!(!create(&path, b"two").unwrap());
        assert_eq!(read_text(&path).unwrap().unwrap(), "one");
        replace(&path, b"three").unwrap();
        assert_eq!(read_text(&path).unwrap().unwrap(), "three");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_replacement_that_fails_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("directory");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(replace(&path, b"x").is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
