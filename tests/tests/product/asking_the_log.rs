//! The log is asked by filters that combine, in three forms, page by page; a customer's approver
//! sees their own entries and no names; and every reading is an entry itself.

use bastion_tests::world::{Person::*, World};
use serde_json::Value;
use std::thread;

crate::on_both_stores!(
    filters_combine_and_pages_fit_together,
    an_approver_sees_their_own_and_no_names,
    every_reading_is_one_entry,
    following_shows_what_comes,
);

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn filters_combine_and_pages_fit_together(world: &mut World) {
    let ticket = world.consent("pg-1.acme");
    world.ssh(Olga, &["dba@pg-1.acme", "true"]).exits(0);
    world.ssh(Olga, &["dba@pg-2.acme", "true"]).exits(254);
    let ask = |words: &str| {
        let words: Vec<&str> = ["audit", "query"].into_iter().chain(words.split(' ')).collect();
        world.bastion(&words).exits(0).text()
    };
    let found = objects(&ask("--customer acme --event access. --oldest --format jsonl"));
    let kinds: Vec<&str> = found.iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["access.granted", "access.denied"]);
    assert_eq!(found[0]["ticket"], ticket.as_str());
    assert_eq!(found[0]["said"]["command"], "true");
    let denied = objects(&ask("--outcome denied --vm pg-2.acme --format jsonl"));
    assert_eq!(denied.len(), 1);
    let said = objects(&ask("--text zd-1 --event consent.requested --format jsonl"));
    assert_eq!(said.len(), 1, "free text is found in any case");
    assert!(ask("--event access. --customer globex").contains("no entries match"));
    assert!(ask("--ticket nothing-like-that --format csv").starts_with("seq,time,event,"));
    // Pages of two, oldest first, are the whole.
    let whole = objects(&ask("--customer acme --oldest --until 2999-01-01 --format jsonl"));
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let ask = format!("audit query --customer acme --oldest --limit 2 --format jsonl{cursor}");
        let answer = world.bastion(&ask.split(' ').collect::<Vec<_>>()).exits(0);
        paged.extend(objects(&answer.text()));
        match answer.err.trim().rsplit_once("--cursor ") {
            Some((_, next)) if paged.len() < whole.len() => cursor = format!(" --cursor {next}"),
            _ => break,
        }
    }
    let seqs = |rows: &[Value]| rows.iter().map(|row| row["seq"].as_u64()).collect::<Vec<_>>();
    assert_eq!(seqs(&paged)[..whole.len()], seqs(&whole)[..]);
    world.bastion(&["audit", "query", "--cursor", "x"]).exits(2).complains("cursor");
    world.bastion(&["audit", "query", "--since", "yesterday"]).exits(2).complains("2026-11-24");
}

fn an_approver_sees_their_own_and_no_names(world: &mut World) {
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    world.ssh(Olga, &["ops@pg-1.globex", "true"]).exits(0);
    world.bastion(&["audit", "query", "--customer", "acme", "--operator", "olga"]).exits(0);
    let answer = world.order(Acme, "audit query --format jsonl --oldest").text();
    assert!(answer.contains("access.granted"), "{answer}");
    for secret in ["globex", "olga", "127.0.0.1", "\"handle\":\"", "\"source\":\""] {
        let said: Vec<String> =
            objects(&answer).iter().map(|row| row["said"].to_string()).collect();
        assert!(!said.concat().contains(secret), "{secret} is in {said:?}");
    }
    assert!(objects(&answer).iter().all(|row| row["customer"] == "acme"), "{answer}");
    let theirs = world.log();
    let globex = theirs.entries.iter().find(|entry| entry["customer"]["id"] == "globex").unwrap();
    let ask = format!("audit show {}", globex["seq"]);
    world.ssh(Acme, &["bastion", &ask]).exits(3).complains("no entry");
    world.ssh(Acme, &["bastion", "audit show 999999"]).exits(3).complains("no entry");
    world.ssh(Acme, &["bastion", "audit query --customer globex"]).exits(3);
    world.ssh(Acme, &["bastion", "audit query --operator olga"]).exits(2).complains("op-");
    let by_text =
        world.order(Acme, "audit query --event access. --text olga --format jsonl").text();
    assert_eq!(by_text, "", "a name that is not shown is not found either");
    world.ssh(Olga, &["bastion", "audit query"]).exits(3).complains("no such command");
}

fn every_reading_is_one_entry(world: &mut World) {
    let before = world.log().events("log.read").len();
    world.bastion(&["audit", "query"]).exits(0);
    world.bastion(&["audit", "show", "0"]).exits(0).says("genesis");
    world.bastion(&["audit", "verify"]).exits(0).says("the log holds");
    world.bastion(&["audit", "verify", "--from", "1", "--to", "3"]).exits(0);
    world.bastion(&["audit", "verify", "--from", "3", "--to", "999999"]).exits(2);
    world.bastion(&["session", "list"]).exits(0);
    world.order(Odile, "audit checkpoint");
    let log = world.log();
    let after = log.events("log.read");
    // Seven readings, and that of `before` was the first that is counted only now.
    assert_eq!(after.len() - before, 8, "{after:?}");
    let local = log.entries.iter().filter(|entry| entry["event"]["type"] == "log.read");
    assert!(local.clone().any(|entry| entry["actor"]["kind"] == "local"));
    assert!(local.clone().any(|entry| entry["actor"]["kind"] == "officer"));
}

fn following_shows_what_comes(world: &mut World) {
    let words = ["8", "bastion", "audit", "query", "--follow", "--event", "access."];
    let following = world.program("timeout", &words);
    let shown = thread::spawn(move || bastion_tests::world::finish(following, &[]));
    thread::sleep(std::time::Duration::from_secs(2));
    world.ssh(Olga, &["ops@pg-1.acme", "echo unheard-of"]).exits(0);
    let shown = shown.join().unwrap();
    assert!(shown.text().contains("unheard-of"), "{}", shown.text());
}
