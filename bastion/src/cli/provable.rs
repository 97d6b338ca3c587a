//! What `bastion doctor` says of the log as others can check it: whether it is all that anybody
//! remembers, how far it is published, when it last said that it lives, and which alarms the
//! running gateway has raised.

use super::doctor::Findings;
use crate::{
    app::log,
    clock,
    config::{Config, Store},
    keyfile,
    ledger::{epochs, head::Head, heartbeat, open::check_remembered},
    store::Db,
};
use audit_schema::checkpoint::Vkey;
use bastion_core::limits::{DOCTOR_HEALTH_BYTES_MAX, DOCTOR_UNPUBLISHED_MAX};
use std::{net::SocketAddr, os::unix::fs::MetadataExt as _, path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(super) async fn look(config: &Config, db: &Db, head: &Head, findings: &mut Findings) {
    key(config, db, findings).await;
    memories(config, db, head, findings).await;
    heartbeats(config, db, findings).await;
}

/// The key and the name under which the log goes on.
async fn key(config: &Config, db: &Db, findings: &mut Findings) {
    let what = "log's key";
    let (origin, log_key) = match epochs::current(db).await {
        Ok(current) => current,
        Err(error) => return findings.fail(what, error.to_string()),
    };
    let ours = keyfile::read_log_key(&config.keys.log).ok();
    let ours = ours.and_then(|key| Vkey::new(&origin, key.verifying_key()).ok());
    let deployment = origin.split("/epoch-").next().unwrap_or_default();
    match ours {
        Some(ours) if ours.to_string() == log_key && deployment == config.origin => {
            findings.ok(what, format!("the one that the log names, as {origin}"));
        }
        _ => findings.fail(what, format!("not the one of {origin}: wrong key or origin")),
    }
}

/// Whoever remembers how long the log was.
async fn memories(config: &Config, db: &Db, head: &Head, findings: &mut Findings) {
    let what = "log's memory";
    let remembered = match log::remembered(config) {
        Ok(remembered) => remembered,
        Err(error) => return findings.fail(what, error.to_string()),
    };
    if remembered.is_empty() {
        let found = "nobody remembers how long the log was: a restored backup would not be noticed";
        findings.warn(what, found);
    }
    witnesses(config, findings);
    for (who, known) in remembered {
        let (size, published) = (known.head.size, who.contains("published"));
        match check_remembered(db, head, (who.clone(), known)).await {
            Ok(()) if published => behind(head.size().saturating_sub(size), &who, findings),
            Ok(()) => findings.ok(what, format!("{who}: {size} entries, which are there")),
            Err(error) => findings.fail(what, error.to_string()),
        }
    }
    if let Store::Sqlite { file, .. } = &config.store
        && same_disk(file, &config.provable.high_water)
    {
        let found = "on the store's own disk: whoever puts back the disk puts back both";
        findings.ok("high-water mark", found);
    }
}

fn behind(lag: u64, who: &str, findings: &mut Findings) {
    let found = format!("{who}: {lag} entries are not there yet");
    if lag > DOCTOR_UNPUBLISHED_MAX {
        findings.warn("published", found);
    } else {
        findings.ok("published", found);
    }
}

/// Whether the checkpoint that others are shown is cosigned.
fn witnesses(config: &Config, findings: &mut Findings) {
    let what = "witnesses";
    match log::witnessed(config) {
        Ok(words) => findings.ok(what, format!("the published checkpoint is {words}")),
        Err(why) => {
            let found = format!("{why}: unwitnessed, two parties could be shown two logs");
            match config.witness {
                Some(_) => findings.warn(what, found),
                None => findings.ok(what, found),
            }
        }
    }
}

fn same_disk(one: &Path, other: &Path) -> bool {
    let disk = |path: &Path| path.metadata().map(|found| found.dev()).ok();
    disk(one).is_some() && disk(one) == disk(other)
}

async fn heartbeats(config: &Config, db: &Db, findings: &mut Findings) {
    let every = i64::try_from(config.provable.heartbeat.as_secs()).unwrap_or(i64::MAX);
    match heartbeat::last_in(db).await {
        Ok(None) => findings.ok("heartbeat", format!("none yet; one is due every {every} s")),
        Ok(Some(last)) => {
            let age = (clock::now().micros() - last.time.micros()) / 1_000_000;
            let found = format!("entry {}, {age} s ago; one is due every {every} s", last.seq);
            if age > every.saturating_mul(2) {
                findings.warn("heartbeat", format!("{found}: silence since then is not proven"));
            } else {
                findings.ok("heartbeat", found);
            }
        }
        Err(error) => findings.fail("heartbeat", error.to_string()),
    }
}

/// What the running gateway says of itself.
pub(super) async fn alarms(config: &Config, findings: &mut Findings) {
    let Some(address) = config.metrics else {
        return findings.warn("alarms", "not seen: set [metrics] to let them be asked for");
    };
    match health(address).await {
        Some(answer) if answer.starts_with("HTTP/1.1 200") => findings.ok("alarms", "none"),
        Some(answer) => {
            let raised = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end();
            findings.fail("alarms", format!("raised: {}", raised.replace('\n', ", ")));
        }
        None => findings.warn("alarms", format!("http://{address}/health does not answer")),
    }
}

async fn health(address: SocketAddr) -> Option<String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        stream.take(DOCTOR_HEALTH_BYTES_MAX).read_to_string(&mut answer).await.ok()?;
        Some(answer)
    };
    tokio::time::timeout(Duration::from_secs(2), ask).await.ok().flatten()
}
