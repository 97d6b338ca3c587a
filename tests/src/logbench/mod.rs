//! The log's speed, measured beside what its disk can do.
//!
//! In order: [`options`] says what to measure; [`store`] makes a log of as many entries as were
//! asked for ([`story`] tells what they say) by the product's own writer, indexes and publishes
//! it, or takes one that an earlier run left; each of [`measures`] takes its figures, with the
//! disk's own limit ([`base`]) taken in between; [`report`] tells what came out, beside what must
//! be shown. `tests/bench/LOG.md` says how to run it and what it showed.

pub mod base;
pub mod measures;
pub mod options;
pub mod report;
pub mod store;
pub mod story;

use crate::bench::machine::Host;
use clap::Parser as _;
use options::{Mode, Options};
use report::Row;
use std::{fs, process::ExitCode};

/// Measures as the command line says.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(mode) = &options.mode {
        runtime.block_on(measures::child(mode));
        return ExitCode::SUCCESS;
    }
    let host = Host::now(&options.build(), options.parent());
    println!("{}", host.sentence());
    let rows = runtime.block_on(measure(&options, &host));
    println!("\n{}", report::markdown(&host, &rows));
    let failed = rows.iter().any(|row| row.value.is_none());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

async fn measure(options: &Options, host: &Host) -> Vec<Row> {
    let scratch = options.scratch();
    fs::create_dir_all(&scratch).unwrap();
    let mut rows = Vec::new();
    for measure in measures::ALL.iter().filter(|measure| options.wants(measure.name)) {
        for row in (measure.run)(options).await {
            println!("{}", report::progress(&row));
            rows.push(row);
        }
        // What has been measured is kept, should the rest not come to its end.
        report::keep(options, host, &rows);
    }
    fs::remove_dir_all(&scratch).unwrap();
    if options.keep.is_none() && options.filled().exists() {
        fs::remove_dir_all(options.filled()).unwrap();
    }
    rows
}

/// Runs this program as another process, for a measure that takes one.
pub fn ourselves(mode: &Mode) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(mode.words());
    command
}
