//! `[witness]`: who cosigns the log, and what is not done before they have.
//!
//! Which levels demand a witnessed entry is said here and not in the Cedar policies: the signer,
//! which asks the same question away from the store, reads this file and no policy, and a VM's
//! guard has its own copy from `vm bootstrap`. Cedar says who may; this says what proof they need.

use super::file::{Wrong, seconds};
use audit_schema::{event::Level, policy::Policy};
use bastion_core::limits::{WITNESS_POLICY_BYTES_MAX, WITNESS_SECONDS_MAX, WITNESSES_MAX};
use serde::Deserialize;
use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

/// Who cosigns the log.
#[derive(Clone, Debug)]
pub struct Witnessing {
    /// A C2SP tlog-policy: the witnesses, how to reach them, and how many have to cosign.
    pub policy: PathBuf,
    /// The levels at which nobody logs in before the entry is witnessed.
    pub demand: Vec<Level>,
    /// How long witnesses may take.
    pub within: Duration,
    /// PEM of certificate authorities that witnesses' servers are believed by, beside the
    /// machine's own.
    pub roots: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWitness {
    policy: PathBuf,
    demand: Vec<Level>,
    seconds: u64,
    extra_roots: PathBuf,
}

impl Default for RawWitness {
    fn default() -> Self {
        let none = PathBuf::new();
        Self { policy: none.clone(), demand: Vec::new(), seconds: 5, extra_roots: none }
    }
}

impl RawWitness {
    /// Empty means none, as the template shows it.
    pub(super) fn check(self, dir: &Path) -> Result<Option<Witnessing>, Wrong> {
        let given = |path: PathBuf| Some(path).filter(|path| !path.as_os_str().is_empty());
        let within = seconds("witness.seconds", self.seconds, WITNESS_SECONDS_MAX)?;
        let Some(policy) = given(self.policy) else {
            return match self.demand.is_empty() {
                true => Ok(None),
                false => {
                    let cause = "name the witnesses first, in the file of `witness.policy`";
                    Err(Wrong("witness.demand", cause.into()))
                }
            };
        };
        Ok(Some(Witnessing {
            policy: dir.join(policy),
            demand: self.demand,
            within,
            roots: given(self.extra_roots).map(|file| dir.join(file)),
        }))
    }
}

impl Witnessing {
    /// Reads the policy; its text goes to VMs as it is.
    pub fn read(&self) -> Result<(Policy, String), String> {
        let wrong = |cause: String| format!("`witness.policy`: {}: {cause}", self.policy.display());
        let mut text = String::new();
        let file = File::open(&self.policy).map_err(|error| wrong(error.to_string()))?;
        let read = file.take(WITNESS_POLICY_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| wrong(error.to_string()))?;
        let policy = Policy::parse(text.as_bytes()).map_err(|bad| wrong(bad.to_string()))?;
        if !policy.asks_for_witnesses() {
            return Err(wrong("its quorum is `none`: name a witness or a group of them".into()));
        }
        if policy.witnesses().len() > WITNESSES_MAX {
            return Err(wrong(format!("a note has room for {WITNESSES_MAX} witnesses")));
        }
        Ok((policy, text))
    }

    /// Whether this level demands a witnessed entry.
    pub fn demands(&self, level: Level) -> bool {
        self.demand.contains(&level)
    }
}
