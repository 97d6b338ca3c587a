//! What operators ask, and what approvers decide.

use super::{Caller, World, text};
use serde_json::Value;

const NAMESPACE: &str = "operator-consent@bastion.example";
const ASK: &str = "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --case ZD-1042 \
                   --for 1h --note restore of table orders --json";

/// A ticket that olga asked for.
async fn asked(world: &World) -> String {
    let json = world.run(&world.olga, ASK, b"").await.json();
    text(&json, "ticket").to_owned()
}

async fn statement(world: &World, who: &Caller, ticket: &str) -> String {
    world.run(who, &format!("consent statement {ticket}"), b"").await.done()
}

/// A ticket that ada granted.
async fn granted(world: &World) -> String {
    let ticket = asked(world).await;
    let bytes = statement(world, &world.ada, &ticket).await;
    let signature = world.sign("ada", NAMESPACE, bytes.as_bytes());
    let decide = format!("consent decide {ticket} --json");
    let json = world.run(&world.ada, &decide, signature.as_bytes()).await.json();
    assert_eq!(text(&json, "state"), "granted");
    ticket
}

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| text(event, "type")).collect()
}

#[tokio::test]
async fn a_request_is_signed_with_ssh_keygen_and_granted() {
    let world = World::new().await;
    let before = world.size();
    let ticket = granted(&world).await;
    let events = world.events(before).await;
    assert_eq!(types(&events), ["consent.requested", "consent.granted"]);
    assert_eq!(text(&events[0], "reason_code"), "CUSTOMER_REQUEST");
    assert_eq!(text(&events[1], "ticket"), ticket);
    assert_eq!(text(&events[1], "statement"), text(&events[0], "statement"));

    let shown = world.run(&world.ada, &format!("consent show {ticket}"), b"").await.done();
    assert!(shown.contains("\"restore of table orders\""), "{shown}");
    assert!(shown.contains("State: granted."), "{shown}");
    let listed = world.run(&world.ada, "consent list", b"").await.done();
    assert!(listed.contains(&ticket) && listed.contains("granted"), "{listed}");
    let status = world.run(&world.olga, "status", b"").await.done();
    assert!(status.contains(&ticket), "{status}");
    let status = world.run(&world.olga, &format!("status {ticket} --json"), b"").await.json();
    assert_eq!(text(&status, "state"), "granted");
}

#[tokio::test]
async fn another_customers_tickets_are_unknown_in_every_command() {
    let world = World::new().await;
    let ticket = asked(&world).await;
    let missing = "t-0000000000";
    for command in ["show", "statement", "refuse", "withdraw", "decide", "narrow"] {
        let rest = if command == "narrow" { " --sessions 1" } else { "" };
        let answer = |id: &str| format!("consent {command} {id}{rest}");
        let signature = world.sign("gus", NAMESPACE, b"x");
        let theirs = world.run(&world.gus, &answer(&ticket), signature.as_bytes()).await;
        let nobodys = world.run(&world.gus, &answer(missing), signature.as_bytes()).await;
        assert_eq!(theirs.code, 3, "{command}: {}", theirs.err);
        assert_eq!(theirs.err.replace(&ticket, missing), nobodys.err, "{command}");
    }
    assert!(!world.run(&world.gus, "consent list --all", b"").await.done().contains(&ticket));
    world.run(&world.otto, &format!("status {ticket}"), b"").await.fails(3, "no ticket");
    let place = "pg-1.acme --account dba --operator olga --reason CUSTOMER_REQUEST --for 1h";
    let open = format!("consent open {place} --note help");
    world.run(&world.gus, &open, b"").await.fails(3, "no VM or service");
}

