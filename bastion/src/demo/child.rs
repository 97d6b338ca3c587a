//! Processes that cannot outlive us, not even when we are killed with SIGKILL.
//!
//! Each stands under a small shell that holds the read end of a pipe. We hold the write end and
//! never write: when we end, however we end, the kernel closes it, the shell's `read` returns and
//! the shell kills what it started. A parent-death signal would need `unsafe` to set, and follows
//! the thread that spawned rather than the process.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

/// Starts `"$@"`, waits for the pipe to close, kills it. The shell's children read /dev/null.
const WATCH: &str = r#""$@" & pid=$!; read -r _ || :; kill -KILL "$pid" 2>/dev/null; wait "$pid""#;

/// A process under watch. Dropping it ends the process.
#[derive(Debug)]
pub struct Child {
    shell: std::process::Child,
}

impl Child {
    /// Starts `program` with its output going to `log`.
    pub fn start(program: &[&str], log: &Path) -> io::Result<Self> {
        let log = File::create(log)?;
        let shell = Command::new("/bin/sh")
            .args(["-c", WATCH, "sh"])
            .args(program)
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: the terminal's Ctrl-C reaches us alone, and we end the rest.
            .process_group(0)
            .spawn()?;
        Ok(Self { shell })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        if let Err(error) = self.shell.wait() {
            tracing::warn!(%error, "a process of the demo could not be waited for");
        }
    }
}
