//! A power cut: the files of the database as of one instant, with everything that was not durable yet torn apart.

use std::fs;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use synapse::clock;
use synapse::store::{Append, Appended, NewRun, RunRow, RunStatus, RunStore, Store};

use super::sample::{append, row, run, sound, turn};

/// Bytes that a disk writes at once.
const SECTOR: usize = 512;

/// Bytes of the head of a write-ahead log.
const HEAD: usize = 32;

/// Bytes before each page of a write-ahead log.
const FRAME_HEAD: usize = 24;

/// Numbers that look like chance and are the same for the same seed (SplitMix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end.max(1) as u64).unwrap()
    }
}

/// A row that was acknowledged: its run and its number.
type Row = (String, u64);

/// Tasks that write runs, and the rows that were acknowledged, in their order.
struct Load {
    directory: tempfile::TempDir,
    /// The last one to let go of the database would put the log into its file.
    _runs: Arc<dyn RunStore>,
    acknowledged: Arc<Mutex<Vec<Row>>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    /// Begins to write rows of at most so many bytes.
    async fn start(bytes: usize, seed: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runs = Store::open(directory.path()).await.unwrap().runs();
        let (acknowledged, stop) = (Arc::<Mutex<Vec<Row>>>::default(), Arc::<AtomicBool>::default());
        let begin = |task| tokio::spawn(write(runs.clone(), acknowledged.clone(), stop.clone(), bytes, Chance(seed * 100 + task)));
        let tasks = (0..6).map(begin).collect();
        Self { directory, _runs: runs.clone(), acknowledged: acknowledged.clone(), stop: stop.clone(), tasks }
    }

    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    async fn until_acknowledged(&self, rows: usize) {
        while self.acknowledged() < rows {
            tokio::task::yield_now().await;
        }
    }

    fn file(&self, end: &str) -> Vec<u8> {
        fs::read(self.directory.path().join(format!("synapse.db{end}"))).unwrap_or_default()
    }

    /// Returns what differs when the log has begun anew.
    fn head(&self) -> Option<[u8; HEAD]> {
        let mut head = [0; HEAD];
        fs::File::open(self.directory.path().join("synapse.db-wal")).and_then(|mut log| log.read_exact(&mut head)).ok()?;
        Some(head)
    }

    async fn stop(&mut self) -> Vec<Row> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.acknowledged.lock().unwrap().clone()
    }
}

async fn write(runs: Arc<dyn RunStore>, acknowledged: Arc<Mutex<Vec<Row>>>, stop: Arc<AtomicBool>, bytes: usize, mut chance: Chance) {
    while !stop.load(Ordering::Relaxed) {
        let run_id = clock::ordered_id().simple().to_string();
        for number in 1..=3 {
            let row = RunRow { body: "x".repeat(chance.below(bytes)), ..row(number) };
            if number == 1 {
                runs.create(NewRun { row, ..run(&run_id) }).await.unwrap();
            } else {
                let status = if number == 3 { RunStatus::Completed } else { RunStatus::Running };
                let turn = status.has_ended().then(|| turn(&run_id));
                let appended = runs.append(Append { row, turn, ..append(&run_id, number, status) }).await.unwrap();
                assert_eq!(appended, Appended::Done);
            }
            acknowledged.lock().unwrap().push((run_id.clone(), number));
        }
    }
}

/// Returns how many bytes of a write-ahead log belong to whole transactions.
fn committed(log: &[u8]) -> usize {
    let Some(head) = log.get(..HEAD) else { return 0 };
    let page = u32::from_be_bytes(head[8..12].try_into().unwrap()) as usize;
    let (mut end, mut committed) = (HEAD, 0);
    while let Some(frame) = log.get(end..end + FRAME_HEAD + page) {
        if frame[8..16] != head[16..24] {
            break; // of an older log in the same file
        }
        end += FRAME_HEAD + page;
        if frame[4..8] != [0; 4] {
            committed = end;
        }
    }
    committed
}

