//! `audit erase`, looked at from the disk.

use crate::world::{World, caller, files_with, run};
use audit_schema::event::{ActorKind, Event};
use bastion::{
    app::App,
    args,
    ledger::{Ledger, NewEntry, Opening, SubjectKeys},
    store::{Db, Options},
};
use bastion_tests::postgres::Cluster;

/// What the log and the facts know of her: name, address, text of a ticket, a command.
const NEEDLES: [&str; 4] = ["olgierda", "203.0.113.77", "xylophonwartung", "zwdumpallzebra"];

/// The full-text index keeps of a word what its neighbour in the alphabet does not begin with.
fn as_indexed(needle: &str) -> &str {
    &needle[2..]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_left_in_a_file_of_sqlite() {
    let (world, app) = World::new(None).await;
    erases(world, app).await;
}

/// With the server's own log cut, as THREATS.md asks of whoever runs it.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_person_is_left_in_a_file_of_postgresql() {
    let cluster = Cluster::start_with(&["wal_recycle=off", "min_wal_size=32MB"]);
    let (world, app) = World::new(Some(cluster)).await;
    erases(world, app).await;
}

async fn erases(world: World, app: App) {
    let olga = lived(&world, &app).await;
    let subject = &olga.actor.id;
    // A command line stands in openings alone, and those are sealed; SQLite's index has its words,
    // while PostgreSQL's unlogged tables may not have reached a file yet.
    let written = if world.postgres.is_some() { &NEEDLES[..3] } else { &NEEDLES[..] };
    for needle in written {
        let found =
            world.folders().iter().any(|folder| !files_with(folder, as_indexed(needle)).is_empty());
        assert!(found, "{needle} is not there before: the search finds nothing");
    }
    let backup = world.dir.join("backup");
    if world.postgres.is_none() {
        std::fs::create_dir(&backup).expect("a folder");
        for file in ["bastion.db", "bastion.db-wal"] {
            std::fs::copy(world.dir.join(file), backup.join(file)).expect("a copy");
        }
    }
    let erase = format!(
        "audit erase --subject {} --legal-basis gdpr-17-1-a --reason asked for in ZD-7 --json",
        NEEDLES[0]
    );
    let answer = world.both(&app, &erase, "").await;
    assert_eq!(answer["subject"], subject.as_str());
    assert_eq!(answer["scrubbed"], true, "{answer}");
    assert!(answer["openings"].as_u64() >= Some(6), "{answer}");
    verified(&world, &app, subject).await;
    if let Some(cluster) = &world.postgres {
        cut_log(cluster).await;
    } else {
        nothing_comes_back(&world, &backup, &olga.actor.id).await;
        std::fs::remove_dir_all(&backup).expect("removed");
    }
    for (folder, needle) in world.folders().iter().flat_map(|f| NEEDLES.map(|n| (f, n))) {
        let found = files_with(folder, as_indexed(needle));
        assert!(found.is_empty(), "{needle} is still in {found:?}");
    }
    app.ledger.close().await;
}

/// An operator with a name, sessions, a ticket, commands; named by officers; gone.
async fn lived(world: &World, app: &App) -> bastion::api::Caller {
    let more = "--team databases --entity Hosting GmbH --country DE";
    let olga = world.person(app, "operator", NEEDLES[0], more).await;
    let training = format!(
        "operator training {} --course access-101 --completed 2025-01-01 --valid-until 2126-01-01 \
         --json",
        NEEDLES[0]
    );
    world.both(app, &training, "").await;
    let ask = format!(
        "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --for 1h --note {} heute",
        NEEDLES[2]
    );
    let (code, out, err) = run(app, &olga, &ask, "").await;
    assert_eq!(code, 0, "{out}{err}");
    let id = olga.actor.id.clone();
    for number in 0..200 {
        let (actor, id) = (olga.actor.clone(), id.clone());
        let session = format!("s-{number:010}");
        let opened = app.ledger.record("test session", move |batch| {
            Box::pin(async move {
                let sql = "INSERT INTO sessions (id, gateway, role, subject, source, opened_at, \
                           closed_at) VALUES ($1, 'gw-1', 'operator', $2, $3, 1, 2)";
                batch.tx().run(sql, &args![session.as_str(), id, NEEDLES[1]]).await?;
                let event = Event::SessionOpened {
                    fingerprint: "SHA256:x".into(),
                    method: "key".into(),
                    session,
                };
                let entry = NewEntry::new(actor, event).of_customer(&"acme".parse().expect("id"));
                let entry = entry.with("source", NEEDLES[1]).with("justification", NEEDLES[3]);
                batch.append(entry).await.map(drop)
            })
        });
        opened.await.expect("entered").into_inner();
    }
    // The ticket is over, and the query index has read everything.
    let ended = app.ledger.record("test ticket", |batch| {
        Box::pin(async move {
            batch.tx().run("UPDATE tickets SET state = 'ended'", &[]).await?;
            let event = Event::GatewayStopped { reason: "test".into() };
            batch.append(NewEntry::new(batch.gateway_actor(), event)).await.map(drop)
        })
    });
    ended.await.expect("entered").into_inner();
    let query = format!("audit query --operator {} --event access.", NEEDLES[0]);
    world.done(app, &query, "").await;
    let erase =
        format!("audit erase --subject {} --legal-basis gdpr-17-1-a --reason early", NEEDLES[0]);
    let proposed: serde_json::Value =
        serde_json::from_str(&world.done(app, &format!("{erase} --json"), "").await).expect("JSON");
    let approve = format!("change approve {}", proposed["proposal"].as_str().expect("an id"));
    let (code, _, err) = run(app, &world.omar, &approve, "").await;
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("still acts here"), "{err}");
    let refuse = approve.replace("approve", "refuse");
    world.done(app, &refuse, "").await;
    world.done(app, &format!("operator disable {}", NEEDLES[0]), "").await;
    olga
}

