//! `bastion-guard`: a VM's own check of the certificate that somebody logs in with.
//!
//! sshd runs it as `AuthorizedPrincipalsCommand` with the Unix user, the certificate's type and the
//! certificate itself, and lets in whoever has a principal that it prints. It prints the
//! certificate's own principal if everything holds ([`judge`]), and nothing otherwise; why not
//! goes to the system's log. Its exit status is 0 either way: sshd would log the whole certificate
//! of another. What it knows by itself stands in one file that only root can have written
//! ([`config`]): the keys of the log, the CA, this instance, its accounts, its customer's
//! approvers. So neither the CA's key nor the gateway is enough to get in.
//!
//! It changes nothing and asks nobody, so that sshd may run it as often as it likes (it does so
//! twice for each login), and a VM without a network keeps its rules.

pub mod config;
pub mod judge;
mod syslog;

use audit_schema::time::Timestamp;
use config::{Config, Owner};
use judge::{Question, Refused};
use std::{
    ffi::OsString,
    fs,
    io::Write as _,
    panic,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

/// Where the configuration is, unless `--config` says otherwise.
pub const CONFIG: &str = "/etc/bastion/guard.json";

const USAGE: &str = "usage: bastion-guard [--config FILE] [--check | USER TYPE CERTIFICATE]

In sshd_config:
  AuthorizedPrincipalsCommand /usr/local/libexec/bastion-guard %u %t %k
  AuthorizedPrincipalsCommandUser nobody
The program, its configuration and every folder above them belong to root, and nobody else may
write there. --check says whether the configuration and the revocation list are in order.";

/// Runs the program.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    run(Owner::Root, arguments)
}

/// Runs the program, by a configuration of this owner.
pub fn run(owner: Owner, arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Option<Vec<String>> = arguments.map(|word| word.into_string().ok()).collect();
    let words = words.unwrap_or_default();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (file, words) = match words.as_slice() {
        ["--config", file, rest @ ..] => (PathBuf::from(file), rest),
        all => (PathBuf::from(CONFIG), all),
    };
    match *words {
        ["--check"] => check((&file, owner)),
        [unix_user, kind, certificate] => {
            answer((&file, owner), &Question { unix_user, kind, certificate });
            ExitCode::SUCCESS
        }
        ["--help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        _ => {
            syslog::say(Path::new(syslog::SOCKET), "called in another way than sshd should");
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Prints the principal, or says why not. Nothing that a stranger sends may end this in another
/// way, so even a fault of ours is only a refusal.
fn answer(file: (&Path, Owner), question: &Question<'_>) {
    panic::set_hook(Box::new(|_| {}));
    let judged = panic::catch_unwind(|| judge_by(file, question));
    let (socket, refused) = match judged {
        Ok(Ok(principal)) => {
            if let Err(error) = writeln!(std::io::stdout(), "{principal}") {
                syslog::say(Path::new(syslog::SOCKET), &format!("sshd does not listen: {error}"));
            }
            return;
        }
        Ok(Err(refused)) => refused,
        Err(_) => (PathBuf::from(syslog::SOCKET), "a fault of the guard itself".to_owned()),
    };
    syslog::say(&socket, &format!("refused {}: {refused}", judge::plain(question.unix_user)));
}

type Told = (PathBuf, String);

fn judge_by((file, owner): (&Path, Owner), question: &Question<'_>) -> Result<String, Told> {
    let config = Config::read(file, owner);
    let config = config.map_err(|bad| (PathBuf::from(syslog::SOCKET), bad.to_string()))?;
    let list = || read_list(&config);
    judge::judge(question, &config, list, now())
        .map_err(|refused: Refused| (config.syslog.clone(), refused.to_string()))
}

fn read_list(config: &Config) -> Result<String, String> {
    let file = config.revocations.as_deref().ok_or("none is configured")?;
    fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// For whoever sets a VM up: the configuration and the list, with words.
fn check((file, owner): (&Path, Owner)) -> ExitCode {
    let found = Config::read(file, owner).map_err(|bad| bad.to_string()).and_then(|config| {
        let data = config.has_data();
        let list = data.then(|| judge::revocations(&config, || read_list(&config), now()));
        match list.transpose() {
            Ok(list) => Ok((config, list)),
            Err(refused) => Err(refused.to_string()),
        }
    });
    match found {
        Ok((config, list)) => {
            println!("instance {} of {}", config.instance, config.customer);
            if let Some(list) = list {
                println!("revocation list {} of {}", list.version, list.issued);
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("bastion-guard: {why}");
            ExitCode::FAILURE
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
