//! `synapse check`.

use std::process::ExitCode;

use super::Failure;
use crate::config::Config;
use crate::definition::Problem;
use crate::engine::Inspection;
use crate::provider::Models;
use crate::python::{Python, own_program};
use crate::store::{self, DefinitionFiles, Vault};
use crate::tool::Toolbox;

/// Names every problem of the data directory, and fails if there is one; says what people's Python would run in.
pub(super) async fn check(config: &Config) -> Result<ExitCode, Failure> {
    let python = Python::new(config.python.clone(), own_program()?);
    let ready = python.check().await;
    match &ready {
        Ok(readiness) => println!("{readiness}"),
        // Everything else works without it.
        Err(fault) => println!("Python does not run: {fault}"),
    }
    let mut problems = store::check(&config.data_dir);
    if let Ok(files) = DefinitionFiles::open(&config.data_dir, &config.settings) {
        let definitions = files.current();
        let toolbox = Toolbox::new(config, &Vault::open(&config.data_dir), python);
        problems.extend(toolbox.missing(&definitions));
        let models = Models::new(config, None);
        let python = ready.err().map(|fault| fault.to_string());
        let inspection = Inspection { definitions: &definitions, toolbox: &toolbox, models: &models, python };
        let found: Vec<Problem> = definitions.orchestrations.iter().flat_map(|orchestration| inspection.of_file(orchestration)).collect();
        // What reading the files has told already is not told twice.
        problems.extend(found.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
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
