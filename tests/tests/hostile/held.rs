//! A store that somebody else holds: a backup that hangs, an administrator's open transaction. Who
//! asks hears so in bounded time, nothing was done, and it goes on when the store is let go.

use crate::{BASTION, world};
use bastion_tests::{
    postgres::Cluster,
    world::{
        Answer,
        Person::{Odile, Olga},
        World, until,
    },
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::time::{Duration, Instant};

/// How long each store may be waited for, in seconds: a lock of SQLite, a statement of PostgreSQL.
const SQLITE: u64 = 5;
const POSTGRES: u64 = 10;
/// What a loaded machine may add.
const SLACK: u64 = 10;

/// Holds something of a store until it is dropped.
struct Holder {
    _runtime: tokio::runtime::Runtime,
    _held: Held,
}

enum Held {
    Sqlite(#[expect(dead_code, reason = "its end is what lets go")] SqliteConnection),
    Postgres(#[expect(dead_code, reason = "its end is what lets go")] PgConnection),
}

impl Holder {
    fn take(url: &str, sql: &str) -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let _held = runtime.block_on(async {
            if url.starts_with("sqlite:") {
                let mut conn = SqliteConnection::connect(url).await.unwrap();
                script.execute(&mut conn).await.unwrap();
                Held::Sqlite(conn)
            } else {
                let mut conn = PgConnection::connect(url).await.unwrap();
                script.execute(&mut conn).await.unwrap();
                Held::Postgres(conn)
            }
        });
        Self { _runtime: runtime, _held }
    }
}

/// What an answer must take and say while the store is held.
#[track_caller]
fn refused_in_time(what: &str, bound: u64, ask: impl FnOnce() -> Answer) -> Answer {
    let began = Instant::now();
    let answer = ask();
    let took = began.elapsed();
    println!("{what}: {} after {took:.1?}: {}", answer.exit, answer.err.trim());
    assert_ne!(answer.exit, 0, "{what}");
    assert_eq!(answer.text(), "", "{what}");
    let (least, most) = (Duration::from_secs(bound - 1), Duration::from_secs(bound + SLACK));
    assert!(took > least && took < most, "{what}: {took:?}, bound {bound} s\n{}", answer.err);
    answer
}

/// A change by somebody whose connection is open already, and a login that needs an entry.
fn writes_are_refused(world: &World, url: &str, sql: &str, bound: u64) {
    let officer = world.connection(Odile);
    let before = world.log().entries.len();
    let holder = Holder::take(url, sql);
    let add =
        "vm add new.acme --service acme-pg --address 127.0.0.1:2222 --account ops:troubleshoot";
    refused_in_time("a change", bound, || officer.command(add, &[]))
        .complains("the audit log cannot be written, so nothing was done");
    refused_in_time("a login", bound, || world.ssh(Olga, &["ops@pg-1.acme", "echo in"]))
        .complains("log cannot be written");
    drop(holder);
    until("logins to work again", 20, || world.ssh(Olga, &["ops@pg-1.acme", "true"]).exit == 0);
    officer.command(add, &[]).exits(0);
    let log = world.log();
    assert!(log.entries.len() > before);
    // Nothing of what was refused is there: the login that worked, and the one change.
    assert_eq!(log.events("access.granted").len(), 1);
    world.bastion(&["audit", "verify"]).exits(0);
}

#[test]
fn an_sqlite_file_that_is_held_is_waited_for_in_bounds() {
    let world = world(&[]);
    let url = format!("sqlite:{}", world.dir().join("bastion.db").display());
    writes_are_refused(&world, &url, "BEGIN IMMEDIATE", SQLITE);
}

#[test]
fn a_log_that_another_gateway_holds_is_waited_for_in_bounds() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let world = World::start(BASTION, Some(cluster));
    let sql = "BEGIN; LOCK TABLE head IN ACCESS EXCLUSIVE MODE";
    writes_are_refused(&world, &url, sql, POSTGRES);
}

/// Who somebody is cannot be looked up: that is not said to be a wrong key.
#[test]
fn keys_that_cannot_be_read_are_waited_for_in_bounds() {
    let cluster = Cluster::start();
    let url = cluster.url();
    let world = World::start(BASTION, Some(cluster));
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    let holder = Holder::take(&url, "BEGIN; LOCK TABLE keys IN ACCESS EXCLUSIVE MODE");
    let ask = || world.ssh(Olga, &["-l", "ops+pg-1.acme", "bastion", "echo in"]);
    refused_in_time("a login", POSTGRES, ask);
    // A banner comes before the key, so it is the next who reads it.
    refused_in_time("another", POSTGRES, ask).complains("the gateway's log cannot be written");
    drop(holder);
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    assert!(world.log().events("auth.failed").is_empty(), "it was not their fault");
}
