//! A backup put back, and how the log goes on after the loss: proofs of before and after hold.

use crate::scene::{Scene, actor, put_back, verified};
use audit_schema::event::Event;
use bastion::app::{App, log};
use bastion_tests::postgres::Cluster;
use std::{fs, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_gone_past_with_a_backup_and_the_ceremony_on_sqlite() {
    story(Scene::new(None).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_is_gone_past_with_a_backup_and_the_ceremony_on_postgres() {
    story(Scene::new(Some(Cluster::start())).await).await;
}

async fn story(scene: Scene) {
    let dir = scene.world.dir.clone();
    let at = |name: &str| dir.join(name).display().to_string();
    scene.app.ledger.heartbeat(Duration::ZERO).await.expect("a heartbeat");
    let keep = |name: &str, text: String| fs::write(dir.join(name), text).expect("writes");
    keep("old.vkey", scene.local("audit checkpoint --key").await);
    keep("3.proof", scene.local("audit prove 3").await);
    let lines = scene.local("audit export").await;
    keep("3.line", format!("{}\n", lines.lines().nth(3).expect("an entry")));
    keep("acme.before", scene.local("audit export --customer acme --whole").await);
    let (backup, made) = scene.backup("one.backup").await;
    let entries = made["entries"].as_u64().expect("a count");
    let entered = made["entry"].as_u64().expect("an entry");
    assert!(entered >= entries, "the entry is not in the backup that it is of");
    // The log goes on, and is lost.
    scene.world.done(&scene.app, "customer add initech --name Initech", "").await;
    let size = *scene.app.ledger.size().borrow();
    scene.app.ledger.signed().await.expect("signs");
    let (world, config) = scene.lose().await;

    let restored = put_back(&config, &backup).await.expect("is put back");
    assert_eq!((restored.entries, restored.same_config), (entries, true));
    let again = put_back(&config, &backup).await.expect_err("over a store");
    assert!(again.to_string().contains("never put over"), "{again}");
    let refused = App::open(config.clone()).await.err().expect("an older log was started");
    let lost = format!("--lost {entries}-{}", size - 1);
    assert!(refused.to_string().contains(&lost), "{refused}");
    let range = entries..=size - 1;
    let origin = log::new_epoch(&config, range, (actor(), "the disk died".into()));
    assert_eq!(origin.await.expect("goes on"), "bastion.example/epoch-2");

    let app = App::open(config).await.expect("opens under the name that the log says");
    assert_eq!(app.ledger.origin(), "bastion.example/epoch-2");
    let first = app.ledger.entry(entries).await.expect("reads").expect("is there").entry;
    match first.event() {
        Some(Event::LogEpoch { lost_from, lost_to, old_origin, .. }) => {
            assert_eq!((lost_from, lost_to), (entries, size));
            assert_eq!(old_origin, "bastion.example");
        }
        other => panic!("{other:?}"),
    }
    app.ledger.heartbeat(Duration::ZERO).await.expect("a heartbeat");
    let scene = Scene { world, app };
    keep("new.vkey", scene.local("audit checkpoint --key").await);
    keep("new.proof", scene.local(&format!("audit prove {entries}")).await);
    keep("old-in-new.proof", scene.local("audit prove 3").await);
    let lines = scene.local("audit export").await;
    let nth = |seq: u64| lines.lines().nth(usize::try_from(seq).unwrap()).expect("an entry");
    keep("new.line", format!("{}\n", nth(entries)));
    keep("acme.after", scene.local("audit export --customer acme --whole").await);
    let restored = |line: &str| line.contains("\"type\":\"backup.restored\"");
    assert_eq!(lines.lines().filter(|line| restored(line)).count(), 2, "acme's and globex's");
    let (old, new) = (at("old.vkey"), at("new.vkey"));
    for (proof, line, key) in [
        ("3.proof", "3.line", &old),
        ("old-in-new.proof", "3.line", &new),
        ("new.proof", "new.line", &new),
    ] {
        verified(&["proof", &at(proof), "--entry", &at(line), "--vkey", key]);
    }
    verified(&["customer", &at("acme.before"), "--vkey", &old]);
    verified(&["customer", &at("acme.after"), "--vkey", &new]);
    // The index is the new log's, and what commitments open to is readable again.
    let found = scene.local("audit query --event officer. --format jsonl").await;
    assert!(found.contains("officer.added"), "{found}");
    let shown = scene.local("audit query --text omar --format jsonl").await;
    assert!(shown.contains("omar"), "{shown}");
    scene.local("audit verify").await;
    scene.app.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_data_subjects_have_a_backup_of_their_own() {
    let scene = Scene::new(None).await;
    let dir = scene.world.dir.clone();
    let (backup, _) = scene.backup("one.backup").await;
    let keys = dir.join("keys.backup");
    scene.local(&format!("backup --keys --to {}", keys.display())).await;
    let pem = scene.identity();
    let (_world, config) = scene.lose().await;
    fs::rename(dir.join("keys/subjects.db"), dir.join("subjects.lost")).expect("moves");
    let without = put_back(&config, &backup).await.expect_err("without the keys");
    assert!(without.to_string().contains("keys of data subjects"), "{without}");
    let wrong = bastion::backup::subjects::restore(&config, &backup, &pem).await;
    assert!(wrong.expect_err("not of keys").to_string().contains("not of the keys"));
    bastion::backup::subjects::restore(&config, &keys, &pem).await.expect("are put back");
    let again = bastion::backup::subjects::restore(&config, &keys, &pem).await;
    assert!(again.expect_err("over keys").to_string().contains("never put over"));
    put_back(&config, &backup).await.expect("is put back");
}
