//! `audit-verify`: does what I was given hold? Offline, from this crate alone.
//!
//! ```text
//! audit-verify export FILE                     all lines of a log, from entry 0
//! audit-verify tiles DIR --vkey KEY            a published tree, entry by entry
//! audit-verify proof FILE --vkey KEY           one entry's tlog-proof
//! audit-verify customer FILE                   one customer's export
//! ```
//!
//! It asks nobody and writes nothing. What it says on the standard output is what it checked; what
//! does not hold is named, with where. Exit status: 0 it holds, 1 a file could not be read, 2 wrong
//! usage, 4 it does not hold.

mod customer;
mod export;
mod proof;
mod say;
mod tiles;

use audit_schema::{
    checkpoint::{self, Checkpoint, Vkey},
    policy::Policy,
};
use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
usage: audit-verify export FILE [--checkpoint FILE --vkey KEY] [--policy FILE] [--any-entries]
       audit-verify tiles DIR --vkey KEY [--policy FILE] [--any-entries]
       audit-verify proof FILE --vkey KEY [--policy FILE] [--entry FILE] [--any-entries]
       audit-verify customer FILE [--vkey KEY] [--policy FILE]

KEY is the log's public key as name+id+base64, or a file with it: get it from somewhere else than
what you verify. A policy file (c2sp.org/tlog-policy) says which witnesses must have cosigned.
--any-entries: the entries are not this product's, so only the tree is checked, not the chain.

exit status: 0 it holds, 1 a file cannot be read, 2 wrong usage, 4 it does not hold";

/// The longest file that is read whole: notes, policies, proofs. Exports are read line by line.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// Why it ends other than well.
enum Stop {
    /// Exit status 2.
    Usage(String),
    /// Exit status 1.
    Unread(String),
    /// Exit status 4.
    Broken(String),
}

impl Stop {
    fn broken(what: impl ToString) -> Self {
        Self::Broken(what.to_string())
    }
}

/// One of the four things that can be verified.
type Verify = fn(&Ask) -> Result<(), Stop>;

/// What was asked.
#[derive(Default)]
struct Ask {
    subject: PathBuf,
    vkey: Option<Vkey>,
    policy: Option<Policy>,
    checkpoint: Option<PathBuf>,
    entry: Option<PathBuf>,
    any_entries: bool,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.into_string().unwrap_or_else(|word| word.to_string_lossy().into_owned()))
        .collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stop::Usage(what)) => {
            eprintln!("audit-verify: {what}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Stop::Unread(what)) => {
            eprintln!("audit-verify: {what}");
            ExitCode::from(1)
        }
        Err(Stop::Broken(what)) => {
            eprintln!("BROKEN: {what}");
            ExitCode::from(4)
        }
    }
}

fn run(words: &[String]) -> Result<(), Stop> {
    let Some((command, rest)) = words.split_first() else {
        return Err(Stop::Usage("say what to verify".into()));
    };
    if ["help", "--help", "-h"].contains(&command.as_str()) {
        return say::line(USAGE);
    }
    let (verify, options): (Verify, &[&str]) = match command.as_str() {
        "export" => (export::run, &["--checkpoint", "--vkey", "--policy", "--any-entries"]),
        "tiles" => (tiles::run, &["--vkey", "--policy", "--any-entries"]),
        "proof" => (proof::run, &["--vkey", "--policy", "--entry", "--any-entries"]),
        "customer" => (customer::run, &["--vkey", "--policy"]),
        other => return Err(Stop::Usage(format!("there is no `{other}` to verify"))),
    };
    verify(&Ask::of(rest, options)?)
}

impl Ask {
    fn of(words: &[String], options: &[&str]) -> Result<Self, Stop> {
        let (mut ask, mut subject) = (Self::default(), None);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                if subject.replace(PathBuf::from(word)).is_some() {
                    return Err(Stop::Usage(format!("`{word}` is one file too many")));
                }
                continue;
            }
            if !options.contains(&word.as_str()) {
                return Err(Stop::Usage(format!("`{word}` is no option of this")));
            }
            if word == "--any-entries" {
                ask.any_entries = true;
                continue;
            }
            let value =
                words.next().ok_or_else(|| Stop::Usage(format!("`{word}` needs a value")))?;
            ask.option(word, value)?;
        }
        ask.subject = subject.ok_or_else(|| Stop::Usage("name the file to verify".into()))?;
        Ok(ask)
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), Stop> {
        match name {
            "--vkey" => {
                let text = match Path::new(value) {
                    file if file.is_file() => read_text(file)?,
                    _ => value.to_owned(),
                };
                let bad = |bad| Stop::Usage(format!("--vkey: {bad}"));
                self.vkey = Some(text.trim_end_matches('\n').parse().map_err(bad)?);
            }
            "--policy" => {
                let bad = |bad| Stop::Usage(format!("{value}: {bad}"));
                let file = read_text(Path::new(value))?;
                self.policy = Some(Policy::parse(file.as_bytes()).map_err(bad)?);
            }
            "--checkpoint" => self.checkpoint = Some(value.into()),
            _ => self.entry = Some(value.into()),
        }
        Ok(())
    }

    fn key(&self) -> Result<&Vkey, Stop> {
        let missing = || Stop::Usage("give the log's public key with --vkey".into());
        self.vkey.as_ref().ok_or_else(missing)
    }

    /// What a note signs, under the key and the policy, and who cosigned it.
    fn checkpoint(&self, note: &str) -> Result<(Checkpoint, Vec<(String, u64)>), Stop> {
        let key = self.key()?;
        let broken = |what: &dyn std::fmt::Display| Stop::Broken(format!("the checkpoint: {what}"));
        match &self.policy {
            None => {
                let checkpoint = checkpoint::verify(note, key).map_err(|bad| broken(&bad))?;
                Ok((checkpoint, Vec::new()))
            }
            Some(policy) => {
                let witnessed = policy.check(note, Some(key)).map_err(|bad| broken(&bad))?;
                Ok((witnessed.checkpoint, witnessed.cosigned))
            }
        }
    }
}

/// A small file as text; what is no UTF-8 does not hold, whatever it was to be.
fn read_text(path: &Path) -> Result<String, Stop> {
    String::from_utf8(read_bounded(path, SMALL_BYTES_MAX)?)
        .map_err(|_| Stop::Broken(format!("{}: it is not text", path.display())))
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Stop> {
    let unread = |error| Stop::Unread(format!("{}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(unread)?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unread)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Stop::Broken(format!("{}: longer than it may be", path.display())));
    }
    Ok(bytes)
}
