//! The log of a deployment: opened with everybody who remembers it, and the two ceremonies for
//! when it is not what they remember.

use super::StartError;
use crate::{
    args,
    backup::RESTORED,
    config::Config,
    keyfile,
    ledger::{
        Batch, ChangeError, Ledger, NewEntry, Opening, SubjectKeys,
        epochs::{self, EpochError, NewEpoch, Tell},
        mark::{Mark, Remembered},
        open::Signing,
        signer::LogSigner as _,
    },
    notices::{Notice, enqueue},
    signer::Signer,
    store::{Db, Options, StoreError},
    witness::panel::{self, Panel},
};
use audit_schema::{
    checkpoint::{self, Vkey},
    event::{Actor, ActorKind, Event},
    merkle::TreeHead,
    tile::CHECKPOINT_PATH,
};
use bastion_core::{id::CustomerId, limits::EPOCHS_MAX};
use ed25519_dalek::VerifyingKey;
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The configuration, with the name that the log says of itself: after a loss it is not the
/// deployment's. One that `[log] origin` names stays, and is refused where it is not the log's.
pub(super) async fn named(mut config: Config) -> Result<Config, StartError> {
    if config.provable.origin == config.origin {
        let db = Db::open(&config.store.url(), Options::READ_ONLY).await?;
        let name = epochs::current(&db).await;
        db.close().await;
        config.provable.origin = name?.0;
    }
    Ok(config)
}

/// Opens the log of a deployment that no gateway serves.
pub(super) async fn open(config: &Config, signer: Arc<Signer>) -> Result<Ledger, StartError> {
    let db = Db::open(&config.store.url(), Options::OPEN).await?;
    let keys = SubjectKeys::open(&config.erasure.keys).await?;
    let opening = opening(config, (signer, keys))?;
    if opening.mark.as_ref().is_none_or(|mark| mark.last().is_none())
        && has_run(&db, config).await?
    {
        return Err(StartError::MarkGone(config.provable.high_water.clone()));
    }
    let ledger = Ledger::open(db, opening).await?;
    if ledger.deployment() != config.origin {
        return Err(StartError::Origin {
            config: config.origin.clone(),
            log: ledger.deployment().to_owned(),
        });
    }
    Ok(ledger)
}

/// Enters that the store was put back from a backup, if it was: in every customer's chain, as the
/// facts are those of then.
pub(super) async fn enter_restored(ledger: &Ledger) -> Result<(), StartError> {
    let sql = "SELECT value FROM settings WHERE key = $1";
    let Some(row) = ledger.db().row_opt(sql, &args![RESTORED]).await? else { return Ok(()) };
    let note: RestoredNote = serde_json::from_str(&row.text(0)?)
        .map_err(|why| StoreError::Shape(format!("the note of a restore: {why}")))?;
    let actor = Actor { id: ledger.gateway().to_owned(), kind: ActorKind::Gateway };
    let entered = ledger.record("restored", move |batch| {
        Box::pin(async move {
            let sql = "DELETE FROM settings WHERE key = $1";
            batch.tx().run(sql, &args![RESTORED]).await?;
            let RestoredNote { backup, digest, entries } = note;
            let event = Event::BackupRestored { backup, digest, entries };
            batch.append_for_everybody(NewEntry::new(actor, event)).await
        })
    });
    entered.await?.into_inner();
    Ok(())
}

#[derive(Deserialize)]
struct RestoredNote {
    backup: String,
    digest: String,
    entries: u64,
}

/// What this gateway brings to its log, with what is remembered of it.
pub(super) fn opening(
    config: &Config,
    (signer, keys): (Arc<Signer>, SubjectKeys),
) -> Result<Opening, StartError> {
    let (vkey, head) = (signer.vkey(), signer.last_signed());
    let opening = remembering(config, *vkey.key(), (Signing::Signer(signer), keys))?;
    let panel = config.witness.as_ref().map(|witness| Panel::new(witness, vkey)).transpose();
    let opening = opening.witnessed_by(panel.map_err(StartError::Witness)?);
    Ok(with_signers(opening, config, head))
}

