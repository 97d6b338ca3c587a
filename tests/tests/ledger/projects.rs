//! The query index: it follows the log, answers filters combined, and can be built again at will.

use crate::world::{World, entry, entry_of, number, on_both_stores};
use audit_schema::{
    event::{Actor, ActorKind, ChannelKind, Event, Level, Outcome, Place},
    time::Timestamp,
};
use bastion::{
    args,
    ledger::{
        Ledger, NewEntry,
        projection::{Cursor, Filter, Order, Projection, Row},
    },
};
use bastion_core::{id::CustomerId, words::Wanted};

on_both_stores!(
    filters_combine,
    pages_follow_each_other_without_a_gap,
    what_was_typed_is_never_sql,
    an_index_is_built_again_and_forgets_what_was_erased,
    an_index_of_another_log_is_begun_anew,
    an_index_catches_up_after_a_stop,
);

impl World {
    fn index_url(&self) -> String {
        match self.postgres {
            Some(_) => self.url(),
            None => format!("sqlite:{}", self.file().with_file_name("index.db").display()),
        }
    }
    async fn index(&self, ledger: &Ledger) -> Projection {
        let projection = Projection::open(ledger, &self.index_url()).await.expect("an index");
        projection.catch_up().await.expect("catches up");
        projection
    }
}

fn words(text: &str) -> Option<Wanted> {
    Some(text.parse().expect("words"))
}

fn by(kind: ActorKind, id: &str, event: Event) -> NewEntry {
    NewEntry::new(Actor { id: id.into(), kind }, event)
}

fn of(customer: &str, entry: NewEntry) -> NewEntry {
    let customer: CustomerId = customer.parse().expect("a customer id");
    entry.of_customer(&customer)
}

/// A grant and the end of its channel.
fn channel(customer: &str, operator: &str, lease: &str, cut: bool) -> Vec<NewEntry> {
    let place = Place {
        account: "dba".into(),
        instance: format!("i-{customer}"),
        level: Level::Troubleshoot,
        service: format!("{customer}-pg"),
        vm: format!("pg-1.{customer}"),
    };
    let granted = Event::AccessGranted {
        beside: Vec::new(),
        destination: None,
        channel: ChannelKind::Shell,
        country: "DE".into(),
        deadline: "2026-11-24T09:00:00.000000Z".into(),
        employing_entity: "Provider".into(),
        lease: lease.into(),
        operator: operator.into(),
        place,
        policies: vec![],
        policy_digest: "00".into(),
        recording_level: None,
        revision: Some(1),
        session: format!("s-{operator}"),
        team: "databases".into(),
        ticket: Some("t-1".into()),
        training: vec![],
    };
    let closed = Event::ChannelClosed {
        destination: None,
        bytes_err: 0,
        bytes_in: 1,
        bytes_out: 2,
        channel: ChannelKind::Shell,
        duration_ms: 3,
        exit_signal: None,
        exit_status: Some(0),
        lease: lease.into(),
        outcome: if cut { Outcome::Cut } else { Outcome::Completed },
        reason: if cut { "consent_withdrawn" } else { "left" }.into(),
        recording: format!("r-{lease}"),
        recording_bytes: None,
        recording_digest: None,
    };
    vec![
        of(customer, by(ActorKind::Operator, operator, granted))
            .with("command", "psql -c 'VACUUM'"),
        of(customer, by(ActorKind::Gateway, "gw-1", closed)),
    ]
}

async fn story(world: &World) -> Ledger {
    let ledger = world.create().await;
    let people = ledger.record("people", |batch| {
        Box::pin(async move {
            batch
                .tx()
                .run(
                    "INSERT INTO operators (id, handle, team, employing_entity, country, state)
                     VALUES ('op-1', 'olga', 'databases', 'Provider', 'DE', 'enabled')",
                    &args![],
                )
                .await?;
            batch.append(entry("people")).await
        })
    });
    people.await.expect("records");
    for entries in [
        channel("acme", "op-1", "l-1", false),
        channel("acme", "op-2", "l-2", true),
        channel("globex", "op-1", "l-3", true),
    ] {
        ledger.append("channel", entries).await.expect("appends");
    }
    ledger
}

