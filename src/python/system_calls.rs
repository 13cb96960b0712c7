//! The system calls that a worker may make; every other one fails with EPERM.

use std::collections::BTreeMap;

use libc::c_long;
use rustix::process::getpid;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, apply_filter,
};

/// Calls that reach nothing but the process itself, and files that Landlock lets it open for reading.
const ALLOWED: &[c_long] = &[
    // Files and pipes.
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    // The two ends of a socket pair, which event loops wake themselves with.
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    // Memory and threads.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_futex,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    // Its own signals, time, chance and names.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigsuspend,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_getpgid,
    libc::SYS_getsid,
    // The start, which Landlock confines to the interpreter and the system's libraries, and the end.
    libc::SYS_execve,
    libc::SYS_wait4,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Answered by the second filter.
    libc::SYS_clone3,
];

/// Older forms of the same calls, which only this processor has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_alarm,
    libc::SYS_pause,
    libc::SYS_time,
    libc::SYS_getpgrp,
    libc::SYS_getrlimit,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// TCGETS, FIONREAD, FIONBIO, FIONCLEX and FIOCLEX by their numbers, because their type depends on the C library.
const DEVICES: [u32; 5] = [0x5401, 0x541b, 0x5421, 0x5450, 0x5451];

/// Restricts the system calls of this thread and of what it becomes.
pub(super) fn restrict() -> Result<(), Error> {
    let (allow, refuse) = (SeccompAction::Allow, SeccompAction::Errno(libc::EPERM.unsigned_abs()));
    let mut rules: BTreeMap<_, _> = ALLOWED.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    rules.extend(conditional()?);
    // Arguments of clone3 lie in memory, where a filter cannot look: told that it does not exist, libraries fall back to clone.
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let hidden = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    apply_filter(&compile(hidden, SeccompAction::Allow, unknown)?)?;
    apply_filter(&compile(rules, refuse, allow)?)
}

fn compile(rules: BTreeMap<c_long, Vec<SeccompRule>>, otherwise: SeccompAction, listed: SeccompAction) -> Result<BpfProgram, Error> {
    let filter = SeccompFilter::new(rules, otherwise, listed, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

/// Calls that are allowed with some arguments only.
fn conditional() -> Result<Vec<(c_long, Vec<SeccompRule>)>, Error> {
    let own = getpid().as_raw_nonzero().get().unsigned_abs();
    // Threads, no processes.
    let thread = SeccompCmpOp::MaskedEq(libc::CLONE_THREAD.unsigned_abs().into());
    let thread = SeccompRule::new(vec![SeccompCondition::new(0, Dword, thread, libc::CLONE_THREAD.unsigned_abs().into())?])?;
    // Connected from birth, so that nothing can be sent to anybody else.
    let stream = SeccompCondition::new(1, Dword, SeccompCmpOp::MaskedEq(0xf), libc::SOCK_STREAM.unsigned_abs().into())?;
    let pair = SeccompRule::new(vec![is(0, libc::AF_UNIX.unsigned_abs())?, stream])?;
    // Kernels before 6.2 let whoever may read a file empty it.
    let kept = |argument| SeccompCondition::new(argument, Dword, SeccompCmpOp::MaskedEq(libc::O_TRUNC.unsigned_abs().into()), 0);
    // Not F_SETOWN, F_SETSIG: they make the kernel send signals to any process. Nor FIOSETOWN, which is the same.
    let files = [libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];
    // Not PR_SET_PDEATHSIG, with which a worker would outlive the server.
    let name = [libc::PR_SET_NAME, libc::PR_GET_NAME];
    Ok(vec![
        (libc::SYS_openat, vec![SeccompRule::new(vec![kept(2)?])?]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, vec![SeccompRule::new(vec![kept(1)?])?]),
        (libc::SYS_clone, vec![thread]),
        (libc::SYS_socketpair, vec![pair]),
        (libc::SYS_fcntl, one_of(1, &files.map(i32::unsigned_abs))?),
        (libc::SYS_ioctl, one_of(1, &DEVICES)?),
        (libc::SYS_prctl, one_of(0, &name.map(i32::unsigned_abs))?),
        (libc::SYS_prlimit64, one_of(0, &[0, own])?),
        (libc::SYS_kill, one_of(0, &[own])?),
        (libc::SYS_tgkill, one_of(0, &[own])?),
    ])
}

/// Allows a call whose argument is one of these values.
fn one_of(argument: u8, values: &[u32]) -> Result<Vec<SeccompRule>, Error> {
    values.iter().map(|value| Ok(SeccompRule::new(vec![is(argument, *value)?])?)).collect()
}

fn is(argument: u8, value: u32) -> Result<SeccompCondition, Error> {
    Ok(SeccompCondition::new(argument, Dword, SeccompCmpOp::Eq, value.into())?)
}
