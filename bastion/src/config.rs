//! The configuration: read once, checked whole, and typed from then on.
//!
//! Everything behind [`Config::load`] may trust what it reads here: paths are absolute, addresses
//! are addresses, durations are within bounds. A file that names something unknown is refused,
//! because a misspelt limit that is silently ignored is no limit.

use bastion_core::{id::BadId, limits};
use ipnet::IpNet;
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// The configuration file's name in a deployment's folder.
pub const FILE_NAME: &str = "bastion.toml";

/// The commented file that `bastion init` writes; `@NAME@` are its blanks.
pub const TEMPLATE: &str = include_str!("bastion.template.toml");

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
    /// Where the keys are.
    pub keys: Keys,
    /// Where recordings go, and for whom they are sealed.
    pub recordings: Recordings,
    /// Courses that every operator must have completed.
    pub courses: Vec<String>,
    /// Limits of the SSH listener.
    pub ingress: Ingress,
    /// How VMs are reached.
    pub egress: Egress,
    /// Certificate authorities whose certificates identify operators.
    pub operator_cas: Vec<OperatorCa>,
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
}

impl Keys {
    /// Every private key with its name in messages.
    pub fn all(&self) -> [(&'static str, &Path); 5] {
        [
            ("log key", &self.log),
            ("user CA", &self.user_ca),
            ("gateway-host CA", &self.gateway_host_ca),
            ("VM-host CA", &self.vm_host_ca),
            ("gateway host key", &self.gateway_host),
        ]
    }
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
    /// The port of VMs on the second form, `ssh -J`.
    pub vm_port: u16,
}

/// How VMs are reached.
#[derive(Clone, Debug)]
pub struct Egress {
    /// The certificates' `source-address`; empty: the address that a channel dials from.
    pub source_ranges: Vec<IpNet>,
    /// How long dialling and key exchange may take.
    pub connect: Duration,
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
        let file = file
            .map(Path::to_path_buf)
            .or_else(from_env)
            .ok_or(ConfigError::Unnamed)?;
        Self::load(&file)
    }

