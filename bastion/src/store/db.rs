//! Opening a database, and reading it.

use super::{
    Arg, Query, Row, StoreError, Tx, postgres::PostgresStore, sqlite::SqliteStore, tx::Conn,
};
use bastion_core::limits::VACUUM_SECONDS_MAX;
use futures_util::future::BoxFuture;
use sqlx::{AssertSqlSafe, SqlSafeStr as _};
use std::path::Path;

/// A database: cheap to clone, shared by everyone who reads.
#[derive(Clone, Debug)]
pub enum Db {
    /// One file on this machine.
    Sqlite(SqliteStore),
    /// A PostgreSQL server, shared with other gateways.
    Postgres(PostgresStore),
}

/// What a database is opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Make the SQLite file if it is not there, and bring the schema up.
    pub create: bool,
    /// Never write: for looking at a store while no gateway runs. Takes no lock.
    pub read_only: bool,
    /// Every commit reaches the disk before it is answered. Off only for what can be rebuilt.
    pub durable: bool,
    /// The schema whose tables are meant, on PostgreSQL; its default if none is named.
    pub schema: Option<&'static str>,
    /// Several processes may open the SQLite file, and it keeps no log beside it that would hold
    /// what was overwritten. For the few rows of the subjects' keys.
    pub shared: bool,
}

impl Options {
    /// For `bastion init`.
    pub const CREATE: Self =
        Self { create: true, read_only: false, durable: true, schema: None, shared: false };
    /// For `bastion serve`: the store must be there.
    pub const OPEN: Self = Self { create: false, ..Self::CREATE };
    /// For reading while no gateway runs.
    pub const READ_ONLY: Self = Self { read_only: true, ..Self::OPEN };
    /// For an index that can be rebuilt at will.
    pub const REBUILDABLE: Self = Self { durable: false, ..Self::CREATE };
}

impl Db {
    /// Opens `sqlite:PATH` or `postgres://…`, checks that it keeps what it is told, and that its
    /// schema is the one of this build.
    pub async fn open(url: &str, options: Options) -> Result<Self, StoreError> {
        let db = Self::connect(url, &options).await?;
        super::migrate::migrate(&db, options.create).await?;
        Ok(db)
    }

    /// Opens a database without looking at its schema.
    pub(crate) async fn connect(url: &str, options: &Options) -> Result<Self, StoreError> {
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            let store = SqliteStore::open(Path::new(path), options).await?;
            return Ok(Self::Sqlite(store));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(PostgresStore::open(url, options).await?));
        }
        // The URL may hold a password, so it is not repeated.
        Err(StoreError::Unfit(
            "not a store: write sqlite:/path/to/bastion.db or postgres://host/database".into(),
        ))
    }

    /// The rows of a query.
    pub async fn rows(&self, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        let mut conn = self.reader().await?;
        Ok(conn.fetch(sql.into_sql_str(), args).await?)
    }

    /// The first row of a query, if there is one.
    pub async fn row_opt(
        &self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The rows of a query that was put together at run time.
    pub async fn query(&self, query: &Query) -> Result<Vec<Row>, StoreError> {
        let sql = AssertSqlSafe(query.sql.clone()).into_sql_str();
        let mut conn = self.reader().await?;
        Ok(conn.fetch(sql, &query.args).await?)
    }

    /// Several queries on one state of the database. Keep it short: on SQLite a long read keeps
    /// the write-ahead log from being reset.
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: for<'a> FnOnce(&'a mut Tx) -> BoxFuture<'a, Result<T, StoreError>>,
    {
        let mut tx = Tx::begin_read(self.reader().await?).await?;
        let outcome = work(&mut tx).await;
        tx.rollback().await.map(drop)?;
        outcome
    }

    /// Leaves no copy of what was overwritten in a file of the database; false if that could not
    /// be done now. PostgreSQL keeps old versions of rows by its own rules: they go with its
    /// vacuum, its own log and its backups.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        match self {
            Self::Sqlite(store) => store.scrub().await,
            Self::Postgres(_) => Ok(true),
        }
    }

    /// Leaves no old version of a row in the files of these tables; false where it could not be
    /// done now. SQLite needs none of it: `secure_delete` zeroes what is overwritten.
    pub async fn vacuum_full(&self, tables: &[&'static str]) -> Result<bool, StoreError> {
        let Self::Postgres(store) = self else { return Ok(true) };
        let mut conn = store.pool().acquire().await?;
        // What the connection is told here must not stay with the next that takes it.
        conn.close_on_drop();
        let wait = format!("SET statement_timeout = '{VACUUM_SECONDS_MAX}s'");
        sqlx::raw_sql(AssertSqlSafe(wait).into_sql_str()).execute(&mut *conn).await?;
        let mut done = true;
        for table in tables {
            // Who does not own a table is warned and skipped, and that is no error.
            let ours = "SELECT pg_get_userbyid(relowner) = current_user FROM pg_class \
                        WHERE oid = to_regclass($1)";
            let ours = sqlx::query_scalar(ours).bind(*table).fetch_optional(&mut *conn).await?;
            if ours != Some(true) {
                done = false;
                continue;
            }
            let sql = AssertSqlSafe(format!("VACUUM (FULL) {table}")).into_sql_str();
            if let Err(error) = sqlx::raw_sql(sql).execute(&mut *conn).await {
                tracing::warn!(%error, table, "old versions of rows are still in its files");
                done = false;
            }
        }
        Ok(done)
    }

    /// Whether this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Ends every connection; waits until the last one is closed.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }

    async fn reader(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite(store) => Conn::Sqlite(store.readers().acquire().await?),
            Self::Postgres(store) => Conn::Postgres(store.pool().acquire().await?),
        })
    }

    /// The connection that writes; on SQLite there is only one.
    pub(crate) async fn writer(&self) -> Result<Conn, StoreError> {
        Ok(match self {
            Self::Sqlite(store) => Conn::Sqlite(store.writer().acquire().await?),
            Self::Postgres(store) => Conn::Postgres(store.pool().acquire().await?),
        })
    }
}
