//! Clients that are libraries: each is driven by a script of ours, in its own language.
//!
//! A script is given the form, the world's addresses and the names of the cells, and prints a line
//! for each: `ok NAME`, or `failed NAME: why`.

use crate::{
    desk::{self, FORMS, Form},
    table::{Cell, Cell::Cannot, Cell::Tried, Feature, Feature as F},
};
use bastion_tests::world::{World, finish};

/// The cells of a script, named by their feature.
type Cells = &'static [Row];
type Row = (Feature, Cell<()>);

const NOT_ITS_THING: &str = "Not a thing of this client.";

/// Paramiko can do all of it.
pub const PARAMIKO: Cells = &cells([Tried(()); 4], Cannot(NOT_ITS_THING));

/// Asyncssh has an scp of its own.
pub const ASYNCSSH: Cells = &cells([Tried(()); 4], Tried(()));

/// What node's ssh2 has no call for.
pub const SSH2: Cells = &cells(
    [
        Tried(()),
        Cannot("The library waits for the reply."),
        Tried(()),
        Cannot("The library asks for no new keys."),
    ],
    Cannot(NOT_ITS_THING),
);

/// The cells of a library: some differ (signals, early data, bytes, its own rekeying; scp).
const fn cells([signal, early, bytes, rekey]: [Cell<()>; 4], scp: Cell<()>) -> [Row; 26] {
    [
        (F::Exec, Tried(())),
        (F::Shell, Tried(())),
        (F::Terminal, Tried(())),
        (F::Subsystem, Tried(())),
        (F::Env, Tried(())),
        (F::Signal, signal),
        (F::ExitSignal, Tried(())),
        (F::Stderr, Tried(())),
        (F::HalfClose, Tried(())),
        (F::EarlyData, early),
        (F::Bytes, bytes),
        (F::LongCommand, Tried(())),
        (F::Channels, Tried(())),
        (F::Sharing, Cannot("The library opens many channels on one connection by itself.")),
        (F::Rekey, rekey),
        (F::OurRekey, Tried(())),
        (F::Keepalive, Tried(())),
        (F::Sftp, Tried(())),
        (F::Scp, Cannot(NOT_ITS_THING)),
        (F::ScpOld, scp),
        (F::Empty, Tried(())),
        (F::Rsync, Cannot(NOT_ITS_THING)),
        (F::Sshfs, Cannot(NOT_ITS_THING)),
        (F::Git, Cannot(NOT_ITS_THING)),
        (F::Ansible, Cannot(NOT_ITS_THING)),
        (F::Forwarding, Cannot("Tried with OpenSSH.")),
    ]
}

#[test]
fn paramiko() {
    library(&["venv/bin/python", "paramiko_client.py"], PARAMIKO);
}

#[test]
fn asyncssh() {
    library(&["venv/bin/python", "asyncssh_client.py"], ASYNCSSH);
}

#[test]
fn node_ssh2() {
    library(&["node", "ssh2_client.js"], SSH2);
}

fn library([program, script]: &[&str; 2], cells: Cells) {
    let fetched = desk::tools().join(program);
    let program = if fetched.exists() { fetched.display().to_string() } else { (*program).into() };
    let world = desk::world();
    run(&world, &[&program, script], cells);
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
