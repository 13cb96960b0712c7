//! Files that agents write into the vault, and what they can neither reach nor overfill.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use rstest::rstest;
use synapse::error::{Reason, Result};
use synapse::store::{Existing, Place, VAULT_FILE_BYTES, Vault};
use tempfile::TempDir;

use crate::process::{part, plays_a_part};

/// A data directory with a vault, and things in it that lead out or are no files.
fn data_dir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("vault/deep/er")).unwrap();
    fs::create_dir_all(path("outside")).unwrap();
    fs::write(path("outside/a.md"), "SECRET").unwrap();
    symlink(path("outside"), path("vault/link")).unwrap();
    symlink(path("outside"), path("vault/deep/link")).unwrap();
    symlink(path("outside"), path("vault/deep/er/link")).unwrap();
    symlink(path("outside/a.md"), path("vault/file-link")).unwrap();
    assert!(Command::new("mkfifo").arg(path("vault/pipe")).status().unwrap().success());
    directory
}

async fn text(vault: &Vault, path: &str) -> Result<String> {
    vault.read(path, Place::START, usize::MAX).await.map(|excerpt| excerpt.text)
}

async fn write(vault: &Vault, path: &str, text: &str) -> Result<()> {
    vault.write(path, text.to_owned(), Existing::Replace).await
}

/// Returns every file and link below a directory with its text or target.
fn everything(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap().map(std::result::Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        if kind.is_dir() {
            found.extend(everything(&path));
        } else if kind.is_symlink() {
            found.insert(path.clone(), fs::read_link(&path).unwrap().display().to_string());
        } else {
            let contents = if kind.is_file() { fs::read_to_string(&path).unwrap() } else { "special".to_owned() };
            found.insert(path, contents);
        }
    }
    found
}

#[tokio::test]
async fn a_file_is_written_read_patched_listed_and_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    assert!(vault.list("").await.unwrap().entries.is_empty(), "a vault that is not there is empty");
    write(&vault, "notes/tides.md", "High at 14:05.\nLow at 20:10.\n").await.unwrap();
    vault.patch("notes/tides.md", "14:05".to_owned(), "14:35".to_owned()).await.unwrap();
    assert_eq!(text(&vault, "notes/tides.md").await.unwrap(), "High at 14:35.\nLow at 20:10.\n");
    let second = vault.read("notes/tides.md", Place { line: 2, character: 8 }, 1).await.unwrap();
    assert_eq!((second.text.as_str(), second.total_lines, second.next), ("20:10.\n", 2, None));
    let listed = vault.list("notes").await.unwrap();
    assert_eq!((listed.entries[0].name.as_str(), listed.entries[0].bytes, listed.more), ("tides.md", Some(29), false));
    let root = vault.list(".").await.unwrap();
    assert_eq!((root.entries[0].name.as_str(), root.entries[0].bytes), ("notes", None));
    let refused = vault.delete("notes").await.unwrap_err();
    assert_eq!(refused.detail(), "`notes` is a directory with files in it; delete those first");
    vault.delete("notes/tides.md").await.unwrap();
    vault.delete("notes").await.unwrap();
    assert!(everything(directory.path()).is_empty());
}

#[tokio::test]
async fn files_and_directories_are_for_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    write(&vault, "a/b.txt", "x").await.unwrap();
    let mode = |name: &str| fs::metadata(directory.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("vault"), mode("vault/a"), mode("vault/a/b.txt")), (0o700, 0o700, 0o600));
}

#[tokio::test]
async fn an_existing_file_is_created_by_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    vault.write("a.txt", "one".to_owned(), Existing::Keep).await.unwrap();
    let error = vault.write("a.txt", "two".to_owned(), Existing::Keep).await.unwrap_err();
    assert_eq!(error.detail(), "`a.txt` exists in the vault already; choose another name or overwrite it");
    assert_eq!(text(&vault, "a.txt").await.unwrap(), "one");
}

