//! API keys: made once, shown once, kept as hashes, checked in memory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

use super::files;
use super::key_file::{KEYS_FILE, KeyFile, KeyRecord, second_of, time_of};
use super::watched::{Sight, WatchedFile, every_second};
use crate::clock;
use crate::definition::Problem;
use crate::error::{Error, Reason, Result};

/// What every key begins with.
const PREFIX: &str = "sk-syn-";

/// How much of a key its record shows.
const SHOWN: usize = 12;

/// The name of a key that was given none.
const UNNAMED: &str = "Unnamed Key";

/// All API keys. Clones share them.
#[derive(Debug, Clone)]
pub struct Keys(Arc<Shared>);

/// A key that was just made.
#[derive(Debug)]
pub struct NewKey {
    /// The key itself, which nobody can tell again.
    pub secret: SecretString,
    /// What is kept of it.
    pub record: KeyRecord,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key's id.
    pub id: Arc<str>,
    /// The key's name.
    pub name: Arc<str>,
}

/// Why a key is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such key.
    Unknown,
    /// The key was switched off.
    Revoked,
    /// The key's time is over.
    Expired,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    keys: ArcSwap<Vec<Key>>,
    problem: ArcSwap<Option<Problem>>,
    /// Held while the file is changed or read again, so that an older state never replaces a newer one.
    file: Mutex<WatchedFile>,
}

/// A key in memory.
#[derive(Debug)]
struct Key {
    hash: [u8; 32],
    principal: Principal,
    expires_at: Option<Timestamp>,
    record: KeyRecord,
    /// The second of the last use, 0 for never. All states of one key share it.
    last_used: Arc<AtomicI64>,
}

impl Keys {
    /// Reads the keys of a data directory. A file that cannot be read is an error and stays as it is.
    pub fn open(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(KEYS_FILE);
        let file = Mutex::new(WatchedFile::new(path.clone()));
        let keys = Self(Arc::new(Shared { path, keys: ArcSwap::default(), problem: ArcSwap::default(), file }));
        keys.reload_if_changed();
        keys.problem().map_or(Ok(keys), |problem| Err(unusable(&problem)))
    }

    /// Tells whose key this is, without waiting for anything.
    pub fn verify(&self, raw: &str) -> Result<Principal, Refusal> {
        let hash = <[u8; 32]>::from(Sha256::digest(raw));
        let keys = self.0.keys.load();
        // All records are compared, so that the time tells nothing about any of them.
        let found = keys.iter().fold(None, |found, key| if bool::from(key.hash.ct_eq(&hash)) { Some(key) } else { found });
        let key = found.filter(|_| raw.starts_with(PREFIX)).ok_or(Refusal::Unknown)?;
        let now = clock::now();
        if !key.record.is_active {
            return Err(Refusal::Revoked);
        }
        if key.expires_at.is_some_and(|end| end <= now) {
            return Err(Refusal::Expired);
        }
        key.last_used.fetch_max(now.as_second(), Ordering::Relaxed);
        Ok(key.principal.clone())
    }

    /// Returns what may be told of the keys, in file order.
    pub fn list(&self) -> Vec<KeyRecord> {
        let told = |key: &Key| {
            let last_used = key.last_used.load(Ordering::Relaxed);
            KeyRecord { last_used_at: (last_used > 0).then(|| time_of(last_used)), ..key.record.clone() }
        };
        self.0.keys.load().iter().map(told).collect()
    }

    /// Returns why the file cannot be used right now; the last good keys stay in use.
    pub fn problem(&self) -> Option<Problem> {
        self.0.problem.load().as_ref().clone()
    }

    /// Makes a key. A blank name becomes `Unnamed Key`.
    pub async fn create(&self, name: &str, expires_at: Option<Timestamp>) -> Result<NewKey> {
        let secret = format!("{PREFIX}{}", clock::hex(&clock::secret_bytes::<32>().map_err(Error::internal)?));
        let record = KeyRecord {
            id: clock::random_id().to_string(),
            name: if name.trim().is_empty() { UNNAMED } else { name }.to_owned(),
            key_prefix: secret[..SHOWN].to_owned(),
            created_at: time_of(clock::now().as_second()),
            last_used_at: None,
            expires_at: expires_at.map(|end| time_of(end.as_second())),
            is_active: true,
        };
        let hash = clock::hex(&Sha256::digest(&secret));
        let added = record.clone();
        self.change(move |file| file.add(&added, &hash)).await?;
        Ok(NewKey { secret: secret.into(), record })
    }

