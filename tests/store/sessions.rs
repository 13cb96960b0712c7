//! Conversations in a real database.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use futures_util::FutureExt;
use synapse::store::{Cursor, Image, NewTurn, Sessions, Turn};

use crate::process::{part, plays_a_part};

fn turn(session: &str, agent: &str, user: &str) -> NewTurn {
    NewTurn {
        session_id: session.to_owned(),
        agent_id: agent.to_owned(),
        agent_name: format!("Name of {agent}"),
        user: user.to_owned(),
        images: Vec::new(),
        assistant: format!("re: {user}"),
        model: "scripted.echo".to_owned(),
        input_tokens: 3,
        output_tokens: 4,
    }
}

fn questions(turns: &[Turn]) -> Vec<&str> {
    turns.iter().map(|turn| turn.user.as_str()).collect()
}

async fn open(directory: &Path) -> Sessions {
    Sessions::open(directory).await.unwrap()
}

#[tokio::test]
async fn a_conversation_survives_a_restart_images_included() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image { media_type: "image/png".to_owned(), base64: "AAECAw==".into() };
    let sessions = open(directory.path()).await;
    sessions.append(NewTurn { images: vec![image.clone()], ..turn("s", "a", "look \u{1f642}\0") }).await.unwrap();
    drop(sessions);
    let sessions = open(directory.path()).await;
    let turns = sessions.recent("s", "a", 10_000).await.unwrap();
    assert_eq!((turns[0].number, turns[0].user.as_str(), turns[0].images.as_slice()), (1, "look \u{1f642}\0", &[image][..]));
    assert_eq!((turns[0].model.as_str(), turns[0].input_tokens, turns[0].output_tokens), ("scripted.echo", 3, 4));
    let session = sessions.get("s", None).await.unwrap().unwrap();
    assert_eq!((session.agent_name.as_str(), session.turns, session.created_at), ("Name of a", 1, turns[0].created_at));
}

#[tokio::test]
async fn the_newest_turns_within_the_budget_are_returned_oldest_first() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    for number in 0..5 {
        // 40 + 44 characters are 21 tokens.
        sessions.append(turn("s", "a", &format!("{number:040}"))).await.unwrap();
    }
    let numbers = |turns: Vec<Turn>| turns.iter().map(|turn| turn.number).collect::<Vec<_>>();
    assert_eq!(numbers(sessions.recent("s", "a", 63).await.unwrap()), [3, 4, 5]);
    assert_eq!(numbers(sessions.recent("s", "a", 62).await.unwrap()), [4, 5]);
    assert_eq!(numbers(sessions.recent("s", "a", 20).await.unwrap()), [0; 0]);
    assert_eq!(numbers(sessions.recent("s", "a", u64::MAX).await.unwrap()), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(sessions.recent("s", "b", 100).await.unwrap()), [0; 0]);
}

#[tokio::test]
async fn an_image_counts_as_a_thousand_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    let image = Image { media_type: "image/png".to_owned(), base64: "AA==".into() };
    sessions.append(NewTurn { images: vec![image; 2], ..turn("s", "a", "") }).await.unwrap(); // and one for `re: `
    assert_eq!(sessions.recent("s", "a", 2000).await.unwrap().len(), 0);
    assert_eq!(sessions.recent("s", "a", 2001).await.unwrap().len(), 1);
}

#[tokio::test]
async fn every_agent_of_a_session_has_its_own_conversation() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    sessions.append(turn("s", "a", "one")).await.unwrap();
    sessions.append(turn("s", "b", "two")).await.unwrap();
    assert_eq!(questions(&sessions.recent("s", "a", 100).await.unwrap()), ["one"]);
    assert_eq!(sessions.get("s", None).await.unwrap().unwrap().agent_id, "b");
    assert_eq!(sessions.get("s", Some("a")).await.unwrap().unwrap().agent_id, "a");
    assert!(sessions.delete("s", Some("a")).await.unwrap());
    assert_eq!(sessions.get("s", Some("a")).await.unwrap(), None);
    assert!(sessions.delete("s", None).await.unwrap());
    assert!(!sessions.delete("s", None).await.unwrap());
    assert_eq!(sessions.recent("s", "b", 100).await.unwrap(), []);
}

