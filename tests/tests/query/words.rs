//! `audit query --text` and `session search`: by words, from the index, and only what may be found.

use crate::{approver, found, on_both_stores};
use audit_schema::event::{Actor, ActorKind, ChannelKind, Event, Level, Place};
use bastion::{app::App, ledger::NewEntry};
use bastion_tests::deployment::{World, run};

on_both_stores!(words_are_found_and_only_where_they_may_be);

/// A grant, with the command that it was asked for.
fn granted(lease: &str, level: Level, command: &str) -> NewEntry {
    let account = if level == Level::Data { "dba" } else { "ops" };
    let place = Place {
        account: account.into(),
        instance: "i-0000000001".into(),
        level,
        service: "acme-pg".into(),
        vm: "pg-1.acme".into(),
    };
    let event = Event::AccessGranted {
        beside: Vec::new(),
        channel: ChannelKind::Exec,
        country: "DE".into(),
        deadline: "2026-11-24T09:00:00.000000Z".into(),
        destination: None,
        employing_entity: "Provider".into(),
        lease: lease.into(),
        operator: "op-0000000001".into(),
        place,
        policies: vec![],
        policy_digest: "00".into(),
        recording_level: None,
        revision: Some(1),
        session: "s-0000000001".into(),
        team: "databases".into(),
        ticket: None,
        training: vec![],
    };
    of_acme(event).with("command", command)
}

fn of_acme(event: Event) -> NewEntry {
    let operator = Actor { id: "op-0000000001".into(), kind: ActorKind::Operator };
    NewEntry::new(operator, event).of_customer(&"acme".parse().expect("an id"))
}

fn typed(lease: &str, commands: &str) -> NewEntry {
    let event = Event::ChannelCommands { count: 2, kept: 2, lease: lease.into() };
    of_acme(event).with("commands", commands)
}

async fn words_are_found_and_only_where_they_may_be(world: &World, app: &App) {
    world.done(app, "customer add globex --name Globex Inc", "").await;
    let entries = vec![
        granted("l-0000000001", Level::Troubleshoot, "systemctl restart pg-1.acme # ZD-1042"),
        typed("l-0000000001", "df -h /var\njournalctl -u zebra"),
        granted("l-0000000002", Level::Data, "psql -c 'SELECT giraffe'"),
        typed("l-0000000003", "level unknown giraffe").with("login", "olgierda"),
    ];
    let last = app.ledger.append("test", entries).await.expect("entered").seq();
    let seqs = |at: &[u64]| at.iter().map(|at| last - 3 + at).collect::<Vec<_>>();
    for (words, expected) in [
        ("systemctl", &[0][..]),
        ("RESTART zd-1042", &[0]),
        ("1042-zd", &[]),
        ("system", &[]),
        ("syst*", &[0]),
        ("pg-1.ac*", &[0]),
        ("df zebra", &[1]),
        ("h-var", &[1]),
        // What went through a data channel, or through one that nobody knows, is customer data.
        ("giraffe", &[]),
        ("psql", &[]),
        ("unknown", &[]),
        ("nowhere", &[]),
    ] {
        assert_eq!(found(world, app, &world.odile, words).await, seqs(expected), "{words}");
    }
    let acme = approver(app, "acme").await;
    assert_eq!(found(world, app, &acme, "zebra").await, seqs(&[1]));
    assert_eq!(found(world, app, &world.odile, "olgierda").await, seqs(&[3]));
    assert_eq!(found(world, app, &acme, "olgierda").await, [0; 0], "a name is not told");
    let globex = approver(app, "globex").await;
    assert_eq!(found(world, app, &globex, "zebra").await, [0; 0]);
    for (words, complaint) in [("--text %", "give a word"), ("--text -", "give a word")] {
        world.fails(app, &format!("audit query {words}"), 2, complaint).await;
    }
    hostile(world, app).await;
    let before = *app.ledger.size().borrow();
    found(world, app, &world.odile, "zebra").await;
    assert_eq!(*app.ledger.size().borrow(), before + 2, "each search is an entry");
}

/// What both databases' own languages would take for more than words.
async fn hostile(world: &World, app: &App) {
    for words in [
        "'\"zebra\"'",
        "'told:zebra'",
        "'zebra OR giraffe NOT AND'",
        "'NEAR(zebra) ^ {withheld}'",
        "'zebra:A | & ! <-> \\ '",
        "\"'zebra'\"",
        "'$1 %s ; DROP TABLE words'",
        "'¶ zebra'",
    ] {
        let line = format!("audit query --event channel. --format jsonl --text {words}");
        let (code, out, err) = run(app, &world.odile, &line, "").await;
        assert_eq!((code, err.as_str()), (0, ""), "{line}");
        let plain = ["'\"zebra\"'", "\"'zebra'\"", "'¶ zebra'"];
        assert_eq!(out.lines().count(), usize::from(plain.contains(&words)), "{line}: {out}");
    }
}
