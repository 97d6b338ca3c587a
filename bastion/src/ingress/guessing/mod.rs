//! Sources that guess: delayed, then shut out for a time.
//!
//! A *failed login* is a connection that tried keys and proved none, let the login grace pass, or
//! spoke no SSH. A peer that connects and leaves (a health check, `ssh-keyscan`) has failed at
//! nothing, but costs a key exchange, so sixty of those weigh as much as one failed login.
//!
//! Each source keeps its failed logins until they are forgiven, one after the other. The first few
//! cost nothing, each further one doubles what the next answer takes, and with too many the source
//! is shut out: it is refused before any cryptography, for a time that doubles with each shut-out.
//!
//! Who shares an address with a guesser shares its lot, but never for ever: a shut-out bears on
//! new connections only, sessions that run go on, whoever is on the way to log in with a right key
//! still does, and a login forgives what its address has failed. Where that is not enough (an
//! office behind one address) the configuration names who is never shut out; what would have been
//! a shut-out there is counted in the metrics.

mod sources;

use crate::{authn::Prefix, config, metrics::METRICS};
use bastion_core::limits::{
    FAILED_LOGIN_DELAY_MILLIS_MAX, FAILED_LOGIN_DELAY_MILLIS_MIN, FAILED_LOGINS_FREE,
    FAILED_LOGINS_NETWORK_FACTOR, KEYS_PER_FAILED_LOGIN,
};
use sources::{Cost, Sources, Terms};
use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What is remembered of sources.
pub struct Guessing {
    settings: config::Guessing,
    levels: Mutex<[Sources; 2]>,
}

/// A source that has just been shut out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShutOut {
    /// Which.
    pub prefix: Prefix,
    /// After so many failed logins.
    pub failed: u32,
    /// For how long from now.
    pub lasts: Duration,
}

/// Whose failed logins are counted together, narrowest first.
const LEVELS: [fn(IpAddr) -> Prefix; 2] = [Prefix::address, Prefix::of];

impl Guessing {
    /// Nothing is known of anybody yet.
    pub fn new(settings: config::Guessing) -> Self {
        let address = Terms {
            failed_max: settings.failed_logins_max,
            forgiven_after: settings.forgiven_after,
            shut_out: settings.shut_out,
            shut_out_max: settings.shut_out_max,
        };
        let factor = FAILED_LOGINS_NETWORK_FACTOR;
        let network = Terms {
            failed_max: address.failed_max.saturating_mul(factor),
            forgiven_after: address.forgiven_after / factor,
            ..address
        };
        let levels = Mutex::new([Sources::new(address), Sources::new(network)]);
        Self { settings, levels }
    }

    /// How long this source is still shut out, if it is.
    pub fn shut_out(&self, source: IpAddr) -> Option<Duration> {
        self.shut_out_at(source, Instant::now())
    }

    fn shut_out_at(&self, source: IpAddr, now: Instant) -> Option<Duration> {
        if self.is_spared(source) {
            return None;
        }
        let levels = self.lock();
        let each = LEVELS.iter().zip(levels.iter());
        each.filter_map(|(prefix, sources)| sources.shut_out(prefix(source), now)).max()
    }

    /// How long the answer to this source's next refused key should wait.
    pub fn delay(&self, source: IpAddr) -> Duration {
        self.delay_at(source, Instant::now())
    }

    fn delay_at(&self, source: IpAddr, now: Instant) -> Duration {
        let failed = self.lock()[0].failed(Prefix::address(source), now);
        let Some(doublings) = failed.checked_sub(FAILED_LOGINS_FREE) else {
            return Duration::ZERO;
        };
        let millis = FAILED_LOGIN_DELAY_MILLIS_MIN.saturating_mul(1 << doublings.min(16));
        Duration::from_millis(millis.min(FAILED_LOGIN_DELAY_MILLIS_MAX))
    }

    /// Counts a failed login in which so many keys were refused. Whoever is shut out for it has to
    /// be entered.
    #[must_use]
    pub fn failed(&self, source: IpAddr, keys: usize) -> Option<ShutOut> {
        self.failed_at(source, keys, Instant::now())
    }