#[rstest]
#[case::a_parent("../outside/a.md")]
#[case::a_parent_on_the_way("deep/../../outside/a.md")]
#[case::an_absolute_path("/tmp/synapse-was-here")]
#[case::a_link("link/a.md")]
#[case::a_link_deeper("deep/link/a.md")]
#[case::a_link_deepest("deep/er/link/a.md")]
#[case::a_new_directory_behind_a_link("deep/link/new/a.md")]
#[case::a_linked_file("file-link")]
#[case::a_pipe("pipe")]
#[case::a_file_as_directory("pipe/a.md")]
#[case::a_directory("deep")]
#[case::the_vault("")]
#[case::a_nul("a\0b")]
#[case::a_name_of_ours(".synapse-1")]
#[tokio::test]
async fn nothing_else_is_read_written_patched_or_deleted(#[case] path: &str) {
    let directory = data_dir();
    let vault = Vault::open(directory.path());
    let before = everything(directory.path());
    assert!(text(&vault, path).await.is_err());
    assert!(write(&vault, path, "x").await.is_err());
    assert!(vault.write(path, "x".to_owned(), Existing::Keep).await.is_err());
    assert!(vault.patch(path, "SECRET".to_owned(), "x".to_owned()).await.is_err());
    assert!(vault.keep(path, "a.md", "x".to_owned()).await.is_err() || path == "deep");
    if path != "deep" {
        assert!(vault.delete(path).await.is_err());
        assert_eq!(everything(directory.path()), before);
    }
    assert_eq!(fs::read_to_string(directory.path().join("outside/a.md")).unwrap(), "SECRET");
}

#[tokio::test]
async fn what_lies_behind_a_link_is_not_listed() {
    let directory = data_dir();
    let vault = Vault::open(directory.path());
    fs::write(directory.path().join("vault/.synapse-left"), "").unwrap();
    let names: Vec<_> = vault.list("").await.unwrap().entries.into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["deep"], "links, pipes and files being written are not listed");
    assert!(vault.list("link").await.is_err());
    assert!(vault.list("../outside").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("outside")).unwrap();
    fs::create_dir_all(path("vault/a")).unwrap();
    fs::write(path("outside/secret"), "SECRET").unwrap();
    symlink(path("outside"), path("vault/link")).unwrap();
    let (vault, stop) = (Vault::open(directory.path()), AtomicBool::new(false));
    let (mut written, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (from, to) in [("vault/a", "vault/b"), ("vault/link", "vault/a"), ("vault/a", "vault/link"), ("vault/b", "vault/a")] {
                    let _ = fs::rename(path(from), path(to));
                }
            }
        });
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                for number in 0..2000 {
                    let outcome = write(&vault, "a/file", "x").await;
                    *(if outcome.is_ok() { &mut written } else { &mut refused }) += 1;
                    assert_ne!(text(&vault, "a/secret").await.ok().as_deref(), Some("SECRET"));
                    assert!(vault.delete("a/secret").await.is_err());
                    if number > 100 && written > 20 && refused > 20 {
                        break;
                    }
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert!(written > 0 && refused > 0, "the directory was met both ways: {written}, {refused}");
    assert_eq!(everything(&path("outside")), BTreeMap::from([(path("outside/secret"), "SECRET".to_owned())]));
}

#[tokio::test]
async fn a_file_has_at_most_four_mebibytes_and_a_name_255_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    write(&vault, &"n".repeat(255), &"x".repeat(VAULT_FILE_BYTES)).await.unwrap();
    let error = write(&vault, "b", &"x".repeat(VAULT_FILE_BYTES + 1)).await.unwrap_err();
    assert_eq!(error.detail(), "`b` has more than 4 MiB, the most of a file that agents read or write");
    assert!(write(&vault, &"n".repeat(256), "x").await.is_err());
    assert!(write(&vault, &format!("{}x", "d/".repeat(15)), "x").await.is_ok());
    assert!(write(&vault, &format!("{}x", "d/".repeat(16)), "x").await.is_err());
    fs::write(directory.path().join("vault/large"), vec![b'x'; VAULT_FILE_BYTES + 1]).unwrap();
    assert!(text(&vault, "large").await.is_err());
}

#[tokio::test]
async fn a_full_vault_takes_nothing_until_something_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("vault")).unwrap();
    let vault = Vault::open(directory.path());
    write(&vault, "small", "x").await.unwrap();
    fs::File::create(directory.path().join("vault/huge")).unwrap().set_len(1 << 30).unwrap(); // takes no room on the disk
    let vault = Vault::open(directory.path());
    let error = write(&vault, "a", "x").await.unwrap_err();
    assert_eq!(error.reason(), Reason::Unavailable);
    assert_eq!(error.detail(), "the vault is full: it holds at most 1024 MiB and 100000 files; delete some");
    vault.delete("huge").await.unwrap();
    write(&vault, "a", "x").await.unwrap();
}

