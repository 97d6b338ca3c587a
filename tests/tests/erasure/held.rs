//! What must not be erased: under a legal hold, before the retention, with the wrong keys.

use crate::world::World;
use bastion::{
    app::{App, StartError},
    ledger::SubjectKeys,
};

/// A person who left, of whom the log has texts.
async fn left(world: &World, app: &App) -> String {
    let more = "--team databases --entity Hosting GmbH --country DE";
    let olga = world.person(app, "operator", "olga", more).await;
    world.done(app, "operator disable olga --reason left", "").await;
    olga.actor.id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legal_hold_keeps_what_it_covers_until_two_officers_end_it() {
    let (world, app) = World::new(None).await;
    let olga = left(&world, &app).await;
    let erase = format!("audit erase --subject {olga} --legal-basis gdpr-17-1-a --reason asked");
    for of in ["--subject olga", ""] {
        let add = format!("audit hold add {of} --json --reason trial");
        let hold = world.both(&app, &add, "").await["hold"].as_str().expect("an id").to_owned();
        let list = world.done(&app, "audit hold list", "").await;
        assert!(list.contains(&hold), "{list}");
        let proposed = world.done(&app, &format!("{erase} --json"), "").await;
        let proposed: serde_json::Value = serde_json::from_str(&proposed).expect("JSON");
        let id = proposed["proposal"].as_str().expect("an id").to_owned();
        let approve = format!("change approve {id}");
        let (code, _, err) = crate::world::run(&app, &world.omar, &approve, "").await;
        assert_eq!(code, 3, "{err}");
        assert!(err.contains(&hold), "{err}");
        world.done(&app, &format!("change refuse {id}"), "").await;
        let removed = format!("audit hold remove {hold} --json --reason over");
        assert_eq!(world.both(&app, &removed, "").await["state"], "removed");
    }
    assert_eq!(world.both(&app, &format!("{erase} --json"), "").await["subject"], olga.as_str());
    app.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_younger_than_the_retention_stays() {
    let (mut world, app) = World::new(None).await;
    let olga = left(&world, &app).await;
    app.ledger.clone().close().await;
    drop(app);
    world.config.erasure.retention_days_min = 30;
    let app = App::open(world.config.clone()).await.expect("opens");
    let erase = format!("audit erase --subject {olga} --legal-basis gdpr-17-1-a --reason asked");
    let proposed = world.done(&app, &format!("{erase} --json"), "").await;
    let proposed: serde_json::Value = serde_json::from_str(&proposed).expect("JSON");
    let approve = format!("change approve {}", proposed["proposal"].as_str().expect("an id"));
    let (code, _, err) = crate::world::run(&app, &world.omar, &approve, "").await;
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("retention_days_min"), "{err}");
    world.fails(&app, "audit erase --subject nobody-here --legal-basis x --reason y", 3, "").await;
    world.fails(&app, "audit erase --subject olga --legal-basis A --reason y", 2, "use 1").await;
    app.ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_another_log_or_lost_keys_do_not_pass_for_an_erasure() {
    let (mut world, app) = World::new(None).await;
    app.ledger.clone().close().await;
    drop(app);
    let keys = world.config.erasure.keys.clone();
    world.config.erasure.keys = format!("sqlite:{}", world.dir.join("keys/none.db").display());
    let missing = App::open(world.config.clone()).await.map(drop);
    assert!(matches!(missing, Err(StartError::SubjectKeys(_))), "{missing:?}");
    let other = SubjectKeys::create(&world.config.erasure.keys).await.expect("made");
    other.close().await;
    let other = App::open(world.config.clone()).await.map(drop);
    assert!(other.as_ref().is_err_and(|e| e.to_string().contains("another log")), "{other:?}");
    // An old copy of the right keys: those that came later are lost, not erased.
    let file = keys.strip_prefix("sqlite:").expect("a file");
    let mut conn = <sqlx::SqliteConnection as sqlx::Connection>::connect(&keys).await.expect(file);
    let gone = sqlx::query("DELETE FROM subject_keys WHERE subject LIKE 'of-%'");
    assert!(gone.execute(&mut conn).await.expect("deletes").rows_affected() > 0);
    sqlx::Connection::close(conn).await.expect("closes");
    world.config.erasure.keys = keys;
    let lost = App::open(world.config.clone()).await.map(drop);
    assert!(lost.as_ref().is_err_and(|e| e.to_string().contains("old copy")), "{lost:?}");
}