    /// Counts a connection that was given up before anybody tried to log in.
    #[must_use]
    pub fn abandoned(&self, source: IpAddr) -> Option<ShutOut> {
        self.add(source, Cost::Abandoned, Instant::now())
    }

    fn failed_at(&self, source: IpAddr, keys: usize, now: Instant) -> Option<ShutOut> {
        // At most what russh lets a connection try, so it always fits.
        let number = u32::try_from(keys.div_ceil(KEYS_PER_FAILED_LOGIN)).unwrap_or(u32::MAX).max(1);
        self.add(source, Cost::FailedLogins(number), now)
    }

    fn add(&self, source: IpAddr, cost: Cost, now: Instant) -> Option<ShutOut> {
        let mut levels = self.lock();
        if self.is_spared(source) {
            if levels[0].would_shut_out(Prefix::address(source), cost, now) {
                METRICS.shut_out("spared");
            }
            return None;
        }
        let each = LEVELS.iter().zip(levels.iter_mut());
        let mut outs = each.filter_map(|(prefix, s)| s.add(prefix(source), cost, now));
        // The wider one says it all.
        let out = outs.next();
        outs.next().or(out).inspect(|_| METRICS.shut_out("shut_out"))
    }

    /// Somebody proved who they are: what their address has failed is forgiven, so that an office
    /// is not shut out for typing errors. Shut-outs that were are not forgotten.
    pub fn logged_in(&self, source: IpAddr) {
        self.logged_in_at(source, Instant::now());
    }

    fn logged_in_at(&self, source: IpAddr, now: Instant) {
        self.lock()[0].forgive(Prefix::address(source), now);
    }

    fn is_spared(&self, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.settings.never_shut_out.iter().any(|range| range.contains(&source))
    }

