//! Mentions of files, and of what must not be read.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use rstest::rstest;
use synapse::store::Vault;
use tempfile::TempDir;

/// A data directory with a vault, and things around it that nobody may read through it.
fn data_dir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["vault/notes/deep", "vaultX"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    fs::write(path("settings.json"), "SECRET").unwrap();
    fs::write(path("vaultX/a.md"), "SECRET").unwrap();
    fs::write(path("vault/notes/tides.md"), "High at 14:05.\n").unwrap();
    fs::write(path("vault/notes/deep/b.txt"), "deep").unwrap();
    fs::write(path("vault/fences.md"), "a\n````\nb").unwrap();
    fs::write(path("vault/binary"), [0xff, 0x00]).unwrap();
    fs::write(path("vault/largest"), vec![b'x'; 256 << 10]).unwrap();
    fs::write(path("vault/too-large"), vec![b'x'; (256 << 10) + 1]).unwrap();
    symlink(path("settings.json"), path("vault/link.json")).unwrap();
    symlink(directory.path(), path("vault/out")).unwrap();
    assert!(Command::new("mkfifo").arg(path("vault/pipe")).status().unwrap().success());
    directory
}

async fn expand(directory: &Path, message: &str) -> String {
    Vault::open(directory).expand(message).await.unwrap()
}

#[tokio::test]
async fn a_mention_is_followed_by_the_text_of_the_file() {
    let directory = data_dir();
    let expanded = expand(directory.path(), "See @[notes/tides.md] and @[notes/./deep/b.txt]!").await;
    assert_eq!(expanded, "See @[notes/tides.md]\n```\nHigh at 14:05.\n```\n and @[notes/./deep/b.txt]\n```\ndeep\n```\n!");
}

#[tokio::test]
async fn a_text_cannot_end_its_own_fence() {
    let expanded = expand(data_dir().path(), "@[fences.md]").await;
    assert_eq!(expanded, "@[fences.md]\n`````\na\n````\nb\n`````\n");
}

#[rstest]
#[case::a_parent("@[../settings.json]")]
#[case::a_parent_on_the_way("@[notes/../../settings.json]")]
#[case::a_parent_that_stays_inside("@[notes/../notes/tides.md]")]
#[case::a_sibling("@[../vaultX/a.md]")]
#[case::a_link("@[link.json]")]
#[case::a_linked_directory("@[out/settings.json]")]
#[case::a_linked_way_back("@[out/vault/notes/tides.md]")]
#[case::an_absolute_path("@[/etc/hostname]")]
#[case::a_pipe("@[pipe]")]
#[case::a_directory("@[notes]")]
#[case::the_vault_itself("@[.]")]
#[case::binary("@[binary]")]
#[case::too_large("@[too-large]")]
#[case::missing("@[notes/none.md]")]
#[case::a_nul("@[notes/tides.md\0]")]
#[case::empty("@[]")]
#[case::open("@[notes/tides.md")]
#[case::two_lines("@[notes/\ntides.md]")]
#[case::no_mention("plain [notes/tides.md] @ [x]")]
#[tokio::test]
async fn anything_else_stays_as_it_is(#[case] message: &str) {
    assert_eq!(expand(data_dir().path(), message).await, message);
}

#[tokio::test]
async fn a_mention_after_something_like_one_is_found() {
    let expanded = expand(data_dir().path(), "@[\n@[] @[notes/tides.md]").await;
    assert!(expanded.starts_with("@[\n@[] @[notes/tides.md]\n```\nHigh"), "{expanded}");
}

#[tokio::test]
async fn a_file_of_the_largest_size_is_read() {
    let expanded = expand(data_dir().path(), "@[largest]").await;
    assert!(expanded.len() > 256 << 10);
}

#[tokio::test]
async fn sixteen_mentions_are_looked_up() {
    let expanded = expand(data_dir().path(), &"@[notes/tides.md] ".repeat(17)).await;
    assert_eq!(expanded.matches("High").count(), 16);
    assert_eq!(expanded.matches("@[notes/tides.md]").count(), 17);
}

#[tokio::test]
async fn there_need_not_be_a_vault() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(expand(directory.path(), "@[a.md]").await, "@[a.md]");
}
