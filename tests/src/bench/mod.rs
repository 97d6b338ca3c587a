//! The relay's speed, measured beside what people would use instead.
//!
//! In order: [`options`] says what to measure; [`stage`] sets up a gateway (the real binary), an
//! OpenSSH jump host and two VMs (real sshd) in a network of their own ([`net`]); each of
//! [`measures`] takes samples of the four forms ([`form`]) in turn, so that whatever else the
//! machine does bears on all alike; [`table`] tells what came out, beside what the issue asks for
//! ([`row`]), and on which [`machine`]. `tests/bench/README.md` says how to run it.

pub mod child;
pub mod form;
pub mod gateway;
pub mod machine;
pub mod measures;
pub mod net;
pub mod options;
pub mod row;
pub mod sshd;
pub mod stage;
pub mod standin;
pub mod sweeper;
pub mod table;

use clap::Parser as _;
use machine::Machine;
use options::Options;
use row::Row;
use stage::Stage;
use std::{fs, process::ExitCode};
use sweeper::Sweeper;

/// Measures as the command line says.
pub fn main() -> ExitCode {
    let options = Options::parse();
    if let Some(stand_in) = &options.stand_in {
        stand_in.run();
        return ExitCode::SUCCESS;
    }
    let plan = options.plan();
    let machine = Machine::now(&options);
    println!("{}", machine.sentence());
    let dir = options.dir();
    fs::create_dir_all(&dir).unwrap();
    let _sweeper = Sweeper::wait(&dir);
    let mut stage = Stage::set_up(&options.binary(), &dir, plan.recording);
    if options.stay {
        println!("the stage is up in {}; Enter ends it", dir.display());
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return ExitCode::SUCCESS;
    }
    let mut rows = Vec::new();
    for measure in measures::ALL.iter().filter(|measure| options.wants(measure.name)) {
        for row in (measure.run)(&mut stage, &plan) {
            println!("{}", table::progress(&row));
            rows.push(row);
        }
        // What has been measured is kept, should the rest not come to its end.
        keep(&options, &machine, &rows);
        assert!(stage.gateway.lives(), "the gateway ended: see {}/gateway.log", dir.display());
    }
    drop(stage);
    println!("\n{}", table::markdown(&machine, &rows));
    fs::remove_dir_all(&dir).unwrap();
    let failed = rows.iter().flat_map(|row| row.figures.values()).any(|f| f.value.is_none());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Writes the reports that were asked for.
fn keep(options: &Options, machine: &Machine, rows: &[Row]) {
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&table::json(machine, rows)).unwrap();
        fs::write(file, text + "\n").unwrap();
    }
    if let Some(file) = &options.table {
        fs::write(file, table::markdown(machine, rows)).unwrap();
    }
}
