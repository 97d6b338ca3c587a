//! An operator's desk: one world with its clients, and the two forms of reaching a VM from it.

use crate::table::{Cell, Feature};
use bastion_tests::world::{Answer, Person::Olga, World, finish};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The ways to a VM. Each form has a VM of its own, so that both can be tried at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `ssh ops+VM@bastion`.
    Plus,
    /// `ssh -J bastion ops@VM`.
    Jump,
}

pub const FORMS: [Form; 2] = [Form::Plus, Form::Jump];

impl Form {
    /// The VM that is reached this way here.
    pub fn vm(self) -> &'static str {
        match self {
            Self::Plus => "pg-1.acme",
            Self::Jump => "pg-2.acme",
        }
    }
    /// The word that scripts know it by.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plus => "plus",
            Self::Jump => "jump",
        }
    }
    /// `[USER@]HOST` as scp, rsync and their like take it, with olga's configuration.
    pub fn host(self) -> String {
        match self {
            Self::Plus => format!("ops+{}@bastion", self.vm()),
            Self::Jump => format!("ops@{}", self.vm()),
        }
    }
}

/// What was fetched for these tests, and where it is.
pub fn tools() -> &'static Path {
    static TOOLS: OnceLock<PathBuf> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients.sh");
        let done = Command::new(script).arg(&folder).status().unwrap();
        assert!(done.success(), "tests/clients.sh could not fetch the clients: see above");
        folder
    })
}

/// The folder with our scripts for clients that are libraries.
pub fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/scripts")
}

/// One form, in one world.
#[derive(Clone, Copy)]
pub struct Desk<'a> {
    pub world: &'a World,
    pub form: Form,
    /// The folder of the OpenSSH programs; empty for those of the system.
    pub openssh: &'a str,
}

impl Desk<'_> {
    /// The path of an OpenSSH program.
    pub fn openssh(&self, program: &str) -> String {
        match self.openssh {
            "" => program.to_owned(),
            folder => format!("{folder}/{program}"),
        }
    }

    /// `ssh` with olga's configuration to the VM, options first.
    pub fn ssh_command(&self, options: &[&str], command: &[&str]) -> Command {
        let (program, host) = (self.openssh("ssh"), self.form.host());
        let words = [&["-F", "ssh_config"], options, &[&host], command].concat();
        self.world.program(&program, &words)
    }

    /// Runs a command on the VM with `ssh`.
    pub fn ssh(&self, command: &str) -> Answer {
        finish(self.ssh_command(&[], &[command]), &[])
    }

    /// The same, with this on standard input.
    pub fn ssh_with(&self, command: &str, input: &[u8]) -> Answer {
        finish(self.ssh_command(&[], &[command]), input)
    }

    /// A file of this form in the world's folder; both forms may run at once.
    pub fn file(&self, name: &str) -> String {
        format!("{name}.{}", self.form.word())
    }

    /// Its path.
    pub fn path(&self, name: &str) -> PathBuf {
        self.world.dir().join(self.file(name))
    }

    /// Writes a file of this form; its name.
    pub fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.path(name), bytes).unwrap();
        self.file(name)
    }

    /// Reads one.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }
}

/// The port of the world's gateway.
pub fn port(world: &World) -> String {
    let config = fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let port = config.lines().find_map(|line| line.trim().strip_prefix("Port "));
    port.unwrap().to_owned()
}

/// A world whose gateway renews its keys every 16 MiB and asks idle peers every five seconds.
pub fn world() -> World {
    let mut world = World::start(crate::BASTION, None);
    world.stop();
    let file = world.dir().join("bastion.toml");
    let text = fs::read_to_string(&file).unwrap();
    let mut replaced = text;
    for (setting, by) in [
        ("#x login_grace_seconds = 60", "login_grace_seconds = 5"),
        ("#x keepalive_seconds = 15", "keepalive_seconds = 1"),
        ("#x rekey_mib = 65536", "rekey_mib = 16"),
    ] {
        assert!(replaced.contains(setting), "no {setting} in bastion.toml");
        replaced = replaced.replace(setting, by);
    }
    fs::write(&file, replaced).unwrap();
    world.begin();
    world
}

/// What is tried in a cell.
pub type Trial = fn(Desk<'_>);

/// Tries every cell through both forms at once, and fails with all that did not work.
pub fn try_all(world: &World, openssh: &str, cells: &[(Feature, Cell<Trial>)]) {
    let only = std::env::var("BASTION_CELL").ok();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let both = FORMS.map(|form| {
            let desk = Desk { world, form, openssh };
            let only = &only;
            scope.spawn(move || {
                let mut failed = Vec::new();
                for (feature, cell) in cells {
                    let Cell::Tried(trial) = cell else { continue };
                    if only.as_ref().is_some_and(|only| only != feature.name()) {
                        continue;
                    }
                    let began = std::time::Instant::now();
                    let outcome = catch_unwind(AssertUnwindSafe(|| trial(desk)));
                    let (name, took) = (feature.name(), began.elapsed().as_millis());
                    println!("{} {name}: {took} ms", form.word());
                    if let Err(panic) = outcome {
                        failed.push(format!("{} {name}: {}", form.word(), said(&*panic)));
                    }
                }
                failed
            })
        });
        both.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
}

fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?")
}

/// Every channel of a world that is over has its whole story in the log: nothing that a client did
/// here went past it.
pub fn every_channel_is_on_record(world: &World) {
    let log = world.log();
    let granted = log.events("access.granted");
    assert!(!granted.is_empty());
    bastion_tests::world::until("every channel to be closed", 20, || {
        let log = world.log();
        log.events("access.granted").len() == log.events("channel.closed").len()
    });
    world.ssh(Olga, &["bastion", "whoami"]).exits(0).says("olga");
}
