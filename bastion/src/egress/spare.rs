//! Spares: connections to VMs that are dialled before it is certain that anybody needs them.
//!
//! Dialling a VM and exchanging keys with it takes longer than all our own work on a channel, and
//! needs nobody's identity. So it begins while the operator still authenticates, and the channel
//! finds it done. A spare is not a login: it becomes one only through
//! [`super::Dialled::log_in_with`], which takes a live lease. What an unauthenticated peer can
//! cause with it is bounded: so many spares per source and in all, each for so long
//! ([`SPARE_SECONDS_MAX`]); what is not taken by then is dropped, and whoever comes later dials
//! anew.

use super::{Dialled, Egress, EgressError, Route};
use crate::authn::Prefix;
use bastion_core::limits::{SPARE_SECONDS_MAX, SPARES_MAX, SPARES_PER_SOURCE_MAX};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// A VM that is being dialled, or has been. Dropping it hangs up.
pub struct Spare {
    wanted: oneshot::Sender<oneshot::Sender<Ready>>,
    dialling: HangUp,
}

type Ready = (Route, Result<Dialled, EgressError>);

/// How many spares there are, by whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Spares(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_source: HashMap<Prefix, usize>,
}

struct Place {
    spares: Spares,
    source: Prefix,
}

impl Egress {
    /// Begins to dial for whoever connects from this address, if there is room for one more; `way`
    /// finds out where to, and whether at all.
    pub fn ahead(
        &self,
        source: IpAddr,
        way: impl Future<Output = Option<Route>> + Send + 'static,
    ) -> Option<Spare> {
        let place = self.spares.place(Prefix::of(source))?;
        let (wanted, asked) = oneshot::channel();
        let egress = self.clone();
        let dialling = tokio::spawn(async move {
            let Some(route) = way.await else { return };
            keep(egress, route, asked).await;
            drop(place);
        });
        Some(Spare { wanted, dialling: HangUp(dialling.abort_handle()) })
    }

    /// How many spares there are.
    pub fn spares(&self) -> usize {
        self.spares.counts().all
    }
}

/// Dials, and keeps what comes of it until it is asked for, or for so long.
async fn keep(egress: Egress, route: Route, mut asked: oneshot::Receiver<oneshot::Sender<Ready>>) {
    let until = Instant::now() + Duration::from_secs(SPARE_SECONDS_MAX);
    let dialled = egress.dial(&route).await;
    let asked = match asked.try_recv() {
        Ok(answer) => Some(answer),
        // It failed before anybody needed it: by then it may be different.
        Err(_) if dialled.is_err() => None,
        Err(_) => tokio::select! {
            answer = asked => answer.ok(),
            () = sleep_until(until) => None,
        },
    };
    if let Some(answer) = asked {
        // Whoever asked may be gone; then so is the connection.
        drop(answer.send((route, dialled)));
    }
}

impl Spare {
    /// The connection, if it is for this VM instance, stands, and is not too old; nothing means:
    /// dial. A dial that is still under way is waited for, and its failure is the answer.
    pub async fn take(self, route: &Route) -> Option<Result<Dialled, EgressError>> {
        let Self { wanted, dialling } = self;
        let (answer, ready) = oneshot::channel();
        wanted.send(answer).ok()?;
        let ready = ready.await;
        drop(dialling);
        let (way, dialled) = ready.ok()?;
        match dialled {
            _ if way != *route => None,
            Ok(dialled) if dialled.handle.is_closed() => None,
            outcome => Some(outcome),
        }
    }
}

/// Ends the task of a spare that nobody waits for.
struct HangUp(AbortHandle);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Spares {
    fn place(&self, source: Prefix) -> Option<Place> {
        let mut counts = self.counts();
        let here = counts.by_source.get(&source).copied().unwrap_or(0);
        if counts.all >= SPARES_MAX || here >= SPARES_PER_SOURCE_MAX {
            return None;
        }
        counts.all += 1;
        counts.by_source.insert(source, here + 1);
        drop(counts);
        Some(Place { spares: self.clone(), source })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counters stay meaningful even if a holder panicked between two of them.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.spares.counts();
        counts.all = counts.all.saturating_sub(1);
        if let Some(here) = counts.by_source.get_mut(&self.source) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                counts.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn spares_are_bounded_by_source_and_in_all_and_their_places_come_back() {
        let egress = Egress::new(Vec::new(), Duration::from_secs(1));
        let from = |a: usize| IpAddr::from([10, (a >> 8) as u8, (a & 255) as u8, 1]);
        let ahead = |a: usize| egress.ahead(from(a), std::future::pending());
        let here: Vec<_> = (0..SPARES_PER_SOURCE_MAX).map(|_| ahead(0).expect("room")).collect();
        assert!(ahead(0).is_none(), "one source has its share");
        let rest = SPARES_MAX - SPARES_PER_SOURCE_MAX;
        let others: Vec<_> = (1..=rest).map(|a| ahead(a).expect("room")).collect();
        assert!(ahead(rest + 1).is_none(), "all together have theirs");
        drop((here, others));
        while egress.spares() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(ahead(0).is_some());
    }

    #[tokio::test]
    async fn a_spare_without_a_way_is_none() {
        let egress = Egress::new(Vec::new(), Duration::from_secs(1));
        let spare = egress.ahead(IpAddr::from([127, 0, 0, 1]), std::future::ready(None));
        let route = Route { address: "127.0.0.1:9".into(), instance: "i-1".parse().unwrap() };
        assert!(spare.expect("room").take(&route).await.is_none());
        assert_eq!(egress.spares(), 0);
    }
}
