//! Shut-outs on their way into the log: one entry for each, but not more than it can bear.
//!
//! Each costs an attacker some ten failed logins, and attackers may have many addresses, so what
//! becomes entries is bounded: the first of a quiet time at once, then some every few seconds, the
//! rest as one entry that says how many.

use super::guessing::ShutOut;
use crate::{
    clock,
    ledger::{Ledger, NewEntry},
};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion_core::limits::{SHUT_OUT_ENTRY_SECONDS, SHUT_OUTS_APART_MAX};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// What stands for the prefix of those that are counted as one.
const REST: &str = "other";

/// Shut-outs that wait for their entries.
#[derive(Default)]
pub struct ShutOuts {
    waiting: Mutex<Waiting>,
    some: Notify,
}

#[derive(Default)]
struct Waiting {
    apart: Vec<(ShutOut, audit_schema::time::Timestamp)>,
    rest: u64,
    rest_failed: u64,
}

impl ShutOuts {
    /// A source was shut out just now.
    pub fn add(&self, out: ShutOut) {
        tracing::warn!(failed = out.failed, seconds = out.lasts.as_secs(), "a source is shut out");
        let seconds = i64::try_from(out.lasts.as_secs()).unwrap_or(i64::MAX);
        self.put_back(vec![(out, clock::now().plus_seconds(seconds))]);
        self.some.notify_one();
    }

    fn put_back(&self, outs: Vec<(ShutOut, audit_schema::time::Timestamp)>) {
        let mut waiting = self.lock();
        for (out, until) in outs {
            if waiting.apart.len() < SHUT_OUTS_APART_MAX {
                waiting.apart.push((out, until));
            } else {
                waiting.rest += 1;
                waiting.rest_failed += u64::from(out.failed);
            }
        }
    }

    /// Enters them as they come, for the life of the gateway.
    pub async fn enter(&self, ledger: &Ledger) {
        loop {
            self.some.notified().await;
            self.enter_now(ledger).await;
            tokio::time::sleep(Duration::from_secs(SHUT_OUT_ENTRY_SECONDS)).await;
        }
    }

    /// Enters what waits. If the log refuses, it waits for the next time.
    pub async fn enter_now(&self, ledger: &Ledger) {
        let waiting = std::mem::take(&mut *self.lock());
        if waiting.apart.is_empty() {
            return;
        }
        if let Err(error) = ledger.append("source.shut_out", entries(ledger, &waiting)).await {
            tracing::error!(%error, "shut-outs could not be entered; kept for later");
            let mut now = self.lock();
            now.rest += waiting.rest;
            now.rest_failed += waiting.rest_failed;
            drop(now);
            self.put_back(waiting.apart);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A list and two counts, meaningful even if a holder panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entries(ledger: &Ledger, waiting: &Waiting) -> Vec<NewEntry> {
    let entry = |prefix: String, count, failed, until: String| {
        let actor = Actor { id: ledger.gateway().to_owned(), kind: ActorKind::Gateway };
        let event = Event::SourceShutOut { count, failed, until };
        NewEntry::new(actor, event).with("source_prefix", prefix)
    };
    let apart = waiting.apart.iter().map(|(out, until)| {
        entry(out.prefix.to_string(), 1, u64::from(out.failed), until.to_string())
    });
    let latest = waiting.apart.iter().map(|(_, until)| *until).max();
    let rest = latest
        .filter(|_| waiting.rest > 0)
        .map(|until| entry(REST.to_owned(), waiting.rest, waiting.rest_failed, until.to_string()));
    apart.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::Prefix;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn a_botnet_makes_no_more_entries_than_there_may_be() {
        let outs = ShutOuts::default();
        for number in 0..1000_u32 {
            let prefix = Prefix::address(IpAddr::V4(Ipv4Addr::from(number)));
            outs.add(ShutOut { prefix, failed: 10, lasts: Duration::from_secs(60) });
        }
        let waiting = outs.lock();
        assert_eq!(waiting.apart.len(), SHUT_OUTS_APART_MAX);
        let rest = 1000 - SHUT_OUTS_APART_MAX as u64;
        assert_eq!((waiting.rest, waiting.rest_failed), (rest, rest * 10));
    }
}