/// The same with the key itself, for a ceremony that begins where a signer would refuse.
async fn opening_by_hand(config: &Config) -> Result<Opening, StartError> {
    let keys = SubjectKeys::open(&config.erasure.keys).await?;
    let log_key = keyfile::read_log_key(&config.keys.log)?;
    let head = Signer::here(config)?.last_signed();
    let opening =
        remembering(config, log_key.verifying_key(), (Signing::Key(Box::new(log_key)), keys))?;
    Ok(with_signers(opening, config, head))
}

fn with_signers(opening: Opening, config: &Config, head: TreeHead) -> Opening {
    let what = Remembered { origin: config.provable.origin.clone(), head };
    if head.size == 0 { opening } else { opening.remembered_by("the signer", what) }
}

fn remembering(
    config: &Config,
    public: VerifyingKey,
    (signing, keys): (Signing, SubjectKeys),
) -> Result<Opening, StartError> {
    let path = &config.provable.high_water;
    let mark = Mark::open(path).map_err(|error| StartError::Io(path.clone(), error))?;
    let opening = Opening::signed_by(config.gateway.clone(), signing, keys).marked(Arc::new(mark));
    let others = published_memories(config, public);
    Ok(others.into_iter().fold(opening, |opening, (file, what)| {
        // The last epoch's comes last.
        let opening = match file.parent() {
            Some(folder) => opening.published_in(folder, what.clone()),
            None => opening,
        };
        opening.remembered_by(who_published(&file), what)
    }))
}

/// Everybody who remembers the log, for whoever only looks.
pub fn remembered(config: &Config) -> Result<Vec<(String, Remembered)>, StartError> {
    let path = &config.provable.high_water;
    let mark = Mark::read(path).map_err(|error| StartError::Io(path.clone(), error))?;
    let mark = mark.map(|what| (format!("the high-water mark {}", path.display()), what));
    let public = keyfile::read_log_key(&config.keys.log)?.verifying_key();
    let others = published_memories(config, public).into_iter();
    Ok(mark.into_iter().chain(others.map(|(file, what)| (who_published(&file), what))).collect())
}

/// What the published folder remembers.
fn published_memories(config: &Config, public: VerifyingKey) -> Vec<(PathBuf, Remembered)> {
    let mut memories = Vec::new();
    for (file, note) in published(config) {
        let origin = note.lines().next().unwrap_or_default();
        let vkey = Vkey::new(origin, public).ok();
        match vkey.and_then(|vkey| checkpoint::verify(&note, &vkey).ok()) {
            Some(found) => {
                memories.push((file, Remembered { origin: origin.to_owned(), head: found.head() }));
            }
            // Somebody else's, or spoilt: the publisher says so, and it proves nothing here.
            None => tracing::warn!(file = %file.display(), "not a checkpoint of this log's key"),
        }
    }
    memories
}

/// Who witnesses the published checkpoint, in words; or why nobody does.
pub fn witnessed(config: &Config) -> Result<String, String> {
    let witness = config.witness.as_ref().ok_or("no [witness] is configured")?;
    let (policy, _) = witness.read()?;
    let (_, note) = published(config).pop().ok_or("nothing is published yet")?;
    let key = keyfile::read_log_key(&config.keys.log).map_err(|error| error.to_string())?;
    let vkey = Vkey::new(note.lines().next().unwrap_or_default(), key.verifying_key());
    let vkey = vkey.map_err(|bad| format!("the published checkpoint: {bad}"))?;
    let said = panel::said(&policy, &note, &vkey);
    said.map_err(|why| format!("the published checkpoint: {why}"))
}

fn who_published(file: &Path) -> String {
    format!("the published checkpoint {}", file.display())
}

