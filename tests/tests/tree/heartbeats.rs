//! Heartbeats, and what a customer can check with them.

use crate::world::{World, entry_of, on_both_stores};
use audit_schema::{
    checkpoint::Vkey,
    customer_export::{BadCustomerExport, CustomerExport},
    event::Event,
};
use bastion::ledger::whole::WholeError;
use std::time::Duration;

on_both_stores!(
    a_heartbeat_is_entered_when_it_is_due_and_once_for_all_gateways,
    a_customer_sees_that_its_export_is_whole,
);

const NOW: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);

async fn a_heartbeat_is_entered_when_it_is_due_and_once_for_all_gateways(world: World) {
    let ledger = world.create().await;
    assert!(ledger.last_heartbeat().await.expect("reads").is_none());
    let due = ledger.heartbeat(HOUR).await.expect("is not due");
    assert!(due > HOUR - Duration::from_secs(120) && due < HOUR, "{due:?}");
    assert_eq!(*ledger.size().borrow(), 1, "the log began just now");
    assert_eq!(ledger.heartbeat(NOW).await.expect("enters"), NOW);
    let last = ledger.last_heartbeat().await.expect("reads").expect("is there");
    assert_eq!(last.seq, 1);
    // Another gateway's is everybody's.
    if world.postgres.is_some() {
        let other = world.open_as("gw-2").await.expect("opens");
        assert!(other.heartbeat(HOUR).await.expect("is not due") < HOUR);
        other.close().await;
    }
    assert_eq!(ledger.verify().await, Ok(2));
}

async fn a_customer_sees_that_its_export_is_whole(world: World) {
    let ledger = world.create().await;
    let vkey: Vkey = ledger.vkey().parse().expect("a key");
    assert_eq!(ledger.whole_customer("acme").await, Err(WholeError::NoHeartbeat));
    for round in 0..4_usize {
        let theirs = ["acme", "globex", "acme"].map(|customer| entry_of(customer, "x"));
        ledger.append("test", theirs.to_vec()).await.expect("appends");
        ledger.heartbeat(NOW).await.expect("enters");
        let heartbeat = ledger.last_heartbeat().await.expect("reads").expect("is there").seq;
        // The log goes on: a customer that is new, and those that are not.
        let late = ["acme", ["initech", "umbrella"][round % 2]];
        let late = late.map(|customer| entry_of(customer, "later")).to_vec();
        ledger.append("test", late).await.expect("appends");
        let ends = ledger.ends_at(heartbeat).await.expect("reads");
        let head = ledger.map_of(&ends).await.expect("maps").head();
        let entered = ledger.entry(heartbeat).await.expect("reads").expect("is there").entry;
        match entered.event() {
            Some(Event::Heartbeat { customers, map }) => {
                assert_eq!((customers, map), (head.size, head.root.to_string()), "{round}");
            }
            other => panic!("{other:?}"),
        }
        let (export, _) = ledger.whole_customer("acme").await.expect("exports");
        let text = export.to_text();
        let read = CustomerExport::parse(&text).expect("parses");
        let whole = read.verify(&vkey, None).expect("holds");
        assert_eq!((whole.entries, whole.heartbeat), (2 + 3 * round as u64, heartbeat));
        assert!(whole.cosigned.is_empty(), "nobody has cosigned it");
        assert!(!text.contains("globex"), "a line of somebody else is in it");
        // One entry fewer at the end is seen: the map does not end there.
        let mut cut = read.clone();
        cut.entries.pop();
        let refused = cut.verify(&vkey, None);
        assert!(matches!(refused, Err(BadCustomerExport::Map(_))), "{refused:?}");
    }
    assert_eq!(ledger.whole_customer("nobody").await, Err(WholeError::NoHeartbeat));
}
