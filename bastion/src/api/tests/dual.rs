//! Dual control: what loosens takes two officers, what takes away takes one.

use super::{
    super::{
        Caller,
        dual::{Effect, table},
    },
    World, caller, entered, text,
};
use audit_schema::event::ActorKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The demo's world with a second officer.
async fn two() -> (World, Caller) {
    let world = World::new().await;
    let omar = officer(&world, "omar").await;
    (world, omar)
}

/// Takes on an officer while there is only one.
async fn officer(world: &World, handle: &str) -> Caller {
    let key = world.key(handle);
    let json = world.officer(&format!("officer add {handle} --key - --json"), &key).await.json();
    caller(ActorKind::Officer, text(&json, "officer"), handle)
}

impl World {
    /// What odile proposes; its id.
    async fn propose(&self, line: &str, stdin: &str) -> String {
        let json = self.officer(&format!("{line} --json"), stdin).await.json();
        assert_eq!(text(&json, "state"), "proposed", "{line}");
        text(&json, "proposal").to_owned()
    }

    /// Every table but that of proposals.
    async fn changed(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let mut tables = self.tables().await;
        tables.remove("proposals");
        tables
    }

    pub async fn write(&self, sql: &'static str) {
        let written = self.app.ledger.record("test rows", move |batch| {
            Box::pin(async move {
                batch.tx().run(sql, &[]).await?;
                entered(batch).await
            })
        });
        written.await.unwrap().into_inner();
    }
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(event, "type")).collect()
}

#[tokio::test]
async fn one_officer_changes_at_once_and_the_customers_are_told() {
    let world = World::new().await;
    world.officer("customer notify acme --hook keep", "").await.done();
    world.officer("operator disable otto", "").await.done();
    assert!(world.tables().await["notices"].is_empty(), "what takes away needs no telling");
    let size = world.size();
    world.officer("operator enable otto", "").await.done();
    assert_eq!(types(&world.events(size).await), ["operator.enabled"]);
    world.officer("service recording-key globex-pg", &world.pem.clone()).await.done();
    world.officer("service recording-key acme-pg", &world.pem.clone()).await.done();
    assert!(world.tables().await["proposals"].is_empty());
    let notices = world.tables().await["notices"].join("\n");
    assert_eq!(notices.matches("operator.enabled").count(), 1, "{notices}");
    // Of globex's service acme hears nothing.
    assert_eq!(notices.matches("service.recording_key_changed").count(), 1, "{notices}");
    assert_eq!(world.tables().await["notices"].len(), 2);
}

#[tokio::test]
async fn with_two_officers_the_other_ones_word_makes_the_change() {
    let (world, omar) = two().await;
    world.officer("customer notify acme --hook keep", "").await.done();
    let before = (world.changed().await, world.size());
    let add = "operator add nina --key - --team storage and more --entity e --country DE";
    let key = world.key("nina");
    let id = world.propose(add, &key).await;
    let events = world.events(before.1).await;
    assert_eq!(types(&events), ["change.proposed"]);
    assert_eq!((text(&events[0], "command"), text(&events[0], "proposal")), ("operator add", &*id));
    assert_eq!(world.changed().await, before.0);
    // The other officer sees exactly what will run.
    let show = world.run(&omar, &format!("change show {id}"), b"").await.done();
    assert!(show.contains("odile") && show.contains("storage and more"), "{show}");
    assert!(show.contains(key.split(' ').nth(1).unwrap()), "{show}");
    assert!(world.run(&omar, "change list", b"").await.done().contains(&id));

    let approve = format!("change approve {id}");
    world.officer(&approve, "").await.fails(3, "another officer");
    let size = world.size();
    let json = world.run(&omar, &format!("{approve} --json"), b"").await.json();
    assert_eq!((text(&json, "state"), text(&json, "proposal")), ("approved", &*id));
    let lines = world.app.ledger.lines(size, world.size()).await;
    let first = lines.unwrap().next().await.unwrap().unwrap().entry;
    assert_eq!(first.actor, omar.actor);
    let events = world.events(size).await;
    assert_eq!(types(&events), ["change.approved", "operator.added", "key.added"]);
    assert_eq!(text(&events[0], "approver"), omar.actor.id);
    assert_eq!(text(&events[0], "proposer"), world.odile.actor.id);
    let nina = caller(ActorKind::Operator, text(&json["answer"], "operator"), "nina");
    world.run(&nina, "whoami", b"").await.done();
    let notices = world.tables().await["notices"].clone();
    assert!(notices.len() == 1 && notices[0].contains(&omar.actor.id), "{notices:?}");

    // Once.
    let after = world.changed().await;
    world.run(&omar, &approve, b"").await.fails(3, "approved already");
    world.run(&omar, &format!("change refuse {id}"), b"").await.fails(3, "approved already");
    assert_eq!(world.changed().await, after);
    let list = world.officer("change list", "").await.done();
    assert!(!list.contains(&id), "{list}");
    assert!(world.officer("change list --all", "").await.done().contains("approved"));
}

