//! Attempts that settled no identity, counted instead of entered one by one.
//!
//! Anybody can try, so an entry for each try would let a scanner fill the log. One entry per
//! source prefix and minute says the same; past a number of prefixes the rest are counted as one.

use super::Prefix;
use crate::{
    clock,
    ledger::{Ledger, NewEntry},
};
use audit_schema::{
    event::{Actor, ActorKind, Event},
    time::Timestamp,
};
use bastion_core::limits::{FAILURE_COUNT_SECONDS, FAILURE_PREFIXES_MAX};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// What stands for the prefix when there are too many to count them apart.
const REST: &str = "other";

/// The counters; cheap to clone.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Counts>>);

struct Counts {
    since: Timestamp,
    by_prefix: HashMap<Option<Prefix>, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { since: clock::now(), by_prefix: HashMap::new() }
    }
}

impl Failures {
    /// Counts one attempt.
    pub fn count(&self, source: IpAddr) {
        let prefix = Some(Prefix::of(source));
        let counts = &mut self.lock().by_prefix;
        let apart = counts.len() < FAILURE_PREFIXES_MAX || counts.contains_key(&prefix);
        *counts.entry(prefix.filter(|_| apart)).or_default() += 1;
    }

    /// Turns the counts of each minute into entries, for the life of the gateway.
    pub async fn enter(&self, ledger: &Ledger) {
        loop {
            tokio::time::sleep(Duration::from_secs(FAILURE_COUNT_SECONDS)).await;
            self.enter_now(ledger).await;
        }
    }

    /// Enters what was counted so far. If the log refuses, the counts stay for the next time.
    pub async fn enter_now(&self, ledger: &Ledger) {
        let counted = std::mem::take(&mut *self.lock());
        if counted.by_prefix.is_empty() {
            return;
        }
        if let Err(error) = ledger.append("auth.failed", entries(ledger, &counted)).await {
            tracing::error!(%error, "failed logins could not be entered; kept for later");
            let mut now = self.lock();
            now.since = counted.since;
            for (prefix, count) in counted.by_prefix {
                *now.by_prefix.entry(prefix).or_default() += count;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Counters stay meaningful even if a holder panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entries(ledger: &Ledger, counted: &Counts) -> Vec<NewEntry> {
    let actor = Actor { id: ledger.gateway().to_owned(), kind: ActorKind::Gateway };
    let (since, until) = (counted.since.to_string(), clock::now().to_string());
    let entry = |(prefix, &count): (&Option<Prefix>, &u64)| {
        let event = Event::AuthFailed { count, since: since.clone(), until: until.clone() };
        let prefix = prefix.map_or_else(|| REST.to_owned(), |prefix| prefix.to_string());
        NewEntry::new(actor.clone(), event).with("source_prefix", prefix)
    };
    counted.by_prefix.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_scanner_cannot_make_more_counters_than_there_are() {
        let failures = Failures::default();
        for i in 0..u32::try_from(FAILURE_PREFIXES_MAX).expect("fits") * 2 {
            failures.count(IpAddr::V4(Ipv4Addr::from(i << 8)));
        }
        let counts = &failures.lock().by_prefix;
        assert_eq!(counts.len(), FAILURE_PREFIXES_MAX + 1);
        assert_eq!(counts[&None], FAILURE_PREFIXES_MAX as u64);
    }
}
