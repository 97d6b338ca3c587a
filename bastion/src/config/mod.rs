//! The configuration: read once, checked whole, and typed from then on.
//!
//! Everything behind [`Config::load`] may trust what it reads here: paths are absolute, addresses
//! are addresses, durations are within bounds. A file that names something unknown is refused,
//! because a misspelt limit that is silently ignored is no limit.

mod erasure;
mod file;
mod guessing;
mod https;
mod log;
mod witness;

use file::{Raw, Wrong};
pub use https::Https;
use ipnet::IpNet;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
pub use witness::Witnessing;

/// The configuration file's name in a deployment's folder.
pub const FILE_NAME: &str = "bastion.toml";

/// The commented file that `bastion init` writes; `@NAME@` are its blanks.
pub const TEMPLATE: &str = include_str!("template.toml");

/// One deployment's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: PathBuf,
    /// The folder of that file: relative paths start here.
    pub dir: PathBuf,
    /// The deployment's name in checkpoints and statements.
    pub origin: String,
    /// This gateway's name in the log.
    pub gateway: String,
    /// Where it listens for SSH; at least one.
    pub listen: Vec<SocketAddr>,
    /// Where the log and the facts are.
    pub store: Store,
    /// The Unix socket of local commands.
    pub socket: PathBuf,
    /// The folder of the Cedar policies.
    pub policies: PathBuf,
    /// The folder of programs that officers may have notices handed to.
    pub hooks: PathBuf,
    /// PEM of certificate authorities that webhooks are believed beside the machine's own.
    pub extra_roots: Option<PathBuf>,
    /// Where the keys are.
    pub keys: Keys,
    /// What makes the log provable.
    pub provable: Provable,
    /// Who cosigns it, if anybody does.
    pub witness: Option<Witnessing>,
    /// Who is told when something stops.
    pub alarms: Alarms,
    /// Where recordings go, and for whom they are sealed.
    pub recordings: Recordings,
    /// Where the keys of data subjects are, and how long nothing may be erased.
    pub erasure: Erasure,
    /// Courses that every operator must have completed.
    pub courses: Vec<String>,
    /// Limits of the SSH listener.
    pub ingress: Ingress,
    /// What sources of failed logins meet.
    pub guessing: Guessing,
    /// How VMs are reached.
    pub egress: Egress,
    /// Certificate authorities whose certificates identify operators.
    pub operator_cas: Vec<OperatorCa>,
    /// The HTTPS server, if there is one.
    pub https: Option<Https>,
    /// Where metrics are served; a loopback address.
    pub metrics: Option<SocketAddr>,
    /// What the process says about itself, and how.
    pub tracing: Tracing,
}

/// Where the log and the facts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// Two files on this machine.
    Sqlite {
        /// Log and facts.
        file: PathBuf,
        /// The query index.
        index: PathBuf,
    },
    /// A database that several gateways may share.
    Postgres {
        /// `postgres://…`, as libpq understands it.
        url: String,
    },
}

impl Store {
    /// The URL of the store, for [`crate`]'s one way to open it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite { file, .. } => format!("sqlite:{}", file.display()),
            Self::Postgres { url } => url.clone(),
        }
    }

    /// The URL of the query index: a file of its own, or the same server.
    pub fn index_url(&self) -> String {
        match self {
            Self::Sqlite { index, .. } => format!("sqlite:{}", index.display()),
            Self::Postgres { url } => url.clone(),
        }
    }
}

/// What an erasure needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    /// The URL of the keys of data subjects: `sqlite:FILE`, or another PostgreSQL database.
    pub keys: String,
    /// Nothing that is younger than this is erased.
    pub retention_days_min: u64,
}

/// Where the keys are, absolute.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Signs checkpoints; ed25519, PKCS#8 PEM.
    pub log: PathBuf,
    /// Signs the certificates with which channels log in to VMs.
    pub user_ca: PathBuf,
    /// Signs what operators' known_hosts trust.
    pub gateway_host_ca: PathBuf,
    /// Signs the host certificates of VMs.
    pub vm_host_ca: PathBuf,
    /// This gateway's own host key.
    pub gateway_host: PathBuf,
    /// Signs notices to approvers; ed25519, PKCS#8 PEM.
    pub notices: PathBuf,
}

