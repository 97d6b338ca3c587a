//! How fast one party may collect refusals.
//!
//! Each refusal costs an entry, and no refusal may go unrecorded, so a party that collects many of
//! them is not refused faster but made to wait: after a burst, one attempt for each refusal that
//! its time has earned back. Whoever is granted what they ask never waits.

use bastion_core::limits::{PATIENCE_PARTIES_MAX, REFUSAL_BURST_MAX, REFUSAL_REFILL_MILLIS};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// The refusals of each party, as the moment at which all of them are forgotten.
#[derive(Default)]
pub struct Patience(Mutex<HashMap<String, Instant>>);

impl Patience {
    /// Waits until this party may try again.
    pub async fn wait(&self, party: &str) {
        if let Some(at) = self.may_try_at(party) {
            tokio::time::sleep_until(at).await;
        }
    }

    /// From when this party may try again. A full burst of refusals costs nothing: only what is
    /// beyond it.
    fn may_try_at(&self, party: &str) -> Option<Instant> {
        self.lock().get(party)?.checked_sub(refill() * REFUSAL_BURST_MAX)
    }

    /// Counts a refusal.
    pub fn refused(&self, party: &str) {
        self.refused_at(party, Instant::now());
    }

    fn refused_at(&self, party: &str, now: Instant) {
        let mut until = self.lock();
        if until.len() >= PATIENCE_PARTIES_MAX {
            until.retain(|_, at| *at > now);
        }
        let at = until.entry(party.to_owned()).or_insert(now);
        *at = (*at).max(now) + refill();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        // Moments stay meaningful even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refill() -> Duration {
    Duration::from_millis(REFUSAL_REFILL_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_the_rest_waits() {
        let patience = Patience::default();
        let now = Instant::now();
        for _ in 0..REFUSAL_BURST_MAX {
            patience.refused_at("op-a", now);
        }
        assert!(patience.may_try_at("op-a").is_none_or(|at| at <= now));
        for _ in 0..3 {
            patience.refused_at("op-a", now);
        }
        assert_eq!(patience.may_try_at("op-a"), Some(now + refill() * 3));
        assert_eq!(patience.may_try_at("op-b"), None, "another party does not wait");
    }
}
