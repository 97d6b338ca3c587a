//! Four gateways, each a process of its own, on one PostgreSQL: one tree.

use super::busy::call;
use crate::{
    bench::row::percentile,
    logbench::{
        base::Base,
        options::{Mode, Options},
        ourselves,
        report::{Limit, Row},
        store::{ORIGIN, key, know_everybody},
    },
    postgres::Cluster,
};
use bastion::{
    ledger::{Ledger, Opening, SubjectKeys},
    store::{Db, Options as StoreOptions},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

const GATEWAYS: u64 = 4;

pub async fn rows(options: &Options) -> Vec<Row> {
    let cluster = Cluster::start();
    create(&cluster).await;
    let mut base = Base::new(&options.scratch());
    base.appends(options.count(200, 5));
    let callers = (options.callers / GATEWAYS as usize).max(1);
    let mode = |number| Mode::Gateway {
        store: cluster.url(),
        keys: cluster.url_of("keys"),
        number,
        callers,
        seconds: options.seconds,
    };
    let mut gateways: Vec<_> = (1..=GATEWAYS).map(|number| Gateway::start(&mode(number))).collect();
    gateways.iter_mut().for_each(Gateway::ready);
    let began = Instant::now();
    gateways.iter_mut().for_each(Gateway::go);
    let waits: Vec<f64> = gateways.into_iter().flat_map(Gateway::waits).collect();
    let took = began.elapsed().as_secs_f64();
    base.appends(options.count(200, 5));
    let entries = verified(&cluster).await;
    let title = format!("durable appends, PostgreSQL, {GATEWAYS} gateways, one tree");
    let rate = Row::new("postgres_rate", title.clone(), "entries/s", waits.len() as f64 / took);
    let wait = percentile(&waits, 99.0);
    let p99 = Row::new("postgres_p99", format!("{title}, p99"), "ms", wait).beside(base.median());
    vec![
        rate.limited(Limit::at_least(15_000.0)).noted(format!(
            "{callers} callers on each; {entries} entries were then verified from the first; base \
             p50 {:.3} ms; the server, the gateways and the callers share this machine",
            base.median()
        )),
        p99.limited(Limit::at_most(40.0)),
    ]
}

async fn create(cluster: &Cluster) {
    let pool = sqlx::PgPool::connect(&cluster.url()).await.unwrap();
    sqlx::raw_sql("CREATE DATABASE keys").execute(&pool).await.unwrap();
    pool.close().await;
    let keys = SubjectKeys::create(&cluster.url_of("keys")).await.unwrap();
    let db = Db::open(&cluster.url(), StoreOptions::CREATE).await.unwrap();
    let ledger = Ledger::create(db, ORIGIN, Opening::new("gw-0", key(), keys)).await.unwrap();
    know_everybody(&ledger).await;
    ledger.close().await;
}

async fn open(store: &str, keys: &str, gateway: String) -> Ledger {
    let keys = SubjectKeys::open(keys).await.unwrap();
    let db = Db::open(store, StoreOptions::OPEN).await.unwrap();
    Ledger::open(db, Opening::new(gateway, key(), keys)).await.unwrap()
}

async fn verified(cluster: &Cluster) -> u64 {
    let ledger = open(&cluster.url(), &cluster.url_of("keys"), "gw-0".into()).await;
    let entries = ledger.verify().await.unwrap();
    ledger.close().await;
    entries
}

/// A gateway in a process of its own.
struct Gateway {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Gateway {
    fn start(mode: &Mode) -> Self {
        let mut ours = ourselves(mode);
        let mut child = ours.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Waits until it has opened the log.
    fn ready(&mut self) {
        assert_eq!(self.line(), "ready");
    }

    fn go(&mut self) {
        self.child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    }

    /// What its callers waited, in milliseconds.
    fn waits(mut self) -> Vec<f64> {
        let waits = self.line();
        assert!(self.child.wait().unwrap().success());
        let micros = waits.split(' ').filter(|word| !word.is_empty());
        micros.map(|micros| micros.parse::<f64>().unwrap() / 1000.0).collect()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

/// Appends for a while, with callers of its own.
pub async fn child(mode: &Mode) {
    let Mode::Gateway { store, keys, number, callers, seconds } = mode else { return };
    let ledger = open(store, keys, format!("gw-{number}")).await;
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let time = Duration::from_secs(*seconds);
    let seen = call(&ledger, *callers, (number * 1_000_000, time)).await;
    ledger.close().await;
    let micros: Vec<_> = seen.millis.iter().map(|wait| format!("{:.0}", wait * 1000.0)).collect();
    println!("{}", micros.join(" "));
}
