//! `synapse check`.

use std::process::ExitCode;

use crate::config::Config;
use crate::store;

/// Names every problem of the data directory; fails if there is one.
pub(super) fn check(config: &Config) -> ExitCode {
    let problems = store::check(&config.data_dir);
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("`{}` has no problem", config.data_dir.display());
        return ExitCode::SUCCESS;
    }
    ExitCode::FAILURE
}
