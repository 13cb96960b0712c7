//! A disk that is full or read-only: nobody is told what is not kept, what goes on waits, and goes on when there is room.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rstest::rstest;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;

use crate::support::Dialect::{self, Grpc, Rest};
use crate::support::{Client, ModelService, Server, Setup, eventually, refused};

/// The sentence for callers.
const FULL: &str = "the disk of the data directory is full; make room and try again";

/// A small disk in the place of a data directory. It is there for those who enter the namespace of the process that made it.
struct Disk {
    maker: Child,
    path: PathBuf,
}

impl Disk {
    /// Makes a disk that has the files of the data directory, and lets the server use it.
    async fn new(setup: Setup) -> (Self, Setup) {
        let directory = setup.data_dir();
        let script = format!("mount -t tmpfs -o size=4m,mode=700 tmpfs {0} && touch {0}/mounted && exec sleep 600", directory.display());
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]).stdin(Stdio::null());
        let maker = command.spawn().unwrap();
        let path = PathBuf::from(format!("/proc/{}/root{}", maker.id(), directory.display()));
        eventually("the disk (this test needs `unshare --user --mount`)", async || path.join("mounted").exists().then_some(())).await;
        for file in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), path.join(file.file_name())).unwrap();
        }
        let pid = maker.id().to_string();
        let enter = ["nsenter", "--target", &pid, "--user", "--mount", "--preserve-credentials"].map(str::to_owned).to_vec();
        (Self { maker, path }, setup.through(enter))
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let filled = fs::write(self.path.join("rest"), vec![0; 4 << 20]);
        assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    }

    /// Makes room.
    fn clear(&self) {
        fs::remove_file(self.path.join("rest")).unwrap();
    }

    /// Makes so little room that the server just starts.
    fn clear_just_enough(&self, server: &mut Server) {
        let rest = fs::File::options().write(true).open(self.path.join("rest")).unwrap();
        while server.try_start_again().is_err() {
            rest.set_len(rest.metadata().unwrap().len() - 4096).unwrap();
        }
    }

    fn remount_read_only(&self, directory: &Path) {
        let pid = self.maker.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &pid, "--user", "--mount", "--preserve-credentials", "mount", "-o", "remount,ro"]);
        assert!(command.arg(directory).status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.maker.kill();
        let _ = self.maker.wait();
    }
}

/// A server with an orchestration that rings a bell and one that only prints.
fn setup(bell: &ModelService) -> Setup {
    let ring = json!({"id": "ring", "name": "Ring", "type": "tool", "forced_tool": "ring", "output_key": "ring", "model": "scripted.ring"});
    let print = json!({"id": "print", "name": "Print", "type": "print", "print_content": "printed"});
    let settings = json!({
        "model": "scripted.echo",
        "scripted": {"ring": {"calls": [{"tool": "ring", "arguments": {}}]}},
        "allow_private_addresses": true,
    });
    Setup::new()
        .orchestrations(json!([
            {"id": "ringing", "name": "Ringing", "entry_step_id": "ring", "steps": [ring]},
            {"id": "printing", "name": "Printing", "entry_step_id": "print", "steps": [print]},
        ]))
        .file("custom_tools.json", json!([{"name": "ring", "method": "POST", "url": bell.url()}]).to_string())
        .file("settings.json", settings.to_string())
}

async fn begin(client: &Client, id: &str) -> String {
    let answer = client.call("Run", json!({"orchestration_id": id, "background": true})).await.answer();
    answer["run_id"].as_str().unwrap().to_owned()
}

