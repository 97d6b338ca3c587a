//! Places for connections: so many in all, so many for one source.

use bastion_core::limits::{HTTPS_CONNECTIONS_MAX, HTTPS_CONNECTIONS_PER_SOURCE_MAX};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

/// Who holds how many.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One place, until it is dropped.
pub(super) struct Place {
    places: Places,
    source: IpAddr,
}

impl Places {
    /// A place, if there is one.
    pub(super) fn take(&self, source: IpAddr) -> Option<Place> {
        let source = network(source);
        // A count is a count, whoever panicked beside it.
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, here) = (taken.values().sum::<usize>(), taken.get(&source).copied());
        let here = here.unwrap_or_default();
        if all >= HTTPS_CONNECTIONS_MAX || here >= HTTPS_CONNECTIONS_PER_SOURCE_MAX {
            return None;
        }
        taken.insert(source, here + 1);
        Some(Place { places: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.source) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.source)),
        }
    }
}

/// An IPv6 network of 64 bits is one source: whoever has one has all its addresses.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_all_have_the_rest() {
        let places = Places::default();
        let here: IpAddr = "192.0.2.7".parse().expect("address");
        let taken: Vec<_> =
            (0..HTTPS_CONNECTIONS_PER_SOURCE_MAX).filter_map(|_| places.take(here)).collect();
        assert_eq!(taken.len(), HTTPS_CONNECTIONS_PER_SOURCE_MAX);
        assert!(places.take(here).is_none());
        let neighbours =
            ["2001:db8::1", "2001:db8::ffff:1"].map(|a| network(a.parse().expect("v6")));
        assert_eq!(neighbours[0], neighbours[1]);
        let mut others = Vec::new();
        for number in 0..=u8::MAX {
            others.extend((0..4).filter_map(|_| places.take(IpAddr::from([198, 51, 100, number]))));
        }
        assert_eq!(taken.len() + others.len(), HTTPS_CONNECTIONS_MAX);
        drop(taken);
        assert!(places.take(here).is_some());
    }
}
