//! The leases that live on this gateway, and how each learns that its ground is gone.
//!
//! A transaction that takes the ground away (a withdrawal, a retired VM, a disabled operator)
//! marks the leases in the store. [`Live::watch`] reads those marks at every tick and whenever
//! somebody on this gateway calls [`Live::wake`], and tells the channels. Whoever cannot read them
//! for [`CONFIRM_MILLIS_MAX`] does not know whether a consent still holds, so data channels end;
//! the others follow after [`GRACE_MILLIS_MAX`]. A log that cannot be written ends data channels
//! at once, even where the marks can still be read: a full disk, say.

use audit_schema::event::Level;
use bastion_core::{
    id::LeaseId,
    lease::Cause,
    limits::{CONFIRM_MILLIS_MAX, GRACE_MILLIS_MAX, WATCH_TICK_MILLIS},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{args, ledger::Ledger, metrics::METRICS, store::StoreError};

/// The registry of live leases of this process.
#[derive(Default)]
pub struct Live {
    leases: Mutex<HashMap<LeaseId, Watched>>,
    wake: Notify,
    changed: Notify,
}

struct Watched {
    level: Level,
    end: watch::Sender<Option<Cause>>,
}

impl Live {
    /// Takes a lease into the registry; the receiver turns to `Some` when its ground is gone.
    pub fn register(&self, lease: &LeaseId, level: Level) -> watch::Receiver<Option<Cause>> {
        let (end, seen) = watch::channel(None);
        let mut leases = self.lock();
        leases.insert(lease.clone(), Watched { level, end });
        METRICS.live_leases(leases.len());
        seen
    }

    /// Forgets a lease whose channel is closed.
    pub fn forget(&self, lease: &LeaseId) {
        let mut leases = self.lock();
        leases.remove(lease);
        METRICS.live_leases(leases.len());
    }

    /// How many leases live here.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Ends one lease; the first cause is the one that is told.
    pub fn end(&self, lease: &LeaseId, cause: Cause) {
        if let Some(watched) = self.lock().get(lease) {
            tell(&watched.end, cause);
        }
    }

    /// Ends every lease, at shutdown.
    pub fn end_all(&self, cause: Cause) {
        self.end_where(|_| true, cause);
    }

    /// Has [`Live::watch`] look at the store now, not at the next tick.
    pub fn wake(&self) {
        self.wake.notify_one();
        self.changed.notify_one();
    }

    /// Resolves after the next [`Live::wake`]: something was taken back.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Runs for the life of the gateway: reads the marks and ends what they name.
    pub async fn watch(&self, ledger: &Ledger) {
        let mut confirmed = Instant::now();
        let mut trouble = ledger.trouble();
        let mut writer_gone = false;
        loop {
            let tick = Duration::from_millis(WATCH_TICK_MILLIS);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(tick) => {}
                changed = trouble.changed(), if !writer_gone => writer_gone = changed.is_err(),
            }
            let since = *trouble.borrow_and_update();
            self.cut_unwritten(since.map(|since| since.elapsed()), writer_gone);
            if self.count() == 0 {
                confirmed = Instant::now();
                continue;
            }
            // A store that does not answer is as good as one that says no.
            let within =
                Duration::from_millis(CONFIRM_MILLIS_MAX).saturating_sub(confirmed.elapsed());
            let asked = Instant::now();
            match tokio::time::timeout(within.max(tick), revoked(ledger)).await {
                Ok(Ok(marks)) => {
                    confirmed = asked;
                    marks.into_iter().for_each(|(lease, cause)| self.end(&lease, cause));
                }
                Ok(Err(error)) => tracing::warn!(%error, "cannot confirm live leases"),
                Err(_) => tracing::warn!("the store does not confirm live leases in time"),
            }
            self.cut_unconfirmed(confirmed.elapsed());
        }
    }

    /// Nothing can be written for so long; or never again, because the writer has ended.
    fn cut_unwritten(&self, trouble: Option<Duration>, writer_gone: bool) {
        let grace = Duration::from_millis(GRACE_MILLIS_MAX);
        if writer_gone || trouble.is_some_and(|silence| silence > grace) {
            self.end_where(|_| true, Cause::LogUnavailable);
        } else if trouble.is_some() {
            self.end_where(|level| level == Level::Data, Cause::LogUnavailable);
        }
    }

    fn cut_unconfirmed(&self, silence: Duration) {
        if silence > Duration::from_millis(GRACE_MILLIS_MAX) {
            self.end_where(|_| true, Cause::LogUnavailable);
        } else if silence > Duration::from_millis(CONFIRM_MILLIS_MAX) {
            self.end_where(|level| level == Level::Data, Cause::LogUnavailable);
        }
    }

    fn end_where(&self, which: impl Fn(Level) -> bool, cause: Cause) {
        for watched in self.lock().values().filter(|watched| which(watched.level)) {
            tell(&watched.end, cause);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, Watched>> {
        // No code panics while it holds the lock; if one did, the map is still whole.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(end: &watch::Sender<Option<Cause>>, cause: Cause) {
    end.send_if_modified(|told| {
        let first = told.is_none();
        told.get_or_insert(cause);
        first
    });
}

async fn revoked(ledger: &Ledger) -> Result<Vec<(LeaseId, Cause)>, StoreError> {
    let sql = "SELECT id, revoked_cause FROM leases \
               WHERE gateway = $1 AND closed_at IS NULL AND revoked_at IS NOT NULL";
    let mut marks = Vec::new();
    for row in ledger.db().rows(sql, &args![ledger.gateway()]).await? {
        // A mark that cannot be read still ends its lease, under the general cause.
        let cause =
            row.opt_text(1)?.and_then(|text| text.parse().ok()).unwrap_or(Cause::Unconfirmed);
        if let Ok(lease) = row.text(0)?.parse() {
            marks.push((lease, cause));
        }
    }
    Ok(marks)
}
