//! How much may wait for a receiver that does not take it, and what happens then.
//!
//! Past [`Quotas::hold_bytes`] one direction of a channel is *held*: the VM's connection is not
//! read any more, or the operator's channel gets windows of a few bytes. Whoever takes something
//! brings the backlog back below, and goes on. A receiver that takes nothing for [`Quotas::hold`]
//! loses the channel, and so does one whose peer sends on regardless up to [`Quotas::bytes_max`]
//! (on stock russh a grant meant for another channel of the connection may be used by this one).
//! The connection and its other channels go on in every case.

use super::spool::Overrun;
use bastion_core::limits::{
    SPOOL_BYTES_MAX, SPOOL_HOLD_BYTES, SPOOL_HOLD_SECONDS, SPOOL_SMALL_BYTES, SPOOLS_BYTES_MAX,
    SPOOLS_RESERVE_BYTES,
};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::Notify,
    time::{sleep_until, timeout_at},
};

/// What may wait on disk.
#[derive(Clone, Copy, Debug)]
pub struct Quotas {
    /// Bytes of one direction of a channel from which on it is held.
    pub hold_bytes: u64,
    /// How long it may be held.
    pub hold: Duration,
    /// Bytes of one direction of a channel.
    pub bytes_max: u64,
    /// Bytes of all channels together.
    pub all_bytes_max: u64,
    /// Bytes that must stay free on the disk.
    pub free_bytes_min: u64,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            hold_bytes: SPOOL_HOLD_BYTES,
            hold: Duration::from_secs(SPOOL_HOLD_SECONDS),
            bytes_max: SPOOL_BYTES_MAX,
            all_bytes_max: SPOOLS_BYTES_MAX,
            free_bytes_min: 0,
        }
    }
}

impl Quotas {
    /// Whether a direction that has `own` bytes may have so many, when all have `all`. Who has
    /// little is not ended for what others have: it may use a reserve.
    pub(super) fn allow(&self, own: u64, all: u64) -> Result<(), Overrun> {
        let reserve = if own <= SPOOL_SMALL_BYTES { SPOOLS_RESERVE_BYTES } else { 0 };
        if own > self.bytes_max {
            return Err(Overrun::Channel(own));
        }
        if all > self.all_bytes_max + reserve {
            return Err(Overrun::Gateway);
        }
        Ok(())
    }
}

/// The brim of one backlog: whether it is held, since when, and whether it ran over.
pub(crate) struct Brim {
    state: Mutex<State>,
    changed: Notify,
}

enum State {
    Below,
    HeldSince(Instant),
    Over(Overrun),
}

impl Brim {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State::Below), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So much waits now.
    pub(super) fn note(&self, bytes: u64, quotas: &Quotas) {
        let mut state = self.lock();
        match (&*state, bytes > quotas.hold_bytes) {
            (State::Below, true) => *state = State::HeldSince(Instant::now()),
            (State::HeldSince(_), false) => *state = State::Below,
            _ => return,
        }
        drop(state);
        self.changed.notify_one();
    }

    /// It could not be kept: the channel ends.
    pub(super) fn over(&self, why: &Overrun) {
        *self.lock() = State::Over(why.clone());
        self.changed.notify_one();
    }

    pub(crate) fn is_held(&self) -> bool {
        !matches!(*self.lock(), State::Below)
    }

    /// Returns when the channel has to end. For one caller.
    pub(crate) async fn overflow(&self, quotas: &Quotas) -> Overrun {
        loop {
            let changed = self.changed.notified();
            let until = match &*self.lock() {
                State::Below => None,
                State::HeldSince(since) => Some(*since + quotas.hold),
                State::Over(why) => return why.clone(),
            };
            match until {
                None => changed.await,
                Some(until) if until <= Instant::now() => return Overrun::Held(quotas.hold),
                // Either way the state tells what to do; only the waiting ends.
                Some(until) => {
                    if timeout_at(until.into(), changed).await.is_err() {
                        sleep_until(until.into()).await;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTAS: Quotas = Quotas {
        hold_bytes: 10,
        hold: Duration::from_millis(200),
        bytes_max: 100 << 20,
        all_bytes_max: 200 << 20,
        free_bytes_min: 0,
    };

    #[test]
    fn what_one_has_and_what_all_have_is_bounded_and_who_has_little_is_spared() {
        let mib = 1 << 20;
        assert!(QUOTAS.allow(100 * mib, 200 * mib).is_ok());
        assert!(matches!(QUOTAS.allow(100 * mib + 1, 0), Err(Overrun::Channel(_))));
        assert!(matches!(QUOTAS.allow(100 * mib, 200 * mib + 1), Err(Overrun::Gateway)));
        assert!(QUOTAS.allow(SPOOL_SMALL_BYTES, 200 * mib + 1).is_ok());
        let all = 200 * mib + SPOOLS_RESERVE_BYTES + 1;
        assert!(matches!(QUOTAS.allow(1, all), Err(Overrun::Gateway)));
    }

    #[tokio::test]
    async fn who_takes_something_goes_on_and_who_takes_nothing_is_ended() {
        let brim = Brim::new();
        let wait =
            |millis| tokio::time::timeout(Duration::from_millis(millis), brim.overflow(&QUOTAS));
        assert!(wait(50).await.is_err(), "nothing waits");
        for _ in 0..4 {
            brim.note(11, &QUOTAS);
            assert!(wait(100).await.is_err(), "not held for long");
            brim.note(10, &QUOTAS);
            assert!(wait(20).await.is_err(), "below again");
        }
        brim.note(11, &QUOTAS);
        let began = Instant::now();
        assert!(matches!(wait(5_000).await, Ok(Overrun::Held(_))));
        assert!(began.elapsed() >= Duration::from_millis(190));
        brim.over(&Overrun::Gateway);
        assert!(matches!(wait(50).await, Ok(Overrun::Gateway)));
    }
}
