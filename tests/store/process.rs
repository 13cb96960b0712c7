//! Other processes: this very program, started again to play one part of a test.

use std::path::Path;
use std::process::{Command, Stdio};

/// The file that tells a part that it was started by its test, and not by somebody who runs everything.
const MARK: &str = "part-of-a-test";

/// Prepares the ignored test `part` as a process of its own. It works in `directory`.
pub(crate) fn part(part: &str, directory: &Path) -> Command {
    std::fs::write(directory.join(MARK), "").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", part, "--ignored", "--nocapture", "--test-threads=1"]).current_dir(directory).stdout(Stdio::piped());
    command
}

/// Tells whether this process plays a part, in its working directory.
pub(crate) fn plays_a_part() -> bool {
    Path::new(MARK).exists()
}
