//! Where the keys stand: three small tables in a database of their own.
//!
//! A key that was destroyed leaves its number, so that "erased" can be told from "lost": a gateway
//! that was given an old copy of the keys says so, instead of showing nothing.
//!
//! On SQLite the file keeps no log beside it and zeroes what it deletes, so that a destroyed key is
//! nowhere; several gateways of one machine may share it. On PostgreSQL the rows go with
//! `VACUUM FULL` at once, and with that server's own log when it recycles it.

use crate::{
    args,
    store::{Db, Options, Query, StoreError, Tx},
};
use bastion_core::limits::SUBJECT_KEYS_ASKED_AT_ONCE;

/// Why the keys of data subjects cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyStoreError {
    /// Its database is not usable.
    #[error(
        "the keys of data subjects (`[erasure] keys`): {0}. They stand apart from the store and \
         its backups, and nothing that the log's commitments open to can be read without them"
    )]
    Store(#[from] StoreError),
    /// It is empty, where a deployment is opened.
    #[error(
        "`[erasure] keys` leads to a place without keys: name the one that `bastion init` made, or \
         put its own backup back; without it nothing that the log's commitments open to is readable"
    )]
    Empty,
}

#[derive(Clone)]
pub(super) struct KeyStore {
    db: Db,
    name: String,
}

/// The tables, in either database's words.
pub mod key_tables {
    /// What they are called.
    pub const NAMES: [&str; 3] = ["subject_keys", "destroyed_keys", "key_store"];
    /// What makes them.
    pub const SCRIPT: &str = "\
CREATE TABLE IF NOT EXISTS subject_keys (
    id      BIGINT PRIMARY KEY,
    subject TEXT NOT NULL UNIQUE,
    key     BYTEA NOT NULL CHECK (length(key) = 32)
);
CREATE TABLE IF NOT EXISTS destroyed_keys (
    id BIGINT PRIMARY KEY
);
CREATE TABLE IF NOT EXISTS key_store (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    name TEXT NOT NULL
);
";
}

const OPTIONS: Options = Options { shared: true, ..Options::OPEN };

impl KeyStore {
    pub async fn create(url: &str) -> Result<Self, KeyStoreError> {
        let db = Db::connect(url, &Options { create: true, ..OPTIONS }).await?;
        let mut tx = Tx::begin_write(db.writer().await?).await?;
        tx.script(key_tables::SCRIPT).await?;
        let drawn = crate::entropy::draw::<16>().map_err(|none| failed(&none))?;
        let name = drawn.iter().fold(String::from("k-"), |name, byte| format!("{name}{byte:02x}"));
        let sql = "INSERT INTO key_store (id, name) VALUES (1, $1) ON CONFLICT (id) DO NOTHING";
        tx.run(sql, &args![name]).await?;
        tx.commit().await.map(drop)?;
        Self::named(db).await
    }

    pub async fn open(url: &str, read_only: bool) -> Result<Self, KeyStoreError> {
        Self::named(Db::connect(url, &Options { read_only, ..OPTIONS }).await?).await
    }

    async fn named(db: Db) -> Result<Self, KeyStoreError> {
        let has = match db.is_postgres() {
            true => "SELECT COUNT(to_regclass('key_store'))",
            false => "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'key_store'",
        };
        let there = db.row_opt(has, &[]).await?.map(|row| row.bool(0)).transpose()?;
        if there != Some(true) {
            return Err(KeyStoreError::Empty);
        }
        let row = db.row_opt("SELECT name FROM key_store WHERE id = 1", &[]).await?;
        let name = row.ok_or(KeyStoreError::Empty)?.text(0)?;
        Ok(Self { db, name })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn db(&self) -> &Db {
        &self.db
    }

    /// The key of a subject; if there is none, this one from now on, once it is durable.
    pub async fn find_or_make(
        &self,
        subject: &str,
        fresh: &[u8; 32],
    ) -> Result<(i64, Vec<u8>), StoreError> {
        let mut tx = Tx::begin_write(self.db.writer().await?).await?;
        let drawn = crate::entropy::draw::<8>().map_err(|none| failed(&none))?;
        // An id that never came before, and that JSON can hold.
        let id = u64::from_be_bytes(drawn) >> 11;
        let sql = "INSERT INTO subject_keys (id, subject, key) VALUES ($1, $2, $3) \
                   ON CONFLICT (subject) DO NOTHING";
        tx.run(sql, &args![id, subject, fresh.as_slice()]).await?;
        let sql = "SELECT id, key FROM subject_keys WHERE subject = $1";
        let row = tx.row_opt(sql, &args![subject]).await?;
        let row =
            row.ok_or_else(|| StoreError::failed("a subject's key is not where it was put"))?;
        let found = (row.i64(0)?, row.bytes(1)?);
        tx.commit().await.map(drop)?;
        Ok(found)
    }

    /// The keys of these ids; none for one that was destroyed.
    pub async fn keys(&self, ids: &[i64]) -> Result<Vec<(i64, Option<Vec<u8>>)>, StoreError> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(SUBJECT_KEYS_ASKED_AT_ONCE) {
            let query = among("SELECT id, key FROM subject_keys WHERE id IN (", ids);
            for row in self.db.query(&query).await? {
                found.push((row.i64(0)?, Some(row.bytes(1)?)));
            }
            let query = among("SELECT id FROM destroyed_keys WHERE id IN (", ids);
            for row in self.db.query(&query).await? {
                found.push((row.i64(0)?, None));
            }
        }
        match ids.iter().find(|id| !found.iter().any(|(known, _)| known == *id)) {
            None => Ok(found),
            Some(lost) => Err(StoreError::Unfit(format!(
                "key {lost} of a data subject is neither there nor destroyed: `[erasure] keys` \
                 leads to an old copy, or not to the one that all gateways share"
            ))),
        }
    }

    /// The keys of a subject, alone or together with others.
    pub async fn ids(&self, subject: &str) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT id FROM subject_keys WHERE ' ' || subject || ' ' LIKE $1 ORDER BY id";
        let rows = self.db.rows(sql, &args![format!("% {subject} %")]).await?;
        rows.iter().map(|row| row.i64(0)).collect()
    }

    pub async fn destroy(&self, ids: &[i64]) -> Result<(), StoreError> {
        if self.keys(ids).await?.iter().all(|(_, key)| key.is_none()) {
            return Ok(());
        }
        let mut tx = Tx::begin_write(self.db.writer().await?).await?;
        for id in ids {
            tx.run("DELETE FROM subject_keys WHERE id = $1", &args![*id]).await?;
            let sql = "INSERT INTO destroyed_keys (id) VALUES ($1) ON CONFLICT (id) DO NOTHING";
            tx.run(sql, &args![*id]).await?;
        }
        tx.commit().await.map(drop)?;
        self.db.vacuum_full(&["subject_keys"]).await.map(drop)
    }

    pub async fn close(&self) {
        self.db.close().await;
    }
}

fn among(sql: &'static str, ids: &[i64]) -> Query {
    let mut query = Query::new(sql);
    for (index, id) in ids.iter().enumerate() {
        if index > 0 {
            query.push(", ");
        }
        query.bind(*id);
    }
    query.push(")");
    query
}

fn failed(error: &impl ToString) -> StoreError {
    StoreError::failed(error.to_string())
}
