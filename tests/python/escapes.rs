//! Programs that reach for what is not theirs: each is refused with a clear message, and nothing has happened.

use std::path::Path;
use std::process::{Command, Stdio};

use rstest::rstest;
use serde_json::json;
use synapse::python::Fault;
use tempfile::TempDir;

use crate::{PATIENCE, literal, program, python, result, run};

/// A directory of the server with a secret in it.
fn data() -> TempDir {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("secret"), "sk-syn-secret").unwrap();
    data
}

/// Runs a program that the sandbox must refuse; `here` stands for a directory of the server.
async fn refused(code: &str) {
    let data = data();
    let python = python();
    let code = format!("import os\nhere = {}\n{code}", literal(data.path()));
    let fault = python.run(&program(&code), PATIENCE).await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
    let fault = fault.to_string();
    assert!(fault.starts_with("the sandbox has no files, no network and no other programs: ") && !fault.contains("sk-syn"), "{fault}");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(data.path().join("secret")).unwrap(), "sk-syn-secret");
    assert_eq!(python.run(&program("result = 1 + 1"), PATIENCE).await.unwrap().result, json!(2));
}

#[rstest]
#[case::passwords("open('/etc/passwd').read()")]
#[case::the_data_directory("open(here + '/secret').read()")]
#[case::its_list("os.listdir(here)")]
#[case::its_tree("os.chdir(here)")]
#[case::a_raw_open("os.open(here + '/secret', os.O_RDONLY)")]
#[case::a_database(
    "import sqlite3\ntry: sqlite3.connect(here + '/secret').execute('select 1 from a')\nexcept sqlite3.OperationalError: open(here + '/secret')"
)]
#[case::the_root("os.listdir('/')")]
#[case::a_disk("open('/dev/vda', 'rb')")]
#[case::a_module_from_elsewhere(
    "import importlib.util\nspec = importlib.util.spec_from_file_location('m', here + '/secret', loader=__import__('importlib.machinery').machinery.SourceFileLoader('m', here + '/secret'))\nspec.loader.exec_module(importlib.util.module_from_spec(spec))"
)]
#[tokio::test]
async fn files_of_others_are_not_read(#[case] code: &str) {
    refused(code).await;
}

#[rstest]
#[case::a_file("open(here + '/new', 'w')")]
#[case::over_a_file("open(here + '/secret', 'w')")]
#[case::at_the_end_of_a_file("open(here + '/secret', 'a')")]
#[case::temporary("open('/tmp/new', 'w')")]
#[case::in_shared_memory("open('/dev/shm/new', 'w')")]
#[case::beside_python("open(os.__file__ + '.new', 'w')")]
#[case::over_python("open(os.__file__, 'r+')")]
#[case::a_directory("os.mkdir(here + '/new')")]
#[case::a_link("os.symlink(here + '/secret', here + '/new')")]
#[case::a_hard_link("os.link(here + '/secret', here + '/new')")]
#[case::a_link_beside_python("os.symlink('/etc/passwd', os.path.dirname(os.__file__) + '/new')")]
#[case::a_removal("os.remove(here + '/secret')")]
#[case::a_name("os.rename(here + '/secret', here + '/new')")]
#[case::a_shorter_file("os.truncate(here + '/secret', 0)")]
#[case::other_rights("os.chmod(here + '/secret', 0o777)")]
#[case::another_owner("os.chown(here + '/secret', 1, 1)")]
#[case::other_times("os.utime(here + '/secret', (0, 0))")]
#[case::a_pipe("os.mkfifo(here + '/new')")]
#[case::a_device("os.mknod(here + '/new')")]
#[case::another_root("os.chroot(here)")]
#[case::memory_as_a_file("os.memfd_create('new')")]
#[tokio::test]
async fn nothing_is_written(#[case] code: &str) {
    refused(code).await;
}

#[rstest]
#[case::over_ipv4("import socket\nsocket.create_connection(('127.0.0.1', 8000))")]
#[case::over_ipv6("import socket\nsocket.socket(socket.AF_INET6)")]
#[case::over_datagrams("import socket\nsocket.socket(type=socket.SOCK_DGRAM)")]
#[case::over_a_local_socket("import socket\nsocket.socket(socket.AF_UNIX).connect('/var/run/docker.sock')")]
#[case::to_the_kernel("import socket\nsocket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")]
#[case::over_a_pair_of_datagram_sockets("import socket\nsocket.socketpair(type=socket.SOCK_DGRAM)")]
#[case::as_a_server("import http.server\nhttp.server.HTTPServer(('127.0.0.1', 0), None)")]
#[case::a_page("import urllib.request\nurllib.request.urlopen('http://127.0.0.1:8000/', timeout=5)")]
#[case::a_page_by_name("import urllib.request\nurllib.request.urlopen('http://example.com/', timeout=5)")]
#[case::a_name("import socket\nsocket.getaddrinfo('example.com', 80)")]
#[tokio::test]
async fn there_is_no_network(#[case] code: &str) {
    refused(code).await;
}

