//! `bastion doctor`: what is in order, what is not, and what to do about it.
//!
//! It looks and changes nothing: the store is opened for reading alone, beside a running gateway or
//! without one. A line is OK, WARN (it works, but somebody should know) or FAIL (it does not work,
//! or not safely); any FAIL makes the exit code 1.

use super::{Fault, provable};
use crate::{
    app::policy,
    clock,
    config::{Config, Store},
    keyfile,
    ledger::{SubjectKeys, open::verify_tail},
    signer,
    store::{Db, Options},
};
use bastion_core::{escape, limits::DOCTOR_VMS_MAX};
use nix::sys::statvfs::statvfs;
use serde_json::json;
use std::{path::Path, process::ExitCode, time::Duration};
use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// `bastion doctor`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit code 0 if nothing failed (warnings included), 1 if something did.

Example:
  bastion doctor --config /srv/bastion/bastion.toml")]
pub struct Args {
    /// Do not try to reach the VMs
    #[arg(long)]
    offline: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// What was found, in the order in which it was looked at.
#[derive(Default)]
pub(super) struct Findings(Vec<(Verdict, &'static str, String)>);

impl Findings {
    pub(super) fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push((Verdict::Ok, what, found.into()));
    }
    pub(super) fn warn(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push((Verdict::Warn, what, found.into()));
    }
    pub(super) fn fail(&mut self, what: &'static str, found: impl Into<String>) {
        self.0.push((Verdict::Fail, what, found.into()));
    }
    /// OK with a value, or FAIL with what went wrong.
    fn take<T, E: std::fmt::Display>(
        &mut self,
        what: &'static str,
        found: Result<T, E>,
        say: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match found {
            Ok(value) => {
                self.ok(what, say(&value));
                Some(value)
            }
            Err(error) => {
                self.fail(what, error.to_string());
                None
            }
        }
    }
}

/// Looks at everything and prints what was found.
pub fn run(config: &Config, args: &Args, as_json: bool) -> Result<ExitCode, Fault> {
    let mut findings = Findings::default();
    findings.ok("configuration", config.file.display().to_string());
    keys(config, &mut findings);
    policy(config, &mut findings);
    guessing(config, &mut findings);
    disk(config, &mut findings);
    super::runtime()?.block_on(async {
        let runs = gateway(config, &mut findings).await;
        if let Some(db) = store(config, &mut findings).await {
            log(config, &db, &mut findings).await;
            officers(&db, &mut findings).await;
            inventory(&db, args, &mut findings).await;
            db.close().await;
        }
        match runs {
            true => provable::alarms(config, &mut findings).await,
            false => listeners(config, &mut findings).await,
        }
    });
    let failed = findings.0.iter().any(|(verdict, ..)| *verdict == Verdict::Fail);
    for (verdict, what, found) in &findings.0 {
        let verdict = verdict.as_str();
        if as_json {
            println!("{}", json!({ "verdict": verdict, "what": what, "found": found }));
        } else {
            println!("{verdict:4}  {what:18}  {}", escape::terminal(found));
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn keys(config: &Config, findings: &mut Findings) {
    let files = &config.keys;
    for (what, file) in [("log key", &files.log), ("notices key", &files.notices)] {
        findings.take(what, keyfile::read_log_key(file), |_| file.display().to_string());
    }
    for (what, file) in [
        ("user CA", &files.user_ca),
        ("gateway-host CA", &files.gateway_host_ca),
        ("VM-host CA", &files.vm_host_ca),
        ("gateway host key", &files.gateway_host),
    ] {
        findings.take(what, keyfile::read_ssh(file), |key| {
            key.public_key().fingerprint(russh::keys::HashAlg::Sha256).to_string()
        });
    }
    match signer::sandbox::has_landlock() {
        true => findings.ok("signer", "held back by seccomp and landlock"),
        false => findings.warn(
            "signer",
            "NO LANDLOCK in this kernel: seccomp alone keeps the signer from other files; run a \
             kernel of 5.13 or later with landlock among its security modules",
        ),
    }
    let public = &config.recordings.provider_key;
    findings.take("recording key", keyfile::read_recording_key(public), |_| {
        public.display().to_string()
    });
    let away = config.dir.join(super::init::TAKE_AWAY);
    if away.read_dir().is_ok_and(|mut items| items.next().is_some()) {
        let found = format!("{}: move it to where no gateway is, then delete it", away.display());
        findings.warn("take-away", found);
    }
}

fn policy(config: &Config, findings: &mut Findings) {
    findings.take("policy files", policy::of_folder(config), |policy| {
        format!("valid, digest {}", policy.digest())
    });
}

/// How guessing sources are met, and who is spared: nobody is exempt in silence.
fn guessing(config: &Config, findings: &mut Findings) {
    let set = &config.guessing;
    let (first, most) = (set.shut_out.as_secs(), set.shut_out_max.as_secs());
    let found = format!("{} failed logins shut out for {first} to {most} s", set.failed_logins_max);
    findings.ok("guessing sources", found);
    for range in &set.never_shut_out {
        let found = format!("{range} is never shut out (guessing.never_shut_out)");
        findings.warn("guessing sources", found);
    }
}

fn disk(config: &Config, findings: &mut Findings) {
    let mut look = |what, dir: &Path, least: u64| match statvfs(dir) {
        Ok(stat) => {
            let free = stat.blocks_available() * stat.fragment_size();
            let found = format!("{} MiB free at {}", free >> 20, dir.display());
            if free < least {
                findings.fail(what, format!("{found}: {} MiB are needed", least >> 20));
            } else if free < least.saturating_mul(4) {
                findings.warn(what, format!("{found}: soon too little"));
            } else {
                findings.ok(what, found);
            }
        }
        Err(cause) => findings.fail(what, format!("{}: {cause}", dir.display())),
    };
    look("recordings' disk", &config.recordings.dir, config.recordings.free_bytes_min);
    if let Store::Sqlite { file, .. } = &config.store {
        look("store's disk", file.parent().unwrap_or(&config.dir), STORE_FREE_BYTES_MIN);
    }
}

/// The log of SQLite keeps 16 MiB for the entries that end things; this is well before that.
const STORE_FREE_BYTES_MIN: u64 = 256 << 20;

async fn gateway(config: &Config, findings: &mut Findings) -> bool {
    let runs = tokio::net::UnixStream::connect(&config.socket).await.is_ok();
    if runs {
        findings.ok("gateway", format!("answers at {}", config.socket.display()));
    } else {
        findings.warn("gateway", "does not run; start it with `bastion serve`");
    }
    runs
}

async fn store(config: &Config, findings: &mut Findings) -> Option<Db> {
    let opened = Db::open(&config.store.url(), Options::READ_ONLY).await;
    let what = if matches!(config.store, Store::Sqlite { .. }) { "SQLite" } else { "PostgreSQL" };
    findings.take("store", opened, |_| format!("{what}: opens, settings and schema as they must"))
}

async fn log(config: &Config, db: &Db, findings: &mut Findings) {
    let keys = SubjectKeys::open_read_only(&config.erasure.keys).await;
    let keys = findings.take("subjects' keys", keys, |_| "open, apart from the store".into());
    let Some(keys) = keys else { return };
    let head = findings.take("log's end", verify_tail(db, &keys).await, |head| {
        format!("{} entries; the last ones hold (`bastion audit verify` checks all)", head.size())
    });
    if let Some(head) = head {
        let (now, last) = (clock::now(), head.time());
        if now < last {
            let found =
                format!("{now} is before the last entry, {last}: nothing is granted; set it");
            findings.fail("clock", found);
        } else {
            findings.ok("clock", format!("{now}, after the last entry"));
        }
        provable::look(config, db, &head, findings).await;
    }
    let in_force = policy::in_force(db).await.ok().flatten();
    let found = policy::of_folder(config).map(|policy| policy.digest()).ok();
    match (in_force, found) {
        (Some(in_force), Some(found)) if in_force == found => {
            findings.ok("policy in force", "the one of the files");
        }
        (Some(in_force), Some(_)) => findings.warn(
            "policy in force",
            format!(
                "{in_force}, which the files are not: `ssh bastion policy reload` takes them up, \
                 and without it a start refuses them"
            ),
        ),
        _ => findings.fail("policy in force", "none: this store was not made by `bastion init`"),
    }
}

async fn officers(db: &Db, findings: &mut Findings) {
    let enabled = db.rows("SELECT id FROM officers WHERE state = 'enabled'", &[]).await;
    findings.take("officers", enabled.as_ref().map(Vec::len), |count| format!("{count} enabled"));
    if enabled.is_ok_and(|officers| officers.len() < 2) {
        let found = "one officer alone may loosen everything: add another with `officer add`";
        findings.warn("dual control", found);
    }
}

async fn inventory(db: &Db, args: &Args, findings: &mut Findings) {
    let open = db.rows("SELECT id, sources_json FROM services ORDER BY id", &[]).await;
    let wide = |json: &str| {
        serde_json::from_str::<bastion_core::vm::SourceRanges>(json)
            .is_ok_and(|sources| sources.is_wide_open())
    };
    for row in open.unwrap_or_default() {
        if let (Ok(id), Ok(sources)) = (row.text(0), row.text(1))
            && wide(&sources)
        {
            let how = "operators may come from anywhere; narrow it with `service sources`";
            findings.warn("source ranges", format!("{id}: {how}"));
        }
    }
    if args.offline {
        return;
    }
    let sql = "SELECT vm, address FROM instances WHERE retired_at IS NULL ORDER BY vm";
    for row in db.rows(sql, &[]).await.unwrap_or_default().iter().take(DOCTOR_VMS_MAX) {
        if let (Ok(vm), Ok(address)) = (row.text(0), row.text(1)) {
            match banner(&address).await {
                Some(banner) => findings.ok("VM", format!("{vm} at {address}: {banner}")),
                None => findings.warn(
                    "VM",
                    format!("{vm} at {address}: no sshd answers within {VM_SECONDS} s"),
                ),
            }
        }
    }
}

const VM_SECONDS: u64 = 2;

async fn banner(address: &str) -> Option<String> {
    let read = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let mut bytes = [0; 255];
        let count = stream.read(&mut bytes).await.ok()?;
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        text.starts_with("SSH-2.0-").then(|| text.lines().next().unwrap_or_default().to_owned())
    };
    tokio::time::timeout(Duration::from_secs(VM_SECONDS), read).await.ok().flatten()
}

async fn listeners(config: &Config, findings: &mut Findings) {
    for address in config.listen.iter().chain(config.metrics.iter()) {
        match tokio::net::TcpListener::bind(address).await {
            Ok(_) => findings.ok("listener", format!("{address} is free")),
            Err(cause) => findings.fail("listener", format!("{address}: {cause}")),
        }
    }
}