impl Keys {
    /// Every private key with its name in messages.
    pub fn all(&self) -> [(&'static str, &Path); 6] {
        [
            ("log key", &self.log),
            ("user CA", &self.user_ca),
            ("gateway-host CA", &self.gateway_host_ca),
            ("VM-host CA", &self.vm_host_ca),
            ("gateway host key", &self.gateway_host),
            ("notice key", &self.notices),
        ]
    }
}

/// What makes the log provable to those who do not trust this machine.
#[derive(Clone, Debug)]
pub struct Provable {
    /// The log's name in checkpoints: the deployment's, until entries are lost.
    pub origin: String,
    /// This gateway's high-water mark, on another path than the store.
    pub high_water: PathBuf,
    /// How often an entry says that there is nothing else to say.
    pub heartbeat: Duration,
    /// The folder into which the log is published.
    pub tiles: Option<PathBuf>,
}

/// Who of the provider's people is told when something stops.
#[derive(Clone, Debug)]
pub struct Alarms {
    /// A program of the `hooks` folder.
    pub hook: Option<String>,
    /// Where it is posted.
    pub webhook: Option<String>,
}

/// Where recordings go, and for whom they are sealed.
#[derive(Clone, Debug)]
pub struct Recordings {
    /// The folder.
    pub dir: PathBuf,
    /// PEM of the provider's public recording key.
    pub provider_key: PathBuf,
    /// No new channel below this many free bytes.
    pub free_bytes_min: u64,
}

/// Limits of the SSH listener.
#[derive(Clone, Debug)]
pub struct Ingress {
    /// How long a connection may take to log in.
    pub login_grace: Duration,
    /// Connections in all.
    pub connections_max: usize,
    /// Connections that have not logged in yet, in all.
    pub before_login_max: usize,
    /// Connections that have not logged in yet, from one source prefix.
    pub before_login_per_source_max: usize,
    /// Channels of one session.
    pub channels_per_session_max: usize,
    /// A channel without a byte for this long is ended.
    pub idle: Duration,
    /// How often an idle connection is asked whether it still lives.
    pub keepalive: Duration,
    /// How long a client may refuse to take a byte from its socket.
    pub takes_nothing: Duration,
    /// New keys after this many bytes in one direction.
    pub rekey_bytes: usize,
    /// Only key exchanges that a quantum computer does not undo.
    pub post_quantum_only: bool,
    /// The port of VMs on the second form, `ssh -J`.
    pub vm_port: u16,
    /// More names of this gateway for its host certificate.
    pub host_names: Vec<String>,
}

/// What sources of failed logins meet.
#[derive(Clone, Debug)]
pub struct Guessing {
    /// So many failed logins within what is not forgiven yet, and an address is shut out.
    pub failed_logins_max: u32,
    /// How long it takes to forgive one.
    pub forgiven_after: Duration,
    /// How long the first shut-out lasts; each further one is twice as long …
    pub shut_out: Duration,
    /// … up to this; and one is forgotten for each such time without another.
    pub shut_out_max: Duration,
    /// Whose failed logins are answered slowly, but who is never shut out.
    pub never_shut_out: Vec<IpNet>,
}

/// How VMs are reached.
#[derive(Clone, Debug)]
pub struct Egress {
    /// The certificates' `source-address`; empty: the address that a channel dials from.
    pub source_ranges: Vec<IpNet>,
    /// How long dialling and key exchange may take.
    pub connect: Duration,
    /// New keys after this many bytes in one direction.
    pub rekey_bytes: usize,
    /// How often a silent VM is asked whether it still lives.
    pub keepalive: Duration,
}

/// A certificate authority whose certificates identify operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorCa {
    /// The CA's key.
    pub public_key: russh::keys::PublicKey,
    /// Certificates of a longer validity are refused.
    pub validity_seconds_max: u64,
}

/// What the process says about itself, and how.
#[derive(Clone, Debug)]
pub struct Tracing {
    /// JSON lines, or text.
    pub json: bool,
    /// A filter as in `RUST_LOG`.
    pub filter: String,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No file was named.
    #[error("no deployment named: give --config FILE or set BASTION_CONFIG")]
    Unnamed,
    /// The file cannot be read.
    #[error("cannot read {file}: {cause}; make a deployment with `bastion init --dir DIR`")]
    Read {
        /// Which file.
        file: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// Not TOML, or a setting that does not exist or has the wrong type.
    #[error("{file} is not a valid configuration:\n{cause}")]
    Syntax {
        /// Which file.
        file: String,
        /// Where and what.
        cause: String,
    },
    /// A value that cannot be.
    #[error("{file}: `{setting}`: {cause}")]
    Value {
        /// Which file.
        file: String,
        /// Which setting.
        setting: &'static str,
        /// What is wrong and what would be right.
        cause: String,
    },
}

impl Config {
    /// The configuration that `--config` or `BASTION_CONFIG` names.
    pub fn locate(file: Option<&Path>) -> Result<Self, ConfigError> {
        let from_env = || std::env::var_os("BASTION_CONFIG").map(PathBuf::from);
        let file = file.map(Path::to_path_buf).or_else(from_env).ok_or(ConfigError::Unnamed)?;
        Self::load(&file)
    }

    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |cause| ConfigError::Read { file: file.display().to_string(), cause };
        let text = std::fs::read_to_string(file).map_err(unreadable)?;
        let file = std::path::absolute(file).map_err(unreadable)?;
        Self::parse(&file, &text)
    }

    /// Checks the text of a file; `file` must be absolute.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|cause| ConfigError::Syntax {
            file: file.display().to_string(),
            cause: cause.to_string().trim_end().to_owned(),
        })?;
        raw.check(file).map_err(|Wrong(setting, cause)| ConfigError::Value {
            file: file.display().to_string(),
            setting,
            cause,
        })
    }

    /// The names and texts of the policy files, sorted by name: what `Policy::load` takes.
    pub fn policy_files(&self) -> std::io::Result<Vec<(String, String)>> {
        policy_files(&self.policies)
    }
}

