//! What auditors ask the log: words, counts, and the index that answers.

mod counts;
mod rebuilt;
mod sql;
mod words;

use audit_schema::event::{ActorKind, Event};
use bastion::{api::Caller, app::App, args, ledger::NewEntry};
use bastion_tests::{
    deployment::{World, caller, run},
    postgres::Cluster,
};
use serde_json::Value;

/// Runs each test on SQLite and on PostgreSQL, under the same name.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let (world, app) = bastion_tests::deployment::World::new(None).await;
                    super::$name(&world, &app).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    let cluster = $crate::Cluster::start();
                    let (world, app) =
                        bastion_tests::deployment::World::new(Some(cluster)).await;
                    super::$name(&world, &app).await;
                }
            )+
        }
    };
}
use on_both_stores;

/// Who decides for a customer.
async fn approver(app: &App, customer: &str) -> Caller {
    let id = format!("ap-0000000{}", &customer[..3]);
    let (row, of) = (id.clone(), customer.to_owned());
    let enrolled = app.ledger.record("test approver", |batch| {
        Box::pin(async move {
            let sql = "INSERT INTO approvers (id, handle, customer, state) \
                       VALUES ($1, 'anna', $2, 'enabled')";
            batch.tx().run(sql, &args![row, of]).await?;
            let event = Event::GatewayStopped { reason: "test".into() };
            batch.append(NewEntry::new(batch.gateway_actor(), event)).await.map(drop)
        })
    });
    enrolled.await.expect("entered").into_inner();
    let approver = caller(ActorKind::Approver, &id, "anna");
    Caller { customer: Some(customer.parse().expect("an id")), ..approver }
}

/// The lines of an answer, each a JSON object.
async fn objects(world: &World, app: &App, line: &str) -> Vec<Value> {
    let out = world.done(app, line, "").await;
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// The entries' numbers that a question finds, oldest first.
async fn found(world: &World, app: &App, who: &Caller, words: &str) -> Vec<u64> {
    let line = format!("audit query --oldest --format jsonl --event access. --text {words}");
    let typed = line.replace("--event access.", "--event channel.");
    let mut seqs = Vec::new();
    for line in [line, typed] {
        let (code, out, err) = run(app, who, &line, "").await;
        assert_eq!((code, err.as_str()), (0, ""), "{}: {line}", world.dir.display());
        for line in out.lines() {
            let row: Value = serde_json::from_str(line).expect("JSON");
            seqs.push(row["seq"].as_u64().expect("a number"));
        }
    }
    seqs.sort_unstable();
    seqs
}
