//! Clients that are libraries: each is driven by a script of ours, in its own language.
//!
//! A script is given the form, the world's addresses and the names of the cells, and prints a line
//! for each: `ok NAME`, or `failed NAME: why`.

use crate::{
    desk::{self, FORMS, Form},
    table::{Cell, Cell::Cannot, Cell::Tried, Feature, Feature as F},
};
use bastion_tests::world::{World, finish};

/// A cell of a script.
type Cells = &'static [(Feature, Cell<()>)];

const NO_SHARING: &str = "The library opens many channels on one connection by itself.";
const OTHER_PROGRAM: &str = "Not a thing of this client.";
const IN_FORWARDS: &str = "Tried with OpenSSH.";

pub const PARAMIKO: Cells = &[
    (F::Exec, Tried(())),
    (F::Shell, Tried(())),
    (F::Terminal, Tried(())),
    (F::Subsystem, Tried(())),
    (F::Env, Tried(())),
    (F::Signal, Tried(())),
    (F::ExitSignal, Tried(())),
    (F::Stderr, Tried(())),
    (F::HalfClose, Tried(())),
    (F::EarlyData, Tried(())),
    (F::Bytes, Tried(())),
    (F::LongCommand, Tried(())),
    (F::Channels, Tried(())),
    (F::Sharing, Cannot(NO_SHARING)),
    (F::Rekey, Tried(())),
    (F::OurRekey, Tried(())),
    (F::Keepalive, Tried(())),
    (F::Sftp, Tried(())),
    (F::Scp, Cannot(OTHER_PROGRAM)),
    (F::ScpOld, Cannot(OTHER_PROGRAM)),
    (F::Empty, Tried(())),
    (F::Rsync, Cannot(OTHER_PROGRAM)),
    (F::Sshfs, Cannot(OTHER_PROGRAM)),
    (F::Git, Cannot(OTHER_PROGRAM)),
    (F::Ansible, Cannot(OTHER_PROGRAM)),
    (F::Forwarding, Cannot(IN_FORWARDS)),
];

#[test]
fn paramiko() {
    let python = desk::tools().join("venv/bin/python").display().to_string();
    let world = desk::world();
    run(&world, &[&python, "paramiko_client.py"], PARAMIKO);
    desk::every_channel_is_on_record(&world);
}

fn run(world: &World, program: &[&str; 2], cells: Cells) {
    let only = std::env::var("BASTION_CELL").ok();
    let names: Vec<&str> = cells
        .iter()
        .filter(|(_, cell)| matches!(cell, Tried(())))
        .map(|(feature, _)| feature.name())
        .filter(|name| only.as_ref().is_none_or(|only| only == name))
        .collect();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let runs = FORMS.map(|form| {
            let names = &names;
            scope.spawn(move || one_form(world, form, program, names))
        });
        runs.into_iter().flat_map(|run| run.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
}

/// The cells that failed through one form.
fn one_form(
    world: &World,
    form: Form,
    [program, script]: &[&str; 2],
    names: &[&str],
) -> Vec<String> {
    let script = desk::scripts().join(script).display().to_string();
    let mut command = world.program(program, &[&[script.as_str()], names].concat());
    command
        .env("BASTION_FORM", form.word())
        .env("BASTION_VM", form.vm())
        .env("BASTION_PORT", desk::port(world))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NODE_PATH", desk::tools().join("node_modules"));
    let answer = finish(command, &[]);
    let (said, word) = (answer.text(), form.word());
    println!("{word}:\n{said}");
    let works = |name: &&str| said.lines().any(|line| line.starts_with(&format!("ok {name} ")));
    let why = |name: &str| {
        let head = format!("failed {name}: ");
        let lines: Vec<&str> = said.lines().filter(|line| line.starts_with(&head)).collect();
        match lines.as_slice() {
            [] => format!("{word} {name}: no word of it; exit {}: {}", answer.exit, answer.err),
            lines => format!("{word} {}", lines.join("\n")),
        }
    };
    names.iter().filter(|name| !works(name)).map(|name| why(name)).collect()
}
