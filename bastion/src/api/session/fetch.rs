//! `session fetch`: a recording leaves the gateway as it is, sealed.
//!
//! That it leaves is entered first, in the transaction that looks whether it may: the recording of
//! a data channel is customer data, and the provider gets it only under a live consent that says
//! so. A lease names its own recording; those of connections that were lent under it (agent, X11,
//! `ssh -R`) are named by their own ids. Then the file is hashed and compared with what the log
//! says of it, and only then sent.

use super::access;
use crate::{
    api::{Call, Fault, Reply, change, reading, recording::Erased},
    args,
    ledger::{
        ChangeError, NewEntry,
        projection::{Filter, Order},
    },
    relay::recording::SEAL_LINE_BYTES,
    render::tar,
};
use audit_schema::{
    event::{ActorKind, Event},
    hash::Hash,
};
use bastion_core::id::{CustomerId, LeaseId, RecordingId};
use sha2::{Digest as _, Sha256};
use std::{fmt, path::Path, str::FromStr};
use tokio::io::AsyncReadExt as _;

/// Bytes that are read and sent together.
const PIECE: usize = 256 * 1024;

/// A recording that may be handed out; that it was is in the log.
struct Handed {
    lease: LeaseId,
    /// Whether it is the lease's own, not that of a connection lent under it.
    is_own: bool,
    recording: RecordingId,
    wrapped: String,
}

/// What the log says of a recording's file: its digest, over so many bytes from its start. After a
/// crash they end where the last seal begins, and its line goes with them: nothing opens without
/// it, and it proves itself by its tag.
struct Told {
    digest: String,
    bytes: u64,
    seal_bytes: u64,
}

pub(super) async fn run(call: &mut Call<'_>, named: &Named) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let handed = hand_out(call, named, scope).await?;
    let path = call.app.recorder.path(&handed.recording);
    let told = told(call, &handed).await?;
    let found = digest(&path, told.bytes).await.map_err(|_| missing(&handed.recording))?;
    if found.to_string() != told.digest {
        return Err(Fault::Unverified {
            code: "recording-changed",
            sentence: format!(
                "the recording of {named} is not what the log says: SHA-256 {found} of its first \
                 {} bytes, the log has {}",
                told.bytes, told.digest
            ),
        });
    }
    let there = tokio::fs::metadata(&path).await.map_err(|_| missing(&handed.recording))?.len();
    let seal_bytes = told.seal_bytes.min(there.saturating_sub(told.bytes));
    send(call, &path, &handed, told.bytes + seal_bytes).await?;
    Ok(Reply::Written)
}

async fn hand_out(
    call: &Call<'_>,
    named: &Named,
    scope: Option<CustomerId>,
) -> Result<Handed, Fault> {
    let (actor, named) = (call.actor(), named.clone());
    let is_approver = actor.kind == ActorKind::Approver;
    let origin = call.app.config.origin.clone();
    let entered = call.change("recording read", move |batch| {
        Box::pin(async move {
            let sql = "SELECT l.customer, l.instance, l.level, l.closed_at, k.recording, \
                       k.wrapped_json, l.account, l.id, l.recording FROM leases l \
                       JOIN recording_keys k ON k.lease = l.id \
                       WHERE k.recording = $1 OR (l.id = $1 AND k.recording = l.recording)";
            let row = batch.tx().row_opt(sql, &args![named.as_str()]).await?;
            let unknown = || change::unknown("recording", named.as_str());
            let row = row.ok_or_else(unknown)?;
            let customer: CustomerId = row.text(0)?.parse().map_err(|_| unknown())?;
            if scope.is_some_and(|scope| scope != customer) {
                return Err(unknown());
            }
            if row.opt_i64(3)?.is_none() {
                let how = "that channel is live: its recording can be had when it has ended";
                return Err(change::conflict(how));
            }
            if let Some(erased) = Erased::of(&row.text(5)?) {
                let sentence = erased.sentence(named.as_str());
                return Err(ChangeError::refused("recording-erased", sentence));
            }
            let place = (row.text(1)?, row.text(6)?);
            let ticket = match row.text(2)?.as_str() {
                "data" if !is_approver => {
                    Some(access::ensure(batch, &origin, &customer, place).await?)
                }
                _ => None,
            };
            let recording: RecordingId = row.text(4)?.parse().map_err(|_| unknown())?;
            let handed = Handed {
                lease: row.text(7)?.parse().map_err(|_| unknown())?,
                is_own: row.opt_text(8)?.is_some_and(|own| own == recording.as_str()),
                recording,
                wrapped: row.text(5)?,
            };
            let read = Event::RecordingRead {
                lease: handed.lease.to_string(),
                recording: handed.recording.to_string(),
                ticket,
            };
            batch.append(NewEntry::new(actor, read).of_customer(&customer)).await?;
            Ok(handed)
        })
    });
    Ok(entered.await?.into_inner())
}

