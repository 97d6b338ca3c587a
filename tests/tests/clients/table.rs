//! The table of the README: what is tried with which client, and how it is printed.

use std::{collections::BTreeMap, fmt::Write as _};

/// What an operator may expect of an SSH server, one row each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    Exec,
    Shell,
    Terminal,
    Subsystem,
    Env,
    Signal,
    ExitSignal,
    Stderr,
    HalfClose,
    EarlyData,
    Bytes,
    LongCommand,
    Channels,
    Sharing,
    Rekey,
    OurRekey,
    Keepalive,
    Sftp,
    Scp,
    ScpOld,
    Empty,
    Rsync,
    Sshfs,
    Git,
    Ansible,
    Forwarding,
}

use Feature as F;

impl Feature {
    /// Every row, in the order of the table: the name in scripts, the words in the README.
    pub const ALL: [(Self, &'static str, &'static str); 26] = [
        (F::Exec, "exec", "command, exit status"),
        (F::Shell, "shell", "shell"),
        (F::Terminal, "terminal", "terminal: modes, resize"),
        (F::Subsystem, "subsystem", "subsystem"),
        (F::Env, "env", "environment, by list"),
        (F::Signal, "signal", "signal to the program"),
        (F::ExitSignal, "exit-signal", "end by a signal"),
        (F::Stderr, "stderr", "stderr apart from stdout"),
        (F::HalfClose, "half-close", "either side ends first"),
        (F::EarlyData, "early-data", "data before the reply"),
        (F::Bytes, "bytes", "commands and paths that are not UTF-8"),
        (F::LongCommand, "long-command", "command of 128 KiB"),
        (F::Channels, "channels", "64 channels on one connection"),
        (F::Sharing, "sharing", "connection sharing (ControlMaster)"),
        (F::Rekey, "rekey", "rekey by the client every 16 MiB, under load"),
        (F::OurRekey, "our-rekey", "rekey by the gateway, under load"),
        (F::Keepalive, "keepalive", "keepalives of both sides"),
        (F::Sftp, "sftp", "sftp"),
        (F::Scp, "scp", "scp"),
        (F::ScpOld, "scp-old", "scp, old protocol"),
        (F::Empty, "empty", "file of 0 bytes"),
        (F::Rsync, "rsync", "rsync, with delta"),
        (F::Sshfs, "sshfs", "sshfs"),
        (F::Git, "git", "git clone, push"),
        (F::Ansible, "ansible", "Ansible: pipelining, ControlMaster"),
        (F::Forwarding, "forwarding", "forwarding, where policy permits"),
    ];

    /// Its name in scripts and messages.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(feature, ..)| *feature == self).unwrap().1
    }
}

/// What stands in one cell.
#[derive(Clone, Copy)]
pub enum Cell<T: 'static> {
    /// It is tried, through both forms.
    Tried(T),
    /// The client has no such thing: why, as a footnote.
    Cannot(&'static str),
    /// It is tried elsewhere: the test.
    Elsewhere(&'static str),
}

/// One column: the client as the README names it, and its cells.
pub struct Column {
    pub client: &'static str,
    pub cells: Vec<(Feature, Cell<()>)>,
}

impl Column {
    /// A column of these cells; what exactly is tried does not matter here.
    pub fn new<T>(client: &'static str, cells: &[(Feature, Cell<T>)]) -> Self {
        let plain = |(feature, cell): &(Feature, Cell<T>)| {
            let cell = match cell {
                Cell::Tried(_) => Cell::Tried(()),
                Cell::Cannot(why) => Cell::Cannot(why),
                Cell::Elsewhere(test) => Cell::Elsewhere(test),
            };
            (*feature, cell)
        };
        let column = Self { client, cells: cells.iter().map(plain).collect() };
        for (feature, name, _) in Feature::ALL {
            let count = column.cells.iter().filter(|(of, _)| *of == feature).count();
            assert_eq!(count, 1, "{client}: {count} cells for {name}; every feature has one");
        }
        column
    }

    fn cell(&self, feature: Feature) -> Cell<()> {
        // `new` has counted one for every feature.
        self.cells.iter().find(|(of, _)| *of == feature).unwrap().1
    }
}

/// The table as it stands in the README.
pub fn render(columns: &[Column]) -> String {
    let mut notes = BTreeMap::<&str, usize>::new();
    let mut order = Vec::new();
    let mut table = String::from("| |");
    for column in columns {
        write!(table, " {} |", column.client).unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(columns.len()));
    table.push('\n');
    for (feature, _, words) in Feature::ALL {
        write!(table, "| {words} |").unwrap();
        for column in columns {
            let cell = match column.cell(feature) {
                Cell::Tried(()) => "✓".to_owned(),
                Cell::Elsewhere(test) => format!("[✓]({test})"),
                Cell::Cannot(why) => {
                    let number = *notes.entry(why).or_insert_with(|| {
                        order.push(why);
                        order.len()
                    });
                    format!("{number}")
                }
            };
            write!(table, " {cell} |").unwrap();
        }
        table.push('\n');
    }
    table.push('\n');
    for (index, why) in order.iter().enumerate() {
        writeln!(table, "{}. {why}", index + 1).unwrap();
    }
    table
}
