//! One bastion with its VMs and people, for one test.

use crate::{folder::new_folder, log::Log, postgres::Cluster};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long a world may take to be ready, on a machine that does much else.
const READY_SECONDS_MAX: u64 = 120;
/// How long any one command may take; a hang is a failure, not a wait.
const COMMAND_SECONDS_MAX: &str = "90";
/// What customers sign for, in the demo.
pub const ORIGIN: &str = "bastion.demo";

/// A person's ssh_config in the demo's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Person {
    /// The trained operator.
    Olga,
    /// The operator whose training lapsed.
    Otto,
    /// The security officer.
    Odile,
    /// The approver of acme.
    Acme,
    /// The approver of globex.
    Globex,
}

impl Person {
    /// Their ssh_config.
    pub fn config(self) -> &'static str {
        match self {
            Self::Olga => "ssh_config",
            Self::Otto => "ssh_config.otto",
            Self::Odile => "ssh_config.officer",
            Self::Acme => "ssh_config.acme",
            Self::Globex => "ssh_config.globex",
        }
    }
    /// Their private key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Olga => "keys/olga",
            Self::Otto => "keys/otto",
            Self::Odile => "keys/odile",
            Self::Acme => "keys/acme-approver",
            Self::Globex => "keys/globex-approver",
        }
    }
}

/// What a command answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit status; -1 for a signal.
    pub exit: i32,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error, as text.
    pub err: String,
}

impl Answer {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
    /// Fails the test unless the exit status is this.
    #[track_caller]
    pub fn exits(self, exit: i32) -> Self {
        assert_eq!(self.exit, exit, "out: {}\nerr: {}", self.text(), self.err);
        self
    }
    /// Fails the test unless standard error says this.
    #[track_caller]
    pub fn complains(self, of: &str) -> Self {
        assert!(self.err.contains(of), "no {of:?} in: {}", self.err);
        self
    }
    /// Fails the test unless standard output says this.
    #[track_caller]
    pub fn says(self, what: &str) -> Self {
        let text = self.text();
        assert!(text.contains(what), "no {what:?} in: {text}\nerr: {}", self.err);
        self
    }
    /// The answer as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// A bastion on loopback with its VMs and people; ends with the test.
pub struct World {
    dir: PathBuf,
    binary: PathBuf,
    database: Option<Cluster>,
    demo: Option<Child>,
    small_disk: bool,
}

impl World {
    /// Starts one; without a database it is on SQLite, in its own folder.
    pub fn start(binary: &str, database: Option<Cluster>) -> Self {
        Self::lay(binary, database, false)
    }

    /// Starts one on SQLite whose log can be broken: as root, on a small disk of its own.
    pub fn on_a_small_disk(binary: &str) -> Self {
        Self::lay(binary, None, true)
    }

    fn lay(binary: &str, database: Option<Cluster>, small_disk: bool) -> Self {
        let dir = new_folder("test");
        let binary = PathBuf::from(binary);
        let mut world = Self { dir, binary, database, demo: None, small_disk };
        if small_disk {
            let options = ["-t", "tmpfs", "-o", "size=800m", "small"];
            world.mounted("mount", &options);
        }
        world.begin();
        world
    }

    fn mounted(&self, program: &str, options: &[&str]) {
        let done = Command::new(program).args(options).arg(&self.dir).status().unwrap();
        assert!(done.success(), "{program} {options:?}: needs root");
    }

    /// Takes the log away: the database server, or the room on the disk.
    pub fn break_log(&mut self) {
        match &mut self.database {
            Some(database) => database.stop(),
            None => {
                assert!(self.small_disk, "only a world on a small disk can be filled");
                // Ends with "no space left", as it should; in ever smaller pieces, to the last.
                for piece in ["1M", "4k", "1"] {
                    let full = format!("dd if=/dev/zero bs={piece} >> full 2>/dev/null");
                    let mut fill = Command::new("sh");
                    fill.args(["-c", &full]).current_dir(&self.dir).status().unwrap();
                }
            }
        }
    }