/// What the log says of the file, in the entry that closed the channel or the connection.
async fn told(call: &Call<'_>, handed: &Handed) -> Result<Told, Fault> {
    let index = call.app.projection().await?;
    index.catch_up().await?;
    let lease = &handed.lease;
    // By type: a lease may have lent thousands of connections, and this is its only other entry.
    let kinds = if handed.is_own {
        ["channel.closed", "recovered"]
    } else {
        ["forward.closed", "recovered"]
    };
    for kind in kinds {
        let mut filter = Filter {
            lease: Some(lease.to_string()),
            event: Some(kind.into()),
            order: Order::Newest,
            ..Filter::default()
        };
        loop {
            let page = index.query(&filter).await?;
            for row in &page.rows {
                let found = call.app.ledger.entry(row.seq).await?;
                let event = found.and_then(|found| found.entry.event());
                match event.and_then(|event| told_by(event, handed)) {
                    Some(Some(told)) => return Ok(told),
                    Some(None) => return Err(nothing(handed)),
                    None => {}
                }
            }
            match page.next {
                Some(next) => filter.after = Some(next),
                None => break,
            }
        }
    }
    Err(Fault::Unverified {
        code: "recording-unknown",
        sentence: format!("the log names no digest for the recording of {lease}"),
    })
}

/// What an entry says of this recording, if it is about it: something, or that there is nothing.
fn told_by(event: Event, handed: &Handed) -> Option<Option<Told>> {
    let id = handed.recording.as_str();
    let (digest, bytes, seal_bytes) = match event {
        Event::ChannelClosed { recording, recording_digest, recording_bytes, .. }
        | Event::ForwardClosed { recording, recording_digest, recording_bytes, .. }
            if recording == id =>
        {
            (recording_digest, recording_bytes, 0)
        }
        Event::Recovered { recording, recording_digest, recording_bytes, .. }
            if recording.as_deref().map_or(handed.is_own, |named| named == id) =>
        {
            (recording_digest, recording_bytes, SEAL_LINE_BYTES as u64)
        }
        _ => return None,
    };
    let told = digest.zip(bytes);
    Some(told.map(|(digest, bytes)| Told { digest, bytes, seal_bytes }))
}

fn nothing(handed: &Handed) -> Fault {
    let lease = &handed.lease;
    Fault::Conflict(format!(
        "{} ended before anything was recorded: `session show {lease}` says how",
        if handed.is_own { lease.as_str() } else { handed.recording.as_str() }
    ))
}

/// A recording, as a command line names it: by its own id, or by the lease whose own it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named(String);

impl Named {
    /// As it was typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Named {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_id = text.parse::<LeaseId>().is_ok() || text.parse::<RecordingId>().is_ok();
        is_id.then(|| Self(text.to_owned())).ok_or("name a lease, l-…, or a recording, r-…")
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

async fn digest(path: &Path, bytes: u64) -> std::io::Result<Hash> {
    let mut file = tokio::fs::File::open(path).await?.take(bytes);
    let mut sha = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).await? {
            0 => return Ok(Hash(sha.finalize().into())),
            read => sha.update(&piece[..read]),
        }
    }
}

async fn send(call: &mut Call<'_>, path: &Path, handed: &Handed, bytes: u64) -> Result<(), Fault> {
    let (recording, wrapped) = (&handed.recording, handed.wrapped.as_bytes());
    let length = usize::try_from(bytes).map_err(|_| missing(recording))?;
    call.out.out(&tar::header(&format!("{recording}.keys.json"), wrapped.len())).await?;
    call.out.out(&tar::padded(wrapped)).await?;
    call.out.out(&tar::header(&format!("{recording}.recording"), length)).await?;
    let opened = tokio::fs::File::open(path).await;
    let mut file = opened.map_err(|_| missing(recording))?.take(bytes);
    let mut piece = vec![0; PIECE];
    let mut sent = 0;
    loop {
        let read = file.read(&mut piece).await.map_err(|_| missing(recording))?;
        if read == 0 {
            break;
        }
        sent += read;
        call.out.out(&piece[..read]).await?;
    }
    if sent != length {
        return Err(Fault::Failed(format!("the file of {recording} changed while it was sent")));
    }
    call.out.out(&tar::end(length)).await?;
    Ok(())
}

fn missing(recording: &RecordingId) -> Fault {
    Fault::Failed(format!(
        "the file of {recording} is not on this gateway; ask the one that made it"
    ))
}
