//! The kernel's side: what a worker may read, and that it can do little else.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
    path_beneath_rules,
};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, set_capabilities, set_no_new_privs};

use super::system_calls;

/// The libraries of the system; what is not there does not matter.
const LIBRARIES: [&str; 8] = ["/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/nix/store"];

/// Tables that Python's own library reads: the time zones of the world, and media types.
const TABLES: [&str; 2] = ["/usr/share/zoneinfo", "/etc/mime.types"];

/// Every right of the newest kernel that the crate knows; an older kernel has fewer to give, and fewer to take.
const NEWEST: ABI = ABI::V10;

/// Confines this thread, and so the program that it becomes: without privileges, without files but `readable` and the system's
/// libraries, without network, and with few system calls. Where one of that is missing, the rest is done all the same.
pub(super) fn enter(readable: &[PathBuf]) -> Result<(), String> {
    give_up_privileges().map_err(|error| format!("privileges cannot be given up: {error}"))?;
    let files =
        keep_from_files(readable).map_err(|error| format!("Landlock, which Linux has since 5.13, is missing or turned off ({error})"));
    let calls = system_calls::restrict().map_err(|error| format!("seccomp is missing or turned off ({error})"));
    files.and(calls)
}

/// Dies with the server, gains nothing by running another program, and has no capability even if the server is root's.
fn give_up_privileges() -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let (none, held) = (CapabilitySet::empty(), capabilities(None)?);
    // Services that have none are often forbidden to change them as well.
    if held.permitted.is_empty() && held.inheritable.is_empty() {
        return Ok(());
    }
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

fn keep_from_files(readable: &[PathBuf]) -> Result<(), RulesetError> {
    let programs = readable.iter().map(PathBuf::as_path).chain(LIBRARIES.map(Path::new));
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(programs, AccessFs::from_read(ABI::V1)))?
        .add_rules(path_beneath_rules(TABLES, AccessFs::ReadFile | AccessFs::ReadDir))?
        // Where the standard streams of a program lead.
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
        .restrict_self()
        .map(drop)
}