#[rstest]
#[case::a_fork("os.fork()")]
#[case::a_shell("os.posix_spawn('/bin/sh', ['sh'], {})")]
#[case::a_command("import subprocess\nsubprocess.run(['true'])")]
#[case::a_command_in_a_shell("import subprocess\nsubprocess.check_output('id', shell=True)")]
#[case::a_pipe_to_a_command("os.popen('id').read()")]
#[case::another_python("import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()")]
#[case::another_program_in_its_place("os.execv('/bin/sh', ['sh', '-c', 'echo'])")]
#[case::a_group_of_its_own("os.setpgid(0, 0)")]
#[case::a_session_of_its_own("os.setsid()")]
#[case::another_user("os.setuid(1)")]
#[case::a_new_namespace("__import__('ctypes').CDLL(None, use_errno=True).unshare(0x10000000) == 0 or open('/root')")]
#[tokio::test]
async fn there_are_no_other_programs(#[case] code: &str) {
    refused(code).await;
}

#[rstest]
#[case::the_server("os.kill(os.getppid(), 9)")]
#[case::whether_the_server_lives("os.kill(os.getppid(), 0)")]
#[case::everybody("os.kill(-1, 9)")]
#[case::its_group("os.kill(0, 9)")]
#[case::the_first_process("os.kill(1, 9)")]
#[case::a_group("os.killpg(os.getppid(), 9)")]
#[case::by_descriptor("os.pidfd_open(os.getppid())")]
#[case::through_a_file("import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())")]
#[case::the_clock("import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)")]
#[case::its_priority("os.setpriority(os.PRIO_PROCESS, os.getppid(), 10)")]
#[case::limits_of_the_server("import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (1, 1))")]
#[case::the_scheduler("os.sched_setaffinity(0, {0})")]
#[tokio::test]
async fn other_processes_and_the_machine_are_out_of_reach(#[case] code: &str) {
    refused(code).await;
}

#[rstest]
#[case::environment("open(f'/proc/{os.getppid()}/environ').read()")]
#[case::memory("open(f'/proc/{os.getppid()}/mem', 'rb')")]
#[case::open_files("os.listdir(f'/proc/{os.getppid()}/fd')")]
#[case::an_open_file("os.readlink(f'/proc/{os.getppid()}/fd/0')")]
#[case::its_program("os.readlink(f'/proc/{os.getppid()}/exe')")]
#[case::its_directory("os.readlink(f'/proc/{os.getppid()}/cwd')")]
#[case::the_root_through_it("os.listdir(f'/proc/{os.getppid()}/root/')")]
#[case::its_command_line("open(f'/proc/{os.getppid()}/cmdline').read()")]
#[case::our_own_memory("open('/proc/self/mem', 'r+b')")]
#[case::all_processes("os.listdir('/proc')")]
#[tokio::test]
async fn the_server_is_not_looked_into(#[case] code: &str) {
    refused(code).await;
}

/// Makes a system call past Python and returns its result and the number of its error.
fn system_call(arguments: &str) -> String {
    format!("import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\nresult = [libc.syscall({arguments}), ctypes.get_errno()]")
}

#[rstest]
#[case::ptrace(libc::SYS_ptrace, "16, os.getppid(), 0, 0", libc::EPERM)]
#[case::process_vm_readv(libc::SYS_process_vm_readv, "os.getppid(), 0, 0, 0, 0, 0", libc::EPERM)]
#[case::socket(libc::SYS_socket, "2, 1, 0", libc::EPERM)]
#[case::fork_by_clone(libc::SYS_clone, "17, 0, 0, 0, 0", libc::EPERM)]
#[case::clone3(libc::SYS_clone3, "0, 0", libc::ENOSYS)]
#[case::bpf(libc::SYS_bpf, "0, 0, 0", libc::EPERM)]
#[case::keyctl(libc::SYS_keyctl, "0, 0, 0", libc::EPERM)]
#[case::mount(libc::SYS_mount, "0, 0, 0, 0, 0", libc::EPERM)]
#[case::unshare(libc::SYS_unshare, "0x10000000", libc::EPERM)]
#[case::setns(libc::SYS_setns, "0, 0", libc::EPERM)]
#[case::io_uring(libc::SYS_io_uring_setup, "1, 0", libc::EPERM)]
#[case::userfaultfd(libc::SYS_userfaultfd, "0", libc::EPERM)]
#[case::perf(libc::SYS_perf_event_open, "0, 0, 0, 0, 0", libc::EPERM)]
#[case::clock_settime(libc::SYS_clock_settime, "0, 0", libc::EPERM)]
#[case::kexec(libc::SYS_kexec_load, "0, 0, 0, 0", libc::EPERM)]
#[case::rt_sigqueueinfo(libc::SYS_rt_sigqueueinfo, "os.getppid(), 9, 0", libc::EPERM)]
#[case::openat2(libc::SYS_openat2, "0, 0, 0, 0", libc::EPERM)]
#[case::execveat(libc::SYS_execveat, "0, 0, 0, 0, 0", libc::EPERM)]
#[case::shmget(libc::SYS_shmget, "1, 4096, 0o1600", libc::EPERM)]
#[case::outliving_the_server(libc::SYS_prctl, "1, 0, 0, 0, 0", libc::EPERM)]
#[case::signals_through_a_file(libc::SYS_fcntl, "0, 10, 9", libc::EPERM)]
#[case::typing_for_the_terminal(libc::SYS_ioctl, "0, 0x5412, 0", libc::EPERM)]
#[case::an_unknown_call(1_000_000, "0", libc::EPERM)]
#[case::the_other_numbering(0x4000_0000 + libc::SYS_socket, "2, 1, 0", libc::EPERM)]
#[tokio::test]
async fn system_calls_past_python_fail(#[case] call: i64, #[case] arguments: &str, #[case] error: i32) {
    assert_eq!(result(&system_call(&format!("{call}, {arguments}"))).await, json!([-1, error]));
}

