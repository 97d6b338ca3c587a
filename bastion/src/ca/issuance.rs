//! The entry before the signature.

use super::{Ca, Draft, consent::Consent};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::event::{ActorKind, Event};
use bastion_core::authorize::Grant;
use russh::keys::ssh_key::HashAlg;
use std::sync::Arc;

/// That a draft may be signed, once this is recorded. Only [`Ca::issue`] makes one.
pub struct Issuance(Box<Draft>);

impl Issuance {
    /// The grant that it follows from.
    pub fn grant(&self) -> &Arc<Grant> {
        &self.0.grant
    }
    pub(super) fn into_draft(self) -> Box<Draft> {
        self.0
    }
}

impl Ca {
    /// Enters the draft, with the wrapped key of its recording, in the change that enters its
    /// grant: the lease was made a moment ago under the same head, so nobody can have revoked it.
    pub async fn issue(
        &self,
        batch: &mut Batch,
        mut draft: Box<Draft>,
    ) -> Result<Issuance, ChangeError> {
        let (recording, lease) = (draft.blank.id(), draft.grant.lease());
        let keys = "INSERT INTO recording_keys (recording, lease, wrapped_json, created_at) \
                    VALUES ($1, $2, $3, $4)";
        let row = args![recording, lease, draft.blank.wrapped_json(), batch.now()];
        batch.tx().run(keys, &row).await?;
        let named = "UPDATE leases SET recording = $1 WHERE id = $2";
        batch.tx().run(named, &args![recording, lease]).await?;
        let mut entry = entry(&draft);
        entry.actor = batch.gateway_actor();
        let issued = batch.append(entry).await?;
        draft.issued = issued;
        draft.consent = Consent::of(batch.tx(), &draft.grant).await?;
        Ok(Issuance(draft))
    }
}

fn entry(draft: &Draft) -> NewEntry {
    let content = draft.body.content();
    let grant = &draft.grant;
    let event = Event::CertificateIssued {
        draft: draft.body.digest().to_string(),
        key_id: content.key_id.clone(),
        lease: grant.request().lease.to_string(),
        principal: content.principal.clone(),
        public_key: draft.body.subject().fingerprint(HashAlg::Sha256).to_string(),
        recording: draft.blank.id().to_string(),
        serial: content.serial,
        valid_after: content.valid_after.to_string(),
        valid_before: content.valid_before.to_string(),
    };
    // The actor is the gateway that writes it, known only under the head.
    let nobody = audit_schema::event::Actor { id: String::new(), kind: ActorKind::Gateway };
    NewEntry::new(nobody, event).of_customer(grant.customer())
}
