//! How many connections may be open, and how many of them before it is known whose they are.
//!
//! A connection that has not authenticated costs a socket, a task and a key exchange, and anybody
//! can open one. So those are counted by source prefix and in all; what does not fit is closed at
//! once, without a word. A connection gives its place back when it has authenticated.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// The neighbourhood of an address: /24 of IPv4, /56 of IPv6. What one party can easily own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(ipnet::IpNet);

impl Prefix {
    /// The prefix of an address; an IPv4 address that came as IPv6 counts as IPv4.
    pub fn of(source: IpAddr) -> Self {
        let source = source.to_canonical();
        let bits = if source.is_ipv4() { 24 } else { 56 };
        // 24 and 56 are valid lengths of their families, so the host route is never used.
        let net = ipnet::IpNet::new(source, bits).unwrap_or_else(|_| source.into());
        Self(net.trunc())
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

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
    fn prefixes_group_what_one_party_owns() {
        for (source, prefix) in [
            ("192.0.2.77", "192.0.2.0/24"),
            ("::ffff:192.0.2.77", "192.0.2.0/24"),
            ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ] {
            assert_eq!(Prefix::of(ip(source)).to_string(), prefix);
        }
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
