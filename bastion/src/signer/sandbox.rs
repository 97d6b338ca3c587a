//! What a signer may still do once its keys are read: answer, and replace its state file.
//!
//! seccomp leaves it the few system calls that this takes and ends it at any other: there is no
//! socket, no program, no other process among them. landlock leaves it one folder of all files.
//! A kernel without landlock is said so loudly; seccomp holds everywhere. And nobody of the same
//! Unix user may look into its memory.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus,
};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::{collections::BTreeMap, fmt, io, path::Path};

/// What holds a process back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confined {
    /// System calls are filtered.
    pub seccomp: bool,
    /// Files are out of reach.
    pub landlock: bool,
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.seccomp, self.landlock) {
            (true, true) => "seccomp and landlock",
            (true, false) => "seccomp alone: this kernel has NO LANDLOCK",
            (false, true) => "landlock alone",
            (false, false) => "nothing: it is not a process of its own",
        })
    }
}

/// Holds this process back for the rest of its life.
pub fn confine(folder: &Path) -> io::Result<Confined> {
    nix::sys::prctl::set_dumpable(false)?;
    let landlock = landlock(folder)?;
    let filter = filter().map_err(io::Error::other)?;
    seccompiler::apply_filter_all_threads(&filter).map_err(io::Error::other)?;
    Ok(Confined { seccomp: true, landlock })
}

/// Whether this kernel has landlock, asked by making rules that are then not put in force.
pub fn has_landlock() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}

fn landlock(folder: &Path) -> io::Result<bool> {
    let rules = || {
        let folder = PathFd::new(folder).map_err(io::Error::other)?;
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V5))
            .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V5)))
            .and_then(Ruleset::create)
            .and_then(|rules| rules.add_rule(PathBeneath::new(folder, state_file())))
            .and_then(landlock::RulesetCreated::restrict_self)
            .map_err(io::Error::other)
    };
    Ok(rules()?.ruleset != RulesetStatus::NotEnforced)
}

/// To write a new state file and put it in the place of the old one.
fn state_file() -> landlock::BitFlags<AccessFs> {
    AccessFs::WriteFile | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let calls: BTreeMap<i64, Vec<seccompiler::SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    let arch = TargetArch::x86_64;
    #[cfg(target_arch = "aarch64")]
    let arch = TargetArch::aarch64;
    SeccompFilter::new(calls, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()
}

/// What answering and replacing a file take, with memory, time and the end.
const CALLS: &[i64] = &[
    nix::libc::SYS_read,
    nix::libc::SYS_write,
    nix::libc::SYS_writev,
    nix::libc::SYS_recvfrom,
    nix::libc::SYS_sendto,
    nix::libc::SYS_openat,
    nix::libc::SYS_close,
    nix::libc::SYS_fcntl,
    nix::libc::SYS_fstat,
    nix::libc::SYS_newfstatat,
    nix::libc::SYS_statx,
    nix::libc::SYS_fsync,
    nix::libc::SYS_fdatasync,
    nix::libc::SYS_ftruncate,
    nix::libc::SYS_renameat,
    nix::libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    nix::libc::SYS_rename,
    nix::libc::SYS_brk,
    nix::libc::SYS_mmap,
    nix::libc::SYS_munmap,
    nix::libc::SYS_mremap,
    nix::libc::SYS_mprotect,
    nix::libc::SYS_madvise,
    nix::libc::SYS_futex,
    nix::libc::SYS_getrandom,
    nix::libc::SYS_clock_gettime,
    nix::libc::SYS_gettimeofday,
    nix::libc::SYS_rt_sigreturn,
    nix::libc::SYS_rt_sigaction,
    nix::libc::SYS_rt_sigprocmask,
    nix::libc::SYS_sigaltstack,
    nix::libc::SYS_restart_syscall,
    nix::libc::SYS_sched_yield,
    nix::libc::SYS_getpid,
    nix::libc::SYS_gettid,
    nix::libc::SYS_tgkill,
    nix::libc::SYS_exit,
    nix::libc::SYS_exit_group,
];
