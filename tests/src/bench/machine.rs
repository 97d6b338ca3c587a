//! What the figures were measured on: without it they say nothing.

use super::{
    gateway::Recording,
    options::{Options, Plan},
};
use serde::Serialize;
use std::{fs, process::Command};

/// The machine and the builds.
#[derive(Debug, Serialize)]
pub struct Machine {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    openssh: String,
    profile: &'static str,
    /// Which bastion.
    build: String,
    /// What the gateway's log and recordings are on.
    disk: String,
    /// One, five and fifteen minutes, before anything ran.
    load_before: String,
    /// How recordings were made.
    recording: Recording,
    rounds: usize,
}

impl Machine {
    /// This one, now.
    pub fn now(options: &Options) -> Self {
        let Plan { recording, rounds, .. } = options.plan();
        let of = |file: &str, field: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
            line.split_once(':').map(|(_, rest)| rest.trim().to_owned()).unwrap_or_default()
        };
        let memory = of("/proc/meminfo", "MemTotal").replace(" kB", "").parse().unwrap_or(0);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let disk = said("stat", &["-f", "-c", "%T", &options.parent().display().to_string()]);
        Self {
            cpu: of("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory / (1 << 20),
            kernel: said("uname", &["-r"]),
            openssh: said("ssh", &["-V"]),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            build: options.build(),
            disk,
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            recording,
            rounds,
        }
    }

    /// As the table begins.
    pub fn sentence(&self) -> String {
        let Self { cpu, cores, memory_gib, kernel, openssh, .. } = self;
        format!(
            "{cpu}, {cores} cores, {memory_gib} GiB; Linux {kernel}; {openssh}; {} build of {}; \
             log and recordings on {}; recording: {:?}; load average before: {}; rounds: {}.",
            self.profile, self.build, self.disk, self.recording, self.load_before, self.rounds
        )
    }
}

/// The first line that a program says, on either stream; nothing if it is not there.
fn said(program: &str, words: &[&str]) -> String {
    let Ok(done) = Command::new(program).args(words).output() else { return String::new() };
    let text = if done.stdout.is_empty() { done.stderr } else { done.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}