    fn lock(&self) -> MutexGuard<'_, [Sources; 2]> {
        // Moments and counts stay meaningful even if a holder panicked.
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What somebody who is shut out is told.
pub fn sentence(left: Duration) -> String {
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    let (number, unit) = match seconds {
        0..=90 => (seconds, "second"),
        seconds => (seconds.div_ceil(60), "minute"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("too many failed logins from your address: try again in {number} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guessing(never: &[&str]) -> Guessing {
        Guessing::new(config::Guessing {
            failed_logins_max: 10,
            forgiven_after: Duration::from_secs(60),
            shut_out: Duration::from_secs(60),
            shut_out_max: Duration::from_secs(600),
            never_shut_out: never.iter().map(|range| range.parse().expect("range")).collect(),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn answers_get_slower_and_then_there_are_none() {
        let (guessing, now, source) = (guessing(&[]), Instant::now(), ip("192.0.2.7"));
        let mut delays = Vec::new();
        for _ in 0..9 {
            delays.push(guessing.delay_at(source, now).as_millis());
            assert_eq!(guessing.failed_at(source, 1, now), None);
            assert_eq!(guessing.shut_out_at(source, now), None);
        }
        assert_eq!(delays, [0, 0, 0, 250, 500, 1000, 2000, 4000, 5000]);
        let out = guessing.failed_at(source, 1, now).expect("shut out");
        assert_eq!((out.prefix.to_string().as_str(), out.failed), ("192.0.2.7/32", 10));
        assert_eq!(out.lasts, Duration::from_secs(60));
        assert_eq!(guessing.shut_out_at(source, now), Some(out.lasts));
        assert_eq!(guessing.shut_out_at(ip("192.0.2.8"), now), None, "a neighbour gets in");
        let later = now + Duration::from_secs(60);
        assert_eq!(guessing.shut_out_at(source, later), None);
    }

    #[test]
    fn shut_outs_grow_and_are_forgotten() {
        let (guessing, mut now, source) = (guessing(&[]), Instant::now(), ip("2001:db8::1"));
        let mut lasted = Vec::new();
        for _ in 0..6 {
            let out = (0..10).find_map(|_| guessing.failed_at(source, 1, now)).expect("shut out");
            lasted.push(out.lasts.as_secs());
            now += out.lasts;
        }
        assert_eq!(lasted, [60, 120, 240, 480, 600, 600]);
        now += Duration::from_secs(600) * 6;
        let out = (0..10).find_map(|_| guessing.failed_at(source, 1, now)).expect("shut out");
        assert_eq!(out.lasts.as_secs(), 60, "as if nothing had ever been");
    }

    #[test]
    fn a_slow_typist_is_never_shut_out() {
        let (guessing, mut now, source) = (guessing(&[]), Instant::now(), ip("192.0.2.7"));
        for _ in 0..1000 {
            assert_eq!(guessing.failed_at(source, 1, now), None);
            now += Duration::from_secs(60);
        }
        assert_eq!(guessing.delay_at(source, now), Duration::ZERO);
    }

    #[test]
    fn a_login_forgives_its_address() {
        let (guessing, now, source) = (guessing(&[]), Instant::now(), ip("192.0.2.7"));
        for _ in 0..100 {
            let outs = (0..9).filter_map(|_| guessing.failed_at(source, 1, now));
            if let Some(out) = outs.last() {
                // One login does not vouch for the whole network, which has failed too often.
                return assert_eq!(out.prefix.to_string(), "192.0.2.0/24");
            }
            guessing.logged_in_at(source, now);
        }
        panic!("a network that fails for ever is shut out");
    }

    #[test]
    fn many_keys_on_one_connection_count_as_many() {
        let (guessing, now) = (guessing(&[]), Instant::now());
        let shut_out_after = |source: &str, keys| {
            (1..).find(|_| guessing.failed_at(ip(source), keys, now).is_some()).expect("some time")
        };
        assert_eq!(shut_out_after("192.0.2.7", 0), 10);
        assert_eq!(shut_out_after("198.51.100.7", 6), 10);
        assert_eq!(shut_out_after("203.0.113.7", 20), 3);
    }

    #[test]
    fn health_checks_are_free_and_floods_are_not() {
        let (guessing, mut now) = (guessing(&[]), Instant::now());
        for _ in 0..10_000 {
            assert_eq!(guessing.add(ip("192.0.2.7"), Cost::Abandoned, now), None);
            now += Duration::from_secs(1);
        }
        assert_eq!(guessing.delay_at(ip("192.0.2.7"), now), Duration::ZERO);
        let out = (1..).find(|_| guessing.add(ip("192.0.2.9"), Cost::Abandoned, now).is_some());
        assert_eq!(out, Some(541), "as soon as the tenth failed login has begun");
    }

    #[test]
    fn a_network_of_guessers_is_shut_out_as_one() {
        let (guessing, now) = (guessing(&[]), Instant::now());
        let sources = (0..=255).map(|i| ip(&format!("198.51.100.{i}")));
        let outs: Vec<_> = sources.filter_map(|ip| guessing.failed_at(ip, 1, now)).collect();
        assert_eq!(outs[0].prefix.to_string(), "198.51.100.0/24");
        assert_eq!(outs[0].failed, 80);
        assert!(guessing.shut_out_at(ip("198.51.100.255"), now).is_some());
        assert!(guessing.shut_out_at(ip("198.51.101.1"), now).is_none());
    }

    #[test]
    fn who_is_spared_is_slow_but_never_out() {
        let (guessing, now) = (guessing(&["192.0.2.0/24"]), Instant::now());
        for _ in 0..1000 {
            assert_eq!(guessing.failed_at(ip("::ffff:192.0.2.7"), 20, now), None);
        }
        assert_eq!(guessing.shut_out_at(ip("192.0.2.7"), now), None);
        assert_eq!(guessing.delay_at(ip("192.0.2.7"), now), Duration::from_secs(5));
    }

    #[test]
    fn the_sentence_says_when() {
        for (left, said) in [
            (Duration::from_millis(200), "in 1 second"),
            (Duration::from_secs(60), "in 60 seconds"),
            (Duration::from_secs(91), "in 2 minutes"),
            (Duration::from_secs(3600), "in 60 minutes"),
        ] {
            assert!(sentence(left).ends_with(said), "{}", sentence(left));
        }
    }
}
