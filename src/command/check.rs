//! `synapse check`.

use std::process::ExitCode;

use super::Failure;
use crate::config::Config;
use crate::python::{Python, own_program};
use crate::store::{self, DefinitionFiles, Vault};
use crate::tool::Toolbox;

/// Names every problem of the data directory, and fails if there is one; says what people's Python would run in.
pub(super) async fn check(config: &Config) -> Result<ExitCode, Failure> {
    match Python::new(config.python.clone(), own_program()?).check().await {
        Ok(readiness) => println!("{readiness}"),
        // Everything else works without it.
        Err(fault) => println!("Python does not run: {fault}"),
    }
    let mut problems = store::check(&config.data_dir);
    if let Ok(files) = DefinitionFiles::open(&config.data_dir, &config.settings) {
        problems.extend(Toolbox::new(config, &Vault::open(&config.data_dir))?.missing(&files.current()));
    }
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("`{}` has no problem", config.data_dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
