//! Stand-ins for thousands: VMs and operators that do nothing but be there.
//!
//! Ten thousand sshd and ssh processes would measure themselves. The gateway between these is the
//! real one; it cannot tell. Each stand-in is a process of its own, so that the memory of the
//! gateway is the gateway's.

pub mod operators;
pub mod vm;

use super::{sshd::ACCOUNT, sweeper};
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// What this program does instead of measuring.
#[derive(Debug, clap::Subcommand)]
pub enum StandIn {
    /// Stands in for a VM until standard input ends
    #[command(hide = true)]
    Vm(vm::Args),
    /// Stands in for idle operators until standard input ends
    #[command(hide = true)]
    Operators(operators::Args),
    /// Sweeps up behind a bench when standard input ends
    #[command(hide = true)]
    Sweeper(sweeper::Args),
}

impl StandIn {
    /// Stands in until standard input ends.
    pub fn run(&self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        match self {
            Self::Sweeper(args) => sweeper::run(args),
            Self::Vm(args) => runtime.block_on(vm::run(args)),
            Self::Operators(args) => runtime.block_on(operators::run(args)),
        }
    }
}

/// A stand-in that runs; it ends with this value.
pub struct Standing {
    child: Child,
    _held: Option<ChildStdin>,
    _said: BufReader<ChildStdout>,
}

impl Standing {
    /// Starts one and waits until it says that it is ready.
    pub fn start(kind: &str, words: &[&str]) -> Result<Self, String> {
        let mut command = Command::new("/bin/sh");
        // Ten thousand connections.
        command.args(["-c", "ulimit -n \"$(ulimit -H -n)\"; exec \"$@\"", "sh"]);
        command.arg(std::env::current_exe().map_err(|why| why.to_string())?);
        command.arg(kind).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|why| why.to_string())?;
        let held = child.stdin.take();
        let mut said = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        said.read_line(&mut line).map_err(|why| why.to_string())?;
        let standing = Self { child, _held: held, _said: said };
        match line.trim() {
            "ready" => Ok(standing),
            other => Err(format!("{kind}: {other}")),
        }
    }

    /// Operators, each with an idle terminal, who came in by these words.
    pub fn operators(count: usize, key: &Path, way_in: &[&str]) -> Result<Self, String> {
        let (count, key) = (count.to_string(), key.display().to_string());
        let mut words = vec!["--count", &count, "--key", &key, "--account", ACCOUNT];
        words.extend(way_in);
        Self::start("operators", &words)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Returns when standard input ends: whoever started us is done, or gone.
async fn standard_input_ends() {
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).ok())
        .await
        .ok();
}
