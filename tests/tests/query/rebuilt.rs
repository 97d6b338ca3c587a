//! `audit rebuild-index`: the same answers, and none from half an index.

use crate::{objects, on_both_stores};
use audit_schema::event::Event;
use bastion::{app::App, ledger::NewEntry};
use bastion_tests::deployment::World;

on_both_stores!(an_index_begun_anew_answers_the_same);

async fn an_index_begun_anew_answers_the_same(world: &World, app: &App) {
    for _ in 0..8 {
        let entries = (0..400).map(|_| {
            let event = Event::GatewayStopped { reason: "test".into() };
            NewEntry::new(app.gateway_actor(), event).with("reason", "zebra crossing")
        });
        app.ledger.append("test", entries.collect()).await.expect("entered").into_inner();
    }
    let ask = "audit query --event gateway. --text zebra --format jsonl";
    let count = "audit stats --event gateway.stopped --json";
    let before = (objects(world, app, ask).await.len(), objects(world, app, count).await);
    assert_eq!(before.0, 3200);
    let said = world.done(app, "audit rebuild-index", "").await;
    assert!(said.contains("entries are being read again"), "{said}");
    // Asked at once: the answer waits until all of it is there.
    let after = (objects(world, app, ask).await.len(), objects(world, app, count).await);
    assert_eq!(after, before);
    assert_eq!(app.projection().await.expect("an index").lag(), 0);
}
