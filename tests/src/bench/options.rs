//! What to measure, how often, and how much of it.

use super::{form::Distance, gateway::Recording, standin::StandIn};
use std::path::{Path, PathBuf};

/// Measures the relay beside OpenSSH direct and through a jump host.
#[derive(Debug, clap::Parser)]
pub struct Options {
    /// Measure only these (see README.md); all if left out
    #[arg(long = "only", value_name = "MEASURE", value_delimiter = ',')]
    only: Vec<String>,
    /// Over these distances
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = DISTANCES)]
    over: Vec<Distance>,
    /// Rounds of each measure; over a distance a third of them
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// A small sample of each: shows that it works, and no figure worth quoting
    #[arg(long)]
    quick: bool,
    /// Idle sessions on one process
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Write the figures there as well
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table there as well
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// The bastion to measure; the one built beside this program if left out
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// What the build is called, where it is the one beside this program
    #[arg(long)]
    commit: Option<String>,
    /// A folder on a real disk, in which to make one for all of it
    #[arg(long, value_name = "FOLDER", default_value = "/var/tmp")]
    parent: PathBuf,
    /// Set everything up, then wait for Enter instead of measuring
    #[arg(long)]
    pub stay: bool,
    /// How the gateway records, where a measure does not say so itself
    #[arg(long, value_enum, default_value_t = Recording::Full)]
    recording: Recording,
    /// What it does instead
    #[command(subcommand)]
    pub stand_in: Option<StandIn>,
}

const DISTANCES: [Distance; 3] = [Distance::Near, Distance::FarOperator, Distance::FarVm];

/// How much of everything.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds of each measure.
    pub rounds: usize,
    /// A small sample only.
    pub quick: bool,
    /// Over which distances.
    pub over: Vec<Distance>,
    /// Idle sessions on one process.
    pub idle: usize,
    /// How the gateway records.
    pub recording: Recording,
}

impl Plan {
    /// So many, or so few of a quick sample.
    pub fn count(&self, many: usize, few: usize) -> usize {
        if self.quick { few } else { many }
    }

    /// Rounds over a distance: what takes a hundred times as long is taken fewer times.
    pub fn rounds_over(&self, distance: Distance) -> usize {
        match distance {
            Distance::Near => self.rounds,
            _ => (self.rounds / 3).max(1),
        }
    }

    /// The distances that are asked for, of those that a measure makes sense over.
    pub fn distances<'a>(&'a self, of: &'a [Distance]) -> impl Iterator<Item = Distance> + 'a {
        of.iter().copied().filter(|distance| self.over.contains(distance))
    }
}

impl Options {
    /// How much of everything.
    pub fn plan(&self) -> Plan {
        Plan {
            rounds: if self.quick { 1 } else { self.rounds },
            quick: self.quick,
            over: self.over.clone(),
            idle: if self.quick { 20 } else { self.idle },
            recording: self.recording,
        }
    }

    /// Whether a measure is asked for.
    pub fn wants(&self, measure: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == measure)
    }

    /// The bastion to measure.
    pub fn binary(&self) -> PathBuf {
        let ours = std::env::current_exe().unwrap();
        self.binary.clone().unwrap_or_else(|| ours.with_file_name("bastion"))
    }

    /// What the table calls the bastion: its commit, if that is known, and its digest.
    pub fn build(&self) -> String {
        let bytes = std::fs::read(self.binary()).unwrap();
        let digest = audit_schema::hash::Hash::of(&bytes).to_string();
        match self.commit.as_ref().filter(|_| self.binary.is_none()) {
            Some(commit) => format!("{commit}, SHA-256 {}", &digest[..12]),
            None => format!("a bastion with SHA-256 {}", &digest[..12]),
        }
    }

    /// Where the folder of all of it is made.
    pub fn parent(&self) -> &Path {
        &self.parent
    }

    /// The folder of all of it.
    pub fn dir(&self) -> PathBuf {
        self.parent.join(format!("relay-bench-{}", std::process::id()))
    }
}
