//! How much one person may add to the log: nobody is refused for being fast, only slowed down.
//!
//! A refusal that is spoken stands in the log, so whoever is refused in a loop would fill it. They
//! wait for their next place instead, a tenth of a second each once a burst is used up; what they
//! send that is merely malformed adds nothing and does not wait.

use bastion_core::limits::{COMMAND_BURST_MAX, COMMAND_REFILL_MILLIS, COMMAND_WAITERS_MAX};
use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// For each person, the moment at which all of their burst is theirs again.
static FULL_AT: LazyLock<Mutex<HashMap<String, Instant>>> = LazyLock::new(Mutex::default);

/// Waits for this person's next place.
pub async fn wait(person: &str) {
    let pause = reserve(person, Instant::now());
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

/// Takes a place; answers how long to wait for it.
fn reserve(person: &str, now: Instant) -> Duration {
    let place = Duration::from_millis(COMMAND_REFILL_MILLIS);
    // No code panics while it holds the lock; if one did, the map is still whole.
    let mut people = FULL_AT.lock().unwrap_or_else(PoisonError::into_inner);
    if people.len() >= COMMAND_WAITERS_MAX {
        people.retain(|_, full_at| *full_at > now);
    }
    let full_at = people.entry(person.to_owned()).or_insert(now);
    *full_at = (*full_at).max(now) + place;
    (*full_at - now).saturating_sub(place * COMMAND_BURST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_every_place_is_waited_for() {
        let now = Instant::now();
        for _ in 0..COMMAND_BURST_MAX {
            assert_eq!(reserve("somebody", now), Duration::ZERO);
        }
        let place = Duration::from_millis(COMMAND_REFILL_MILLIS);
        assert_eq!(reserve("somebody", now), place);
        assert_eq!(reserve("somebody", now), place * 2);
        assert_eq!(reserve("somebody else", now), Duration::ZERO);
        assert_eq!(reserve("somebody", now + place * 1000), Duration::ZERO);
    }
}
