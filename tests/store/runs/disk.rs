//! Runs on a disk that is full or read-only: a small one of their own, which only this test sees.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use synapse::error::Reason;
use synapse::store::{Append, Appended, NewRun, RunRow, RunStatus, Store, create_data_dir};

use super::sample::{append, row, run, sound};
use crate::process::{part, plays_a_part};

/// Where the small disk is, in the directory of the part.
const DISK: &str = "disk";

/// The sentence for callers.
const FULL: &str = "the disk of the data directory is full; make room and try again";

/// Lets a part play with a disk of 4 MiB, which `prepare` may change.
fn with_disk(name: &str, prepare: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join(DISK)).unwrap();
    let part = part(name, directory.path());
    let script = format!("mount -t tmpfs -o size=4m tmpfs {DISK} && {prepare} exec \"$0\" \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).arg(part.get_program()).args(part.get_args());
    let output = command.current_dir(directory.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_full_disk_keeps_nothing_half_and_goes_on_when_there_is_room() {
    with_disk("runs::disk::process_on_a_small_disk", "");
}

#[tokio::test]
#[ignore = "a part of `a_full_disk_keeps_nothing_half_and_goes_on_when_there_is_room`, which gives it a disk"]
async fn process_on_a_small_disk() {
    if !plays_a_part() {
        return;
    }
    let disk = Path::new(DISK);
    fs::write(disk.join("ballast"), vec![0; 1 << 20]).unwrap();
    let store = Store::open(disk).await.unwrap();
    let runs = store.runs();
    runs.create(run("r")).await.unwrap();
    let large = |number| RunRow { body: "x".repeat(100_000), ..row(number) };
    let mut number = 1;
    let error = loop {
        match runs.append(Append { row: large(number + 1), ..append("r", number + 1, RunStatus::Running) }).await {
            Ok(appended) => assert_eq!(appended, Appended::Done),
            Err(error) => break error,
        }
        number += 1;
    };
    assert_eq!((error.reason(), error.detail()), (Reason::Unavailable, FULL));
    assert_eq!(runs.get("r").await.unwrap().unwrap().rows, number, "what was read before is still read");
    let runs_at_once = (0..20).map(|other| runs.create(NewRun { row: large(1), ..run(&format!("other {other}")) }));
    let refused = join_all(runs_at_once).await.into_iter().filter_map(Result::err).map(|error| error.reason());
    assert_eq!(refused.collect::<Vec<_>>(), [Reason::Unavailable; 20]);
    let rest = fs::write(disk.join("rest"), vec![0; 4 << 20]);
    assert_eq!(rest.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    let mut small = 0;
    while runs.create(run(&format!("small {small}"))).await.is_ok() {
        small += 1; // in what the files have got already
    }
    assert_eq!(store.check().await.unwrap_err().detail(), FULL);
    fs::remove_file(disk.join("rest")).unwrap();
    fs::remove_file(disk.join("ballast")).unwrap();
    store.check().await.unwrap();
    let next = Append { row: large(number + 1), ..append("r", number + 1, RunStatus::Running) };
    assert_eq!(runs.append(next).await.unwrap(), Appended::Done);
    let kept = sound(disk).await;
    assert_eq!((kept.len(), kept["r"]), (1 + small, number + 1));
}

#[test]
fn a_read_only_directory_is_named_at_the_start() {
    with_disk("runs::disk::process_on_a_read_only_disk", &format!("mount -o remount,ro {DISK} &&"));
}

#[tokio::test]
#[ignore = "a part of `a_read_only_directory_is_named_at_the_start`, which gives it a disk"]
async fn process_on_a_read_only_disk() {
    if !plays_a_part() {
        return;
    }
    create_data_dir(Path::new(DISK)).unwrap();
    let error = Store::open(Path::new(DISK)).await.unwrap_err();
    let says = "`disk/synapse.db` cannot be read or written: Read-only file system";
    assert!(error.detail().starts_with(says), "{error}");
}
