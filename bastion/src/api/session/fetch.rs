//! `session fetch`: a recording leaves the gateway as it is, sealed.
//!
//! That it leaves is entered first, in the transaction that looks whether it may: the recording of
//! a data channel is customer data, and the provider gets it only under a live consent that says
//! so. Then the file is hashed and compared with what the log says of it, and only then sent.

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
use std::path::Path;
use tokio::io::AsyncReadExt as _;

/// Bytes that are read and sent together.
const PIECE: usize = 256 * 1024;

/// A recording that may be handed out; that it was is in the log.
struct Handed {
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

pub(super) async fn run(call: &mut Call<'_>, lease: &LeaseId) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let handed = hand_out(call, lease, scope).await?;
    let path = call.app.recorder.path(&handed.recording);
    let told = told(call, lease).await?;
    let found = digest(&path, told.bytes).await.map_err(|_| missing(&handed.recording))?;
    if found.to_string() != told.digest {
        return Err(Fault::Unverified {
            code: "recording-changed",
            sentence: format!(
                "the recording of {lease} is not what the log says: SHA-256 {found} of its first \
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
    lease: &LeaseId,
    scope: Option<CustomerId>,
) -> Result<Handed, Fault> {
    let (actor, lease) = (call.actor(), lease.clone());
    let is_approver = actor.kind == ActorKind::Approver;
    let origin = call.app.config.origin.clone();
    let entered = call.change("recording read", move |batch| {
        Box::pin(async move {
            let sql = "SELECT l.customer, l.instance, l.level, l.closed_at, k.recording, \
                       k.wrapped_json, l.account FROM leases l JOIN recording_keys k \
                       ON k.recording = l.recording WHERE l.id = $1";
            let row = batch.tx().row_opt(sql, &args![lease.as_str()]).await?;
            let unknown = || change::unknown("recording of lease", lease.as_str());
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
                let sentence = erased.sentence(lease.as_str());
                return Err(ChangeError::refused("recording-erased", sentence));
            }
            let place = (row.text(1)?, row.text(6)?);
            let ticket = match row.text(2)?.as_str() {
                "data" if !is_approver => {
                    Some(access::ensure(batch, &origin, &customer, place).await?)
                }
                _ => None,
            };
            let handed = Handed {
                recording: row.text(4)?.parse().map_err(|_| unknown())?,
                wrapped: row.text(5)?,
            };
            let read = Event::RecordingRead {
                lease: lease.to_string(),
                recording: handed.recording.to_string(),
                ticket,
            };
            batch.append(NewEntry::new(actor, read).of_customer(&customer)).await?;
            Ok(handed)
        })
    });
    Ok(entered.await?.into_inner())
}

/// What the log says of the file, in the entry that closed the channel.
async fn told(call: &Call<'_>, lease: &LeaseId) -> Result<Told, Fault> {
    let index = call.app.projection().await?;
    index.catch_up().await?;
    let filter =
        Filter { lease: Some(lease.to_string()), order: Order::Newest, ..Filter::default() };
    for row in index.query(&filter).await?.rows {
        let found = call.app.ledger.entry(row.seq).await?;
        let told = match found.and_then(|found| found.entry.event()) {
            Some(Event::ChannelClosed { recording_digest, recording_bytes, .. }) => {
                (recording_digest.zip(recording_bytes), 0)
            }
            Some(Event::Recovered { recording_digest, recording_bytes, .. }) => {
                (recording_digest.zip(recording_bytes), SEAL_LINE_BYTES as u64)
            }
            _ => continue,
        };
        return match told {
            (Some((digest, bytes)), seal_bytes) => Ok(Told { digest, bytes, seal_bytes }),
            (None, _) => Err(Fault::Conflict(format!(
                "{lease} ended before anything was recorded: `session show {lease}` says how"
            ))),
        };
    }
    Err(Fault::Unverified {
        code: "recording-unknown",
        sentence: format!("the log names no digest for the recording of {lease}"),
    })
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
