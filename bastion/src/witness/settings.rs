//! A witness's own file, `witness.toml`: its name, its key, where it listens, whose logs it sees.
//!
//! It is another file than a gateway's, read by another program on another machine: a witness that
//! shares either with the log it watches witnesses nothing.

use audit_schema::{
    checkpoint::Vkey,
    cosignature::{BadVkey, WitnessKey},
};
use bastion_core::limits::{WITNESS_CONFIG_BYTES_MAX, WITNESS_LOGS_MAX};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The file's name in a witness's folder.
pub const FILE_NAME: &str = "witness.toml";

/// The commented file that `bastion witness init` writes; `@NAME@` are its blanks.
pub const TEMPLATE: &str = include_str!("template.toml");

/// A witness's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name, in its key and its cosignatures.
    pub name: String,
    /// Its private key: ed25519, PKCS#8 PEM.
    pub key: PathBuf,
    /// The folder of what it remembers.
    pub memory: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM of its certificate and of its certificate's key; without, it listens on loopback alone.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The keys of each log, by the log's origin.
    pub logs: BTreeMap<String, Vec<Vkey>>,
}

/// Why there is no configuration to go by.
#[derive(Debug, thiserror::Error)]
pub enum BadSettings {
    /// No file was named.
    #[error(
        "no witness named: give --config FILE, the witness.toml that `bastion witness init` made"
    )]
    Unnamed,
    /// The file cannot be read.
    #[error("{0}: {1}; make a witness with `bastion witness init --dir DIR --name NAME`")]
    Read(PathBuf, io::Error),
    /// Not TOML, or a setting that does not exist or has the wrong type.
    #[error("{0} is not a witness's configuration:\n{1}")]
    Syntax(PathBuf, String),
    /// A value that cannot be.
    #[error("{0}: `{1}`: {2}")]
    Value(PathBuf, &'static str, String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    key: PathBuf,
    memory: PathBuf,
    listen: String,
    #[serde(default)]
    certificate: PathBuf,
    certificate_key: Option<PathBuf>,
    logs: Vec<String>,
}

impl Settings {
    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, BadSettings> {
        let unreadable = |error| BadSettings::Read(file.to_owned(), error);
        let path = std::path::absolute(file).map_err(unreadable)?;
        let mut text = String::new();
        let opened = File::open(&path).map_err(unreadable)?;
        opened.take(WITNESS_CONFIG_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&path, &text)
    }

    /// Checks a text; relative paths begin at the file's folder.
    pub fn parse(file: &Path, text: &str) -> Result<Self, BadSettings> {
        let raw: Raw = toml::from_str(text).map_err(|cause| {
            BadSettings::Syntax(file.to_owned(), cause.to_string().trim_end().to_owned())
        })?;
        let checked = raw.check(file.parent().unwrap_or(Path::new("/")));
        checked.map_err(|(setting, cause)| BadSettings::Value(file.to_owned(), setting, cause))
    }
}

type Wrong = (&'static str, String);

impl Raw {
    fn check(self, dir: &Path) -> Result<Settings, Wrong> {
        let listen: SocketAddr = self.listen.parse().map_err(|_| {
            let cause = format!("{:?} is not an address like 0.0.0.0:443", self.listen);
            ("listen", cause)
        })?;
        let tls = match (self.certificate.as_os_str().is_empty(), self.certificate_key) {
            (false, Some(key)) => Some((dir.join(self.certificate), dir.join(key))),
            (true, None) if listen.ip().is_loopback() => None,
            (true, None) => {
                let cause = "is needed wherever it listens beyond loopback: name a PEM file, or \
                             listen on 127.0.0.1 behind a proxy that has one";
                return Err(("certificate", cause.into()));
            }
            _ => return Err(("certificate_key", "it goes with `certificate`".into())),
        };
        Ok(Settings {
            name: self.name,
            key: dir.join(self.key),
            memory: dir.join(self.memory),
            listen,
            tls,
            logs: logs(&self.logs)?,
        })
    }
}

fn logs(lines: &[String]) -> Result<BTreeMap<String, Vec<Vkey>>, Wrong> {
    if lines.len() > WITNESS_LOGS_MAX {
        return Err(("logs", format!("at most {WITNESS_LOGS_MAX}")));
    }
    let mut logs: BTreeMap<String, Vec<Vkey>> = BTreeMap::new();
    for line in lines {
        let key: Vkey = line.parse().map_err(|bad: BadVkey| {
            let how = "give what `bastion audit checkpoint --key` of that log prints";
            ("logs", format!("{line:?}: {bad}; {how}"))
        })?;
        let keys = logs.entry(key.name().to_owned()).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(logs)
}

/// What a witness of this name and key is known by, in other people's policies.
pub fn public(name: &str, key: &ed25519_dalek::SigningKey) -> Result<WitnessKey, BadVkey> {
    WitnessKey::new(name, key.verifying_key())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    fn filled() -> String {
        TEMPLATE
            .replace("@NAME@", "witness.example/w1")
            .replace("@LISTEN@", "127.0.0.1:8443")
            .replace("@LOGS@", &format!("\n    \"{LOG}\",\n"))
    }

    fn parse(text: &str) -> Result<Settings, BadSettings> {
        Settings::parse(Path::new("/srv/w/witness.toml"), text)
    }

    #[test]
    fn the_template_is_a_configuration_and_what_is_wrong_is_named() {
        let settings = parse(&filled()).unwrap();
        assert_eq!(settings.key, Path::new("/srv/w/key.pem"));
        assert_eq!(settings.logs["PeterNeumann"].len(), 1);
        assert_eq!(settings.tls, None);
        let tls = "certificate = \"c.pem\"\ncertificate_key = \"k.pem\"\nlisten = \"0.0.0.0:443\"";
        let served = filled().replace("listen = \"127.0.0.1:8443\"", tls);
        assert!(parse(&served).unwrap().tls.is_some());
        for (from, to, named) in [
            ("127.0.0.1:8443", "0.0.0.0:8443", "`certificate`"),
            ("127.0.0.1:8443", "here", "`listen`"),
            ("c74f20a3", "c74f20a4", "`logs`"),
            ("key =", "certificate = \"c.pem\"\nkey =", "`certificate_key`"),
            ("key =", "keys =", "keys"),
        ] {
            let text = filled().replacen(from, to, 1);
            assert_ne!(text, filled(), "{from}");
            let error = parse(&text).expect_err(to).to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
    }
}
