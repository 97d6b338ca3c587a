//! A store of either kind, and ways to look at it that the product does not have.

use audit_schema::event::{Actor, ActorKind, Event};
use bastion::{
    ledger::{Hooks, Ledger, NewEntry, OpenError, Opening, SubjectKeys},
    store::{Db, Options, StoreError},
};
use bastion_core::id::CustomerId;
use bastion_tests::{folder::new_folder, postgres::Cluster};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

/// Runs each test on SQLite and on PostgreSQL, under the same name.
macro_rules! on_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name($crate::world::World::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $name() {
                    super::$name($crate::world::World::postgres()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_stores;

/// The log's name.
pub const ORIGIN: &str = "test.example/log";

/// A store, removed at the end of its test.
pub struct World {
    dir: PathBuf,
    pub postgres: Option<Arc<Cluster>>,
    database: String,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    pub fn sqlite() -> Self {
        let dir = new_folder("ledger");
        Self { dir, postgres: None, database: "postgres".into() }
    }
    pub fn postgres() -> Self {
        let mut world = Self::sqlite();
        world.postgres = Some(Arc::new(Cluster::start()));
        world
    }
    /// Another store of the same kind, empty.
    pub async fn another(&self) -> Self {
        let mut world = Self::sqlite();
        world.postgres = self.postgres.clone();
        if world.postgres.is_some() {
            let name = format!("another_{}", WORLDS.fetch_add(1, Ordering::Relaxed));
            self.script(&format!("CREATE DATABASE {name}")).await.expect("a database");
            world.database = name;
        }
        world
    }
    pub fn url(&self) -> String {
        match &self.postgres {
            Some(postgres) => postgres.url_of(&self.database),
            None => format!("sqlite:{}", self.file().display()),
        }
    }
    pub fn file(&self) -> PathBuf {
        self.dir.join("bastion.db")
    }
    pub async fn db(&self) -> Db {
        Db::open(&self.url(), Options::OPEN).await.expect("the store opens")
    }
    /// The keys of data subjects, in a folder of their own.
    pub fn keys(&self) -> String {
        format!("sqlite:{}", self.dir.join("keys/subjects.db").display())
    }
    /// What a gateway brings, with the same keys each time.
    pub async fn opening(&self, gateway: &str) -> Opening {
        std::fs::create_dir_all(self.dir.join("keys")).expect("a folder");
        let keys = SubjectKeys::create(&self.keys()).await.expect("the keys open");
        Opening::new(gateway, key(), keys)
    }
    /// A new log.
    pub async fn create(&self) -> Ledger {
        self.create_with(Hooks::default()).await
    }
    pub async fn create_with(&self, hooks: Hooks) -> Ledger {
        let db = Db::open(&self.url(), Options::CREATE).await.expect("a new store");
        let opening = Opening { hooks, ..self.opening("gw-1").await };
        Ledger::create(db, ORIGIN, opening).await.expect("a new log")
    }
    /// The log that is there.
    pub async fn open(&self) -> Result<Ledger, OpenError> {
        self.open_as("gw-1").await
    }
    pub async fn open_as(&self, gateway: &str) -> Result<Ledger, OpenError> {
        Ledger::open(self.db().await, self.opening(gateway).await).await
    }
    /// What somebody who owns the machine can do: SQL past every trigger, while no gateway runs.
    pub async fn tamper(&self, sql: &str) {
        let drop_triggers = match self.postgres {
            Some(_) => "SET session_replication_role = replica".to_owned(),
            None => {
                let all = "SELECT group_concat('DROP TRIGGER ' || name, ';') FROM sqlite_schema
                           WHERE type = 'trigger'";
                let mut conn = SqliteConnection::connect(&self.url()).await.expect("the file");
                let all: Option<String> =
                    sqlx::query_scalar(all).fetch_one(&mut conn).await.expect("the triggers");
                conn.close().await.expect("closing");
                all.unwrap_or_default()
            }
        };
        self.script(&format!("{drop_triggers}; {sql}")).await.expect("tampering");
    }
    /// Runs SQL as the gateway could; answers the database's complaint.
    pub async fn refused(&self, sql: &str) -> String {
        self.script(sql).await.expect_err(sql).to_string()
    }
    /// The server, while nobody else holds it.
    pub fn cluster(&mut self) -> &mut Cluster {
        let cluster = self.postgres.as_mut().expect("a server");
        Arc::get_mut(cluster).expect("held by one world")
    }
    /// Runs SQL as the owner of the tables.
    pub async fn script(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.script_as(&self.url(), sql).await
    }
    /// Runs SQL as whoever the URL names.
    pub async fn script_as(&self, url: &str, sql: &str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        if self.postgres.is_some() {
            let mut conn = PgConnection::connect(url).await?;
            script.execute(&mut conn).await?;
            return conn.close().await;
        }
        let mut conn = SqliteConnection::connect(url).await?;
        script.execute(&mut conn).await?;
        conn.close().await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).expect("removing the temporary folder");
    }
}

/// The log's key: always the same, so that a store can be opened again.
pub fn key() -> bastion::ledger::SigningKey {
    bastion::ledger::SigningKey::from_bytes(&[7; 32])
}

/// An entry that touches no customer.
pub fn entry(text: &str) -> NewEntry {
    let actor = Actor { id: "gw-1".into(), kind: ActorKind::Gateway };
    NewEntry::new(actor, Event::GatewayStopped { reason: text.into() })
}

/// The same, in the chain of a customer.
pub fn entry_of(customer: &str, text: &str) -> NewEntry {
    let customer: CustomerId = customer.parse().expect("a customer id");
    entry(text).of_customer(&customer)
}

/// Hooks that count instead of ending the process.
pub fn survivor() -> (Hooks, Arc<AtomicU32>) {
    let ends = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&ends);
    let fatal = Arc::new(move |_: &str| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    (Hooks { fatal, ..Hooks::default() }, ends)
}

/// A number that a query answers.
pub async fn number(db: &Db, sql: &'static str) -> Result<i64, StoreError> {
    db.row_opt(sql, &[]).await?.map_or(Ok(-1), |row| row.i64(0))
}