fn seqs(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

async fn filters_combine(world: World) {
    let ledger = story(&world).await;
    let index = world.index(&ledger).await;
    let some = |text: &str| Some(text.to_owned());
    let all = Filter { order: Order::Oldest, ..Filter::default() };
    // 2 3: acme, op-1; 4 5: acme, op-2, cut; 6 7: globex, op-1, cut.
    let cases: Vec<(Filter, Vec<u64>)> = vec![
        (all.clone(), (0..8).collect()),
        (Filter { customer: some("acme"), ..all.clone() }, vec![2, 3, 4, 5]),
        (Filter { operator: some("op-1"), ..all.clone() }, vec![2, 3, 6, 7]),
        (Filter { operator: some("olga"), ..all.clone() }, vec![2, 3, 6, 7]),
        (Filter { operator: some("olga"), customer: some("globex"), ..all.clone() }, vec![6, 7]),
        (Filter { vm: some("pg-1.acme"), ..all.clone() }, vec![2, 3, 4, 5]),
        (Filter { vm: some("i-globex"), ..all.clone() }, vec![6, 7]),
        (Filter { service: some("globex-pg"), ..all.clone() }, vec![6, 7]),
        (Filter { event: some("access."), ..all.clone() }, vec![2, 4, 6]),
        (Filter { event: some("channel.closed"), ..all.clone() }, vec![3, 5, 7]),
        (Filter { lease: some("l-2"), ..all.clone() }, vec![4, 5]),
        (Filter { session: some("s-op-2"), ..all.clone() }, vec![4, 5]),
        (Filter { ticket: some("t-1"), outcome: some("cut"), ..all.clone() }, vec![5, 7]),
        (Filter { outcome: some("granted"), ..all.clone() }, vec![2, 4, 6]),
        (Filter { text: words("Vacuum"), customer: some("acme"), ..all.clone() }, vec![2, 4]),
        (Filter { text: words("full"), ..all.clone() }, vec![]),
        (Filter { until: Some(Timestamp::from_micros(0)), ..all.clone() }, vec![]),
        (Filter { since: Some(Timestamp::from_micros(0)), ..all.clone() }, (0..8).collect()),
        (Filter { order: Order::Newest, limit: 2, ..all.clone() }, vec![7, 6]),
    ];
    for (filter, expected) in cases {
        let page = index.query(&filter).await.expect("answers");
        assert_eq!(seqs(&page.rows), expected, "{filter:?}");
    }
    let page = index.query(&Filter { lease: some("l-2"), ..all }).await.expect("answers");
    let closed = &page.rows[1];
    assert_eq!(closed.vm.as_deref(), Some("pg-1.acme"), "taken from the grant");
    assert_eq!(closed.operator.as_deref(), Some("op-2"), "taken from the grant");
    assert_eq!(closed.reason.as_deref(), Some("consent_withdrawn"));
}

async fn pages_follow_each_other_without_a_gap(world: World) {
    let ledger = story(&world).await;
    let index = world.index(&ledger).await;
    for (order, expected) in [
        (Order::Oldest, (0..8).collect::<Vec<_>>()),
        (Order::Newest, (0..8).rev().collect::<Vec<_>>()),
    ] {
        let mut found = Vec::new();
        let mut filter = Filter { order, limit: 3, ..Filter::default() };
        loop {
            let page = index.query(&filter).await.expect("answers");
            found.extend(seqs(&page.rows));
            let Some(next) = page.next else { break };
            filter.after = Some(next.to_string().parse::<Cursor>().expect("a cursor"));
        }
        assert_eq!(found, expected);
    }
    for bad in ["", "7", "c", "c07", "c-1", "c1 ", "cx"] {
        assert!(bad.parse::<Cursor>().is_err(), "{bad:?}");
    }
}

async fn what_was_typed_is_never_sql(world: World) {
    let ledger = story(&world).await;
    let index = world.index(&ledger).await;
    for typed in ["' OR '1'='1", "x'; DROP TABLE events; --", "\\", "%' OR true --", "$1", "\u{1}"]
    {
        let typed = Some(typed.to_owned());
        for filter in [
            Filter { customer: typed.clone(), ..Filter::default() },
            Filter { operator: typed.clone(), ..Filter::default() },
            Filter { event: typed.clone(), ..Filter::default() },
            Filter { text: words("nowhere"), ..Filter::default() },
        ] {
            assert_eq!(index.query(&filter).await.expect("answers").rows, [], "{filter:?}");
        }
    }
    let all = index.query(&Filter::default()).await.expect("answers");
    assert_eq!(all.rows.len(), 8);
}

async fn an_index_is_built_again_and_forgets_what_was_erased(world: World) {
    let ledger = story(&world).await;
    let index = world.index(&ledger).await;
    let vacuum = Filter { text: words("vacuum"), ..Filter::default() };
    assert_eq!(index.query(&vacuum).await.expect("answers").rows.len(), 3);
    let erasure = ledger.record("erase", |batch| {
        Box::pin(async move {
            batch.tx().run("DELETE FROM openings WHERE seq = 2", &[]).await?;
            batch.append(entry("erased")).await
        })
    });
    erasure.await.expect("erases");
    let before = index.query(&Filter::default()).await.expect("answers").rows.len();
    assert!(before >= 8);
    assert_eq!(index.rebuild().await, Ok(9));
    assert_eq!(index.query(&vacuum).await.expect("answers").rows.len(), 2);
    assert_eq!(index.query(&Filter::default()).await.expect("answers").rows.len(), 9);
}

async fn an_index_of_another_log_is_begun_anew(world: World) {
    let ledger = story(&world).await;
    drop(world.index(&ledger).await);
    ledger.close().await;
    if world.postgres.is_some() {
        world.tamper("UPDATE projection.projection_state SET made = 'another'").await;
    } else {
        let other = World::sqlite();
        let ledger = other.create().await;
        let mine = world.file().with_file_name("index.db");
        // The index of the first log, beside the second.
        std::fs::copy(&mine, other.file().with_file_name("index.db")).expect("copies");
        let index = other.index(&ledger).await;
        let all = index.query(&Filter::default()).await.expect("answers").rows;
        assert_eq!(seqs(&all), [0]);
    }
    let ledger = world.open().await.expect("opens");
    let index = world.index(&ledger).await;
    assert_eq!(index.query(&Filter::default()).await.expect("answers").rows.len(), 8);
}

async fn an_index_catches_up_after_a_stop(world: World) {
    let ledger = story(&world).await;
    drop(world.index(&ledger).await);
    let many = (0..1500).map(|n| entry_of("initech", &n.to_string())).collect();
    let recorded = ledger.append("many", many).await.expect("appends");
    let index = world.index(&ledger).await;
    index.wait_for(recorded.seq()).await.expect("sees it");
    assert_eq!(index.lag(), 0);
    let of_initech = Filter { customer: Some("initech".into()), limit: 2, ..Filter::default() };
    let page = index.query(&of_initech).await.expect("answers");
    assert_eq!(seqs(&page.rows), [recorded.seq(), recorded.seq() - 1]);
    let entries = number(ledger.db(), "SELECT COUNT(*) FROM entries").await;
    assert_eq!(entries, Ok(1508));
}
