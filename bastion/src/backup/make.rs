//! Making a backup: snapshot, sealed file, read back, entered, named.
//!
//! The entry `backup.made` is durable before the file has its name: no backup is there of which the
//! log does not know. If we crash between, the log names one that is not there, and whoever looks
//! for it finds the partial file.

use super::{
    BackupError, Header,
    body::Body,
    check::Replay,
    file::{self, Seals, Writing, Written},
    reader::Sealed,
    snapshot,
    text::Dialect,
};
use crate::{
    clock,
    config::Config,
    entropy, keyfile,
    ledger::{Ledger, NewEntry},
    relay::recording::{ContainerKey, Recipient, wrap},
};
use audit_schema::{
    checkpoint::Vkey,
    event::{Actor, Event},
    hash::Hash,
};
use ed25519_dalek::SigningKey;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Its id.
    pub backup: String,
    /// The file's size.
    pub bytes: u64,
    /// What is signed of it.
    pub digest: Hash,
    /// How many entries are in it.
    pub entries: u64,
    /// The entry that says so.
    pub seq: u64,
}

/// Makes a backup of the log and of all beside it; the log may be in use.
pub async fn make(
    ledger: &Ledger,
    config: &Config,
    (to, actor): (&Path, Actor),
) -> Result<Made, BackupError> {
    let partial = place(to)?;
    let written = log(ledger, config, &partial).await;
    let made = match written {
        Ok(written) => entered(ledger, written, actor).await,
        Err(why) => Err(why),
    };
    named(made, (&partial, to))
}

/// Where it is written until it is whole.
pub(super) fn place(to: &Path) -> Result<PathBuf, BackupError> {
    if !to.is_absolute() {
        let how = "name the file with its whole path: the gateway writes it, wherever it runs";
        return Err(BackupError::Place(how.into()));
    }
    match to.exists() {
        true => Err(BackupError::Place(format!(
            "{} is there already: name a file that is not, as a backup is never overwritten",
            to.display()
        ))),
        false => Ok(file::partial(to)),
    }
}

/// Gives a backup its name; takes what is left of one that failed away.
pub(super) fn named(
    made: Result<Made, BackupError>,
    (partial, to): (&Path, &Path),
) -> Result<Made, BackupError> {
    let made = made.and_then(|made| file::name_it(partial, to).map(|()| made));
    // What somebody else writes is not ours to remove.
    if made.is_err() && !matches!(made, Err(BackupError::Busy(_))) {
        match fs::remove_file(partial) {
            Ok(()) => {}
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => tracing::warn!(%why, file = %partial.display(), "a part of it is left"),
        }
    }
    made
}

/// Enters that a backup was made.
pub(super) async fn entered(
    ledger: &Ledger,
    (header, written): (Header, Written),
    actor: Actor,
) -> Result<Made, BackupError> {
    let Written { bytes, digest } = written;
    let (backup, entries) = (header.backup, header.size);
    let event = Event::BackupMade {
        backup: backup.clone(),
        bytes,
        digest: digest.to_string(),
        entries,
        kind: header.kind,
    };
    let entered = ledger.record("backup", move |batch| {
        Box::pin(async move { batch.append(NewEntry::new(actor, event)).await })
    });
    let seq = entered.await?.seq();
    Ok(Made { backup, bytes, digest, entries, seq })
}

async fn log(
    ledger: &Ledger,
    config: &Config,
    partial: &Path,
) -> Result<(Header, Written), BackupError> {
    // Before the snapshot, so that what it signs is in it.
    let checkpoint = ledger.signed().await?.note;
    let mut draft = Draft::new(config, "log", ledger.db().is_postgres())?;
    draft.header.checkpoint = checkpoint;
    let (key, at) = (Arc::clone(&draft.key), partial.to_owned());
    let facts = snapshot::facts(ledger.db(), move |size, recordings| {
        draft.header.size = size;
        draft.header.recordings = recordings;
        Ok(draft.begin(&at))
    });
    let (mut text, seen) = facts.await?;
    text.log(ledger.db(), &seen).await?;
    let written = text.finish().await?;
    let vkey = ledger.vkey().parse();
    let vkey: Vkey = vkey.map_err(|_| BackupError::Log("its own key is not one".into()))?;
    let at = partial.to_owned();
    let read_back = move || read_back(&at, (&key, &vkey), &written);
    let header = tokio::task::spawn_blocking(read_back).await.map_err(|_| BackupError::Ended)??;
    Ok((header, written))
}

/// Reads a backup as a restore would, all but putting it anywhere.
fn read_back(
    partial: &Path,
    (key, vkey): (&ContainerKey, &Vkey),
    written: &Written,
) -> Result<Header, BackupError> {
    let sealed = Sealed::open(partial)?;
    if sealed.digest()? != written.digest {
        return Err(super::body::bad("the disk did not keep what was written"));
    }
    let mut body = Body::new(Dialect::named(&sealed.header.store)?);
    let mut replay = Replay::new(&sealed.header, vkey, sealed.keys()?)?;
    sealed.lines(key, |line| {
        if let Some(row) = body.line(line)? {
            replay.row(row)?;
        }
        Ok(())
    })?;
    body.ended()?;
    replay.finish(&sealed.header)?;
    Ok(sealed.header)
}

/// A backup before its first byte.
pub(super) struct Draft {
    pub header: Header,
    pub key: Arc<ContainerKey>,
    signer: SigningKey,
}

impl Draft {
    pub fn new(config: &Config, kind: &str, postgres: bool) -> Result<Self, BackupError> {
        let key = ContainerKey::draw()?;
        let pem = keyfile::read_recording_key(&config.recordings.provider_key)?;
        let recipient = Recipient::from_pem(&pem)?;
        let drawn = entropy::draw::<8>().map_err(|none| BackupError::Bad(none.to_string()))?;
        let backup = format!("b-{:016x}", u64::from_be_bytes(drawn));
        let sealed = serde_json::from_str(&wrap(&backup, &key, &[&recipient])?);
        let text = fs::read(&config.file).map_err(|why| super::io_error(&config.file, why))?;
        let header = Header {
            backup,
            checkpoint: String::new(),
            config: Hash::of(&text),
            created_at: clock::now().to_string(),
            gateway: config.gateway.clone(),
            kind: kind.to_owned(),
            origin: config.origin.clone(),
            recordings: 0,
            sealed: sealed.map_err(|why| BackupError::Bad(why.to_string()))?,
            size: 0,
            store: Dialect::of(postgres).name().to_owned(),
        };
        let signer = keyfile::read_log_key(&config.keys.notices)?;
        Ok(Self { header, key: Arc::new(key), signer })
    }

    /// Begins to write it.
    pub fn begin(self, partial: &Path) -> Writing {
        let Self { header, key, signer } = self;
        Writing::begin(partial, Seals { header, key, signer })
    }
}
