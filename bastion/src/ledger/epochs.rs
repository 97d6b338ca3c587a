//! Epochs: the names under which a log has been signed, and how it goes on after a loss.
//!
//! A log that has lost entries must not go on under its name: whoever holds a checkpoint of the
//! longer tree would hold a proof that it was cut. So it goes on under another one, in a ceremony
//! that says what is lost. The entries that are left stay where they are, as the first leaves of
//! the new tree: their links, their proofs and each customer's own chain go on. The first entry
//! that the new name signs for cites the old name, its newest known checkpoint and the range that
//! is gone; every customer's chain has one, too.
//!
//! Where each epoch begins stands in `settings`; what it says is read from the entry.

use super::{
    Batch, ChangeError, NewEntry,
    head::Head,
    mark::Remembered,
    open::{OpenError, Opening, Signing, verify_tail, vkey},
    proofs::Tree,
    reading,
    rollback::{self, Lost},
    sequencer::writer_of,
    write::{self, Failure},
};
use crate::{
    args,
    store::{Db, StoreError, Tx},
};
use audit_schema::event::{Actor, Event};
use bastion_core::limits::EPOCHS_MAX;
use futures_util::future::BoxFuture;
use std::{ops::RangeInclusive, sync::Arc};

/// A name of the log, and what it took over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    pub origin: String,
    /// The verifier key, as the entry that begins it has it.
    pub log_key: String,
    /// The size of the newest checkpoint of the epoch before.
    pub old_size: u64,
}

/// The epochs of a log, the oldest first. Entry 0 begins the first.
pub(super) async fn read(db: &Db) -> Result<Vec<Epoch>, OpenError> {
    let mut epochs = Vec::new();
    for seq in beginnings(db).await? {
        let found = reading::lines(db, seq, seq + 1).await?.next().await?;
        let event = found.and_then(|found| found.entry.event());
        epochs.push(match event {
            Some(Event::Genesis { log_key, origin, .. }) if seq == 0 => {
                Epoch { origin, log_key, old_size: 0 }
            }
            Some(Event::LogEpoch { log_key, origin, old_size, .. }) => {
                Epoch { origin, log_key, old_size }
            }
            _ if seq == 0 => {
                return Err(OpenError::Broken { seq, fault: "it is not a genesis".into() });
            }
            _ => {
                let fault = "it begins no epoch, and the settings say that it does".into();
                return Err(OpenError::Broken { seq, fault });
            }
        });
    }
    Ok(epochs)
}

/// The name and the verifier key under which a log goes on.
pub async fn current(db: &Db) -> Result<(String, String), OpenError> {
    let last = read(db).await?.pop();
    let last = last.ok_or_else(|| OpenError::Mismatch("the log is empty".into()))?;
    Ok((last.origin, last.log_key))
}

const KEY: &str = "log.epoch.";

/// Where the epochs begin.
async fn beginnings(db: &Db) -> Result<Vec<u64>, StoreError> {
    let mut seqs = vec![0];
    for number in 2..=EPOCHS_MAX {
        let sql = "SELECT value FROM settings WHERE key = $1";
        match db.row_opt(sql, &args![format!("{KEY}{number}")]).await? {
            Some(row) => seqs.push(row.parsed(0)?),
            None => break,
        }
    }
    Ok(seqs)
}

/// A part of the change that somebody else brings; it gets the place of the first entry.
pub type Tell =
    Box<dyn for<'a> FnOnce(&'a mut Batch, u64) -> BoxFuture<'a, Result<(), ChangeError>> + Send>;

/// A new epoch, as whoever holds the ceremony asks for it.
pub struct NewEpoch {
    /// The entries that are gone.
    pub lost: RangeInclusive<u64>,
    /// Why it is so.
    pub reason: String,
    /// Who says so.
    pub actor: Actor,
    /// What else the change does: telling the customers, from this entry on.
    pub tell: Tell,
}

/// Why no epoch begins.
#[derive(Debug, thiserror::Error)]
pub enum EpochError {
    /// The log is all that anybody remembers.
    #[error(
        "nothing is lost: the log has {0} entries, and nobody remembers more of it or another; it \
         goes on under its name"
    )]
    Nothing(u64),
    /// Something else is lost than was said.
    #[error("what is lost is {0}: say so with `--lost {0}`")]
    Range(String),
    /// There were too many.
    #[error("a log has at most {EPOCHS_MAX} epochs: make a new deployment")]
    Many,
    /// The store or the log.
    #[error("{0}")]
    Open(#[from] OpenError),
}