#[tokio::test]
async fn only_the_right_signature_opens_and_each_wrong_one_says_why() {
    let world = World::new().await;
    let ticket = asked(&world).await;
    let other = asked(&world).await;
    let bytes = statement(&world, &world.ada, &ticket).await;
    let other_bytes = statement(&world, &world.ada, &other).await;
    world.key("stranger");
    let before = world.tables().await;
    let changed = format!("{bytes}\n");
    for (name, signature, words) in [
        ("another namespace", world.sign("ada", "file", bytes.as_bytes()), "sign with -n"),
        ("a newline more", world.sign("ada", NAMESPACE, changed.as_bytes()), "does not fit"),
        ("another ticket", world.sign("ada", NAMESPACE, other_bytes.as_bytes()), "does not fit"),
        ("an unknown key", world.sign("stranger", NAMESPACE, bytes.as_bytes()), "not enrolled"),
        ("globex's key", world.sign("gus", NAMESPACE, bytes.as_bytes()), "not enrolled"),
        ("olga's key", world.sign("olga", NAMESPACE, bytes.as_bytes()), "not enrolled"),
    ] {
        let size = world.size();
        let decide = format!("consent decide {ticket}");
        let answer = world.run(&world.ada, &decide, signature.as_bytes()).await;
        assert_eq!(answer.code, 4, "{name}: {}", answer.err);
        assert!(answer.err.contains(words), "{name}: {}", answer.err);
        assert_eq!(types(&world.events(size).await), ["command.refused"], "{name}");
    }
    assert_eq!(world.tables().await, before);
}

#[tokio::test]
async fn two_of_two_approvers_have_to_sign_and_they_are_two() {
    let world = World::new().await;
    let add = "customer add duo --name Duo --signatures 2";
    world.officer(add, "").await.done();
    world.officer("service add duo-pg --customer duo", &world.pem).await.done();
    world
        .officer("vm add pg.duo --service duo-pg --address 127.0.0.1:9 --account dba:data", "")
        .await
        .done();
    let people = world.enrol_all(&["dan", "dora"], "duo").await;
    let ask = ASK.replace("pg-1.acme", "pg.duo");
    let json = world.run(&world.olga, &ask, b"").await.json();
    let ticket = text(&json, "ticket").to_owned();
    let bytes = statement(&world, &people[0], &ticket).await;
    let decide = format!("consent decide {ticket}");
    let dans = world.sign("dan", NAMESPACE, bytes.as_bytes());
    let said = world.run(&people[0], &decide, dans.as_bytes()).await.done();
    assert!(said.contains("1 of 2"), "{said}");
    // Whoever brings it: a person signs once.
    world.run(&people[1], &decide, dans.as_bytes()).await.fails(4, "already");
    let doras = world.sign("dora", NAMESPACE, bytes.as_bytes());
    let said = world.run(&people[1], &decide, doras.as_bytes()).await.done();
    assert!(said.starts_with("granted"), "{said}");
    // One is enough to close it; and removing one who signed would have ended it too.
    let withdraw = format!("consent withdraw {ticket} --reason changed my mind");
    world.run(&people[1], &withdraw, b"").await.done();
}

#[tokio::test]
async fn withdrawn_means_gone_in_the_transaction_that_says_so() {
    let world = World::new().await;
    let ticket = granted(&world).await;
    world.lease("l-on-it", Some(&ticket)).await;
    world.lease("l-on-nothing", None).await;
    let before = world.size();
    let withdraw = format!("consent withdraw {ticket} --reason we are done --json");
    let json = world.run(&world.ada, &withdraw, b"").await.json();
    assert_eq!(json["leases"], serde_json::json!(["l-on-it"]));
    assert_eq!(world.cause("l-on-it").await.as_deref(), Some("consent_withdrawn"));
    assert_eq!(world.cause("l-on-nothing").await, None);
    let events = world.events(before).await;
    assert_eq!(types(&events), ["consent.withdrawn"]);
    assert_eq!(events[0]["leases"], serde_json::json!(["l-on-it"]));
    // Nothing reopens it.
    let tables = world.tables().await;
    let bytes = statement(&world, &world.ada, &ticket).await;
    let signature = world.sign("ada", NAMESPACE, bytes.as_bytes());
    for command in ["decide", "refuse", "withdraw"] {
        let line = format!("consent {command} {ticket}");
        world.run(&world.ada, &line, signature.as_bytes()).await.fails(3, "open a new ticket");
    }
    assert_eq!(world.tables().await, tables);
}

#[tokio::test]
async fn a_refused_ticket_stays_refused() {
    let world = World::new().await;
    let ticket = asked(&world).await;
    let bytes = statement(&world, &world.ada, &ticket).await;
    world.run(&world.ada, &format!("consent refuse {ticket}"), b"").await.done();
    let signature = world.sign("ada", NAMESPACE, bytes.as_bytes());
    let decide = format!("consent decide {ticket}");
    world.run(&world.ada, &decide, signature.as_bytes()).await.fails(3, "refused");
}