    /// Gives the log back.
    pub fn mend_log(&mut self) {
        match &mut self.database {
            Some(database) => database.start_again(),
            None => fs::remove_file(self.dir.join("full")).unwrap(),
        }
    }

    /// Starts the demo again if it has ended, as the gateway does when it cannot know whether a
    /// commit held.
    pub fn begin_again_if_ended(&mut self) {
        let demo = self.demo.as_mut().expect("the demo ran");
        if demo.try_wait().unwrap().is_some() {
            self.demo = None;
            self.begin();
        }
    }

    /// Starts the demo in its folder, for the first time or again.
    pub fn begin(&mut self) {
        let ready = self.dir.with_extension("ready");
        let mut command = Command::new(&self.binary);
        command.args(["demo", "--dir"]).arg(&self.dir).arg("--ready-file").arg(&ready);
        if let Some(database) = &self.database {
            command.args(["--store", &database.url()]);
        }
        let mut demo = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let give_up = Instant::now() + Duration::from_secs(READY_SECONDS_MAX);
        while !ready.exists() {
            if let Some(status) = demo.try_wait().unwrap() {
                panic!("the demo ended: {status}\n{}", self.gateway_log());
            }
            assert!(Instant::now() < give_up, "the demo is not ready\n{}", self.gateway_log());
            std::thread::sleep(Duration::from_millis(20));
        }
        fs::remove_file(&ready).unwrap();
        self.demo = Some(demo);
    }

    /// The demo's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The demo's process.
    pub fn pid(&self) -> Pid {
        let demo = self.demo.as_ref().expect("the demo runs");
        Pid::from_raw(i32::try_from(demo.id()).unwrap())
    }

    /// Ends the demo as a crash would.
    pub fn kill(&mut self) {
        let mut demo = self.demo.take().expect("the demo runs");
        demo.kill().unwrap();
        demo.wait().unwrap();
    }

    /// Ends the demo in order.
    pub fn stop(&mut self) {
        let pid = self.pid();
        kill(pid, Signal::SIGTERM).unwrap();
        let mut demo = self.demo.take().expect("the demo runs");
        let status = demo.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.gateway_log());
    }

