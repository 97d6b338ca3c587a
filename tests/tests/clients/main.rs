//! Every client that operators use, with everything that SSH offers, through both forms.
//!
//! The README's table is this binary's: a cell is there because a test stands behind it, and a
//! feature without a cell, or a table that says something else, fails. One test for each client
//! has a world of its own and tries all of that client's cells in it, so that all of them share one
//! set of VMs; `BASTION_CELL=rsync` tries one row alone.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod connect_config;
mod desk;
mod dropbear;
mod known_hosts;
mod openssh;
mod plain;
mod putty;
mod regress;
mod scripted;
mod stdio;
mod table;
mod terminal;
mod tools;
mod transfer;

use std::{fs, path::Path};
use table::Column;

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

/// Where the table stands in the README.
const MARKS: [&str; 2] = ["<!-- clients: begin -->\n", "<!-- clients: end -->\n"];

fn columns() -> Vec<Column> {
    vec![
        Column::new("OpenSSH 9.2", openssh::CELLS),
        Column::new("OpenSSH 10 (backports)", openssh::CELLS),
        Column::new("PuTTY 0.78", &[putty::CELLS, plain::CELLS].concat()),
        Column::new("dropbear 2022.83", &[dropbear::CELLS, plain::CELLS].concat()),
        Column::new("paramiko", scripted::PARAMIKO),
        Column::new("asyncssh", scripted::ASYNCSSH),
        Column::new("node ssh2", scripted::SSH2),
    ]
}

#[test]
fn the_readme_has_this_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("README.md");
    let readme = fs::read_to_string(&file).unwrap();
    let table = table::render(&columns());
    let (before, rest) = readme.split_once(MARKS[0]).expect("the README has the first mark");
    let (there, after) = rest.split_once(MARKS[1]).expect("the README has the second mark");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let fresh = format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1]);
        return fs::write(&file, fresh).unwrap();
    }
    assert_eq!(there, table, "the README's table is not what is tried: UPDATE_GOLDEN=1 writes it");
}