async fn readiness(server: &Server) -> (u16, Value) {
    let response = server.request("GET", "/readyz").send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Fills what the files have got already, and returns how many runs that took.
async fn use_up(client: &Client) -> usize {
    let mut accepted = 0;
    for size in [50_000, 10] {
        loop {
            let outcome = client.call("Run", json!({"orchestration_id": "printing", "message": "x".repeat(size)})).await;
            if outcome == refused(503, FULL) {
                break;
            }
            assert_eq!(outcome.answer()["status"], "completed");
            accepted += 1;
        }
    }
    accepted
}

async fn status(client: &Client, run_id: &str) -> Value {
    client.call("GetRun", json!({"run_id": run_id})).await.answer()["status"].clone()
}

/// Watches every run to its end, and looks at the database itself.
async fn sound(client: &Client, disk: &Disk) -> usize {
    let runs = client.call("ListRuns", json!({"limit": 200})).await.answer()["runs"].clone();
    for run in runs.as_array().unwrap() {
        let told = client.open("WatchRun", json!({"run_id": run["run_id"]})).await.unwrap().numbered().await;
        assert_eq!(told[told.len() - 2].1["type"], "final");
    }
    let copy = tempfile::tempdir().unwrap();
    for name in ["synapse.db", "synapse.db-wal"] {
        fs::copy(disk.path.join(name), copy.path().join(name)).unwrap();
    }
    let mut database = SqliteConnectOptions::new().filename(copy.path().join("synapse.db")).connect().await.unwrap();
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut database).await.unwrap();
    assert_eq!(sound, "ok");
    runs.as_array().unwrap().len()
}

#[rstest]
#[tokio::test]
async fn a_full_disk_refuses_what_begins_and_holds_what_goes_on(#[values(Rest, Grpc)] dialect: Dialect) {
    let bell = ModelService::new().await;
    let (disk, setup) = Disk::new(setup(&bell)).await;
    let server = setup.start();
    let client = server.client(dialect);
    let run_id = begin(&client, "ringing").await;
    let call = bell.called().await;
    assert_eq!(readiness(&server).await.0, 200);
    disk.fill();
    let accepted = use_up(&client).await;
    assert_eq!(client.chat(json!({"message": "hi", "session_id": "s"})).await, refused(503, FULL));
    assert_eq!(readiness(&server).await, (503, json!({"detail": FULL})));
    call.respond("200 OK", "content-type: text/plain\r\n", "ding").await;
    server.logged("the run cannot be kept; it is tried again every second").await;
    assert_eq!(status(&client, &run_id).await, "running");
    disk.clear();
    eventually("readiness", async || (readiness(&server).await.0 == 200).then_some(())).await;
    let told = client.open("WatchRun", json!({"run_id": run_id})).await.unwrap().numbered().await;
    assert_eq!(told[told.len() - 2].1["response"], "ding");
    assert_eq!(told.iter().filter(|(_, event)| event["type"] == "step_start").count(), 1, "the bell rang once");
    assert_eq!(client.call("ListSessions", json!({})).await.answer()["sessions"], json!([]), "no chat is half there");
    assert_eq!(client.say(json!({"message": "hi"})).await, "hi");
    assert_eq!(sound(&client, &disk).await, accepted + 1);
}

#[rstest]
#[tokio::test]
async fn a_start_on_a_full_disk_takes_its_runs_up_when_there_is_room(#[values(Rest, Grpc)] dialect: Dialect) {
    let bell = ModelService::new().await;
    let (disk, setup) = Disk::new(setup(&bell)).await;
    let mut server = setup.start();
    let run_id = begin(&server.client(dialect), "ringing").await;
    let call = bell.called().await;
    disk.fill();
    use_up(&server.client(dialect)).await;
    server.process.kill();
    call.closed().await;
    let failed = server.second();
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.errors.ends_with(&format!("synapse: {FULL}\n")), "{}", failed.errors);
    disk.clear_just_enough(&mut server);
    let client = server.client(dialect);
    assert_eq!(readiness(&server).await.0, 503);
    assert_eq!(status(&client, &run_id).await, "running");
    disk.clear();
    bell.called().await.respond("200 OK", "content-type: text/plain\r\n", "ding").await;
    let told = client.open("WatchRun", json!({"run_id": run_id})).await.unwrap().numbered().await;
    assert_eq!(told[told.len() - 2].1["response"], "ding");
    eventually("readiness", async || (readiness(&server).await.0 == 200).then_some(())).await;
}

#[tokio::test]
async fn a_read_only_directory_is_named_at_the_start() {
    let bell = ModelService::new().await;
    let (disk, setup) = Disk::new(setup(&bell)).await;
    disk.remount_read_only(&setup.data_dir());
    let failed = setup.try_start().err().unwrap();
    assert_eq!(failed.status.code(), Some(1));
    assert!(failed.errors.contains("cannot be read or written: Read-only file system"), "{}", failed.errors);
}
