//! A deployment with something in it, its backups, and the place where they are put back.

use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{
    app::App,
    args,
    backup::{BackupError, Restored, restore},
    config::{Config, Store},
    ledger::NewEntry,
};
use bastion_tests::deployment::{World, caller, run};
use bastion_tests::postgres::Cluster;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A recording that nobody made: its wrapped key is all that a backup has of one.
pub const RECORDING: &str = "r-0123456789";

pub struct Scene {
    pub world: World,
    pub app: App,
}

impl Scene {
    /// Officers, an operator, a customer, and the key of a recording.
    pub async fn new(postgres: Option<Cluster>) -> Self {
        let (world, app) = World::new(postgres).await;
        let olga = "--team databases --entity Hosting GmbH --country DE";
        world.person(&app, "operator", "olga", olga).await;
        world.done(&app, "customer add globex --name \"It's Globex\\\\Sons\"", "").await;
        let wrapped = format!("{{\"alg\":\"RSA-OAEP-SHA256\",\"keys\":[\"{}\"]}}", "w".repeat(512));
        let kept = app.ledger.record("test", move |batch| {
            Box::pin(async move {
                let sql = "INSERT INTO recording_keys (recording, lease, wrapped_json, created_at) \
                           VALUES ($1, $2, $3, $4)";
                batch.tx().run(sql, &args![RECORDING, "l-1", wrapped, 1_u64]).await?;
                batch.append(entry()).await
            })
        });
        kept.await.expect("a key");
        Self { world, app }
    }

    /// A command on the gateway's machine, which must succeed.
    pub async fn local(&self, line: &str) -> String {
        let (code, out, err) = self.tried(line).await;
        assert_eq!(code, 0, "{line}: {out}{err}");
        out
    }

    pub async fn tried(&self, line: &str) -> (i32, String, String) {
        run(&self.app, &caller(ActorKind::Local, "0", "root"), line, "").await
    }

    /// A backup under a name; what the command said of it.
    pub async fn backup(&self, name: &str) -> (PathBuf, Value) {
        let file = self.world.dir.join(name);
        let said = self.local(&format!("backup --to {} --json", file.display())).await;
        (file, serde_json::from_str(&said).expect("JSON"))
    }

    pub fn identity(&self) -> String {
        fs::read_to_string(self.world.dir.join("take-away/provider-recording.pem")).expect("a key")
    }

    /// The store is gone: another place, with everything else as it was.
    pub async fn lose(self) -> (World, Config) {
        let Self { world, app } = self;
        app.ledger.close().await;
        let mut config = world.config.clone();
        match (&mut config.store, &world.postgres) {
            (Store::Sqlite { file, .. }, _) => {
                fs::rename(&*file, file.with_extension("lost")).expect("moves");
            }
            (Store::Postgres { url }, Some(cluster)) => {
                empty_database(cluster, "another");
                *url = cluster.url_of("another");
            }
            (Store::Postgres { .. }, None) => unreachable!("a store without its server"),
        }
        (world, config)
    }
}

/// An empty database of a server.
pub fn empty_database(cluster: &Cluster, name: &str) {
    let made = Command::new("psql")
        .args(["-X", "-q", "-d", &cluster.url(), "-c", &format!("CREATE DATABASE {name}")])
        .status()
        .expect("psql runs");
    assert!(made.success());
}

pub async fn put_back(config: &Config, from: &Path) -> Result<Restored, BackupError> {
    let pem = config.dir.join("take-away/provider-recording.pem");
    restore(config, from, &fs::read_to_string(pem).expect("a key")).await
}

/// An entry that says nothing much.
pub fn entry() -> NewEntry {
    NewEntry::new(actor(), Event::GatewayStopped { reason: "a test".into() })
}

pub fn actor() -> Actor {
    Actor { id: "0".into(), kind: ActorKind::Local }
}

/// `audit-verify` on files of a folder: what it says, and that it ends so.
pub fn verified(words: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_audit-verify-under-test"))
        .args(words)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&out.stderr));
    said
}