impl From<StoreError> for EpochError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// Begins a new epoch of a log that no gateway has open. Answers its name.
pub async fn begin(db: &Db, opening: &Opening, new: NewEpoch) -> Result<String, EpochError> {
    let conn = writer_of(db, &opening.gateway).await?;
    let epochs = read(db).await?;
    let head = verify_tail(db, &opening.keys).await?;
    let tree = Tree::new(db.clone(), &head);
    let (first, last) = match (epochs.first(), epochs.last()) {
        (Some(first), Some(last)) => (first, last),
        _ => return Err(StoreError::failed("the log has no genesis").into()),
    };
    let old = most_lost(&tree, &epochs, opening).await?.ok_or(EpochError::Nothing(head.size()))?;
    check_range(&new.lost, head.size(), &old)?;
    if epochs.len() >= EPOCHS_MAX {
        return Err(EpochError::Many);
    }
    let number = epochs.len() + 1;
    let origin = format!("{}/epoch-{number}", first.origin);
    let key = vkey(&opening.signing, &origin)
        .map_err(|bad| OpenError::Mismatch(format!("{origin}: {bad}")))?;
    let event = Event::LogEpoch {
        log_key: key.to_string(),
        lost_from: *new.lost.start(),
        lost_to: *new.lost.end() + 1,
        old_origin: last.origin.clone(),
        old_root: old.head.root.to_string(),
        old_size: old.head.size,
        origin: origin.clone(),
    };
    let mut tx = Tx::begin_write(conn).await?;
    let (head, _) = Head::lock(&mut tx).await?;
    let mut batch =
        Batch::new(tx, head, (Arc::from(opening.gateway.as_str()), opening.keys.clone()));
    batch.begin_change((opening.hooks.clock)());
    let entered = enter(&mut batch, (number, event), new).await;
    entered.map_err(|error| OpenError::Mismatch(error.to_string()))?;
    let head = batch.head().frontier().head();
    write::write(batch.into_parts(), &opening.hooks).await.map_err(|failure| match failure {
        Failure::NotWritten(error) => error,
        Failure::Unknown(what) => StoreError::failed(what),
    })?;
    // If we crash before this, the mark remembers the epoch before, which the entry closes.
    if let Some(mark) = &opening.mark {
        let kept = mark.raise(&origin, head).and_then(|()| mark.flush());
        kept.map_err(|error| StoreError::failed(format!("{}: {error}", mark.path().display())))?;
    }
    Ok(origin)
}

/// What is remembered of the last epoch and not in the log; the largest of it.
async fn most_lost(
    tree: &Tree,
    epochs: &[Epoch],
    opening: &Opening,
) -> Result<Option<Remembered>, OpenError> {
    let mut most: Option<Remembered> = None;
    for (who, what) in rollback::remembered(opening) {
        match rollback::check_one(tree, epochs, (who, what.clone())).await {
            Ok(()) => {}
            Err(OpenError::Lost(unknown @ Lost::Unknown { .. })) => return Err(unknown.into()),
            Err(OpenError::Lost(_)) => {
                let size = |known: &Remembered| known.head.size;
                if most.as_ref().is_none_or(|most| size(most) < size(&what)) {
                    most = Some(what);
                }
            }
            Err(other) => return Err(other),
        }
    }
    Ok(most)
}

/// Whoever begins an epoch says in words what is lost, and it must be that.
fn check_range(said: &RangeInclusive<u64>, size: u64, old: &Remembered) -> Result<(), EpochError> {
    let last = old.head.size.saturating_sub(1);
    // Entries that were rewritten are lost from wherever they begin to differ.
    let shorter = size < old.head.size;
    let right = *said.end() == last
        && if shorter { *said.start() == size } else { (1..=last).contains(said.start()) };
    match right {
        true => Ok(()),
        false if shorter => Err(EpochError::Range(format!("{size}-{last}"))),
        false => Err(EpochError::Range(format!("FROM-{last}"))),
    }
}

async fn enter(
    batch: &mut Batch,
    (number, event): (usize, Event),
    new: NewEpoch,
) -> Result<(), ChangeError> {
    let first = batch.next_seq();
    let entry = NewEntry::new(new.actor, event).with("reason", new.reason);
    batch.append(entry.clone()).await?;
    let sql = "INSERT INTO settings (key, value) VALUES ($1, $2)";
    batch.tx().run(sql, &args![format!("{KEY}{number}"), first.to_string()]).await?;
    if batch.tx().row_opt("SELECT id FROM customers LIMIT 1", &[]).await?.is_some() {
        batch.append_for_everybody(entry).await?;
    }
    (new.tell)(batch, first).await
}

/// Whether this key may sign for the last epoch; answers the epoch's name.
pub(super) fn name(epochs: &[Epoch], signing: &Signing) -> Result<String, OpenError> {
    let last = epochs.last().ok_or_else(|| OpenError::Mismatch("the log is empty".into()))?;
    match vkey(signing, &last.origin) {
        Ok(ours) if ours.to_string() == last.log_key => Ok(last.origin.clone()),
        _ => Err(OpenError::Mismatch(format!(
            "the log {} belongs to another key than the one configured: see `[log] origin` and \
             `[keys] log`",
            last.origin
        ))),
    }
}