    /// Any program with the world's folder as its own, and `bastion` on its path.
    pub fn program(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .args(["-k", "1", COMMAND_SECONDS_MAX, program])
            .args(words)
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", self.dir.join("bin").display()))
            .env("BASTION_CONFIG", self.dir.join("bastion.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: &str, words: &[&str]) -> Answer {
        finish(self.program(program, words), &[])
    }

    /// `ssh` as a person.
    pub fn ssh(&self, person: Person, words: &[&str]) -> Answer {
        self.ssh_with(person, words, &[])
    }

    /// `ssh` as a person, with this on standard input.
    pub fn ssh_with(&self, person: Person, words: &[&str], input: &[u8]) -> Answer {
        finish(self.ssh_command(person, words), input)
    }

    /// `ssh` as a person, not started yet.
    pub fn ssh_command(&self, person: Person, words: &[&str]) -> Command {
        self.program("ssh", &[&["-F", person.config()], words].concat())
    }

    /// `ssh bastion COMMAND` as a person; must succeed.
    #[track_caller]
    pub fn order(&self, person: Person, command: &str) -> Answer {
        self.ssh(person, &["bastion", command]).exits(0)
    }

    /// A connection of this person that stays open, for many commands in a row.
    pub fn connection(&self, person: Person) -> Connection<'_> {
        let socket = format!("cm-{person:?}");
        let words = ["-o", "ControlMaster=yes", "-S", &socket, "-N", "-f", "bastion"];
        let mut master = self.ssh_command(person, &words);
        // It stays in the background, and would hold a pipe of ours open.
        master.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(master.status().unwrap().success(), "{person:?} cannot connect");
        Connection { world: self, person, socket }
    }

    /// `bastion …` on the gateway's machine.
    pub fn bastion(&self, words: &[&str]) -> Answer {
        self.run("bastion", words)
    }

    /// The log as it is now, read by `bastion audit export`.
    #[track_caller]
    pub fn log(&self) -> Log {
        Log::parse(&self.bastion(&["audit", "export"]).exits(0).text())
    }

    /// Asks for the data account of a VM; the ticket.
    #[track_caller]
    pub fn request(&self, vm: &str) -> String {
        let asked = format!(
            "request {vm} --account dba --reason CUSTOMER_REQUEST --case ZD-1 --for 1h --json \
             --note a test"
        );
        let answer = self.order(Person::Olga, &asked).json();
        answer["ticket"].as_str().expect("a ticket").to_owned()
    }

    /// The customer reads and signs a ticket's statement; the armoured signature.
    #[track_caller]
    pub fn sign(&self, approver: Person, ticket: &str) -> Vec<u8> {
        let statement = self.order(approver, &format!("consent statement {ticket}")).out;
        self.sign_bytes(approver, &format!("operator-consent@{ORIGIN}"), &statement)
    }

    /// `ssh-keygen -Y sign` over any bytes.
    #[track_caller]
    pub fn sign_bytes(&self, person: Person, namespace: &str, bytes: &[u8]) -> Vec<u8> {
        let words = ["-Y", "sign", "-f", person.key(), "-n", namespace];
        let done = finish(self.program("ssh-keygen", &words), bytes);
        done.exits(0).out
    }

    /// A request that the customer granted; the ticket.
    #[track_caller]
    pub fn consent(&self, vm: &str) -> String {
        let approver = if vm.ends_with(".acme") { Person::Acme } else { Person::Globex };
        let ticket = self.request(vm);
        let signature = self.sign(approver, &ticket);
        let decide = format!("consent decide {ticket}");
        self.ssh_with(approver, &["bastion", &decide], &signature).exits(0);
        ticket
    }

    /// What the gateway said about itself, for the message of a failed test.
    pub fn gateway_log(&self) -> String {
        let text = fs::read_to_string(self.dir.join("gateway.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

/// An open connection of a person.
pub struct Connection<'a> {
    world: &'a World,
    person: Person,
    socket: String,
}

impl Connection<'_> {
    /// `ssh bastion COMMAND` on it.
    pub fn command(&self, command: &str, input: &[u8]) -> Answer {
        self.world.ssh_with(self.person, &["-S", &self.socket, "bastion", command], input)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.world.ssh(self.person, &["-S", &self.socket, "-O", "exit", "bastion"]);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log ends with:\n{}", self.gateway_log());
        }
        if let Some(mut demo) = self.demo.take() {
            let pid = Pid::from_raw(i32::try_from(demo.id()).unwrap());
            kill(pid, Signal::SIGTERM).unwrap();
            let give_up = Instant::now() + Duration::from_secs(20);
            while demo.try_wait().unwrap().is_none() {
                if Instant::now() > give_up {
                    demo.kill().unwrap();
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if self.small_disk {
            self.mounted("umount", &["-l"]);
        }
        if !std::thread::panicking() && self.dir.exists() {
            fs::remove_dir_all(&self.dir).unwrap();
        }
    }
}

/// Runs a command to its end, giving it `input`.
pub fn finish(mut command: Command, input: &[u8]) -> Answer {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(|| {
            if let Some(mut stdin) = stdin {
                // Who ends without reading everything has its reasons; its exit status tells.
                stdin.write_all(input).ok();
            }
        });
        child.wait_with_output().unwrap()
    });
    Answer {
        exit: output.status.code().unwrap_or(-1),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, seconds: u64, mut is_so: impl FnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(seconds);
    while !is_so() {
        assert!(Instant::now() < give_up, "waited {seconds} s for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
