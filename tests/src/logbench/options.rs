//! What to measure, and how much of it.

use std::path::{Path, PathBuf};

/// Measures the log beside what its disk can do.
#[derive(Debug, clap::Parser)]
pub struct Options {
    /// Measure only these (see LOG.md); all if left out
    #[arg(long = "only", value_name = "MEASURE", value_delimiter = ',')]
    only: Vec<String>,
    /// How many entries the log has where its size matters
    #[arg(long, default_value_t = 10_000_000)]
    pub entries: u64,
    /// Callers that wait at once
    #[arg(long, default_value_t = 512)]
    pub callers: usize,
    /// How long each rate is measured
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Keep the filled log in this folder, and take it from there where it is
    #[arg(long, value_name = "FOLDER")]
    pub keep: Option<PathBuf>,
    /// A small sample of each: shows that it works, and no figure worth quoting
    #[arg(long)]
    pub quick: bool,
    /// Write the figures there as well
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the table there as well
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// What the build is called
    #[arg(long)]
    commit: Option<String>,
    /// A folder on a real disk, in which to make one for all of it
    #[arg(long, value_name = "FOLDER", default_value = "/var/tmp")]
    parent: PathBuf,
    /// What it does instead
    #[command(subcommand)]
    pub mode: Option<Mode>,
}

/// A part of a measure that is a process of its own.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Mode {
    /// Appends one entry after the other
    #[command(hide = true)]
    Appends {
        /// The folder of its log
        folder: PathBuf,
        /// How many
        count: usize,
    },
    /// Appends as one gateway of several, for a while: prints the waits in microseconds
    #[command(hide = true)]
    Gateway {
        /// The store that all share
        store: String,
        /// The keys that all share
        keys: String,
        /// Its number
        number: u64,
        /// Its callers
        callers: usize,
        /// How long
        seconds: u64,
    },
    /// Opens a log that stands there and appends to it: prints how long each part took
    #[command(hide = true)]
    Start {
        /// The folder of the log
        folder: PathBuf,
    },
}

impl Mode {
    /// As a command line.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Appends { folder, count } => {
                vec!["appends".into(), folder.display().to_string(), count.to_string()]
            }
            Self::Gateway { store, keys, number, callers, seconds } => {
                let numbers = [*number, *callers as u64, *seconds].map(|number| number.to_string());
                ["gateway", store, keys].map(str::to_owned).into_iter().chain(numbers).collect()
            }
            Self::Start { folder } => vec!["start".into(), folder.display().to_string()],
        }
    }
}

impl Options {
    /// Whether a measure is asked for.
    pub fn wants(&self, measure: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| name == measure)
    }

    /// So many, or so few of a quick sample.
    pub fn count(&self, many: usize, few: usize) -> usize {
        if self.quick { few } else { many }
    }

    /// What the table calls the build.
    pub fn build(&self) -> String {
        self.commit.clone().unwrap_or_else(|| "an unnamed commit".into())
    }

    /// The folder on a real disk.
    pub fn parent(&self) -> &Path {
        &self.parent
    }

    /// The folder of what no other run needs.
    pub fn scratch(&self) -> PathBuf {
        self.parent.join(format!("ledger-bench-{}", std::process::id()))
    }

    /// The folder of the filled log.
    pub fn filled(&self) -> PathBuf {
        let own = || self.parent.join(format!("ledger-bench-{}-filled", std::process::id()));
        self.keep.clone().unwrap_or_else(own)
    }
}