/// What a power cut finds.
struct Cut {
    acknowledged: usize,
    database: Vec<u8>,
    /// The log when everything that was acknowledged was durable.
    durable: Vec<u8>,
    /// The log a moment later. What is new in it is on its way to the disk.
    log: Vec<u8>,
}

/// Takes what a power cut would find. The log must not begin anew meanwhile, because then its file and that of the database are not of the
/// same instant.
async fn cut(load: &Load) -> Cut {
    loop {
        let head = load.head();
        let database = load.file("");
        let acknowledged = load.acknowledged();
        let durable = load.file("-wal");
        load.until_acknowledged(acknowledged + 1).await;
        let log = load.file("-wal");
        if load.head() == head && head.is_some() {
            return Cut { acknowledged, database, durable, log };
        }
    }
}

impl Cut {
    /// Tears the log: of what was on its way, each sector is there, or as it was before, or nonsense; and the file ends anywhere.
    fn torn(&self, chance: &mut Chance) -> Vec<u8> {
        let durable = committed(&self.durable);
        let end = durable + chance.below(3).min(1) * chance.below(self.log.len() - durable + 1);
        let mut log = self.log[..end].to_vec();
        for (number, sector) in log[durable..].chunks_mut(SECTOR).enumerate() {
            let before = self.durable.get(durable + number * SECTOR..).unwrap_or_default();
            match chance.below(6) {
                0 => (0..sector.len()).for_each(|byte| sector[byte] = before.get(byte).copied().unwrap_or_default()),
                1 => sector.iter_mut().for_each(|byte| *byte ^= 0x5a),
                _ => {}
            }
        }
        log
    }
}

/// Opens a database that a power cut left, and checks that it holds these rows and nothing half.
async fn survives(database: &[u8], log: &[u8], acknowledged: &[Row], what: &str) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("synapse.db"), database).unwrap();
    fs::write(directory.path().join("synapse.db-wal"), log).unwrap();
    let runs = Store::open(directory.path()).await.unwrap().runs();
    let kept = sound(directory.path()).await;
    for (run_id, number) in acknowledged {
        assert!(kept.get(run_id).is_some_and(|rows| rows >= number), "{what}: row {number} of {run_id} is lost");
    }
    let next = runs.create(run("next")).await;
    assert!(next.is_ok(), "{what}: {next:?}");
    for claimed in runs.claim(1000).await.unwrap() {
        assert_eq!((claimed.facts.status, claimed.epoch, claimed.crashes), (RunStatus::Running, 2, 1), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_what_was_on_its_way_is_torn() {
    for seed in 0..4 {
        let mut chance = Chance(seed);
        let mut load = Load::start(60_000, seed).await;
        let mut cuts = Vec::new();
        for _ in 0..4 {
            load.until_acknowledged(load.acknowledged() + 100 + chance.below(300)).await;
            cuts.push(cut(&load).await);
        }
        let acknowledged = load.stop().await;
        for (number, cut) in cuts.iter().enumerate() {
            for tear in 0..6 {
                let what = format!("seed {seed}, cut {number}, tear {tear}");
                survives(&cut.database, &cut.torn(&mut chance), &acknowledged[..cut.acknowledged], &what).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_anywhere_leaves_a_beginning_of_what_was_written() {
    for seed in 0..4 {
        let mut chance = Chance(1000 + seed);
        let mut load = Load::start(500, seed).await;
        let mut durable = vec![(0, 0)];
        while load.acknowledged() < 150 {
            let acknowledged = load.acknowledged();
            durable.push((committed(&load.file("-wal")), acknowledged));
            load.until_acknowledged(acknowledged + 1).await;
        }
        let acknowledged = load.stop().await;
        let (database, log) = (load.file(""), load.file("-wal"));
        for _ in 0..40 {
            let end = chance.below(log.len() + 1);
            let kept = durable.iter().filter(|(bytes, _)| *bytes <= end).map(|(_, rows)| *rows).max().unwrap();
            survives(&database, &log[..end], &acknowledged[..kept], &format!("seed {seed}, cut after {end} bytes")).await;
        }
    }
}
