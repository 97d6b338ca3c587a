//! A grant made usable for one channel.

use super::{Draft, Live};
use crate::relay::recording::Blank;
use audit_schema::time::Timestamp;
use bastion_core::{
    authorize::Grant,
    id::{LeaseId, RecordingId},
    lease::Cause,
};
use russh::keys::{PrivateKey, ssh_key::Certificate};
use std::sync::Arc;
use tokio::{sync::watch, time::Instant};

/// A certificate with its key, its grant, its deadline, and the wire on which its end comes.
///
/// When it is dropped, the key is gone and the registry forgets it.
pub struct Lease {
    grant: Grant,
    certificate: Certificate,
    key: PrivateKey,
    recording: RecordingId,
    deadline: Instant,
    end: watch::Receiver<Option<Cause>>,
    live: Arc<Live>,
}

impl Lease {
    pub(super) fn new(draft: Draft, certificate: Certificate, live: &Arc<Live>) -> (Self, Blank) {
        let Draft { grant, granted_at: now, key, blank, .. } = draft;
        let left = grant.deadline().micros().saturating_sub(now.micros());
        // Before anything can be opened with it, the registry knows it; a mark that was set
        // earlier is found at the registry's next look.
        let end = live.register(&grant.request().lease, grant.level());
        let lease = Self {
            deadline: Instant::now() + std::time::Duration::from_micros(left.max(0).unsigned_abs()),
            grant,
            certificate,
            key: key.0,
            recording: blank.id().clone(),
            end,
            live: Arc::clone(live),
        };
        (lease, blank)
    }

    /// Its id.
    pub fn id(&self) -> &LeaseId {
        &self.grant.request().lease
    }
    /// What was granted.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
    /// The recording that was prepared for it.
    pub fn recording(&self) -> &RecordingId {
        &self.recording
    }
    /// When it is over, on the monotonic clock.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
    /// When it is over, on the wall clock: whichever comes first.
    pub fn deadline_at(&self) -> Timestamp {
        self.grant.deadline()
    }
    /// Turns to `Some` when the ground is gone.
    pub fn end(&self) -> watch::Receiver<Option<Cause>> {
        self.end.clone()
    }
    /// The lease as one that may be used now, `now` being the wall clock's time.
    pub fn ensure_live(&self, now: Timestamp) -> Result<Alive<'_>, Cause> {
        if let Some(cause) = *self.end.borrow() {
            return Err(cause);
        }
        if Instant::now() >= self.deadline || now >= self.deadline_at() {
            return Err(self.grant.deadline_cause());
        }
        Ok(Alive(self))
    }
}

/// A lease that was live a moment ago: what a login on a VM takes. Only [`Lease::ensure_live`]
/// makes one.
pub struct Alive<'a>(&'a Lease);

impl Alive<'_> {
    /// The certificate that the VM is shown.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }
    /// The key that it certifies.
    pub fn key(&self) -> &PrivateKey {
        &self.0.key
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.live.forget(self.id());
    }
}
