//! The measures, each a function from the stage to rows of the table.

mod audit;
mod bulk;
mod connect;
mod copy;
mod echo;
mod idle;
mod memory;
mod rate;

use super::{options::Plan, row::Row, stage::Stage};
use nix::fcntl::{FcntlArg, fcntl};
use std::{
    fs,
    os::fd::AsFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// A measure.
pub struct Measure {
    /// Its name on the command line.
    pub name: &'static str,
    /// Takes it.
    pub run: fn(&mut Stage, &Plan) -> Vec<Row>,
}

/// All of them, in the order in which they are taken.
pub const ALL: &[Measure] = &[
    Measure { name: "connect", run: connect::connect },
    Measure { name: "echo", run: echo::alone },
    Measure { name: "echo-beside-bulk", run: echo::beside_bulk },
    Measure { name: "echo-beside-stalled", run: echo::beside_stalled },
    Measure { name: "sessions", run: rate::rate },
    Measure { name: "bulk", run: bulk::bulk },
    Measure { name: "copy", run: copy::copy },
    Measure { name: "audit", run: audit::audit },
    Measure { name: "growth", run: memory::growth },
    Measure { name: "idle", run: idle::idle },
];

/// Runs a command to its end, which must be success; how long it took.
pub fn timed(command: &mut Command) -> Result<Duration, String> {
    let began = Instant::now();
    let child = command.stderr(Stdio::piped()).spawn().map_err(|why| why.to_string())?;
    let done = child.wait_with_output().map_err(|why| why.to_string())?;
    let took = began.elapsed();
    match done.status.success() {
        true => Ok(took),
        false => Err(format!("{}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim())),
    }
}

/// In milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A pipe of 1 MiB, so that this process is woken as seldom as can be.
fn widen(pipe: &impl AsFd) {
    fcntl(pipe, FcntlArg::F_SETPIPE_SZ(1 << 20)).unwrap();
}

/// Frees the room of recordings that are over: gigabytes of them would fill the disk's cache, and
/// then its writing would be measured.
fn forget_recordings(stage: &Stage) {
    for item in fs::read_dir(stage.gateway.recordings()).unwrap() {
        let path = item.unwrap().path();
        if path.is_file() {
            fs::remove_file(path).unwrap();
        }
    }
}