#[tokio::test]
async fn a_patch_needs_a_text_that_occurs_once() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    write(&vault, "a", "aaa b b c").await.unwrap();
    let patch = async |old: &str| vault.patch("a", old.to_owned(), "X".to_owned()).await.map_err(|error| error.detail().to_owned());
    let twice = "the old text occurs in `a` more than once; give more of what stands around it";
    assert_eq!(patch("b").await.unwrap_err(), twice);
    assert_eq!(patch("aa").await.unwrap_err(), twice);
    assert!(patch("d").await.unwrap_err().starts_with("the old text does not occur in `a`"));
    assert!(patch("").await.unwrap_err().starts_with("the old text is empty"));
    patch("c").await.unwrap();
    assert_eq!(text(&vault, "a").await.unwrap(), "aaa b b X");
    assert_eq!(vault.patch("none", "a".to_owned(), "b".to_owned()).await.unwrap_err().detail(), "`none` does not exist in the vault");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_who_create_a_file_one_wins_and_no_patch_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    let create = |number: usize| {
        let vault = vault.clone();
        tokio::spawn(async move { vault.write("a", format!("start {number};"), Existing::Keep).await.is_ok() })
    };
    let mut winners = 0;
    for creator in (0..8).map(create).collect::<Vec<_>>() {
        winners += usize::from(creator.await.unwrap());
    }
    assert_eq!(winners, 1);
    let patch = |number: usize| {
        let vault = vault.clone();
        tokio::spawn(async move { vault.patch("a", ";".to_owned(), format!(" {number};")).await })
    };
    for patcher in (0..20).map(patch).collect::<Vec<_>>() {
        patcher.await.unwrap().unwrap();
    }
    assert_eq!(text(&vault, "a").await.unwrap().split_whitespace().count(), 22);
    assert_eq!(everything(directory.path()).len(), 1, "nothing is left behind");
}

#[tokio::test]
async fn outputs_have_names_of_their_own_and_the_oldest_make_room() {
    let directory = tempfile::tempdir().unwrap();
    let vault = Vault::open(directory.path());
    for expected in ["outputs/a.txt", "outputs/a-2.txt", "outputs/a-3.txt"] {
        assert_eq!(vault.keep("outputs", "a.txt", "x".to_owned()).await.unwrap(), expected);
    }
    for number in 0..500 {
        let path = directory.path().join(format!("vault/outputs/old-{number:03}"));
        let file = fs::File::create(path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(number)).unwrap();
    }
    vault.keep("outputs", "new.txt", "x".to_owned()).await.unwrap();
    let files = everything(&directory.path().join("vault/outputs"));
    assert_eq!(files.len(), 500);
    let names: Vec<_> = files.keys().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert!(names.contains(&"a.txt") && names.contains(&"new.txt"), "{names:?}");
    assert!(!names.contains(&"old-003") && names.contains(&"old-004"), "{names:?}");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_write_leaves_the_old_file_or_the_new() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let mut writer = part("vault_files::process_that_writes", directory.path()).spawn().unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(std::result::Result::ok);
        assert_eq!(lines.filter(|line| line == "written").take(3).count(), 3);
        writer.kill().unwrap();
        writer.wait().unwrap();
        let file = fs::read(directory.path().join("vault/file")).unwrap();
        assert!(file.len() == 1 << 20 && file.iter().all(|byte| *byte == file[0]), "{} bytes", file.len());
    }
    let vault = Vault::open(directory.path());
    fs::write(directory.path().join("vault/.synapse-left"), "half").unwrap();
    write(&vault, "other", "x").await.unwrap();
    let names: Vec<_> = everything(&directory.path().join("vault")).into_keys().collect();
    assert_eq!(names, [directory.path().join("vault/file"), directory.path().join("vault/other")], "what was left behind is removed");
}

#[tokio::test]
#[ignore = "a part of `a_kill_in_the_middle_of_a_write_leaves_the_old_file_or_the_new`, which starts and kills it"]
async fn process_that_writes() {
    if !plays_a_part() {
        return;
    }
    let vault = Vault::open(Path::new("."));
    for letter in "abcdefgh".chars().cycle() {
        write(&vault, "file", &letter.to_string().repeat(1 << 20)).await.unwrap();
        writeln!(std::io::stdout(), "written").unwrap();
    }
}
