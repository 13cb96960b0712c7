//! Noticing that somebody edited a file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::files::read_text;
use crate::clock;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file changed less than this many seconds ago may change again without a new time, so its contents are compared.
const COARSEST_CLOCK: i64 = 2;

/// What a look at a file found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing new.
    Same,
    /// New contents; nothing where the file is gone.
    Changed(Option<String>),
    /// The file cannot be read, and this is why.
    Unreadable(String),
}

/// A file that is looked at again and again.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    stamp: Option<Stamp>,
    settled: bool,
    seen: Option<Result<Option<[u8; 32]>, String>>,
}

/// What the directory tells of a file without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device_and_inode: (u64, u64),
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device_and_inode: (metadata.dev(), metadata.ino()),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        clock::now().as_second() - self.modified.0.max(self.changed.0) > COARSEST_CLOCK
    }
}

impl WatchedFile {
    /// Watches a file that was not looked at yet.
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, stamp: None, settled: false, seen: None }
    }

    /// Looks at the file, and reads it if it may have changed. The first look always finds something new.
    pub(super) fn look(&mut self) -> Sight {
        let stamp = fs::metadata(&self.path).ok().map(|metadata| Stamp::of(&metadata));
        if self.settled && stamp.is_some() && stamp == self.stamp {
            return Sight::Same;
        }
        // Judged before reading: what changes while it is read has a new stamp or counts as unsettled.
        self.settled = stamp.is_some_and(|stamp| stamp.is_settled());
        self.stamp = stamp;
        let text = read_text(&self.path);
        let seen = digest(&text);
        if self.seen.as_ref() == Some(&seen) {
            return Sight::Same;
        }
        self.seen = Some(seen);
        text.map_or_else(|error| Sight::Unreadable(error.to_string()), Sight::Changed)
    }
}

fn digest(text: &io::Result<Option<String>>) -> Result<Option<[u8; 32]>, String> {
    match text {
        Ok(text) => Ok(text.as_ref().map(|text| Sha256::digest(text).into())),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls `look` every second, aside from the threads that serve requests, until `stop`.
pub(super) async fn every_second(stop: CancellationToken, look: impl Fn() + Clone + Send + 'static) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Err(error) = tokio::task::spawn_blocking(look.clone()).await {
            tracing::error!(%error, "looking at files failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn changed(text: &str) -> Sight {
        Sight::Changed(Some(text.to_owned()))
    }

    fn watched(directory: &Path) -> (PathBuf, WatchedFile) {
        let path = directory.join("file");
        (path.clone(), WatchedFile::new(path))
    }

    #[test]
    fn edits_are_seen_once_even_within_one_tick_of_the_clock() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut file) = watched(directory.path());
        assert_eq!(file.look(), Sight::Changed(None));
        for text in ["one", "two", "six"] {
            fs::write(&path, text).unwrap();
            assert_eq!(file.look(), changed(text));
            assert_eq!(file.look(), Sight::Same);
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(file.look(), Sight::Changed(None));
    }

    #[test]
    fn contents_are_compared_until_the_stamp_tells_every_change() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut file) = watched(directory.path());
        fs::write(&path, "one").unwrap();
        assert_eq!(file.look(), changed("one"));
        assert!(!file.settled, "it was written just now");
        fs::write(&path, "two").unwrap();
        file.stamp = Some(Stamp::of(&fs::metadata(&path).unwrap())); // as if both writes fell into one tick
        assert_eq!(file.look(), changed("two"));
        let long_ago = Stamp { modified: (0, 0), changed: (0, 0), ..file.stamp.unwrap() };
        assert!(long_ago.is_settled());
    }

    #[test]
    fn a_replacement_with_an_old_time_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut file) = watched(directory.path());
        fs::write(&path, "one").unwrap();
        let old = fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(file.look(), changed("one"));
        file.settled = true; // as if two seconds had passed
        let other = directory.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(old).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_eq!(file.look(), changed("two"));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why_once() {
        let directory = tempfile::tempdir().unwrap();
        let (path, mut file) = watched(directory.path());
        fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(matches!(file.look(), Sight::Unreadable(_)));
        assert_eq!(file.look(), Sight::Same);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(file.look(), Sight::Unreadable("it is no regular file".to_owned()));
    }
}
