//! `recording erase`: the keys of a recording are destroyed, and the proof stays.
//!
//! The sealed file may lie on storage that nobody can write to again, and in backups. Its key is
//! nowhere but wrapped in the store, so the one row is overwritten with who did it and when, and
//! with that every copy of the file is noise; its digest still stands in the log. It is overwritten
//! in place, by as many bytes: SQLite then moves nothing, and leaves no older copy in a page. What
//! the write-ahead log still holds is cut away before the command answers.

use super::{Call, Fault, Reply, change, values};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry},
    store::StoreError,
};
use audit_schema::{
    event::{Actor, Event},
    time::Timestamp,
};
use bastion_core::{
    consent::FreeText,
    id::{CustomerId, RecordingId},
};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// `recording …`
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Destroy the keys of a recording: no copy of its file opens ever again
    #[command(after_help = "\
It cannot be undone, so it takes two officers where there are two, and the customer is told. What
was done stays proven: the digests of the recording stand in the log.

Example:
  ssh bastion recording erase l-0123456789 --reason the customer asked for it, ZD-1042")]
    Erase {
        /// Its id or its lease: r-… or l-…
        id: String,
        /// Why: the customer reads this
        #[arg(long, num_args = 1.., required = true, value_name = "TEXT")]
        reason: Vec<String>,
    },
}

/// Runs one of them.
pub(super) async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    let Verb::Erase { id, reason } = verb;
    let reason: FreeText = values::text("--reason", &reason)?;
    let (actor, asked) = (call.actor(), id.clone());
    let change = call.change("recording erase", move |batch| {
        Box::pin(async move { erase(batch, actor, &asked, &reason).await })
    });
    let changed = change.await;
    // Also where it was erased before: that time, the log may not have been cut.
    let scrubbed = call.db().scrub().await?;
    let recording = changed?.into_inner();
    let mut text = format!("erased {recording}: no copy of its file opens any more\n");
    if !scrubbed {
        text += "the write-ahead log could not be cut, as something reads the store: run the \
                 command again in a minute\n";
    }
    if call.db().is_postgres() {
        text += "PostgreSQL keeps the old row until `VACUUM FULL recording_keys`, and in its own \
                 log and backups as long as those are kept\n";
    }
    text += "backups that were made before have its key: run `bastion backup --forget FILE` on \
             each\n";
    let json = json!({ "recording": recording, "state": "erased", "scrubbed": scrubbed });
    Ok(Reply::Said { text, json })
}

async fn erase(
    batch: &mut Batch,
    actor: Actor,
    asked: &str,
    reason: &FreeText,
) -> Result<RecordingId, ChangeError> {
    let sql = "SELECT k.recording, k.lease, k.wrapped_json, l.customer, l.closed_at \
               FROM recording_keys k JOIN leases l ON l.id = k.lease \
               WHERE k.recording = $1 OR (k.lease = $1 AND k.recording = l.recording)";
    let row = batch.tx().row_opt(sql, &args![asked]).await?;
    let row = row.ok_or_else(|| change::unknown("recording", asked))?;
    let recording: RecordingId = row.parsed(0)?;
    let (lease, wrapped, customer): (_, _, CustomerId) =
        (row.text(1)?, row.text(2)?, row.parsed(3)?);
    if let Some(erased) = Erased::of(&wrapped) {
        return Err(change::conflict(erased.sentence(&lease)));
    }
    if row.opt_i64(4)?.is_none() {
        return Err(change::conflict(
            "that channel is live, and its recording is not whole: `session end` it first",
        ));
    }
    super::audit::hold::refuse(batch, None, std::slice::from_ref(&customer)).await?;
    let erased = Erased { at: batch.now(), by: actor.id.clone(), entry: batch.next_seq() };
    let event = Event::RecordingErased { lease, recording: recording.to_string() };
    let entry = NewEntry::new(actor, event).of_customer(&customer);
    batch.append(entry.with("justification", reason.as_str())).await?;
    let sql = "UPDATE recording_keys SET wrapped_json = $1 WHERE recording = $2";
    batch.tx().run(sql, &args![erased.in_place_of(&wrapped)?, recording.as_str()]).await?;
    Ok(recording)
}

/// What stands where the wrapped keys stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Erased {
    at: Timestamp,
    by: String,
    entry: u64,
}

impl Erased {
    /// What a row says of its erasure; none where the keys are still there.
    pub(super) fn of(wrapped_json: &str) -> Option<Self> {
        serde_json::from_str(wrapped_json.strip_prefix(MARK)?.trim_end()).ok()
    }

    /// For whoever wants what is gone.
    pub(super) fn sentence(&self, lease: &str) -> String {
        let Self { at, by, entry } = self;
        format!(
            "the recording of {lease} was erased by {by} at {at} (entry {entry}): its keys are \
             destroyed, and only its digests are left, in the log"
        )
    }

    fn in_place_of(&self, wrapped: &str) -> Result<String, StoreError> {
        let json =
            serde_json::to_string(self).map_err(|why| StoreError::failed(why.to_string()))?;
        let text = format!("{MARK}{json}");
        // RSA-3072 makes 512 characters of any key, and this is half as long.
        match text.len() <= wrapped.len() {
            true => Ok(format!("{text:<width$}", width = wrapped.len())),
            false => Err(StoreError::failed("no wrapped key is that short")),
        }
    }
}

/// What no wrapped key begins with.
const MARK: &str = "erased ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_place_of_the_keys_has_their_length_and_says_who_and_when() {
        let erased = Erased { at: Timestamp::from_micros(0), by: "of-1".into(), entry: 42 };
        let wrapped = "w".repeat(700);
        let text = erased.in_place_of(&wrapped).unwrap();
        assert_eq!(text.len(), wrapped.len());
        assert_eq!(Erased::of(&text), Some(erased.clone()));
        assert_eq!(Erased::of("{\"alg\":\"RSA-OAEP-SHA256\"}"), None);
        assert!(erased.in_place_of("short").is_err());
        assert!(erased.sentence("l-1").contains("by of-1"));
    }
}