    /// Reads and checks a file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |cause| ConfigError::Read {
            file: file.display().to_string(),
            cause,
        };
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
        raw.check(file)
            .map_err(|Wrong(setting, cause)| ConfigError::Value {
                file: file.display().to_string(),
                setting,
                cause,
            })
    }

    /// The names and texts of the policy files, sorted by name: what `Policy::load` takes.
    pub fn policy_files(&self) -> std::io::Result<Vec<(String, String)>> {
        let mut files = Vec::new();
        for item in std::fs::read_dir(&self.policies)? {
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
}

/// A setting and what is wrong with it.
struct Wrong(&'static str, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    origin: String,
    gateway: String,
    listen: OneOrMore,
    store: String,
    #[serde(default = "default_index")]
    index: PathBuf,
    #[serde(default = "default_socket")]
    socket: PathBuf,
    #[serde(default = "default_policies")]
    policies: PathBuf,
    #[serde(default)]
    keys: RawKeys,
    #[serde(default)]
    recordings: RawRecordings,
    #[serde(default)]
    training: RawTraining,
    #[serde(default)]
    ingress: RawIngress,
    #[serde(default)]
    egress: RawEgress,
    #[serde(default)]
    operator_ca: Vec<RawOperatorCa>,
    #[serde(default)]
    metrics: RawMetrics,
    #[serde(default)]
    tracing: RawTracing,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawKeys {
    log: PathBuf,
    user_ca: PathBuf,
    gateway_host_ca: PathBuf,
    vm_host_ca: PathBuf,
    gateway_host: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawRecordings {
    dir: PathBuf,
    provider_key: PathBuf,
    free_mib_min: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTraining {
    courses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawIngress {
    login_grace_seconds: u64,
    connections_max: usize,
    connections_before_login_max: usize,
    connections_before_login_per_source_max: usize,
    channels_per_session_max: usize,
    idle_seconds: u64,
    keepalive_seconds: u64,
    vm_port: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEgress {
    source_ranges: Vec<String>,
    connect_seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOperatorCa {
    public_key: String,
    #[serde(default = "default_ca_validity")]
    validity_seconds_max: u64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawMetrics {
    listen: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawTracing {
    format: String,
    filter: String,
}

impl Default for RawKeys {
    fn default() -> Self {
        Self {
            log: "keys/log.pem".into(),
            user_ca: "keys/user-ca".into(),
            gateway_host_ca: "keys/gateway-host-ca".into(),
            vm_host_ca: "keys/vm-host-ca".into(),
            gateway_host: "keys/gateway-host".into(),
        }
    }
}

impl Default for RawRecordings {
    fn default() -> Self {
        Self {
            dir: "recordings".into(),
            provider_key: "keys/provider-recording.pub.pem".into(),
            free_mib_min: 512,
        }
    }
}

impl Default for RawTraining {
    fn default() -> Self {
        Self {
            courses: vec!["access-101".into()],
        }
    }
}

impl Default for RawIngress {
    fn default() -> Self {
        Self {
            login_grace_seconds: 30,
            connections_max: 1000,
            connections_before_login_max: 100,
            connections_before_login_per_source_max: 10,
            channels_per_session_max: 32,
            idle_seconds: 1800,
            keepalive_seconds: 15,
            vm_port: 22,
        }
    }
}

impl Default for RawEgress {
    fn default() -> Self {
        Self {
            source_ranges: Vec::new(),
            connect_seconds: 10,
        }
    }
}

impl Default for RawTracing {
    fn default() -> Self {
        Self {
            format: "text".into(),
            filter: "info".into(),
        }
    }
}

fn default_index() -> PathBuf {
    "index.db".into()
}
fn default_socket() -> PathBuf {
    "run/bastion.sock".into()
}
fn default_policies() -> PathBuf {
    "policies".into()
}
fn default_ca_validity() -> u64 {
    16 * 3600
}

impl Raw {
    fn check(self, file: &Path) -> Result<Config, Wrong> {
        let dir = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let inside = |path: &Path| dir.join(path);
        let socket = inside(&self.socket);
        if socket.as_os_str().len() > limits::SOCKET_PATH_BYTES_MAX {
            return Err(Wrong(
                "socket",
                "longer than 100 bytes; name a shorter path".into(),
            ));
        }
        Ok(Config {
            origin: check_origin(self.origin)?,
            gateway: check_gateway(self.gateway)?,
            listen: check_listen(self.listen)?,
            store: check_store(&self.store, &self.index, &dir)?,
            socket,
            policies: inside(&self.policies),
            keys: Keys {
                log: inside(&self.keys.log),
                user_ca: inside(&self.keys.user_ca),
                gateway_host_ca: inside(&self.keys.gateway_host_ca),
                vm_host_ca: inside(&self.keys.vm_host_ca),
                gateway_host: inside(&self.keys.gateway_host),
            },
            recordings: Recordings {
                dir: inside(&self.recordings.dir),
                provider_key: inside(&self.recordings.provider_key),
                free_bytes_min: self.recordings.free_mib_min.saturating_mul(1 << 20),
            },
            courses: check_courses(self.training.courses)?,
            ingress: self.ingress.check()?,
            egress: self.egress.check()?,
            operator_cas: self
                .operator_ca
                .into_iter()
                .map(RawOperatorCa::check)
                .collect::<Result<_, _>>()?,
            metrics: check_metrics(self.metrics.listen)?,
            tracing: self.tracing.check()?,
            file: file.to_path_buf(),
            dir,
        })
    }
}

impl RawIngress {
    fn check(self) -> Result<Ingress, Wrong> {
        Ok(Ingress {
            login_grace: seconds("ingress.login_grace_seconds", self.login_grace_seconds, 600)?,
            connections_max: count("ingress.connections_max", self.connections_max)?,
            before_login_max: count(
                "ingress.connections_before_login_max",
                self.connections_before_login_max,
            )?,
            before_login_per_source_max: count(
                "ingress.connections_before_login_per_source_max",
                self.connections_before_login_per_source_max,
            )?,
            channels_per_session_max: count(
                "ingress.channels_per_session_max",
                self.channels_per_session_max,
            )?,
            idle: seconds("ingress.idle_seconds", self.idle_seconds, 86_400)?,
            keepalive: seconds("ingress.keepalive_seconds", self.keepalive_seconds, 3_600)?,
            vm_port: match self.vm_port {
                0 => return Err(Wrong("ingress.vm_port", "must be 1 to 65535".into())),
                port => port,
            },
        })
    }
}

impl RawEgress {
    fn check(self) -> Result<Egress, Wrong> {
        let range = |text: &String| {
            text.parse::<IpNet>().map_err(|_| {
                let cause = format!("{text:?} is not a range like 192.0.2.0/24 or 2001:db8::/64");
                Wrong("egress.source_ranges", cause)
            })
        };
        Ok(Egress {
            source_ranges: self
                .source_ranges
                .iter()
                .map(range)
                .collect::<Result<_, _>>()?,
            connect: seconds("egress.connect_seconds", self.connect_seconds, 120)?,
        })
    }
}

impl RawOperatorCa {
    fn check(self) -> Result<OperatorCa, Wrong> {
        let public_key = russh::keys::PublicKey::from_openssh(self.public_key.trim());
        Ok(OperatorCa {
            public_key: public_key.map_err(|cause| {
                let cause = format!("not a line like `ssh-ed25519 AAAA…`: {cause}");
                Wrong("operator_ca.public_key", cause)
            })?,
            validity_seconds_max: seconds(
                "operator_ca.validity_seconds_max",
                self.validity_seconds_max,
                31 * 86_400,
            )?
            .as_secs(),
        })
    }
}

impl RawTracing {
    fn check(self) -> Result<Tracing, Wrong> {
        let json = match self.format.as_str() {
            "text" => false,
            "json" => true,
            _ => {
                return Err(Wrong(
                    "tracing.format",
                    "must be \"text\" or \"json\"".into(),
                ));
            }
        };
        if let Err(cause) = tracing_subscriber::EnvFilter::try_new(&self.filter) {
            return Err(Wrong("tracing.filter", cause.to_string()));
        }
        Ok(Tracing {
            json,
            filter: self.filter,
        })
    }
}

fn check_origin(origin: String) -> Result<String, Wrong> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_/".contains(&b);
    if !origin.is_empty() && origin.len() <= limits::ORIGIN_BYTES_MAX && origin.bytes().all(good) {
        Ok(origin)
    } else {
        let cause = "use 1 to 100 of a-z, 0-9, '.', '-', '_' and '/', e.g. \"bastion.example\"";
        Err(Wrong("origin", cause.into()))
    }
}

fn check_gateway(gateway: String) -> Result<String, Wrong> {
    // A gateway's name obeys the rules of VM names, so it needs no escaping anywhere.
    match gateway.parse::<bastion_core::id::VmName>() {
        Ok(_) => Ok(gateway),
        Err(BadId { .. }) => {
            let cause = "use 1 to 63 of a-z, 0-9, '-' and '.', e.g. \"gw-1\"";
            Err(Wrong("gateway", cause.into()))
        }
    }
}

fn check_listen(listen: OneOrMore) -> Result<Vec<SocketAddr>, Wrong> {
    let texts = match listen {
        OneOrMore::One(text) => vec![text],
        OneOrMore::More(texts) => texts,
    };
    if texts.is_empty() {
        return Err(Wrong("listen", "name at least one address".into()));
    }
    let address = |text: &String| {
        text.parse().map_err(|_| {
            let cause = format!("{text:?} is not an address like 0.0.0.0:22 or [::]:22");
            Wrong("listen", cause)
        })
    };
    texts.iter().map(address).collect()
}

fn check_store(store: &str, index: &Path, dir: &Path) -> Result<Store, Wrong> {
    if store.starts_with("postgres://") || store.starts_with("postgresql://") {
        return Ok(Store::Postgres { url: store.into() });
    }
    match store.strip_prefix("sqlite:") {
        Some(file) if !file.is_empty() && !file.contains('?') && file != ":memory:" => {
            Ok(Store::Sqlite {
                file: dir.join(file),
                index: dir.join(index),
            })
        }
        _ => {
            let cause = "must be sqlite:FILE or postgres://USER@HOST/DATABASE";
            Err(Wrong("store", cause.into()))
        }
    }
}

fn check_courses(courses: Vec<String>) -> Result<Vec<String>, Wrong> {
    for course in &courses {
        if course.parse::<bastion_core::id::ServiceId>().is_err() {
            let cause = format!("{course:?}: use 1 to 63 of a-z, 0-9 and '-'");
            return Err(Wrong("training.courses", cause));
        }
    }
    Ok(courses)
}

fn check_metrics(listen: Option<String>) -> Result<Option<SocketAddr>, Wrong> {
    let Some(text) = listen else { return Ok(None) };
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        _ => {
            let cause = "must be a loopback address like 127.0.0.1:9317; put a proxy before it";
            Err(Wrong("metrics.listen", cause.into()))
        }
    }
}

fn seconds(setting: &'static str, value: u64, max: u64) -> Result<Duration, Wrong> {
    match value {
        0 => Err(Wrong(setting, format!("must be 1 to {max}"))),
        value if value > max => Err(Wrong(setting, format!("must be 1 to {max}"))),
        value => Ok(Duration::from_secs(value)),
    }
}

fn count(setting: &'static str, value: usize) -> Result<usize, Wrong> {
    if (1..=limits::CONNECTIONS_MAX).contains(&value) {
        Ok(value)
    } else {
        let cause = format!("must be 1 to {}", limits::CONNECTIONS_MAX);
        Err(Wrong(setting, cause))
    }
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
            (
                "origin = \"bastion.example\"",
                "origin = \"a b\"",
                "`origin`",
            ),
            (
                "listen = \"127.0.0.1:2222\"",
                "listen = \"here\"",
                "`listen`",
            ),
            ("listen = \"127.0.0.1:2222\"", "listen = []", "`listen`"),
            ("sqlite:bastion.db", "mysql:x", "`store`"),
            ("sqlite:bastion.db", "sqlite::memory:", "`store`"),
            ("127.0.0.1:9317", "0.0.0.0:9317", "`metrics.listen`"),
            (
                "[egress]",
                "[egress]\nconnect_seconds = 0",
                "`egress.connect_seconds`",
            ),
            ("[egress]", "[egress]\nconect_seconds = 3", "conect_seconds"),
            ("[training]", "[trainings]", "trainings"),
            (
                "[training]",
                "[training]\ncourses = [\"A B\"]",
                "`training.courses`",
            ),
            (
                "[tracing]",
                "[tracing]\nformat = \"xml\"",
                "`tracing.format`",
            ),
        ];
        for (from, to, named) in cases {
            let text = filled().replace(from, to);
            assert_ne!(text, filled(), "{from} is not in the template");
            let error = parse(&text).expect_err(to).to_string();
            assert!(error.contains(named), "{to}: {error}");
        }
    }
}
