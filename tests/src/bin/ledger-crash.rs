//! Dies in the middle of a batch: `ledger-crash STORE STEP KEYS`, for a test of what is left then.
//!
//! Prints the seq of each entry that was answered, then dies without unwinding just before the step
//! of the next batch.

use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{
    ledger::{
        Hooks, Ledger, NewEntry, Opening, SigningKey, SubjectKeys,
        hooks::{Fault, Step},
    },
    store::{Db, Options},
};
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let store = words.next().ok_or("usage: ledger-crash STORE STEP KEYS")?;
    let step = words.next().ok_or("usage: ledger-crash STORE STEP KEYS")?;
    let step = Step::ALL.into_iter().find(|known| format!("{known:?}") == step);
    let step = step.ok_or("no such step")?;
    let keys = words.next().ok_or("usage: ledger-crash STORE STEP KEYS")?;
    let keys = SubjectKeys::open(&keys).await?;
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    let fault = move |at| {
        if at == step && trigger.load(Ordering::SeqCst) {
            std::process::abort();
        }
        Fault::None
    };
    let hooks = Hooks { fault: Arc::new(fault), ..Hooks::default() };
    let opening = Opening::new("gw-1", SigningKey::from_bytes(&[7; 32]), keys);
    let opening = Opening { hooks, ..opening };
    let ledger = Ledger::open(Db::open(&store, Options::OPEN).await?, opening).await?;
    for number in 0..10 {
        armed.store(number == 5, Ordering::SeqCst);
        let actor = Actor { id: "gw-1".into(), kind: ActorKind::Gateway };
        let event = Event::GatewayStopped { reason: "crash".into() };
        let entry = NewEntry::new(actor, event).of_customer(&"acme".parse()?).with("note", "x");
        println!("{}", ledger.append("crash", vec![entry]).await?.seq());
    }
    Err("did not die".into())
}
