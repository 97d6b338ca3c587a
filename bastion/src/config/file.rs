//! The file as it is written: settings with their defaults, and the check of each.

use super::{
    Config, Egress, Ingress, Keys, OperatorCa, Recordings, Store, Tracing,
    erasure::RawErasure,
    guessing::RawGuessing,
    https::RawHttps,
    log::{self, RawAlarms, RawLog, RawPublish},
    witness::RawWitness,
};
use bastion_core::limits;
use ipnet::IpNet;
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

/// A setting and what is wrong with it.
pub(super) struct Wrong(pub(super) &'static str, pub(super) String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
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
    #[serde(default = "default_hooks")]
    hooks: PathBuf,
    #[serde(default)]
    keys: RawKeys,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    publish: RawPublish,
    #[serde(default)]
    witness: RawWitness,
    #[serde(default)]
    alarms: RawAlarms,
    #[serde(default)]
    recordings: RawRecordings,
    #[serde(default)]
    erasure: RawErasure,
    #[serde(default)]
    training: RawTraining,
    #[serde(default)]
    ingress: RawIngress,
    #[serde(default)]
    guessing: RawGuessing,
    #[serde(default)]
    egress: RawEgress,
    #[serde(default)]
    notices: RawNotices,
    #[serde(default)]
    operator_ca: Vec<RawOperatorCa>,
    #[serde(default)]
    https: RawHttps,
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
    notices: PathBuf,
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
    takes_nothing_seconds: u64,
    rekey_mib: usize,
    post_quantum_only: bool,
    vm_port: u16,
    host_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEgress {
    source_ranges: Vec<String>,
    connect_seconds: u64,
    rekey_mib: usize,
    keepalive_seconds: u64,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct RawNotices {
    extra_roots: PathBuf,
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
            notices: "keys/notices.pem".into(),
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
        Self { courses: vec!["access-101".into()] }
    }
}

impl Default for RawIngress {
    fn default() -> Self {
        Self {
            login_grace_seconds: 60,
            connections_max: 1000,
            connections_before_login_max: 250,
            connections_before_login_per_source_max: 50,
            channels_per_session_max: 100,
            idle_seconds: 1800,
            keepalive_seconds: 15,
            takes_nothing_seconds: limits::TAKES_NOTHING_SECONDS,
            rekey_mib: 65_536,
            post_quantum_only: false,
            vm_port: 22,
            host_names: Vec::new(),
        }
    }
}

impl Default for RawEgress {
    fn default() -> Self {
        Self {
            source_ranges: Vec::new(),
            connect_seconds: 10,
            rekey_mib: 65_536,
            keepalive_seconds: limits::EGRESS_KEEPALIVE_SECONDS,
        }
    }
}

impl Default for RawTracing {
    fn default() -> Self {
        Self { format: "text".into(), filter: "info".into() }
    }
}

fn default_index() -> PathBuf {
    "index.db".into()
}
fn default_socket() -> PathBuf {
    "run/bastion.sock".into()
}
fn default_hooks() -> PathBuf {
    "hooks".into()
}
fn default_policies() -> PathBuf {
    "policies".into()
}
fn default_ca_validity() -> u64 {
    16 * 3600
}

impl Raw {
    pub(super) fn check(self, file: &Path) -> Result<Config, Wrong> {
        let dir = file.parent().unwrap_or(Path::new("/")).to_path_buf();
        let inside = |path: &Path| dir.join(path);
        let socket = inside(&self.socket);
        if socket.as_os_str().len() > limits::SOCKET_PATH_BYTES_MAX {
            return Err(Wrong("socket", "longer than 100 bytes; name a shorter path".into()));
        }
        let store = check_store(&self.store, &self.index, &dir)?;
        let origin = check_origin(self.origin)?;
        Ok(Config {
            gateway: check_gateway(self.gateway)?,
            listen: check_listen(self.listen)?,
            erasure: self.erasure.check(&store, &dir)?,
            store,
            socket,
            policies: inside(&self.policies),
            hooks: inside(&self.hooks),
            // Empty means none, as the template shows it.
            extra_roots: Some(&self.notices.extra_roots)
                .filter(|file| !file.as_os_str().is_empty())
                .map(|file| inside(file)),
            keys: Keys {
                log: inside(&self.keys.log),
                user_ca: inside(&self.keys.user_ca),
                gateway_host_ca: inside(&self.keys.gateway_host_ca),
                vm_host_ca: inside(&self.keys.vm_host_ca),
                gateway_host: inside(&self.keys.gateway_host),
                notices: inside(&self.keys.notices),
            },
            witness: self.witness.check(&dir)?,
            alarms: self.alarms.check(),
            provable: log::check((self.log, self.publish), &dir, &origin)?,
            origin,
            recordings: Recordings {
                dir: inside(&self.recordings.dir),
                provider_key: inside(&self.recordings.provider_key),
                free_bytes_min: self.recordings.free_mib_min.saturating_mul(1 << 20),
            },
            courses: check_courses(self.training.courses)?,
            ingress: self.ingress.check()?,
            guessing: self.guessing.check()?,
            egress: self.egress.check()?,
            operator_cas: self
                .operator_ca
                .into_iter()
                .map(RawOperatorCa::check)
                .collect::<Result<_, _>>()?,
            https: self.https.check(&dir)?,
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
            takes_nothing: seconds(
                "ingress.takes_nothing_seconds",
                self.takes_nothing_seconds,
                3_600,
            )?,
            rekey_bytes: rekey_bytes("ingress.rekey_mib", self.rekey_mib)?,
            post_quantum_only: self.post_quantum_only,
            vm_port: match self.vm_port {
                0 => return Err(Wrong("ingress.vm_port", "must be 1 to 65535".into())),
                port => port,
            },
            host_names: host_names(self.host_names)?,
        })
    }
}

/// Names for the gateway's host certificate: what clients compare with what they typed.
fn host_names(names: Vec<String>) -> Result<Vec<String>, Wrong> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:".contains(c);
    match names.iter().find(|name| name.is_empty() || !name.chars().all(plain)) {
        Some(bad) => {
            let cause = format!("`{bad}` is no host name or address in lower case");
            Err(Wrong("ingress.host_names", cause))
        }
        None => Ok(names),
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
            source_ranges: self.source_ranges.iter().map(range).collect::<Result<_, _>>()?,
            connect: seconds("egress.connect_seconds", self.connect_seconds, 120)?,
            rekey_bytes: rekey_bytes("egress.rekey_mib", self.rekey_mib)?,
            keepalive: seconds("egress.keepalive_seconds", self.keepalive_seconds, 600)?,
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
                return Err(Wrong("tracing.format", "must be \"text\" or \"json\"".into()));
            }
        };
        if let Err(cause) = tracing_subscriber::EnvFilter::try_new(&self.filter) {
            return Err(Wrong("tracing.filter", cause.to_string()));
        }
        Ok(Tracing { json, filter: self.filter })
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
        Err(_) => {
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
            Ok(Store::Sqlite { file: dir.join(file), index: dir.join(index) })
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

pub(super) fn seconds(setting: &'static str, value: u64, max: u64) -> Result<Duration, Wrong> {
    match value {
        0 => Err(Wrong(setting, format!("must be 1 to {max}"))),
        value if value > max => Err(Wrong(setting, format!("must be 1 to {max}"))),
        value => Ok(Duration::from_secs(value)),
    }
}

/// Up to 64 GiB: what sshd takes for AES, and far below what either cipher bears.
fn rekey_bytes(setting: &'static str, mib: usize) -> Result<usize, Wrong> {
    match mib {
        1..=65_536 => Ok(mib << 20),
        _ => Err(Wrong(setting, "must be 1 to 65536".into())),
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
