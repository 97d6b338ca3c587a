//! `audit stats` says what counting the lines of an export says.

use crate::{approver, objects, on_both_stores};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{app::App, ledger::NewEntry};
use bastion_tests::deployment::{World, caller, run};
use serde_json::Value;
use std::collections::BTreeMap;

on_both_stores!(counts_are_those_of_the_lines, counts_may_be_grouped_and_kept_apart);

async fn lived(world: &World, app: &App) {
    world.done(app, "customer add globex --name Globex Inc", "").await;
    // More than one chunk of the index, so that counts are added up.
    for round in 0..6 {
        let entries = (0..200).map(|number: u32| {
            let operator =
                Actor { id: format!("op-000000000{}", number % 3), kind: ActorKind::Operator };
            let event = match number % 2 {
                0 => Event::SessionOpened {
                    fingerprint: "SHA256:x".into(),
                    method: "key".into(),
                    session: format!("s-{round}-{number}"),
                },
                _ => Event::LogRead { command: "audit query".into(), head: 1 },
            };
            let customer = if number.is_multiple_of(5) { "globex" } else { "acme" };
            NewEntry::new(operator, event).of_customer(&customer.parse().expect("an id"))
        });
        app.ledger.append("test", entries.collect()).await.expect("entered").into_inner();
    }
}

/// The event, operator and customer of each line, counted, without the reading itself.
async fn by_hand(world: &World, app: &App) -> BTreeMap<(String, String, String), u64> {
    let mut counts = BTreeMap::new();
    for line in world.done(app, "audit export", "").await.lines() {
        let entry: Value = serde_json::from_str(line).expect("JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let event = text(&entry["event"]["type"]);
        let by_operator = entry["actor"]["kind"] == "operator";
        let operator = match entry["event"].get("operator") {
            Some(operator) => text(operator),
            None if by_operator => text(&entry["actor"]["id"]),
            None => String::new(),
        };
        *counts.entry((event, operator, text(&entry["customer"]["id"]))).or_default() += 1;
    }
    counts
}

async fn counts_are_those_of_the_lines(world: &World, app: &App) {
    lived(world, app).await;
    let mut expected = by_hand(world, app).await;
    // The count enters that it reads, before it counts.
    *expected.entry(("log.read".into(), String::new(), String::new())).or_default() += 1;
    let mut counted = BTreeMap::new();
    let ask = "audit stats --by operator,event,customer --format jsonl";
    for row in objects(world, app, ask).await {
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let key = (text("event"), text("operator"), text("customer"));
        let entries = row["entries"].as_u64().expect("a number");
        assert_eq!(counted.insert(key, entries), None, "one row a group");
    }
    assert_eq!(counted, expected);
}

async fn counts_may_be_grouped_and_kept_apart(world: &World, app: &App) {
    lived(world, app).await;
    let opened = "--event session.opened";
    let by = |by: &str| format!("audit stats --by {by} {opened} --format csv");
    let sheet = world.done(app, &by("customer"), "").await;
    assert_eq!(sheet, "customer,entries\r\nacme,480\r\nglobex,120\r\n");
    let sheet = world.done(app, &by("operator,customer"), "").await;
    assert_eq!(sheet.lines().count(), 7, "{sheet}");
    let weeks = objects(world, app, "audit stats --by week --format jsonl").await;
    // The clock may pass a Monday's midnight.
    assert!(weeks.len() <= 2, "{weeks:?}");
    let week = weeks[0]["week"].as_str().expect("a day");
    assert!(week.parse::<chrono::NaiveDate>().is_ok_and(|day| {
        use chrono::Datelike as _;
        day.weekday() == chrono::Weekday::Mon
    }));
    let table = world.done(app, &format!("audit stats {opened}"), "").await;
    assert_eq!(table, "EVENT           ENTRIES\nsession.opened  600\n");
    let ask = format!("audit stats {opened} --operator op-0000000001 --since 2020-01-01 --json");
    assert_eq!(objects(world, app, &ask).await[0]["entries"], 198);
    let ask = format!("audit stats {opened} --until 2020-01-01");
    assert_eq!(world.done(app, &ask, "").await, "no entries match\n");
    world.fails(app, "audit stats --by event,event", 2, "there twice").await;
    world.fails(app, "audit stats --by hour", 2, "hour").await;
    let acme = approver(app, "acme").await;
    let line = "audit stats --by customer,event --format csv";
    let (code, out, err) = run(app, &acme, line, "").await;
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("acme,session.opened,480\r\n"), "{out}");
    assert!(!out.contains("globex"), "{out}");
    for line in ["audit stats --customer globex", "audit stats --operator olga"] {
        let (code, out, _) = run(app, &acme, line, "").await;
        assert!(code != 0 && out.is_empty(), "{line}: {out}");
    }
    let olga = caller(ActorKind::Operator, "op-0000000001", "olga");
    assert_eq!(run(app, &olga, "audit stats", "").await.0, 3, "not for operators");
}
