//! Kernels without a sandbox. A filter makes this kernel answer as they do, for one thread and all that it starts.

use std::collections::BTreeMap;

use rstest::rstest;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use serde_json::json;
use synapse::config::PythonSettings;
use synapse::python::{Fault, Python};

use crate::{PATIENCE, literal, program, python_with, settings};

/// Runs a test on a kernel that does not know a system call.
fn without(call: i64, test: impl AsyncFnOnce() + Send + 'static) {
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = BTreeMap::from([(call, Vec::new())]);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, std::env::consts::ARCH.try_into().unwrap()).unwrap();
    let thread = std::thread::spawn(move || {
        apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    });
    thread.join().unwrap();
}

fn python(unsandboxed: bool) -> Python {
    python_with(PythonSettings { unsandboxed, ..settings() })
}

#[rstest]
#[case::landlock(libc::SYS_landlock_create_ruleset, "Landlock")]
#[case::seccomp(libc::SYS_seccomp, "seccomp")]
fn without_a_sandbox_python_is_refused_by_name(#[case] call: i64, #[case] missing: &'static str) {
    without(call, async move || {
        for fault in [python(false).check().await.unwrap_err(), python(false).run(&program("result = 1"), PATIENCE).await.unwrap_err()] {
            assert!(matches!(fault, Fault::NoSandbox(_)), "{fault:?}");
            let fault = fault.to_string();
            assert!(fault.contains(missing) && fault.contains("SYNAPSE_UNSANDBOXED_PYTHON=1"), "{fault}");
        }
    });
}

#[rstest]
#[case::landlock(libc::SYS_landlock_create_ruleset)]
#[case::seccomp(libc::SYS_seccomp)]
fn without_a_sandbox_python_runs_where_the_operator_wants_it_and_says_so(#[case] call: i64) {
    without(call, async || {
        let ready = python(true).check().await.unwrap();
        assert!(!ready.sandboxed && ready.to_string().contains("WITHOUT a whole sandbox"), "{ready}");
        assert_eq!(python(true).run(&program("result = 1"), PATIENCE).await.unwrap().result, json!(1));
    });
}

#[rstest]
#[case::landlock(libc::SYS_landlock_create_ruleset, "import socket\nsocket.socket()")]
#[case::seccomp(libc::SYS_seccomp, "open('/etc/passwd')")]
fn what_the_kernel_has_of_a_sandbox_is_used(#[case] call: i64, #[case] code: &'static str) {
    without(call, async || {
        let fault = python(true).run(&program(code), PATIENCE).await.unwrap_err();
        assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
    });
}

#[tokio::test]
async fn the_operators_leave_changes_nothing_where_there_is_a_sandbox() {
    assert!(python(true).check().await.unwrap().sandboxed);
    let fault = python(true).run(&program("open('/etc/passwd')"), PATIENCE).await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
}

#[test]
fn a_file_is_not_emptied_even_where_reading_is_allowed_or_nothing_guards_files() {
    without(libc::SYS_landlock_create_ruleset, async || {
        let data = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&data, "kept").unwrap();
        for call in ["os.open(path, os.O_RDONLY | os.O_TRUNC)", "open(path, 'w')", "os.truncate(path, 0)"] {
            let code = format!("import os\npath = {}\nassert open(path).read() == 'kept'\n{call}", literal(data.path()));
            let fault = python(true).run(&program(&code), PATIENCE).await.unwrap_err();
            assert!(matches!(fault, Fault::Refused(_)), "{call}: {fault:?}");
            assert_eq!(std::fs::read_to_string(&data).unwrap(), "kept");
        }
    });
}
