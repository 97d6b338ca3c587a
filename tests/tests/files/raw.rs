//! A client of sftp that says what it is told to say.

use bastion_tests::world::{Person, World};
use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

/// The parts of a packet.
pub fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes()[..], bytes].concat()
}

/// A packet: its length, its type, its number and its fields.
pub fn packet(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    string(&[&[kind][..], &id.to_be_bytes(), &fields.concat()].concat())
}

/// An `OPEN` without attributes.
pub fn open(id: u32, path: &str, flags: u32) -> Vec<u8> {
    packet(3, id, &[&string(path.as_bytes()), &flags.to_be_bytes(), &[0; 4]])
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub kind: u8,
    pub id: u32,
    pub rest: Vec<u8>,
}

impl Said {
    /// A `STATUS` with this code.
    #[track_caller]
    pub fn is_status(&self, code: u32) -> &Self {
        assert_eq!((self.kind, &self.rest[..4]), (101, &code.to_be_bytes()[..]), "{self:?}");
        self
    }
    /// Its sentence.
    pub fn sentence(&self) -> String {
        String::from_utf8_lossy(&self.rest[8..]).into_owned()
    }
    /// The handle of a `HANDLE`.
    #[track_caller]
    pub fn handle(&self) -> Vec<u8> {
        assert_eq!(self.kind, 102, "{self:?} {}", String::from_utf8_lossy(&self.rest));
        self.rest[4..].to_vec()
    }
}

/// One sftp channel.
pub struct Raw {
    ssh: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Raw {
    /// Opens one as a person, and says INIT.
    pub fn start(world: &World, person: Person, to: &str) -> Self {
        let mut ssh = world.ssh_command(person, &["-s", to, "sftp"]);
        let mut ssh = ssh.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (input, output) = (ssh.stdin.take(), ssh.stdout.take().unwrap());
        let mut raw = Self { ssh, input, output };
        raw.say(&string(&[1, 0, 0, 0, 3]));
        assert_eq!(raw.hear().kind, 2);
        raw
    }

    /// Sends bytes.
    pub fn say(&mut self, bytes: &[u8]) {
        // Whoever cut the channel has its reasons; the answer tells.
        self.input.as_mut().unwrap().write_all(bytes).ok();
    }

    /// The next packet.
    #[track_caller]
    pub fn hear(&mut self) -> Said {
        self.next().expect("the channel ended")
    }

    /// The next packet, unless the channel ends.
    pub fn next(&mut self) -> Option<Said> {
        let mut head = [0; 9];
        self.output.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let mut rest = vec![0; length.checked_sub(5).unwrap()];
        self.output.read_exact(&mut rest).ok()?;
        Some(Said { kind: head[4], id: u32::from_be_bytes(head[5..9].try_into().unwrap()), rest })
    }

    /// Asks and hears.
    pub fn ask(&mut self, bytes: &[u8]) -> Said {
        self.say(bytes);
        self.hear()
    }

    /// Sends no more; what else is said, and on standard error.
    pub fn end(mut self) -> (Vec<Said>, String) {
        drop(self.input.take());
        let rest = std::iter::from_fn(|| self.next()).collect();
        let mut errors = String::new();
        self.ssh.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        self.ssh.wait().unwrap();
        (rest, errors)
    }
}
