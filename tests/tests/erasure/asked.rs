//! Every filter of a query is answered from an index, in the order of the entries.

use crate::world::{World, run};
use bastion::ledger::projection::{Filter, Order};

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_uses_an_index_and_none_sorts() {
    let (world, app) = World::new(None).await;
    let olga = "--team databases --entity Hosting GmbH --country DE";
    let olga = world.person(&app, "operator", "olga", olga).await;
    let (code, ..) = run(&app, &olga, "vm list", "").await;
    assert_eq!(code, 3);
    let index = app.projection().await.expect("an index");
    index.catch_up().await.expect("catches up");
    let some = |word: &str| Some(word.to_owned());
    let now = bastion::clock::now();
    let filters = [
        ("customer", Filter { customer: some("acme"), ..Filter::default() }),
        ("service", Filter { service: some("acme-pg"), ..Filter::default() }),
        ("vm", Filter { vm: some("pg-1.acme"), ..Filter::default() }),
        ("operator", Filter { operator: some("olga"), ..Filter::default() }),
        ("type", Filter { event: some("command.refused"), ..Filter::default() }),
        ("lease", Filter { lease: some("l-1"), ..Filter::default() }),
        ("session", Filter { session: some("s-1"), ..Filter::default() }),
        ("ticket", Filter { ticket: some("t-1"), ..Filter::default() }),
        ("outcome", Filter { outcome: some("denied"), ..Filter::default() }),
        ("seq", Filter { since: Some(now.plus_seconds(-60)), ..Filter::default() }),
        ("seq", Filter { until: Some(now.plus_seconds(60)), ..Filter::default() }),
    ];
    for (column, filter) in filters {
        for order in [Order::Newest, Order::Oldest] {
            let filter = Filter { order, ..filter.clone() };
            let plan = index.plan(&filter).await.expect("a plan").join("; ");
            assert!(plan.contains("SEARCH events"), "{column}: {plan}");
            assert!(plan.contains(&format!("({column}")), "{column}: {plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{column}: {plan}");
        }
    }
    let index = &index;
    let page = |filter| async move { index.query(&filter).await.expect("answers").rows.len() };
    let all = page(Filter::default()).await;
    assert!(all > 8, "{all}");
    assert_eq!(page(Filter { until: Some(now.plus_seconds(60)), ..Filter::default() }).await, all);
    assert_eq!(page(Filter { since: Some(now.plus_seconds(60)), ..Filter::default() }).await, 0);
    assert_eq!(page(Filter { until: Some(now.plus_seconds(-900)), ..Filter::default() }).await, 0);
    app.ledger.close().await;
}