    /// Deletes a key and tells whether there was one.
    pub async fn delete(&self, id: &str) -> Result<bool> {
        let id = id.to_owned();
        self.change(move |file| file.remove(&id)).await
    }

    /// Writes down when keys were last used; meant for once a minute and the end.
    pub async fn flush_last_used(&self) -> Result<()> {
        let used: Vec<_> = (self.0.keys.load().iter())
            .map(|key| {
                (key.record.id.clone(), key.last_used.load(Ordering::Relaxed), key.record.last_used_at.as_deref().map_or(0, second_of))
            })
            .filter(|(_, used, written)| used > written)
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        self.change(move |file| used.iter().for_each(|(id, second, _)| file.mark_used(id, *second))).await
    }

    /// Looks at the file and takes over what changed. It blocks on the disk.
    pub fn reload_if_changed(&self) {
        self.0.look(&mut self.0.file.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Looks at the file every second until `stop`.
    pub async fn watch(self, stop: CancellationToken) {
        every_second(stop, move || self.reload_if_changed()).await;
    }

    async fn change<T: Send + 'static>(&self, change: impl FnOnce(&mut KeyFile) -> T + Send + 'static) -> Result<T> {
        let shared = Arc::clone(&self.0);
        files::aside(move || shared.change(change)).await
    }
}

impl Shared {
    /// Changes the file alone among all threads and processes: locks, reads it again, writes it.
    fn change<T>(&self, change: impl FnOnce(&mut KeyFile) -> T) -> Result<T> {
        let mut watched = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |error| files::refused(&self.path, error);
        let lock = files::lock(&self.path.with_extension("json.lock")).map_err(refused)?;
        let text = files::read_text(&self.path).map_err(refused)?;
        let before = text.map_or_else(|| Ok(KeyFile::default()), |text| KeyFile::parse(&text)).map_err(|problem| unusable(&problem))?;
        let mut file = before.clone();
        let result = change(&mut file);
        if file != before {
            files::replace(&self.path, file.to_text().as_bytes()).map_err(refused)?;
        }
        drop(lock);
        self.look(&mut watched);
        Ok(result)
    }

    fn look(&self, file: &mut WatchedFile) {
        let read = match file.look() {
            Sight::Same => return,
            Sight::Changed(None) => Ok(KeyFile::default()),
            Sight::Changed(Some(text)) => KeyFile::parse(&text),
            Sight::Unreadable(why) => Err(Problem::fatal(KEYS_FILE, format!("cannot be read: {why}"))),
        };
        match read {
            Ok(file) => {
                let (keys, problems) = file.keys();
                for problem in problems {
                    tracing::warn!("{problem}");
                }
                let before = self.keys.load();
                let used: HashMap<_, _> = before.iter().map(|key| (key.record.id.as_str(), &key.last_used)).collect();
                let key = |(record, hash): (KeyRecord, _)| {
                    let last_used = used.get(record.id.as_str()).map(|used| Arc::clone(used)).unwrap_or_default();
                    Key::new(record, hash, last_used)
                };
                self.keys.store(Arc::new(keys.into_iter().map(key).collect()));
                self.problem.store(Arc::new(None));
            }
            Err(problem) => {
                tracing::error!("{problem}; the last good keys stay in use");
                self.problem.store(Arc::new(Some(problem)));
            }
        }
    }
}

impl Key {
    fn new(record: KeyRecord, hash: [u8; 32], last_used: Arc<AtomicI64>) -> Self {
        last_used.fetch_max(record.last_used_at.as_deref().map_or(0, second_of), Ordering::Relaxed);
        Self {
            hash,
            principal: Principal { id: record.id.as_str().into(), name: record.name.as_str().into() },
            expires_at: record.expires_at.as_ref().and_then(|time| time.parse().ok()),
            record,
            last_used,
        }
    }
}

fn unusable(problem: &Problem) -> Error {
    Error::new(Reason::FailedPrecondition, problem.to_string())
}