#[tokio::test]
async fn a_deleted_conversation_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    sessions.append(turn("s", "a", "old")).await.unwrap();
    sessions.delete("s", None).await.unwrap();
    sessions.append(turn("s", "a", "new")).await.unwrap();
    let turns = sessions.recent("s", "a", 100).await.unwrap();
    assert_eq!((questions(&turns), turns[0].number), (vec!["new"], 1));
}

#[tokio::test]
async fn pages_hold_every_conversation_once_newest_first() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    for number in 0..7 {
        sessions.append(turn(&format!("s{number}"), if number % 2 == 0 { "even" } else { "odd" }, "x")).await.unwrap();
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = sessions.list(None, after, 3).await.unwrap();
        seen.extend(page.sessions.into_iter().map(|session| session.session_id));
        sessions.append(turn(&format!("later {}", seen.len()), "even", "x")).await.unwrap();
        let Some(next) = page.next else { break };
        after = Some(Cursor::decode(&next.encode()).unwrap());
    }
    assert_eq!(seen, ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]);
    let page = sessions.list(Some("odd"), None, 3).await.unwrap();
    assert_eq!(page.sessions.iter().map(|session| session.session_id.as_str()).collect::<Vec<_>>(), ["s5", "s3", "s1"]);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn turns_are_read_in_pages() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    for number in 1..=5 {
        sessions.append(turn("s", "a", &number.to_string())).await.unwrap();
    }
    let session = sessions.get("s", None).await.unwrap().unwrap();
    assert_eq!(session.turns, 5);
    assert_eq!(questions(&sessions.turns(&session, 0, 2).await.unwrap()), ["1", "2"]);
    assert_eq!(questions(&sessions.turns(&session, 4, 2).await.unwrap()), ["5"]);
    assert_eq!(questions(&sessions.turns(&session, u64::MAX, 2).await.unwrap()), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_of_many_callers_are_all_kept_in_dense_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    let callers = (0..32).map(|caller| {
        let sessions = sessions.clone();
        tokio::spawn(async move {
            for number in 0..10 {
                sessions.append(turn("s", "a", &format!("{caller} {number:02}"))).await.unwrap();
                let newest = sessions.recent("s", "a", u64::MAX).await.unwrap();
                assert!(newest.iter().any(|turn| turn.user == format!("{caller} {number:02}")), "acknowledged but not there");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let turns = sessions.recent("s", "a", u64::MAX).await.unwrap();
    assert_eq!(turns.iter().map(|turn| turn.number).collect::<Vec<_>>(), (1..=320).collect::<Vec<_>>());
    let of_one: Vec<_> = questions(&turns).into_iter().filter(|question| question.starts_with("7 ")).collect();
    assert!(of_one.is_sorted(), "a caller's turns keep their order: {of_one:?}");
}

#[tokio::test]
async fn conversations_are_for_their_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    sessions.append(turn("s", "a", "x")).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 2, "a database and its write-ahead log: {files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_turn_of_a_caller_that_left_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = open(directory.path()).await;
    assert!(sessions.append(turn("s", "a", "x")).now_or_never().is_none());
    sessions.flush().await.unwrap();
    assert_eq!(sessions.recent("s", "a", 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn acknowledged_turns_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = part("sessions::process_that_keeps_turns", directory.path()).spawn().unwrap();
    let mut kept = HashSet::new();
    for line in BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok) {
        kept.extend(line.strip_prefix("kept ").map(str::to_owned));
        if kept.len() == 300 {
            writer.kill().unwrap(); // what it had written until then is still read
        }
    }
    writer.wait().unwrap();
    assert!(kept.len() >= 300, "{} turns", kept.len());
    let sessions = open(directory.path()).await;
    let turns = sessions.recent("s", "a", u64::MAX).await.unwrap();
    let found: HashSet<_> = turns.iter().map(|turn| turn.user.clone()).collect();
    assert_eq!(kept.difference(&found).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
#[ignore = "a part of `acknowledged_turns_survive_a_kill`, which starts and kills it"]
async fn process_that_keeps_turns() {
    if !plays_a_part() {
        return;
    }
    let sessions = open(Path::new(".")).await;
    let callers = (0..8).map(|caller| {
        let sessions = sessions.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let question = format!("{caller}-{number}");
                sessions.append(turn("s", "a", &question)).await.unwrap();
                writeln!(std::io::stdout(), "kept {question}").unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