#[tokio::test]
async fn two_approvals_at_once_make_one_change() {
    let (world, omar) = two().await;
    let key = world.key("nina");
    let id = world.propose("operator key add olga --key -", &key).await;
    let approve = format!("change approve {id}");
    let (one, other) =
        tokio::join!(world.run(&omar, &approve, b""), world.run(&omar, &approve, b""));
    let mut codes = [one.code, other.code];
    codes.sort_unstable();
    assert_eq!(codes, [0, 3], "{} {}", one.err, other.err);
}

#[tokio::test]
async fn what_is_refused_expired_or_of_somebody_gone_is_never_made() {
    let (world, omar) = two().await;
    world.officer("operator disable olga", "").await.done();
    let before = world.changed().await;
    let enable = "operator enable olga";

    let id = world.propose(enable, "").await;
    let size = world.size();
    world.run(&omar, &format!("change refuse {id} --reason not so fast"), b"").await.done();
    assert_eq!(types(&world.events(size).await), ["change.refused"]);
    world.run(&omar, &format!("change approve {id}"), b"").await.fails(3, "refused already");
    world.run(&omar, &format!("change refuse {id}"), b"").await.fails(3, "refused already");

    // One's own can be taken back.
    let id = world.propose(enable, "").await;
    world.officer(&format!("change refuse {id}"), "").await.done();

    let id = world.propose(enable, "").await;
    world.write("UPDATE proposals SET expires_at = 1 WHERE state = 'proposed'").await;
    let show = world.officer(&format!("change show {id}"), "").await.done();
    assert!(show.contains("expired"), "{show}");
    world.run(&omar, &format!("change approve {id}"), b"").await.fails(3, "has expired");
    assert_eq!(world.changed().await, before);

    let id = world.propose(enable, "").await;
    world.write("UPDATE officers SET state = 'disabled' WHERE handle = 'odile'").await;
    world.run(&omar, &format!("change approve {id}"), b"").await.fails(3, "no more");
    world.write("UPDATE officers SET state = 'enabled' WHERE handle = 'odile'").await;
    world.write("UPDATE officers SET state = 'disabled' WHERE handle = 'omar'").await;
    world.run(&omar, &format!("change approve {id}"), b"").await.fails(3, "has ended");
    world.write("UPDATE officers SET state = 'enabled' WHERE handle = 'omar'").await;

    // What cannot be done any more is not done, and neither is its approval.
    world.write("UPDATE operators SET state = 'enabled' WHERE handle = 'olga'").await;
    let size = world.size();
    world.run(&omar, &format!("change approve {id}"), b"").await.fails(1, "still waits");
    assert_eq!(world.size(), size);
    world.run(&omar, "change approve c-0000000000", b"").await.fails(3, "no change");
    for who in [&world.olga, &world.ada] {
        world.run(who, &format!("change approve {id}"), b"").await.fails(3, "no such command");
    }
}

#[tokio::test]
async fn every_command_that_loosens_waits() {
    let (world, _) = two().await;
    world.officer("customer notify acme --hook keep", "").await.done();
    world.officer("operator disable olga", "").await.done();
    world.officer("customer add initech --name Initech", "").await.done();
    let policy = world.app.config.policies.join("access.cedar");
    let text = std::fs::read_to_string(&policy).unwrap();
    std::fs::write(&policy, format!("{text}\n// One line more is another policy.\n")).unwrap();
    let (key, pem) = (world.key("new"), world.pem.clone());
    let training = "--course c --completed 2025-01-01 --valid-until 2126-01-01";
    let cases = [
        ("operator add", "new --key - --team t --entity e --country DE".to_owned(), &key),
        ("operator change", "olga --team x".into(), &key),
        ("operator enable", "olga".into(), &key),
        ("operator training", format!("olga {training}"), &key),
        ("operator key add", "olga --key -".into(), &key),
        ("officer add", "new --key -".into(), &key),
        ("officer remove", "omar".into(), &key),
        ("approver invite", "new --customer initech".into(), &key),
        ("approver reset", "acme --reason all left".into(), &key),
        ("customer notify", "acme".into(), &key),
        ("service add", "new --customer acme".into(), &pem),
        ("service recording-key", "acme-pg".into(), &pem),
        ("vm add", "new --service acme-pg --address 127.0.0.1:9 --account a:data".into(), &key),
        ("vm rebuild", "pg-1.acme".into(), &key),
        ("vm destination add", "pg-1.acme m tcp:127.0.0.1:9 --level data".into(), &key),
        ("policy reload", String::new(), &key),
    ];
    let before = world.changed().await;
    for (command, rest, stdin) in &cases {
        world.propose(&format!("{command} {rest}"), stdin).await;
    }
    assert_eq!(world.changed().await, before);
    let mut tried: BTreeSet<&str> = cases.iter().map(|(command, ..)| *command).collect();
    // Which sources widen has a test of its own.
    tried.insert("service sources");
    tried.insert("vm destination remove");
    // An erasure takes a channel that is over: tests/evidence has one.
    tried.insert("recording erase");
    // tests/erasure has these.
    tried.extend(["audit erase", "audit hold remove"]);
    let loosens = |effect: &Effect| matches!(effect, Effect::Loosens(_) | Effect::Depends(_));
    let rows: BTreeSet<&str> =
        table().iter().filter(|(_, effect)| loosens(effect)).map(|(name, _)| *name).collect();
    assert_eq!(tried, rows);
}