/// The checkpoints in the published folder, of each epoch.
fn published(config: &Config) -> Vec<(PathBuf, String)> {
    let Some(folder) = &config.provable.tiles else { return Vec::new() };
    let epochs = (2..=EPOCHS_MAX).map(|number| folder.join(format!("epoch-{number}")));
    let folders = std::iter::once(folder.clone()).chain(epochs);
    let found = folders.map(|folder| folder.join(CHECKPOINT_PATH));
    found.filter_map(|file| fs::read_to_string(&file).ok().map(|note| (file, note))).collect()
}

/// A gateway that has run has a mark: where it is gone, nothing could tell an older backup.
async fn has_run(db: &Db, config: &Config) -> Result<bool, StartError> {
    let sql = "SELECT value FROM settings WHERE key = $1";
    Ok(db.row_opt(sql, &args![format!("gateway.{}", config.gateway)]).await?.is_some())
}

/// Why a ceremony was not held.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The deployment cannot be opened.
    #[error("{0}")]
    Start(#[from] StartError),
    /// No epoch begins.
    #[error("{0}")]
    Epoch(#[from] EpochError),
    /// The mark is there.
    #[error("the high-water mark {0} is there: nothing to make anew")]
    Marked(PathBuf),
}

/// After a loss: the log goes on under another name, which this answers.
pub async fn new_epoch(
    config: &Config,
    lost: RangeInclusive<u64>,
    (actor, reason): (Actor, String),
) -> Result<String, CeremonyError> {
    let config = &named(config.clone()).await?;
    let opened = Db::open(&config.store.url(), Options::OPEN).await;
    let db = opened.map_err(StartError::from)?;
    let range = (*lost.start(), *lost.end());
    let tell: Tell = Box::new(move |batch, first| Box::pin(tell_customers(batch, first, range)));
    let new = NewEpoch { lost, reason, actor, tell };
    let origin = epochs::begin(&db, &opening_by_hand(config).await?, new).await?;
    db.close().await;
    Ok(origin)
}

/// Every customer hears what was lost.
async fn tell_customers(
    batch: &mut Batch,
    first: u64,
    lost: (u64, u64),
) -> Result<(), ChangeError> {
    let entered = batch.appended_from(first)?;
    let whose: BTreeMap<CustomerId, u64> =
        entered.into_iter().filter_map(|(customer, seq)| Some((customer?, seq))).collect();
    for (customer, seq) in &whose {
        let facts = json!({ "lost_from": lost.0, "lost_to": lost.1 });
        enqueue(batch, &Notice { customer, kind: "log.epoch", seq: *seq, facts }).await?;
    }
    Ok(())
}

/// A gateway whose mark is gone for good gets another, at the log as it is: an entry says so.
pub async fn new_mark(
    config: &Config,
    (actor, reason): (Actor, String),
) -> Result<u64, CeremonyError> {
    let config = &named(config.clone()).await?;
    let opened = Db::open(&config.store.url(), Options::OPEN).await;
    let db = opened.map_err(StartError::from)?;
    let opening = opening_by_hand(config).await?;
    if opening.mark.as_ref().is_some_and(|mark| mark.last().is_some()) {
        return Err(CeremonyError::Marked(config.provable.high_water.clone()));
    }
    // The published folder is still asked: it may remember more.
    let ledger = Ledger::open(db, opening).await.map_err(StartError::from)?;
    let gateway = config.gateway.clone();
    let renewed = ledger.record("new mark", move |batch| {
        Box::pin(async move {
            let event = Event::LogMark { gateway, size: batch.next_seq() };
            let entry = NewEntry::new(actor, event).with("reason", reason);
            batch.append_for_everybody(entry).await
        })
    });
    let seq = renewed.await.map_err(StartError::from)?.seq();
    ledger.close().await;
    Ok(seq)
}

/// Where the log of this epoch is published.
pub fn published_folder(config: &Config, ledger: &Ledger) -> Option<PathBuf> {
    config.provable.tiles.as_deref().map(|folder: &Path| folder.join(ledger.epoch_folder()))
}
