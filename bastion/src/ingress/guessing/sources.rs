//! The table of sources that have failed: of a fixed size, whoever fills it.
//!
//! A source's bucket follows from a hash with a random key, so nobody can aim at another's. In a
//! full bucket the source that would be forgotten first makes room, and a newcomer that would be
//! forgotten before all of them gets none: an attacker with many addresses pushes out its own
//! light ones, never whoever is shut out.

use super::ShutOut;
use crate::authn::Prefix;
use bastion_core::limits::{ABANDONED_PER_FAILED_LOGIN, GUESSER_BUCKETS, GUESSERS_PER_BUCKET};
use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};

/// What a source may do, and what follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub failed_max: u32,
    pub forgiven_after: Duration,
    pub shut_out: Duration,
    pub shut_out_max: Duration,
}

/// What a source has done.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cost {
    /// So many failed logins.
    FailedLogins(u32),
    /// A connection that was given up before anybody tried to log in.
    Abandoned,
}

impl Cost {
    /// How long it takes to be forgiven.
    fn of(self, terms: &Terms) -> Duration {
        match self {
            Self::FailedLogins(number) => {
                terms.forgiven_after.saturating_mul(number.min(terms.failed_max))
            }
            Self::Abandoned => terms.forgiven_after / ABANDONED_PER_FAILED_LOGIN,
        }
    }
}

/// One level of sources.
pub(super) struct Sources {
    terms: Terms,
    hasher: RandomState,
    buckets: Vec<Vec<Source>>,
}

struct Source {
    prefix: Prefix,
    /// When all its failed logins are forgiven.
    forgiven_at: Instant,
    /// When its last shut-out ends, or ended.
    shut_until: Instant,
    shut_outs: u32,
}

impl Source {
    /// How many failed logins are not forgiven yet.
    fn failed(&self, terms: &Terms, now: Instant) -> u32 {
        let left = self.forgiven_at.saturating_duration_since(now).as_micros();
        let each = terms.forgiven_after.as_micros().max(1);
        u32::try_from(left.div_ceil(each)).unwrap_or(u32::MAX)
    }

    /// When it is as if it had never been here.
    fn forgotten_at(&self, terms: &Terms) -> Instant {
        self.forgiven_at.max(self.shut_until + terms.shut_out_max * self.shut_outs)
    }

    /// Forgets one shut-out for each long time without another.
    fn mellow(&mut self, terms: &Terms, now: Instant) {
        while self.shut_outs > 0 && now >= self.shut_until + terms.shut_out_max {
            self.shut_until += terms.shut_out_max;
            self.shut_outs -= 1;
        }
    }
}

/// Doublings after which every shut-out has its longest time.
const DOUBLINGS_MAX: u32 = 16;

impl Sources {
    pub(super) fn new(terms: Terms) -> Self {
        let buckets = std::iter::repeat_with(Vec::new).take(GUESSER_BUCKETS).collect();
        Self { terms, hasher: RandomState::new(), buckets }
    }

    fn bucket(&self, prefix: Prefix) -> usize {
        let buckets = self.buckets.len() as u64;
        // A remainder is less than the number of buckets.
        usize::try_from(self.hasher.hash_one(prefix) % buckets).unwrap_or(0)
    }

    fn find(&self, prefix: Prefix) -> Option<&Source> {
        self.buckets[self.bucket(prefix)].iter().find(|source| source.prefix == prefix)
    }

    fn find_mut(&mut self, prefix: Prefix) -> Option<&mut Source> {
        let bucket = self.bucket(prefix);
        self.buckets[bucket].iter_mut().find(|source| source.prefix == prefix)
    }

    /// How long a source is still shut out.
    pub(super) fn shut_out(&self, prefix: Prefix, now: Instant) -> Option<Duration> {
        let left = self.find(prefix)?.shut_until.saturating_duration_since(now);
        // Past shut-outs that mellow move the moment, but never into the future.
        (!left.is_zero()).then_some(left)
    }

    /// How many failed logins of a source are not forgiven yet.
    pub(super) fn failed(&self, prefix: Prefix, now: Instant) -> u32 {
        self.find(prefix).map_or(0, |source| source.failed(&self.terms, now))
    }