#[tokio::test]
async fn narrowing_voids_signatures_and_ends_what_runs() {
    let world = World::new().await;
    let ticket = granted(&world).await;
    world.lease("l-on-it", Some(&ticket)).await;
    let old = statement(&world, &world.ada, &ticket).await;
    for (wider, words) in [
        ("--for 2h", "only be shorter"),
        ("--sessions 21", "only be less"),
        ("--operator otto", "does not name"),
        ("--no-recording-access", "the terms already"),
    ] {
        let line = format!("consent narrow {ticket} {wider}");
        world.run(&world.ada, &line, b"").await.fails(2, words);
    }
    let narrow = format!("consent narrow {ticket} --for 30m --sessions 1 --json");
    let json = world.run(&world.ada, &narrow, b"").await.json();
    assert_eq!(json["revision"], 2);
    assert_eq!(world.cause("l-on-it").await.as_deref(), Some("consent_revised"));
    let decide = format!("consent decide {ticket}");
    let signature = world.sign("ada", NAMESPACE, old.as_bytes());
    world.run(&world.ada, &decide, signature.as_bytes()).await.fails(4, "does not fit");
    let new = statement(&world, &world.ada, &ticket).await;
    let signature = world.sign("ada", NAMESPACE, new.as_bytes());
    world.run(&world.ada, &decide, signature.as_bytes()).await.done();
}

#[tokio::test]
async fn a_customer_opens_a_ticket_itself_and_still_has_to_sign() {
    let world = World::new().await;
    let open = "consent open acme-pg --account dba --operator olga --reason CUSTOMER_REQUEST \
                --for 30m --note please look at the slow query --json";
    let json = world.run(&world.ada, open, b"").await.json();
    assert_eq!(text(&json, "state"), "pending");
    let summary = text(&json, "summary");
    assert!(summary.contains("pg-1.acme") && summary.contains("pg-2.acme"), "{summary}");
    assert!(!summary.contains("globex"), "{summary}");
    let ticket = text(&json, "ticket");
    // The operator that it names knows of it; another does not.
    world.run(&world.olga, &format!("status {ticket}"), b"").await.done();
    world.run(&world.otto, &format!("status {ticket}"), b"").await.fails(3, "no ticket");
}

#[tokio::test]
async fn who_is_not_trained_cannot_even_ask() {
    let world = World::new().await;
    let before = (world.tables().await, world.size());
    world.run(&world.otto, ASK, b"").await.fails(3, "`access-101` has lapsed");
    assert_eq!(world.tables().await, before.0);
    let events = world.events(before.1).await;
    assert_eq!(types(&events), ["command.refused"]);
    assert_eq!(text(&events[0], "reason"), "training_lapsed");
}

#[tokio::test]
async fn what_runs_out_ends_by_itself() {
    let world = World::new().await;
    let ticket = granted(&world).await;
    let waiting = asked(&world).await;
    world.lease("l-on-it", Some(&ticket)).await;
    let now = crate::clock::now();
    assert_eq!(super::super::expire(&world.app, now).await.unwrap(), 0);
    // Found by a clock that is ahead, it stays: the log's own clock decides.
    let later = now.plus_seconds(7200);
    assert_eq!(super::super::expire(&world.app, later).await.unwrap(), 0);
    let (one, two) = (ticket.clone(), waiting.clone());
    let moved = world.app.ledger.record("test clock", move |batch| {
        Box::pin(async move {
            let past = batch.now().plus_seconds(-1);
            let sql = "UPDATE tickets SET not_after = $1 WHERE id IN ($2, $3)";
            batch.tx().run(sql, &crate::args![past, one, two]).await?;
            super::entered(batch).await
        })
    });
    moved.await.unwrap().into_inner();
    let size = world.size();
    assert_eq!(super::super::expire(&world.app, now.plus_seconds(1)).await.unwrap(), 2);
    assert_eq!(types(&world.events(size).await), ["consent.ended", "consent.ended"]);
    assert_eq!(world.cause("l-on-it").await.as_deref(), Some("consent_expired"));
    let status = world.run(&world.olga, &format!("status {ticket} --json"), b"").await.json();
    assert_eq!(text(&status, "state"), "ended");
}
