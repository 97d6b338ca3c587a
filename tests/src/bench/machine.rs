//! What the figures were measured on: without it they say nothing.

use super::{
    gateway::Recording,
    options::{Options, Plan},
};
use serde::Serialize;
use std::{fs, path::Path, process::Command};

/// The machine and the build.
#[derive(Debug, Serialize)]
pub struct Host {
    cpu: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
    profile: &'static str,
    /// What was built.
    build: String,
    /// What is written to.
    disk: String,
    /// One, five and fifteen minutes, before anything ran.
    load_before: String,
}

impl Host {
    /// This one, now, with what is written to a folder.
    pub fn now(build: &str, folder: &Path) -> Self {
        let of = |file: &str, field: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
            line.split_once(':').map(|(_, rest)| rest.trim().to_owned()).unwrap_or_default()
        };
        let memory = of("/proc/meminfo", "MemTotal").replace(" kB", "").parse().unwrap_or(0);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            cpu: of("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_gib: memory / (1 << 20),
            kernel: said("uname", &["-r"]),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
            build: build.to_owned(),
            disk: said("stat", &["-f", "-c", "%T", &folder.display().to_string()]),
            load_before: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
        }
    }

    /// As a table begins.
    pub fn sentence(&self) -> String {
        let Self { cpu, cores, memory_gib, kernel, profile, build, disk, load_before } = self;
        format!(
            "{cpu}, {cores} cores, {memory_gib} GiB; Linux {kernel}; {profile} build of {build}; \
             written to {disk}; load average before: {load_before}."
        )
    }
}

/// The machine, and what the relay's measures need besides.
#[derive(Debug, Serialize)]
pub struct Machine {
    #[serde(flatten)]
    host: Host,
    openssh: String,
    /// How recordings were made.
    recording: Recording,
    rounds: usize,
}

impl Machine {
    /// This one, now.
    pub fn now(options: &Options) -> Self {
        let Plan { recording, rounds, .. } = options.plan();
        let host = Host::now(&options.build(), options.parent());
        Self { host, openssh: said("ssh", &["-V"]), recording, rounds }
    }

    /// As the table begins.
    pub fn sentence(&self) -> String {
        let Self { host, openssh, recording, rounds } = self;
        format!("{} {openssh}; recording: {recording:?}; rounds: {rounds}.", host.sentence())
    }
}

/// The first line that a program says, on either stream; nothing if it is not there.
fn said(program: &str, words: &[&str]) -> String {
    let Ok(done) = Command::new(program).args(words).output() else { return String::new() };
    let text = if done.stdout.is_empty() { done.stderr } else { done.stdout };
    String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
}
