//! A withdrawal that races a channel's opening never lets one through: in the log, no grant under
//! a ticket comes after its withdrawal.

use bastion_tests::world::{Person::*, World};
use std::sync::atomic::{AtomicBool, Ordering};

crate::on_both_stores!(no_grant_after_a_withdrawal);

const ROUNDS: usize = 6;

fn no_grant_after_a_withdrawal(world: &mut World) {
    let world = &*world;
    let mut tickets = Vec::new();
    for _ in 0..ROUNDS {
        let ticket = world.consent("pg-1.acme");
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for form in ["dba@pg-1.acme", "dba+pg-1.acme@bastion", "dba+pg-1.acme@bastion"] {
                let stop = &stop;
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        world.ssh(Olga, &[form, "true"]);
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
            world.order(Acme, &format!("consent withdraw {ticket} --reason enough"));
            std::thread::sleep(std::time::Duration::from_millis(300));
            stop.store(true, Ordering::Relaxed);
        });
        tickets.push(ticket);
    }
    let log = world.log();
    let mut granted = 0;
    for ticket in tickets {
        let of_ticket = |entry: &&serde_json::Value| entry["event"]["ticket"] == ticket.as_str();
        let story: Vec<&str> = log
            .entries
            .iter()
            .filter(of_ticket)
            .filter_map(|entry| entry["event"]["type"].as_str())
            .collect();
        let withdrawn = story.iter().position(|kind| *kind == "consent.withdrawn").unwrap();
        let after = &story[withdrawn..];
        assert!(!after.contains(&"access.granted"), "{story:?}");
        granted += story.iter().filter(|kind| **kind == "access.granted").count();
    }
    assert!(granted > ROUNDS, "too few openings raced: {granted}");
}
