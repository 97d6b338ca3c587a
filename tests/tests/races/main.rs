//! Races for the door: whoever takes the ground away and whoever opens a channel at that moment
//! meet in one log, and there only one order exists.
//!
//! These tests run the product's gate, certificates and commands in this process, thousands of
//! times; what a channel does afterwards is tried with real clients elsewhere.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod world;

use bastion_core::{id::LeaseId, lease::Cause};
use std::sync::Arc;
use world::{Opened, World};

/// How many times each race is run; `RACES` sets another number.
fn tries() -> usize {
    std::env::var("RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// What a withdrawal that was answered says about a channel that raced it.
async fn held(world: &World, opened: &Opened, taken_away_at: u64) {
    let lease = match opened {
        // The door stayed shut: the denial stands after the withdrawal.
        Opened::Denied { seq, reason } => {
            assert!(*seq > taken_away_at, "denied ({reason}) before anything was taken away");
            return;
        }
        // Grant and certificate are one change: the lease is marked, so its channel ends.
        Opened::Signed { lease, issued } => {
            assert!(*issued < taken_away_at, "a certificate was entered after the ground was gone");
            lease.clone()
        }
    };
    let cause = world.cause_of(&lease).await;
    assert!(cause.is_some(), "the lease {lease} lives on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_races_an_opening_never_lets_it_through() {
    let world = Arc::new(World::start().await);
    let mut seen = Seen::default();
    for round in 0..tries() {
        let ticket = world.granted_ticket().await;
        let (opener, withdrawer) = (Arc::clone(&world), Arc::clone(&world));
        let (before_opening, before_taking) = world.pauses(round);
        let opening = tokio::spawn(async move {
            tokio::time::sleep(before_opening).await;
            opener.open_data().await
        });
        let taking = tokio::spawn(async move {
            tokio::time::sleep(before_taking).await;
            withdrawer.withdraw(&ticket).await
        });
        let (opened, at) = (opening.await.unwrap(), taking.await.unwrap());
        held(&world, &opened, at).await;
        seen.count(&opened);
        // And nothing opens afterwards.
        let late = world.open_data().await;
        assert!(matches!(late, Opened::Denied { .. }), "{late:?}");
    }
    seen.report("withdrawal");
    world.verify().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_disabled_between_request_and_channel_never_gets_in() {
    let world = Arc::new(World::start().await);
    let mut seen = Seen::default();
    for round in 0..tries() {
        let (opener, officer) = (Arc::clone(&world), Arc::clone(&world));
        let (before_opening, before_taking) = world.pauses(round);
        let opening = tokio::spawn(async move {
            tokio::time::sleep(before_opening).await;
            opener.open_troubleshoot().await
        });
        let taking = tokio::spawn(async move {
            tokio::time::sleep(before_taking).await;
            officer.disable_operator().await
        });
        let (opened, at) = (opening.await.unwrap(), taking.await.unwrap());
        held(&world, &opened, at).await;
        seen.count(&opened);
        assert!(matches!(world.open_troubleshoot().await, Opened::Denied { .. }));
        world.enable_operator().await;
    }
    seen.report("disabled");
    world.verify().await;
}

/// A mark in the store reaches the channel's own wire.
#[tokio::test(flavor = "multi_thread")]
async fn a_marked_lease_hears_of_it_within_a_second() {
    let world = Arc::new(World::start().await);
    let app = Arc::clone(&world.app);
    let watching = tokio::spawn(async move { app.live.watch(&app.ledger).await });
    let ticket = world.granted_ticket().await;
    let lease = world.lease_for_data().await;
    assert!(lease.ensure_live(bastion::clock::now()).is_ok());
    let mut end = lease.end();
    world.withdraw(&ticket).await;
    let told = tokio::time::timeout(
        std::time::Duration::from_secs(1),
        end.wait_for(|cause| cause.is_some()),
    );
    assert_eq!(*told.await.expect("within a second").unwrap(), Some(Cause::ConsentWithdrawn));
    assert_eq!(lease.ensure_live(bastion::clock::now()).err(), Some(Cause::ConsentWithdrawn));
    watching.abort();
}

/// The grant and the end of a channel under a consent each leave a notice in their own commit.
#[tokio::test(flavor = "multi_thread")]
async fn approvers_are_told_of_each_channel_under_their_consent() {
    let world = World::start().await;
    world.tell_the_customer().await;
    world.granted_ticket().await;
    let lease = world.lease_for_data().await;
    assert_eq!(world.notices_of(lease.id()).await, ["access.granted"]);
    world.close(&lease).await;
    assert_eq!(world.notices_of(lease.id()).await, ["access.granted", "channel.closed"]);
}

/// How the races went: a race that always ends the same way is none.
#[derive(Default)]
struct Seen {
    denied: usize,
    signed: usize,
    leases: Vec<LeaseId>,
}

impl Seen {
    fn count(&mut self, opened: &Opened) {
        match opened {
            Opened::Denied { .. } => self.denied += 1,
            Opened::Signed { lease, .. } => {
                self.signed += 1;
                self.leases.push(lease.clone());
            }
        }
    }

    fn report(&self, what: &str) {
        println!("{what}: {} denied, {} signed and then ended", self.denied, self.signed);
        assert!(self.denied > 0, "the withdrawal never came first: no race was run");
        assert!(!self.leases.is_empty(), "the opening never came first: no race was run");
    }
}
