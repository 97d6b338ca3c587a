//! What a bench that is killed leaves behind is swept up.
//!
//! A bench that comes to its end ends what it started. One that is killed cannot, so a process of
//! its own waits for that: its standard input ends with the bench. It then ends whatever was
//! started on the bench's folder, which stands in the command line of all of it, and removes the
//! folder, unless the bench failed.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Which bench.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its folder
    #[arg(long)]
    folder: PathBuf,
}

/// The process that waits; it sweeps when this value ends, whatever the reason.
pub struct Sweeper {
    child: Child,
    folder: PathBuf,
}

impl Sweeper {
    /// Has one wait for the end of this process.
    pub fn wait(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("sweeper").arg("--folder").arg(folder);
        // What ends the bench from its terminal must not end this.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        Self { child: command.spawn().unwrap(), folder: folder.to_owned() }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        // Whoever looks for the cause of a failure needs the logs there.
        if thread::panicking() {
            fs::write(kept(&self.folder), "").ok();
        }
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

fn kept(folder: &Path) -> PathBuf {
    folder.join("keep")
}

/// Waits for the end of the bench, and sweeps.
pub fn run(args: &Args) {
    io::copy(&mut io::stdin(), &mut io::sink()).ok();
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        let left = started_on(&args.folder);
        let signal = if Instant::now() < give_up { Signal::SIGTERM } else { Signal::SIGKILL };
        for pid in &left {
            kill(*pid, signal).ok();
        }
        if left.is_empty() || Instant::now() > give_up + Duration::from_secs(5) {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
    if !kept(&args.folder).exists() {
        fs::remove_dir_all(&args.folder).ok();
    }
}

/// Processes whose command line names the folder, but for this one.
fn started_on(folder: &Path) -> Vec<Pid> {
    let folder = folder.display().to_string();
    let own = Pid::this();
    let names_it = |pid: &Pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).split(['\0', ' ']).any(|word| {
            word.strip_prefix(&folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    all.filter_map(|item| item.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .filter(|pid| *pid != own && names_it(pid))
        .collect()
}
