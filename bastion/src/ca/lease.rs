//! A grant made usable for one channel.

use super::{Draft, EgressKey, Live};
use crate::relay::recording::Blank;
use audit_schema::time::Timestamp;
use bastion_core::{
    authorize::Grant,
    id::{LeaseId, RecordingId},
    lease::Cause,
};
use russh::keys::{PrivateKey, ssh_key::Certificate};
use std::{marker::PhantomData, sync::Arc};
use tokio::{sync::watch, time::Instant};

/// What a grant became: its deadline, and the wire on which its end comes.
///
/// When it is dropped, the registry forgets it.
pub struct Lease {
    grant: Arc<Grant>,
    recording: RecordingId,
    deadline: Instant,
    end: watch::Receiver<Option<Cause>>,
    live: Arc<Live>,
}

/// What opens the VM for a lease, once: whoever logs in with it has used it up, and an hour of idle
/// shell keeps neither key nor certificate.
pub struct Certified {
    certificate: Certificate,
    key: PrivateKey,
}

impl Certified {
    /// The certificate and its key, for a lease that was live a moment ago.
    pub fn for_login(self, _live: &Alive<'_>) -> (Certificate, PrivateKey) {
        (self.certificate, self.key)
    }
}

/// A lease with what belongs to its beginning.
pub struct Signed {
    /// The lease.
    pub lease: Lease,
    /// What logs in with it.
    pub certified: Box<Certified>,
    /// The recording that was prepared for its channel.
    pub blank: Blank,
}

impl Lease {
    pub(super) fn signed(draft: Draft, certificate: Certificate, live: &Arc<Live>) -> Signed {
        let Draft { grant, granted_at: now, key: EgressKey(key), blank, .. } = draft;
        let left = grant.deadline().micros().saturating_sub(now.micros());
        // Before anything can be opened with it, the registry knows it; a mark that was set
        // earlier is found at the registry's next look.
        let end = live.register(&grant.request().lease, grant.level());
        let lease = Self {
            deadline: Instant::now() + std::time::Duration::from_micros(left.max(0).unsigned_abs()),
            grant,
            recording: blank.id().clone(),
            end,
            live: Arc::clone(live),
        };
        Signed { lease, certified: Box::new(Certified { certificate, key }), blank }
    }

    /// Its id.
    pub fn id(&self) -> &LeaseId {
        &self.grant.request().lease
    }
    /// What was granted.
    pub fn grant(&self) -> &Arc<Grant> {
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
        Ok(Alive(PhantomData))
    }
}

/// That a lease was live a moment ago: what a login on a VM takes. Only [`Lease::ensure_live`]
/// makes one.
pub struct Alive<'a>(PhantomData<&'a Lease>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.live.forget(self.id());
    }
}
