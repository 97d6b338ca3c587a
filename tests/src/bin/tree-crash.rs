//! Appends, publishes and signs until it is killed: `tree-crash STORE FOLDER MARK KEYS`, for a
//! test of what is left then.
//!
//! Prints a line for each entry that was answered (`entry SEQ LEAF`) and for each checkpoint that
//! was signed (`signed SIZE ROOT`), as soon as it is so.

use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{
    ledger::{
        Ledger, NewEntry, Opening, SigningKey, SubjectKeys,
        mark::Mark,
        publish::{Folder, Publisher},
    },
    store::{Db, Options},
};
use std::{error::Error, path::Path, sync::Arc};

type Failed = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [store, folder, mark, keys] = &words[..] else {
        return Err("usage: tree-crash STORE FOLDER MARK KEYS".into());
    };
    let keys = SubjectKeys::open(keys).await?;
    let opening = Opening::new("gw-1", SigningKey::from_bytes(&[7; 32]), keys)
        .marked(Arc::new(Mark::open(Path::new(mark))?));
    let ledger = Ledger::open(Db::open(store, Options::OPEN).await?, opening).await?;
    let writers = (0..4).map(|_| tokio::spawn(append(ledger.clone())));
    let mut tasks: Vec<_> = writers.collect();
    let folder = Folder::open(Path::new(folder))?;
    let mut publisher = Publisher::open(&ledger, folder).await?;
    tasks.push(tokio::spawn(async move {
        loop {
            let head = publisher.round().await?;
            println!("published {} {}", head.size, head.root);
        }
    }));
    tasks.push(tokio::spawn(async move {
        loop {
            let head = ledger.signed().await?.head;
            println!("signed {} {}", head.size, head.root);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }));
    let (ended, ..) = futures_util::future::select_all(tasks).await;
    ended?
}

async fn append(ledger: Ledger) -> Result<(), Failed> {
    loop {
        let actor = Actor { id: "gw-1".into(), kind: ActorKind::Gateway };
        let event = Event::GatewayStopped { reason: "crash".into() };
        let entry = NewEntry::new(actor, event).of_customer(&"acme".parse()?).with("note", "x");
        let seq = ledger.append("crash", vec![entry]).await?.seq();
        println!("entry {seq}");
    }
}