#[tokio::test]
async fn what_takes_away_never_waits() {
    let (world, _) = two().await;
    let key = world.key("second");
    world.lease("l-hers", None).await;
    for line in [
        "service sources acme-pg 192.0.2.0/24 198.51.100.0/24",
        "service sources acme-pg 192.0.2.0/25 192.0.2.128/25",
        "customer notify acme --hook keep",
        "customer notify acme --hook keep --webhook http://127.0.0.1:9/x",
        "customer add initech --name Initech",
        "session end s-1",
        "operator disable olga",
        "vm retire pg-1.acme",
        "policy reload",
    ] {
        let said = world.officer(line, "").await.done();
        assert!(!said.contains("two officers"), "{line}: {said}");
    }
    let otto = std::fs::read_to_string(world.key_file("otto").with_extension("pub")).unwrap();
    let otto = super::super::keys::parse(&otto).unwrap().fingerprint;
    world.officer(&format!("operator key remove otto {otto}"), "").await.done();
    world.officer("vm certify pg-2.acme", &key).await.done();
    assert!(world.tables().await["proposals"].is_empty());
}

#[tokio::test]
async fn sources_that_widen_wait() {
    let (world, omar) = two().await;
    let sources = |ranges: &str| format!("service sources acme-pg {ranges}");
    world.officer(&sources("192.0.2.0/25 192.0.2.128/25"), "").await.done();
    // The two halves are the whole.
    world.officer(&sources("192.0.2.0/24"), "").await.done();
    for wider in ["192.0.0.0/16", "192.0.2.0/24 10.0.0.0/8", "2001:db8::/48", "--anywhere"] {
        world.propose(&sources(wider), "").await;
    }
    let id = world.propose(&sources("192.0.2.0/24 10.0.0.0/8"), "").await;
    world.run(&omar, &format!("change approve {id}"), b"").await.done();
    let list = world.officer("service list", "").await.done();
    assert!(list.contains("10.0.0.0/8"), "{list}");
}

#[tokio::test]
async fn an_approved_policy_is_the_one_that_was_proposed() {
    let (world, omar) = two().await;
    let file = world.app.config.policies.join("access.cedar");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}\n// Proposed.\n")).unwrap();
    let in_force = world.app.policy.current().digest();
    let id = world.propose("policy reload", "").await;
    let approve = format!("change approve {id}");
    std::fs::write(&file, format!("{text}\n// Slipped in.\n")).unwrap();
    world.run(&omar, &approve, b"").await.fails(1, "another policy");
    assert_eq!(world.app.policy.current().digest(), in_force);
    std::fs::write(&file, format!("{text}\n// Proposed.\n")).unwrap();
    world.run(&omar, &approve, b"").await.done();
    assert_ne!(world.app.policy.current().digest(), in_force);
}

#[tokio::test]
async fn one_of_two_cannot_go_back_to_one() {
    let (world, omar) = two().await;
    let id = world.propose("officer remove omar", "").await;
    world.officer(&format!("change approve {id}"), "").await.fails(3, "another officer");
    world.run(&omar, "officer list", b"").await.done();
    // Unless the other one agrees.
    world.run(&omar, &format!("change approve {id}"), b"").await.done();
    world.run(&omar, "officer list", b"").await.fails(3, "has ended");
    let list = world.officer("officer list --json", "").await.json();
    assert_eq!(list["officers"].as_array().unwrap().len(), 2);
    assert_eq!(list["officers"][1]["state"], json!("disabled"));
}
