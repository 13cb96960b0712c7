//! Finding the interpreter: names, shims, virtual environments, and what is none.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use synapse::config::PythonSettings;
use synapse::python::{Fault, Python};

use crate::{PATIENCE, program, python, python_with, settings};

/// Makes a virtual environment and returns where its packages are.
pub(crate) fn virtual_environment(home: &Path) -> PathBuf {
    let made = Command::new(settings().interpreter).args(["-m", "venv", "--without-pip"]).arg(home).status().unwrap();
    assert!(made.success());
    let versions: Vec<_> = std::fs::read_dir(home.join("lib")).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions[0].join("site-packages")
}

pub(crate) fn python_at(interpreter: &Path) -> Python {
    python_with(PythonSettings { interpreter: interpreter.to_owned(), ..settings() })
}

#[tokio::test]
async fn packages_of_a_virtual_environment_are_there() {
    let home = tempfile::tempdir().unwrap();
    let packages = virtual_environment(home.path());
    std::fs::write(packages.join("tides.py"), "HIGH = 14").unwrap();
    let python = python_at(&home.path().join("bin/python3"));
    let answer = python.run(&program("import tides\nresult = tides.HIGH"), PATIENCE).await.unwrap();
    assert_eq!(answer.result, json!(14));
}

#[tokio::test]
async fn the_check_says_what_programs_run_in() {
    let ready = python().check().await.unwrap();
    assert!(ready.sandboxed && ready.version.starts_with("3."), "{ready}");
    assert!(ready.to_string().ends_with("runs in a kernel sandbox"), "{ready}");
}

#[tokio::test]
async fn a_machine_without_python_says_so_until_it_has_one() {
    let place = tempfile::tempdir().unwrap();
    let python = python_at(&place.path().join("python3"));
    for fault in [python.check().await.unwrap_err(), python.run(&program("result = 1"), PATIENCE).await.unwrap_err()] {
        assert!(matches!(fault, Fault::NoPython(_)), "{fault:?}");
        assert!(fault.to_string().ends_with("install Python 3.9 or newer, or name one with `SYNAPSE_PYTHON`"), "{fault}");
    }
    let real = crate::python().check().await.unwrap().executable;
    symlink(real, place.path().join("python3")).unwrap();
    assert_eq!(python.run(&program("result = 1"), PATIENCE).await.unwrap().result, json!(1));
}

#[tokio::test]
async fn a_program_that_is_no_python_is_named() {
    let fault = python_at(Path::new("/bin/echo")).check().await.unwrap_err();
    assert!(fault.to_string().starts_with("`/bin/echo` is no Python 3; install"), "{fault}");
}

#[test]
fn synapse_check_says_what_programs_run_in_or_why_they_do_not() {
    let data = tempfile::tempdir().unwrap();
    let check = |interpreter: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_synapse"));
        command.arg("check").env_clear().env("SYNAPSE_DATA_DIR", data.path()).env("SYNAPSE_PYTHON", interpreter);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = check(&settings().interpreter);
    assert!(said.starts_with("Python 3.") && said.contains("runs in a kernel sandbox\n"), "{said}");
    let said = check(Path::new("/nonexistent"));
    assert!(said.starts_with("Python does not run: `/nonexistent` cannot be started: "), "{said}");
}
