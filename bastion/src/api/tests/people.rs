//! Who may run what, and how people come and go.

use super::{World, caller, text};
use audit_schema::event::ActorKind;

#[tokio::test]
async fn what_one_may_not_run_is_answered_like_what_does_not_exist() {
    let world = World::new().await;
    let operator = "operator list";
    for (who, line) in [
        (&world.olga, operator),
        (&world.olga, "operator add x --bogus"),
        (&world.olga, "consent decide t-1"),
        (&world.olga, "help consent"),
        (&world.olga, "policy reload"),
        (&world.ada, operator),
        (&world.ada, "ls"),
        (&world.ada, "request x"),
        (&world.odile, "consent withdraw t-1"),
        (&world.odile, "request pg-1.acme"),
        (&world.odile, "frobnicate"),
    ] {
        let before = (world.tables().await, world.size());
        let answer = world.run(who, line, b"").await;
        assert_eq!(answer.code, 3, "{line}: {}", answer.err);
        assert!(answer.err.contains("no such command"), "{line}: {}", answer.err);
        let events = world.events(before.1).await;
        assert_eq!(events.len(), 1, "{line}");
        assert_eq!(text(&events[0], "type"), "command.refused");
        assert_eq!(text(&events[0], "reason"), "unknown-command");
        assert_eq!(world.tables().await, before.0);
    }
}

#[tokio::test]
async fn help_shows_what_the_caller_may_run_and_nothing_else() {
    let world = World::new().await;
    for (who, seen, unseen) in [
        (&world.olga, "request", "operator"),
        (&world.ada, "consent", "request"),
        (&world.odile, "operator", "consent"),
    ] {
        for line in ["help", "--help", "help --json", ""] {
            let out = world.run(who, line, b"").await.done();
            assert!(out.contains(seen), "{line}: {out}");
            assert!(!out.contains(&format!("\n  {unseen} ")), "{line}: {out}");
        }
    }
    let out = world.run(&world.olga, "help request", b"").await.done();
    assert!(out.contains("Example") && out.contains("ssh bastion request"), "{out}");
    let out = world.run(&world.odile, "operator", b"").await.done();
    assert!(out.contains("training"), "{out}");
}

#[tokio::test]
async fn a_disabled_operator_is_gone_at_once_and_may_come_back() {
    let world = World::new().await;
    world.lease("l-hers", None).await;
    let json = world.officer("operator disable olga --reason has left --json", "").await.json();
    assert_eq!(json["leases"], serde_json::json!(["l-hers"]));
    assert_eq!(world.cause("l-hers").await.as_deref(), Some("operator_disabled"));
    // On a connection that is still open.
    for line in ["ls", "status", "whoami"] {
        world.run(&world.olga, line, b"").await.fails(3, "has ended");
    }
    world.officer("operator enable olga", "").await.done();
    world.run(&world.olga, "ls", b"").await.done();
}

#[tokio::test]
async fn officers_come_and_go_but_the_last_one_stays() {
    let world = World::new().await;
    let key = world.key("omar");
    let json = world.officer("officer add omar --key - --json", &key).await.json();
    let omar = caller(ActorKind::Officer, text(&json, "officer"), "omar");
    let json = world.run(&omar, "officer remove odile --json", b"").await.json();
    let approve = format!("change approve {}", text(&json, "proposal"));
    world.officer(&approve, "").await.done();
    world.officer("officer list", "").await.fails(3, "has ended");
    world.run(&omar, "officer remove omar", b"").await.fails(1, "last officer");
    // A key that was removed cannot come back in another hand.
    let odile = std::fs::read_to_string(world.dir.join("take-away/officer.pub")).unwrap();
    world
        .run(&omar, "officer add odile2 --key -", odile.as_bytes())
        .await
        .fails(1, "cannot come back");
    let local = audit_schema::event::Actor { id: "0".into(), kind: ActorKind::Local };
    let (name, key) = ("sneaky".parse().unwrap(), world.key("sneaky"));
    assert!(super::make_first_officer(&world.app.ledger, local, name, &key).await.is_err());
}

#[tokio::test]
async fn operators_are_shown_changed_and_given_keys() {
    let world = World::new().await;
    world.officer("operator change olga --team storage and more --country FR", "").await.done();
    let key = world.key("second");
    let json = world.officer("operator key add olga --key - --json", &key).await.json();
    let shown = world.officer("operator show olga", "").await.done();
    assert!(shown.contains("storage and more") && shown.contains("FR"), "{shown}");
    assert!(shown.contains(text(&json, "fingerprint")), "{shown}");
    let remove = format!("operator key remove olga {}", text(&json, "fingerprint"));
    world.officer(&remove, "").await.done();
    let list = world.officer("operator list --json", "").await.json();
    assert_eq!(list["operators"].as_array().unwrap().len(), 2);
    let approvers = world.officer("approver list --customer acme", "").await.done();
    assert!(approvers.contains("ada") && !approvers.contains("gus"), "{approvers}");
}
