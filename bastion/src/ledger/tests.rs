//! The log on SQLite: what it promises, one test each. The same suite runs on PostgreSQL in
//! `tests/tests/ledger.rs`.

use super::*;
use crate::store::Options;
use audit_schema::{
    checkpoint::{self, Vkey},
    event::{Actor, ActorKind, Event},
};
use ed25519_dalek::SigningKey;
use std::path::PathBuf;

/// A folder of its own for each test, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bastion-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }
    fn url(&self) -> String {
        format!("sqlite:{}/bastion.db", self.0.display())
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("removing the temporary folder");
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn entry(text: &str) -> NewEntry {
    let actor = Actor { id: "gw-1".into(), kind: ActorKind::Gateway };
    NewEntry::new(actor, Event::GatewayStopped { reason: text.into() })
}

async fn fresh(dir: &Dir) -> Ledger {
    let db = Db::open(&dir.url(), Options::CREATE).await.expect("a store");
    Ledger::create(db, "test.example/log", Opening::new("gw-1", key())).await.expect("a log")
}

#[tokio::test]
async fn an_appended_entry_is_durable_linked_and_signed() {
    let dir = Dir::new("appended");
    let ledger = fresh(&dir).await;
    let recorded = ledger.append("test", vec![entry("one"), entry("two")]).await.expect("recorded");
    assert_eq!(recorded.seq(), 2);
    let found = ledger.entry(2).await.expect("read").expect("there");
    assert_eq!(found.entry.time, recorded.time());
    assert_eq!(ledger.verify().await, Ok(3));
    let note = ledger.checkpoint().await.expect("signed");
    let vkey: Vkey = ledger.vkey().parse().expect("a key");
    let head = checkpoint::verify(&note, &vkey).expect("verified");
    assert_eq!((head.size, head.origin.as_str()), (3, "test.example/log"));
}