/// The names and texts of the policy files of a folder, sorted by name.
pub fn policy_files(folder: &Path) -> std::io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for item in std::fs::read_dir(folder)? {
        let item = item?;
        let name = item.file_name().to_string_lossy().into_owned();
        let kept = [".cedar", ".cedarschema", ".json"];
        if kept.iter().any(|end| name.ends_with(end)) {
            files.push((name, std::fs::read_to_string(item.path())?));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled() -> String {
        TEMPLATE
            .replace("@ORIGIN@", "bastion.example")
            .replace("@GATEWAY@", "gw-1")
            .replace("@LISTEN@", "\"127.0.0.1:2222\"")
            .replace("@STORE@", "sqlite:bastion.db")
            .replace("@METRICS@", "listen = \"127.0.0.1:9317\"")
    }

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("/srv/b/bastion.toml"), text)
    }

    #[test]
    fn the_template_is_a_configuration() {
        let config = parse(&filled()).expect("parses");
        assert_eq!(config.dir, Path::new("/srv/b"));
        assert_eq!(config.keys.user_ca, Path::new("/srv/b/keys/user-ca"));
        assert_eq!(config.store.url(), "sqlite:/srv/b/bastion.db");
        assert_eq!(config.extra_roots, None);
        let rooted = filled().replace("[notices]", "[notices]\nextra_roots = \"acme.pem\"");
        let rooted = parse(&rooted).expect("parses").extra_roots;
        assert_eq!(rooted.as_deref(), Some(Path::new("/srv/b/acme.pem")));
    }

    /// Each commented default of the template, taken out of its comment, changes nothing.
    #[test]
    fn the_template_tells_the_defaults() {
        let plain = parse(&filled()).expect("parses");
        let shown: String = filled()
            .lines()
            .filter(|line| !line.contains("operator_ca") && !line.contains("AAAA"))
            .filter(|line| !line.starts_with("#x validity"))
            .map(|line| format!("{}\n", line.strip_prefix("#x ").unwrap_or(line)))
            .collect();
        let shown = parse(&shown).expect("parses");
        assert_eq!(format!("{plain:?}"), format!("{shown:?}"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("gateway = \"gw-1\"", "gateway = \"GW 1\"", "`gateway`"),
            ("origin = \"bastion.example\"", "origin = \"a b\"", "`origin`"),
            ("listen = \"127.0.0.1:2222\"", "listen = \"here\"", "`listen`"),
            ("listen = \"127.0.0.1:2222\"", "listen = []", "`listen`"),
            ("sqlite:bastion.db", "mysql:x", "`store`"),
            ("sqlite:bastion.db", "sqlite::memory:", "`store`"),
            ("127.0.0.1:9317", "0.0.0.0:9317", "`metrics.listen`"),
            ("[egress]", "[egress]\nconnect_seconds = 0", "`egress.connect_seconds`"),
            ("[egress]", "[egress]\nconect_seconds = 3", "conect_seconds"),
            ("[guessing]", "[guessing]\nfailed_logins_max = 0", "`guessing.failed_logins_max`"),
            ("[guessing]", "[guessing]\nshut_out_seconds = 7200", "`guessing.shut_out_seconds`"),
            ("[guessing]", "[guessing]\nnever_shut_out = [\"all\"]", "`guessing.never_shut_out`"),
            ("[guessing]", "[guessing]\nnever_shut_out = [\"::/0\"]", "`guessing.never_shut_out`"),
            ("[log]", "[log]\nheartbeat_minutes = 0", "`log.heartbeat_minutes`"),
            ("[log]", "[log]\norigin = \"other.example\"", "`log.origin`"),
            ("[witness]", "[witness]\ndemand = [\"data\"]", "`witness.demand`"),
            ("[witness]", "[witness]\nseconds = 31", "`witness.seconds`"),
            ("[publish]", "[publish]\nfolders = \"x\"", "folders"),
            ("[notices]", "[notices]\nextra_root = \"x\"", "extra_root"),
            ("[notices]", "[https]\nlisten = \"x\"\n[notices]", "`https.listen`"),
            ("[notices]", "[https]\nlisten = \"[::]:443\"\n[notices]", "`https.certificate`"),
            ("[erasure]", "[erasure]\nkeys = \"subjects.db\"", "`erasure.keys`"),
            ("[erasure]", "[erasure]\nkeys = \"mysql://x\"", "`erasure.keys`"),
            ("[erasure]", "[erasure]\nretention_days_min = 99999", "`erasure.retention_days_min`"),
            ("[training]", "[trainings]", "trainings"),
            ("[training]", "[training]\ncourses = [\"A B\"]", "`training.courses`"),
            ("[tracing]", "[tracing]\nformat = \"xml\"", "`tracing.format`"),
        ];
        for (from, to, named) in cases {
            let text = filled().replace(from, to);
            assert_ne!(text, filled(), "{from} is not in the template");
            let error = parse(&text).expect_err(to).to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
    }
}
