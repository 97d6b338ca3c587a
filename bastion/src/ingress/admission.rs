//! How many connections may be open, and how many of them before it is known whose they are.
//!
//! A connection that has not authenticated costs a socket, a task and a key exchange, and anybody
//! can open one. So those are counted by source prefix and in all; what does not fit is closed at
//! once, without a word. A connection gives its place back when it has authenticated.

use crate::authn::Prefix;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// How many places there are.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// Connections in all.
    pub all: usize,
    /// Connections without an identity, in all.
    pub unauthenticated: usize,
    /// Connections without an identity, from one neighbourhood.
    pub unauthenticated_per_prefix: usize,
}

/// The door: hands out places.
#[derive(Clone)]
pub struct Admission {
    places: Places,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    open: usize,
    unauthenticated: usize,
    by_prefix: HashMap<Prefix, usize>,
}

/// A place for one connection; dropping it frees the place.
pub struct Place {
    door: Admission,
    prefix: Prefix,
    unauthenticated: bool,
}

impl Admission {
    /// A door with so many places behind it.
    pub fn new(places: Places) -> Self {
        Self { places, counts: Arc::default() }
    }

    /// A place for a connection from this address, if there is one.
    pub fn admit(&self, source: IpAddr) -> Option<Place> {
        let prefix = Prefix::of(source);
        let mut counts = self.counts();
        let here = counts.by_prefix.get(&prefix).copied().unwrap_or(0);
        if counts.open >= self.places.all
            || counts.unauthenticated >= self.places.unauthenticated
            || here >= self.places.unauthenticated_per_prefix
        {
            return None;
        }
        counts.open += 1;
        counts.unauthenticated += 1;
        counts.by_prefix.insert(prefix, here + 1);
        Some(Place { door: self.clone(), prefix, unauthenticated: true })
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        // Counters stay meaningful even if a holder panicked between two of them.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The identity is settled: the connection no longer counts among those that have none.
    pub fn authenticated(&mut self) {
        if std::mem::take(&mut self.unauthenticated) {
            self.door.counts().leave(self.prefix);
        }
    }

    /// From which neighbourhood.
    pub fn prefix(&self) -> Prefix {
        self.prefix
    }
}

impl Counts {
    fn leave(&mut self, prefix: Prefix) {
        self.unauthenticated = self.unauthenticated.saturating_sub(1);
        if let Some(count) = self.by_prefix.get_mut(&prefix) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.by_prefix.remove(&prefix);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.door.counts();
        counts.open = counts.open.saturating_sub(1);
        if self.unauthenticated {
            counts.leave(self.prefix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> Admission {
        Admission::new(Places { all: 100, unauthenticated: 8, unauthenticated_per_prefix: 4 })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn one_neighbourhood_cannot_take_all_places() {
        let door = door();
        let mut places: Vec<_> =
            (0..4).map(|_| door.admit(ip("192.0.2.1")).expect("a place")).collect();
        assert!(door.admit(ip("192.0.2.2")).is_none());
        assert!(door.admit(ip("198.51.100.1")).is_some());
        places[0].authenticated();
        assert!(door.admit(ip("192.0.2.2")).is_some());
    }

    #[test]
    fn places_in_all_are_bounded_and_come_back() {
        let door = door();
        let places: Vec<_> = (0..8)
            .map(|i| door.admit(ip(&format!("10.{}.{}.1", i / 250, i % 250))).expect("a place"))
            .collect();
        assert!(door.admit(ip("192.0.2.2")).is_none());
        drop(places);
        assert!(door.admit(ip("192.0.2.2")).is_some());
        let counts = door.counts();
        assert_eq!((counts.open, counts.unauthenticated, counts.by_prefix.len()), (0, 0, 0));
    }
}
