//! `bastion session replay`: a recording opened and seen on the caller's side.
//!
//! The private key never leaves this machine, and what it opens goes to no file but the one that
//! was asked for. The recording comes sealed, from the gateway or from a file; its plaintext is
//! shown as it is decrypted, so that a long one needs no more memory than a short one.

mod archive;
mod cast;
mod lines;
mod player;

pub use archive::{Archive, nameless};
pub use lines::clock;

use super::Fault;
use crate::{
    api::session::{Format, Replay},
    relay::recording::BadRecording,
};
use bastion_core::playback::Playback;
use player::{Player, View};
use std::{
    fs::{self, OpenOptions},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
};

/// Fetches a recording, opens it and shows it.
pub fn run(config: Option<&Path>, ask: &Replay) -> Result<ExitCode, Fault> {
    if !(ask.speed.is_finite() && ask.speed > 0.0) {
        return Err(Fault::usage("--speed: give a number greater than 0"));
    }
    if ask.from.zip(ask.to).is_some_and(|(from, to)| to < from) {
        return Err(Fault::usage("--to: give a time that is not before --from"));
    }
    let key = read_key(&ask.identity)?;
    let archive = match (&ask.file, &ask.named) {
        (Some(file), _) => Archive::of(file)?,
        (None, Some(named)) => {
            match Archive::fetched(&super::configuration(config)?, named.as_str())? {
                Ok(archive) => archive,
                Err(code) => return Ok(code),
            }
        }
        (None, None) => return Err(Fault::usage("name a lease, or a file with --file")),
    };
    let mut sealed = archive.open(&key)?;
    let mut player = Player::new(view(ask), ask, output(ask)?);
    let mut playback = Playback::new(&sealed.header()?.payload);
    let shown = sealed.read(&mut |plain| {
        let pushed = playback.push(plain, |moment| player.see(moment));
        pushed.map_err(|bad| io::Error::new(io::ErrorKind::InvalidData, bad))?
    });
    let found = match shown {
        Err(BadRecording::Io(cause)) if cause.kind() == io::ErrorKind::BrokenPipe => {
            return Ok(ExitCode::SUCCESS);
        }
        shown => shown.map_err(Fault::unverified)?,
    };
    match player.end() {
        Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        ended => ended.map_err(|cause| Fault::failed(format!("it cannot be shown: {cause}")))?,
    }
    match found.fault {
        None => Ok(ExitCode::SUCCESS),
        Some(fault) => {
            eprintln!("bastion: only a part of the recording holds: {fault}");
            Ok(ExitCode::from(4))
        }
    }
}

/// The text of a private key's file.
pub fn read_key(path: &Path) -> Result<String, Fault> {
    fs::read_to_string(path).map_err(|cause| Fault::failed(format!("{}: {cause}", path.display())))
}

fn view(ask: &Replay) -> View {
    let terminal = ask.out.is_none() && io::stdout().is_terminal();
    let format = match ask.format {
        Some(format) => format,
        None if ask.plain || !terminal => Format::Text,
        None => Format::Terminal,
    };
    View { format, raw: ask.raw, paced: terminal && format == Format::Terminal }
}

/// A new file for its owner alone: what is in a recording is nobody else's business.
fn output(ask: &Replay) -> Result<Box<dyn Write>, Fault> {
    let Some(path) = &ask.out else { return Ok(Box::new(io::stdout().lock())) };
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    match made {
        Ok(file) => Ok(Box::new(io::BufWriter::new(file))),
        Err(cause) => Err(Fault::failed(format!("--out {}: {cause}", path.display()))),
    }
}
