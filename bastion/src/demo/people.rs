//! The people of the demo, and how they speak to the gateway: with the real `ssh`.

use super::{
    error::{DemoError, Doing as _},
    files::{fresh_key, line, write},
    place::Place,
};
use russh::keys::{HashAlg, PrivateKey, ssh_key::LineEnding};
use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

/// One person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Person {
    /// What the gateway calls them.
    pub handle: &'static str,
    /// Their key, in `keys/`.
    pub key: &'static str,
    /// Their ssh_config.
    pub config: &'static str,
}

/// The trained operator.
pub const OLGA: Person = Person { handle: "olga", key: "olga", config: "ssh_config" };
/// The operator whose training lapsed.
pub const OTTO: Person = Person { handle: "otto", key: "otto", config: "ssh_config.otto" };
/// The security officer.
pub const ODILE: Person = Person { handle: "odile", key: "odile", config: "ssh_config.officer" };
/// Who decides for the customer acme.
pub const ACME: Person = Person { handle: "ada", key: "acme-approver", config: "ssh_config.acme" };
/// Who decides for the customer globex.
pub const GLOBEX: Person =
    Person { handle: "gus", key: "globex-approver", config: "ssh_config.globex" };

/// Everybody.
pub const EVERYBODY: [Person; 5] = [OLGA, OTTO, ODILE, ACME, GLOBEX];

impl Person {
    /// Makes their key pair.
    pub fn make_key(&self, place: &Place) -> Result<(), DemoError> {
        let file = self.key_file(place);
        let key = fresh_key(self.key)?;
        write(&file, &key.to_openssh(LineEnding::LF)?, 0o600)?;
        let public = key.public_key().to_openssh()?;
        write(&file.with_extension("pub"), &line(&public), 0o644)
    }

    /// Their private key's file.
    pub fn key_file(&self, place: &Place) -> PathBuf {
        place.at("keys").join(self.key)
    }

    /// Their public key.
    pub fn public_key(&self, place: &Place) -> Result<String, DemoError> {
        let file = self.key_file(place).with_extension("pub");
        std::fs::read_to_string(&file).doing(format!("read {file:?}"))
    }

    /// What they bring to be enrolled as an approver: the token of their invitation and, below it,
    /// the signature that proves that they hold their key.
    pub fn enrolment(&self, place: &Place, invited: &str) -> Result<String, DemoError> {
        let wrong = |what: &str| DemoError::Gateway(format!("an invitation without {what}"));
        let invited: serde_json::Value =
            serde_json::from_str(invited).map_err(|error| wrong(&error.to_string()))?;
        let word = |field: &str| invited[field].as_str().ok_or_else(|| wrong(field));
        let file = self.key_file(place);
        let text = std::fs::read_to_string(&file).doing(format!("read {file:?}"))?;
        let signature = PrivateKey::from_openssh(&text)?
            .sign(word("namespace")?, HashAlg::Sha512, word("statement")?.as_bytes())?
            .to_pem(LineEnding::LF)?;
        Ok(format!("{}\n{signature}", word("token")?))
    }

    /// `ssh bastion COMMAND`, as this person, with this on standard input; the answer must be
    /// success.
    pub fn command(&self, place: &Place, words: &[&str], input: &str) -> Result<String, DemoError> {
        let line = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        let mut ssh = Command::new("ssh")
            .arg("-F")
            .arg(place.at(self.config))
            .args(["bastion", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing("run ssh")?;
        if let Some(mut stdin) = ssh.stdin.take() {
            // A command that reads nothing may be gone before it is given anything.
            if let Err(error) = stdin.write_all(input.as_bytes()) {
                tracing::debug!(%error, "input that was not read");
            }
        }
        let answer = ssh.wait_with_output().doing("run ssh")?;
        if answer.status.success() {
            return Ok(String::from_utf8_lossy(&answer.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
        let who = self.handle;
        Err(DemoError::Gateway(format!("`ssh bastion {line}` as {who} was refused: {said}")))
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@,".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn words_reach_the_gateway_as_they_are() {
        for (word, line) in
            [("ls", "ls"), ("", "''"), ("Acme Ltd", "'Acme Ltd'"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(quoted(word), line);
        }
    }
}
