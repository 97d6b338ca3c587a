//! The entry before the signature.

use super::{Ca, Draft};
use crate::{
    args,
    ledger::{Batch, ChangeError, Ledger, LedgerError, NewEntry, Recorded},
};
use audit_schema::{
    event::{ActorKind, Event},
    hash::Hash,
};
use bastion_core::{id::LeaseId, lease::Cause};
use russh::keys::ssh_key::HashAlg;

/// That a draft may be signed. Only [`Ca::issue`] makes one.
#[derive(Debug)]
pub struct Issuance {
    digest: Hash,
}

impl Issuance {
    pub(super) fn is_of(&self, draft: &Draft) -> bool {
        self.digest == draft.body.digest()
    }
}

impl Ca {
    /// Enters the draft, with the wrapped key of its recording. A lease that was revoked since its
    /// grant, or whose time is over, is refused here with its cause as the code.
    pub async fn issue(
        &self,
        ledger: &Ledger,
        draft: &Draft,
    ) -> Result<Recorded<Issuance>, LedgerError> {
        let issue = Issue {
            lease: draft.grant().request().lease.clone(),
            digest: draft.body.digest(),
            recording: draft.recording.to_string(),
            wrapped_json: draft.wrapped_json.clone(),
            entry: entry(draft),
        };
        ledger
            .record("issue", move |batch| {
                Box::pin(async move {
                    issue.ensure_live(batch).await?;
                    issue.write(batch).await
                })
            })
            .await
    }
}

struct Issue {
    lease: LeaseId,
    digest: Hash,
    recording: String,
    wrapped_json: String,
    entry: NewEntry,
}

impl Issue {
    async fn ensure_live(&self, batch: &mut Batch) -> Result<(), ChangeError> {
        let now = batch.now();
        let sql = "SELECT deadline, revoked_cause, revoked_at, closed_at FROM leases WHERE id = $1";
        let row = batch.tx().row_opt(sql, &args![&self.lease]).await?;
        let cause = match row {
            None => Some(Cause::Unconfirmed),
            Some(row) if row.opt_time(2)?.is_some() => {
                Some(row.opt_parsed(1)?.unwrap_or(Cause::Unconfirmed))
            }
            Some(row) if row.opt_time(3)?.is_some() => Some(Cause::SessionGone),
            Some(row) if row.time(0)? <= now => Some(Cause::Deadline),
            Some(_) => None,
        };
        match cause {
            None => Ok(()),
            Some(cause) => Err(ChangeError::refused(cause.as_str(), cause.sentence())),
        }
    }

    async fn write(self, batch: &mut Batch) -> Result<Issuance, ChangeError> {
        let now = batch.now();
        let keys = "INSERT INTO recording_keys (recording, lease, wrapped_json, created_at) \
                    VALUES ($1, $2, $3, $4)";
        let row = args![&self.recording, &self.lease, &self.wrapped_json, now];
        batch.tx().run(keys, &row).await?;
        let lease = "UPDATE leases SET recording = $1 WHERE id = $2";
        batch.tx().run(lease, &args![&self.recording, &self.lease]).await?;
        let mut entry = self.entry;
        entry.actor = batch.gateway_actor();
        batch.append(entry).await?;
        Ok(Issuance { digest: self.digest })
    }
}

fn entry(draft: &Draft) -> NewEntry {
    let content = draft.body.content();
    let grant = draft.grant();
    let event = Event::CertificateIssued {
        draft: draft.body.digest().to_string(),
        key_id: content.key_id.clone(),
        lease: grant.request().lease.to_string(),
        principal: content.principal.clone(),
        public_key: draft.body.subject().fingerprint(HashAlg::Sha256).to_string(),
        recording: draft.recording.to_string(),
        serial: content.serial,
        valid_after: content.valid_after.to_string(),
        valid_before: content.valid_before.to_string(),
    };
    // The actor is the gateway that writes it, known only under the head.
    let nobody = audit_schema::event::Actor { id: String::new(), kind: ActorKind::Gateway };
    NewEntry::new(nobody, event).of_customer(grant.customer())
}
