//! The recipe of `BACKUP.md`, as it stands there: a shell, openssl, and sqlite3 or psql alone.

use crate::scene::{RECORDING, Scene, empty_database};
use audit_schema::export::verify_export;
use bastion::{
    args,
    config::Store,
    store::{Db, Options},
};
use bastion_tests::postgres::Cluster;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

const BACKUP: &str = include_str!("../../../bastion/src/backup/BACKUP.md");
const RECORDINGS: &str = include_str!("../../../bastion/src/relay/RECORDING.md");

fn script(spec: &str) -> String {
    let script = spec.split_once("```sh\n#!/bin/sh\n").unwrap().1.split_once("```").unwrap().0;
    format!("#!/bin/sh\n{script}")
}

fn opened(dir: &Path, backup: &Path) -> Output {
    fs::write(dir.join("open-recording.sh"), script(RECORDINGS)).unwrap();
    fs::write(dir.join("open-backup.sh"), script(BACKUP)).unwrap();
    let public = Command::new("openssl")
        .args(["pkey", "-in", "keys/notices.pem", "-pubout", "-out", "notices.pub.pem"])
        .current_dir(dir)
        .status()
        .unwrap();
    assert!(public.success());
    Command::new("sh")
        .arg("open-backup.sh")
        .arg(backup)
        .args(["take-away/provider-recording.pem", "notices.pub.pem"])
        .current_dir(dir)
        .output()
        .unwrap()
}

fn load(dir: &Path, program: &str, words: &[&str]) {
    let sql = fs::File::open(dir.join("backup.sql")).unwrap();
    let done = Command::new(program).args(words).stdin(sql).current_dir(dir).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_and_sqlite3_alone_put_it_back() {
    let scene = Scene::new(None).await;
    let dir = scene.world.dir.clone();
    story(scene, move |_| {
        load(&dir, "sqlite3", &["-bail", "by-hand.db"]);
        format!("sqlite:{}", dir.join("by-hand.db").display())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn openssl_and_psql_alone_put_it_back() {
    let scene = Scene::new(Some(Cluster::start())).await;
    let dir = scene.world.dir.clone();
    story(scene, move |cluster| {
        let cluster = cluster.expect("a server");
        empty_database(cluster, "by_hand");
        let url = cluster.url_of("by_hand");
        load(&dir, "psql", &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &url, "-f", "-"]);
        url
    })
    .await;
}

async fn story(scene: Scene, loaded: impl FnOnce(Option<&Cluster>) -> String) {
    let dir = scene.world.dir.clone();
    let (backup, made) = scene.backup("one.backup").await;
    let lines = scene.local("audit export").await;
    let out = opened(&dir, &backup);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    assert!(said.contains("Signature Verified Successfully"), "{said}");
    fs::write(dir.join("backup.sql"), &out.stdout).unwrap();
    let url = loaded(scene.world.postgres.as_ref());

    // What came out is a store of this build, to the byte of each entry.
    let db = Db::open(&url, Options::OPEN).await.expect("opens");
    let rows = db.rows("SELECT line FROM entries ORDER BY seq", &[]).await.expect("reads");
    assert_eq!(rows.len() as u64, made["entries"].as_u64().unwrap());
    let mut export = Vec::new();
    for (row, line) in rows.iter().zip(lines.lines()) {
        let stored = row.bytes(0).expect("a line");
        assert_eq!(stored, line.as_bytes());
        export.push([stored, b"\n".to_vec()].concat());
    }
    verify_export(&export, None).expect("holds");
    let row = db.row_opt("SELECT name FROM customers WHERE id = $1", &args!["globex"]).await;
    assert_eq!(row.unwrap().unwrap().text(0).unwrap(), "It's Globex\\Sons");
    let sql = "SELECT wrapped_json FROM recording_keys WHERE recording = $1";
    let row = db.row_opt(sql, &args![RECORDING]).await.unwrap().unwrap();
    assert!(row.text(0).unwrap().starts_with("{\"alg\""), "the digest still stands there");
    db.close().await;

    // And a gateway opens it, with all that its commitments open to.
    let keys = bastion::ledger::SubjectKeys::open(&scene.world.config.erasure.keys).await;
    let db = Db::open(&url, Options::OPEN).await.expect("opens");
    let head = bastion::ledger::open::verify_whole(&db, &keys.expect("keys")).await;
    assert_eq!(head.expect("holds").size(), made["entries"].as_u64().unwrap());
    db.close().await;

    // One bit of it changed, and nothing comes out.
    let whole = fs::read(&backup).unwrap();
    for place in [10, whole.len() / 2, whole.len() - 200, whole.len() - 20] {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        fs::write(dir.join("changed"), changed).unwrap();
        let out = opened(&dir, &dir.join("changed"));
        assert!(!out.status.success() && out.stdout.is_empty(), "byte {place}");
    }
    if let Store::Sqlite { .. } = scene.world.config.store {
        assert!(!dir.join("one.backup.partial").exists());
    }
    scene.app.ledger.close().await;
}