    /// Counts failed logins; what follows, if they were too many.
    pub(super) fn add(&mut self, prefix: Prefix, cost: Cost, now: Instant) -> Option<ShutOut> {
        let terms = self.terms;
        self.count(prefix, cost, now)?;
        let source = self.find_mut(prefix)?;
        let failed = source.failed(&terms, now);
        if failed < terms.failed_max || source.shut_until > now {
            return None;
        }
        let doubled = terms.shut_out.saturating_mul(1 << source.shut_outs.min(DOUBLINGS_MAX));
        let lasts = doubled.min(terms.shut_out_max);
        source.shut_until = now + lasts;
        source.shut_outs = (source.shut_outs + 1).min(DOUBLINGS_MAX);
        source.forgiven_at = now;
        Some(ShutOut { prefix, failed, lasts })
    }

    /// Counts failed logins of a source that is never shut out; whether it would be.
    pub(super) fn would_shut_out(&mut self, prefix: Prefix, cost: Cost, now: Instant) -> bool {
        let terms = self.terms;
        let longest = now + terms.forgiven_after * terms.failed_max;
        let counted = self.count(prefix, cost, now).and_then(|()| self.find_mut(prefix));
        let Some(source) = counted else { return false };
        let out = source.failed(&terms, now) >= terms.failed_max;
        source.forgiven_at = source.forgiven_at.min(longest);
        out
    }

    /// Forgives a source what it has failed.
    pub(super) fn forgive(&mut self, prefix: Prefix, now: Instant) {
        if let Some(source) = self.find_mut(prefix) {
            source.forgiven_at = now;
        }
    }

    /// Adds to what is to be forgiven; nothing if there is no room for this source.
    fn count(&mut self, prefix: Prefix, cost: Cost, now: Instant) -> Option<()> {
        let terms = self.terms;
        let more = cost.of(&terms);
        if let Some(source) = self.find_mut(prefix) {
            source.mellow(&terms, now);
            source.forgiven_at = source.forgiven_at.max(now) + more;
            return Some(());
        }
        let new = Source { prefix, forgiven_at: now + more, shut_until: now, shut_outs: 0 };
        let bucket = self.bucket(prefix);
        let bucket = &mut self.buckets[bucket];
        bucket.retain(|source| source.forgotten_at(&terms) > now);
        if bucket.len() >= GUESSERS_PER_BUCKET {
            let first = bucket.iter().enumerate().min_by_key(|(_, s)| s.forgotten_at(&terms));
            let (index, first) = first?;
            if first.forgotten_at(&terms) > new.forgotten_at(&terms) {
                return None;
            }
            bucket.swap_remove(index);
        }
        bucket.push(new);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn terms() -> Terms {
        Terms {
            failed_max: 10,
            forgiven_after: Duration::from_secs(60),
            shut_out: Duration::from_secs(60),
            shut_out_max: Duration::from_secs(3600),
        }
    }

    fn address(number: u32) -> Prefix {
        Prefix::address(IpAddr::V4(Ipv4Addr::from(number)))
    }

    fn fail(sources: &mut Sources, numbers: std::ops::Range<u32>, times: u32, now: Instant) {
        for number in numbers {
            for _ in 0..times {
                sources.add(address(number), Cost::FailedLogins(1), now);
            }
        }
    }

    fn held(sources: &Sources) -> usize {
        sources.buckets.iter().map(Vec::len).sum()
    }

    #[test]
    fn many_addresses_neither_grow_the_table_nor_push_out_the_worst() {
        let (mut sources, now) = (Sources::new(terms()), Instant::now());
        fail(&mut sources, 1..2, 10, now);
        fail(&mut sources, 2..MOST * 10, 1, now);
        let held = held(&sources);
        assert!(held <= MOST as usize && held > MOST as usize / 2, "{held}");
        assert!(sources.shut_out(address(1), now).is_some());
    }

    #[test]
    fn a_table_full_of_shut_outs_takes_no_newcomer_and_empties_itself() {
        let (mut sources, now) = (Sources::new(terms()), Instant::now());
        fail(&mut sources, 0..MOST * 4, 10, now);
        let before = held(&sources);
        fail(&mut sources, MOST * 4..MOST * 5, 1, now);
        let out = (0..MOST * 4).filter(|n| sources.shut_out(address(*n), now).is_some()).count();
        assert!(out <= before && out > MOST as usize / 2, "{out} of {before}");
        let later = now + Duration::from_secs(3 * 3600);
        fail(&mut sources, u32::MAX - MOST..u32::MAX, 1, later);
        let old = (0..MOST * 5).filter(|n| sources.find(address(*n)).is_some()).count();
        assert!(old < before / 4, "{old} of {before} are still remembered");
    }

    const MOST: u32 = (GUESSER_BUCKETS * GUESSERS_PER_BUCKET) as u32;
}
