//! The demo's folder: what is where in it, and that one demo at a time has it.

use super::{
    error::{DemoError, Doing as _},
    files::{folder, write},
};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The file that says what a set-up demo is made of; it is written last.
const STATE: &str = "demo.json";

/// Where a deployment is made before its files move up; and what would be overwritten elsewhere.
/// Other files in the folder (a log of ours that somebody keeps there) are left alone.
pub const SETUP: &str = "set-up";
const OURS: [&str; 6] = [SETUP, "bastion.toml", "keys", "vms", "bastion.db", "take-away"];

/// What was set up, so that a second start finds it again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Where the gateway listens on 127.0.0.1.
    pub port: u16,
    /// The `--store` that was asked for, if any.
    pub store: Option<String>,
    /// The VMs, in the order in which they were laid out.
    pub vms: Vec<VmState>,
}

/// One VM that was set up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmState {
    /// Its name.
    pub name: String,
    /// Where its sshd listens.
    pub port: u16,
}

/// The demo's folder, ours alone while this value lives.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Place {
    /// Takes a folder: a new or empty one, or one that a demo was set up in before.
    pub fn open(dir: &Path) -> Result<Self, DemoError> {
        let refused = |why: &str| DemoError::Folder { dir: dir.to_owned(), why: why.to_owned() };
        // ssh gives the path to a shell when it jumps, and configuration files know no quoting that
        // both ssh and sshd agree on.
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
        let absolute = std::path::absolute(dir).doing(format!("find {dir:?}"))?;
        if !absolute.to_string_lossy().chars().all(plain) {
            return Err(refused("its path may hold a-z, A-Z, 0-9 and / . _ - + only"));
        }
        fs::create_dir_all(dir).doing(format!("make {dir:?}"))?;
        let dir = fs::canonicalize(dir).doing(format!("find {dir:?}"))?;
        let handle = File::open(&dir).doing(format!("open {dir:?}"))?;
        let lock = Flock::lock(handle, FlockArg::LockExclusiveNonblock).map_err(|_| {
            refused("another demo runs in it; end that one, or name another folder")
        })?;
        let place = Self { dir, _lock: lock };
        if !place.at(STATE).exists()
            && let Some(name) = OURS.into_iter().find(|name| place.at(name).exists())
        {
            return Err(refused(&format!(
                "`{name}` is there, but no demo was set up to its end; remove it, or name another"
            )));
        }
        // Only now is it known to be ours to change.
        folder(&place.dir, 0o700)?;
        Ok(place)
    }

    /// The folder, absolute.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file in it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What was set up here before, if anything was.
    pub fn state(&self) -> Result<Option<State>, DemoError> {
        let file = self.at(STATE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing(format!("read {file:?}")),
        };
        let state = serde_json::from_str(&text).map_err(|error| DemoError::Folder {
            dir: self.dir.clone(),
            why: format!("its {STATE} cannot be read ({error}); remove the folder"),
        })?;
        Ok(Some(state))
    }

    /// Says that everything is set up: from now on a second start goes on from here.
    pub fn keep(&self, state: &State) -> Result<(), DemoError> {
        let text = serde_json::to_string_pretty(state)
            .map_err(io::Error::from)
            .doing(format!("write {STATE}"))?;
        write(&self.at(STATE), &format!("{text}\n"), 0o600)
    }
}