#[tokio::test]
async fn the_environment_tells_nothing() {
    let names = result("import os\nresult = sorted(set(os.environ) - {'MALLOC_ARENA_MAX', 'LC_CTYPE'})").await;
    assert_eq!(names, json!([]));
}

#[tokio::test]
async fn no_file_of_the_server_is_open() {
    // This one survives the start of other programs, as those do that a server got from whoever started it.
    let _open = rustix::io::dup(std::fs::File::open(data().path().join("secret")).unwrap()).unwrap();
    let open = "import os\nresult = []\nfor fd in range(64):\n try: os.fstat(fd); result.append(fd)\n except OSError: pass";
    // The standard streams, which lead nowhere, the way of the answer, and nowhere itself.
    assert_eq!(result(open).await, json!([0, 1, 2, 3, 4]));
}

#[tokio::test]
async fn limits_are_not_raised() {
    let raise = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))";
    let fault = run(raise).await.unwrap_err().to_string();
    assert!(fault.contains("not allowed to raise maximum limit"), "{fault}");
}

#[tokio::test]
async fn a_code_object_that_names_a_file_shows_nothing_of_it() {
    let data = data();
    let code = format!("exec(compile('1/0', {}, 'exec'))", literal(&data.path().join("secret")));
    let Err(Fault::Raised(raised)) = run(&code).await else { panic!("it ran") };
    assert_eq!(raised.error, "ZeroDivisionError: division by zero");
    assert!(!raised.traceback.contains("sk-syn") && !raised.traceback.contains("secret\", line"), "{}", raised.traceback);
}

#[tokio::test]
async fn a_traceback_shows_the_program_and_no_path_of_the_server() {
    let code =
        "import json, sys\nprint('so far')\nprint('careful', file=sys.stderr)\ndef read(text):\n    return json.loads(text)\nread('{oops')";
    let Err(Fault::Raised(raised)) = run(code).await else { panic!("it ran") };
    assert_eq!(raised.error, "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)");
    assert!(
        raised
            .traceback
            .starts_with("careful\nTraceback (most recent call last):\n  File \"transform.py\", line 6, in <module>\n    read('{oops')\n")
    );
    assert!(raised.traceback.contains("line 5, in read\n    return json.loads(text)\n"), "{}", raised.traceback);
    assert!(!raised.traceback.contains('/'), "{}", raised.traceback);
    assert_eq!(raised.printed, "so far\n");
}

#[tokio::test]
async fn a_link_out_of_what_may_be_read_leads_nowhere() {
    let (home, data) = (tempfile::tempdir().unwrap(), data());
    let packages = crate::interpreters::virtual_environment(home.path());
    std::os::unix::fs::symlink(data.path().join("secret"), packages.join("link")).unwrap();
    std::fs::write(packages.join("plain"), "for programs").unwrap();
    let python = crate::interpreters::python_at(&home.path().join("bin/python3"));
    let read = |name: &str| program(&format!("result = open({}).read()", literal(&packages.join(name))));
    assert_eq!(python.run(&read("plain"), PATIENCE).await.unwrap().result, json!("for programs"));
    let fault = python.run(&read("link"), PATIENCE).await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
}

#[tokio::test]
async fn another_process_of_the_same_user_is_not_killed() {
    let mut victim = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
    let fault = run(&format!("import os\nos.kill({}, 9)", victim.id())).await.unwrap_err();
    assert!(matches!(fault, Fault::Refused(_)), "{fault:?}");
    assert!(Path::new(&format!("/proc/{}", victim.id())).exists() && victim.try_wait().unwrap().is_none());
    victim.kill().unwrap();
    victim.wait().unwrap();
}

#[tokio::test]
async fn a_program_that_runs_python_in_its_place_stays_in_the_sandbox() {
    let again = "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'open(\"/etc/passwd\")'])";
    let fault = run(again).await.unwrap_err().to_string();
    assert!(fault.contains("exit code 1"), "{fault}");
}

#[tokio::test]
async fn an_own_permission_error_is_the_programs_own() {
    let Err(Fault::Raised(raised)) = run("raise PermissionError('only for managers')").await else { panic!("it ran") };
    assert_eq!(raised.error, "PermissionError: only for managers");
}