/// Every proof holds, and what is gone is said to be gone.
async fn verified(world: &World, app: &App, subject: &str) {
    let said = world.done(app, "audit verify", "").await;
    assert!(said.contains("the log holds"), "{said}");
    let list = world.done(app, "operator list", "").await;
    assert!(list.contains(&format!("erased-{subject}")), "{list}");
    let query = format!("audit query --operator {subject} --event session.opened --format jsonl");
    let rows = world.done(app, &query, "").await;
    assert_eq!(rows.lines().count(), 200, "{rows}");
    let acme = world.done(app, "audit export --customer acme", "").await;
    assert_eq!(acme.matches("\"type\":\"subject.erased\"").count(), 1);
    assert_eq!(acme.matches("\"type\":\"session.opened\"").count(), 200);
    let all = world.done(app, "audit export --openings", "").await;
    for needle in NEEDLES {
        assert!(!all.contains(needle), "{needle} is still handed out");
    }
    // Doing it again finds nothing more, and nobody by that name.
    let (code, ..) = run(app, &world.omar, "audit erase --subject olgierda", "").await;
    assert_ne!(code, 0);
}

/// A backup from before opens, verifies, and shows nothing: its key is destroyed.
async fn nothing_comes_back(world: &World, backup: &std::path::Path, subject: &str) {
    let url = format!("sqlite:{}", backup.join("bastion.db").display());
    let db = Db::open(&url, Options::OPEN).await.expect("opens");
    let keys = SubjectKeys::open(&world.config.erasure.keys).await.expect("the keys");
    let log_key = bastion::keyfile::read_log_key(&world.config.keys.log).expect("the log's key");
    let opening = Opening::new("gw-1", log_key, keys);
    let ledger = Ledger::open(db, opening).await.expect("the backup holds");
    let sizes = ledger.verify().await.expect("all of it");
    let left = ledger.openings_between(0..sizes).await.expect("reads");
    let hers = left.iter().filter(|opening| ["source", "justification"].contains(&&*opening.field));
    assert_eq!(hers.count(), 0, "texts of {subject} came back");
    assert!(!left.is_empty());
    ledger.close().await;
}

/// The server's own log begins anew, and the files of tables that were rewritten go.
async fn cut_log(cluster: &Cluster) {
    use sqlx::{Connection as _, Executor as _};
    let mut conn = sqlx::PgConnection::connect(&cluster.url()).await.expect("connects");
    for sql in ["SELECT pg_switch_wal()", "CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT"] {
        conn.execute(sql).await.expect(sql);
    }
    conn.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_keys_are_destroyed_is_finished_by_the_next_start() {
    let (world, app) = World::new(None).await;
    let actor = caller(ActorKind::Operator, "op-gone", "gone").actor;
    let event = Event::GatewayStopped { reason: "test".into() };
    let entry = NewEntry::new(actor, event).with("commands", "something");
    app.ledger.append("test", vec![entry]).await.expect("entered").into_inner();
    let keys = app.ledger.keys().ids("op-gone").await.expect("reads");
    assert_eq!(keys.len(), 1);
    let (noted, size) = (keys.clone(), *app.ledger.size().borrow());
    let erased = app.ledger.record("test erasure", move |batch| {
        Box::pin(async move {
            bastion::ledger::erasure::note(batch, "op-gone", &noted).await?;
            let event = Event::GatewayStopped { reason: "crash".into() };
            batch.append(NewEntry::new(batch.gateway_actor(), event)).await.map(drop)
        })
    });
    erased.await.expect("entered").into_inner();
    assert_eq!(app.ledger.openings(size - 1).await.expect("reads").len(), 1);
    app.ledger.clone().close().await;
    drop(app);
    let app = App::open(world.config.clone()).await.expect("opens");
    assert!(app.ledger.keys().ids("op-gone").await.expect("reads").is_empty());
    assert!(app.ledger.openings(size - 1).await.expect("reads").is_empty());
    app.ledger.verify().await.expect("holds");
    app.ledger.close().await;
}
