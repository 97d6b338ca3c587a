//! One transaction on one connection.
//!
//! Begin and commit are plain statements of ours: the ledger must see the database's own answer
//! to a commit, and decide by it. A transaction that is dropped before its end takes its
//! connection with it, so that no half-done work can be committed by whoever comes next.

use super::{Arg, Query, Row, StoreError};
use futures_util::{StreamExt as _, stream::BoxStream};
use sqlx::{
    AssertSqlSafe, Postgres, SqlSafeStr, SqlStr, Sqlite,
    encode::IsNull,
    pool::PoolConnection,
    postgres::{PgTypeInfo, types::Oid},
};

/// A connection of either database.
#[derive(Debug)]
pub(crate) enum Conn {
    /// SQLite.
    Sqlite(PoolConnection<Sqlite>),
    /// PostgreSQL.
    Postgres(PoolConnection<Postgres>),
}

/// An open transaction.
#[derive(Debug)]
pub struct Tx {
    /// Present until the transaction ends.
    conn: Option<Conn>,
    savepoint: Savepoint,
    /// Nothing that is to stay has been done yet.
    untouched: bool,
    /// Rows changed since the last [`Self::mark`].
    changed: u64,
}

/// A savepoint costs a round trip, so one that was asked for is only set before the first
/// statement: a change that just appends needs none. Neither does the first change of an SQLite
/// transaction: to take it back is to begin the transaction anew, and nobody else can write in
/// between. (On PostgreSQL another gateway could.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Savepoint {
    None,
    Wanted,
    Set,
    /// The transaction's own beginning.
    Whole,
}

impl Tx {
    /// Begins a transaction that may write; on SQLite it holds the write lock from here on.
    pub(crate) async fn begin_write(conn: Conn) -> Result<Self, StoreError> {
        let begin = match conn {
            Conn::Sqlite(_) => "BEGIN IMMEDIATE",
            Conn::Postgres(_) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        };
        Self::begin(conn, begin).await
    }

    /// Begins a transaction that sees one state of the database and writes nothing.
    pub(crate) async fn begin_read(conn: Conn) -> Result<Self, StoreError> {
        let begin = match conn {
            Conn::Sqlite(_) => "BEGIN",
            Conn::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Self::begin(conn, begin).await
    }

    async fn begin(conn: Conn, statement: &'static str) -> Result<Self, StoreError> {
        // Built first: if the statement's answer never comes, drop closes the connection.
        let mut tx =
            Self { conn: Some(conn), savepoint: Savepoint::None, untouched: true, changed: 0 };
        tx.plain(statement).await?;
        Ok(tx)
    }

    /// Runs a statement that changes rows; answers how many.
    pub async fn run(&mut self, sql: &'static str, args: &[Arg]) -> Result<u64, StoreError> {
        self.before_statement().await?;
        let changed = self.conn()?.execute(sql.into_sql_str(), args).await?;
        self.changed += changed;
        Ok(changed)
    }

    /// The rows of a query.
    pub async fn rows(&mut self, sql: &'static str, args: &[Arg]) -> Result<Vec<Row>, StoreError> {
        self.before_statement().await?;
        Ok(self.conn()?.fetch(sql.into_sql_str(), args).await?)
    }

    /// The rows of a query that changes nothing, and so needs nothing to go back to.
    pub(crate) async fn look(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.conn()?.fetch(sql.into_sql_str(), args).await?)
    }

    /// The first row of a query, if there is one.
    pub async fn row_opt(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, args).await?.into_iter().next())
    }

    /// The rows of a query that was put together at run time.
    pub async fn query(&mut self, query: &Query) -> Result<Vec<Row>, StoreError> {
        self.before_statement().await?;
        let sql = AssertSqlSafe(query.sql.clone()).into_sql_str();
        Ok(self.conn()?.fetch(sql, &query.args).await?)
    }

    /// The rows of a query, as they come: for answers that are too large to hold.
    pub(crate) fn stream<'a>(
        &'a mut self,
        sql: String,
    ) -> Result<BoxStream<'a, Result<Row, StoreError>>, StoreError> {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Ok(match self.conn()? {
            Conn::Sqlite(conn) => {
                let rows = sqlx::query(sql).fetch(&mut **conn);
                rows.map(|row| Ok(Row::Sqlite(row?))).boxed()
            }
            Conn::Postgres(conn) => {
                let rows = sqlx::query(sql).fetch(&mut **conn);
                rows.map(|row| Ok(Row::Postgres(row?))).boxed()
            }
        })
    }

    /// Puts rows into a table: on SQLite as the statements that `rows` is made of, on PostgreSQL as
    /// what COPY reads. For a restore alone, which wrote them down itself.
    pub(crate) async fn load(&mut self, table: &str, rows: String) -> Result<(), StoreError> {
        match self.conn()? {
            Conn::Sqlite(conn) => {
                let rows = sqlx::raw_sql(AssertSqlSafe(rows).into_sql_str());
                rows.execute(&mut **conn).await.map(drop)?;
            }
            Conn::Postgres(conn) => {
                let mut copy = conn.copy_in_raw(&format!("COPY {table} FROM STDIN")).await?;
                copy.send(rows.into_bytes()).await?;
                copy.finish().await.map(drop)?;
            }
        }
        Ok(())
    }

    /// Whether this is PostgreSQL, for the few statements that differ.
    pub fn is_postgres(&self) -> bool {
        matches!(self.conn, Some(Conn::Postgres(_)))
    }

    /// Makes everything durable; answers the connection for the next transaction. After an error
    /// the outcome is what [`StoreError`] says: only [`StoreError::Full`] is known to have
    /// changed nothing.
    pub(crate) async fn commit(mut self) -> Result<Conn, StoreError> {
        self.plain("COMMIT").await?;
        self.conn.take().ok_or_else(ended)
    }

    /// Takes everything back; answers the connection for the next transaction.
    pub(crate) async fn rollback(mut self) -> Result<Conn, StoreError> {
        self.plain("ROLLBACK").await?;
        self.conn.take().ok_or_else(ended)
    }

    /// From here on, [`Self::undo`] takes back what follows and nothing else.
    pub(crate) fn mark(&mut self) {
        let alone = self.untouched && !self.is_postgres();
        self.savepoint = if alone { Savepoint::Whole } else { Savepoint::Wanted };
        self.changed = 0;
    }

    /// How many rows were changed since [`Self::mark`].
    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// Keeps what was done since [`Self::mark`].
    pub(crate) async fn keep(&mut self) -> Result<(), StoreError> {
        self.untouched = false;
        if std::mem::replace(&mut self.savepoint, Savepoint::None) == Savepoint::Set {
            self.plain("RELEASE SAVEPOINT change").await?;
        }
        Ok(())
    }

    /// Takes back what was done since [`Self::mark`].
    pub(crate) async fn undo(&mut self) -> Result<(), StoreError> {
        match std::mem::replace(&mut self.savepoint, Savepoint::None) {
            Savepoint::None | Savepoint::Wanted => Ok(()),
            Savepoint::Set => {
                self.plain("ROLLBACK TO SAVEPOINT change").await?;
                self.plain("RELEASE SAVEPOINT change").await
            }
            Savepoint::Whole => {
                self.plain("ROLLBACK").await?;
                self.plain("BEGIN IMMEDIATE").await
            }
        }
    }

    async fn before_statement(&mut self) -> Result<(), StoreError> {
        if self.savepoint == Savepoint::Wanted {
            self.plain("SAVEPOINT change").await?;
            self.savepoint = Savepoint::Set;
        }
        Ok(())
    }

    /// A statement without arguments; on PostgreSQL as a simple query, one round trip.
    async fn plain(&mut self, sql: &'static str) -> Result<(), StoreError> {
        match self.conn()? {
            Conn::Sqlite(conn) => sqlx::query(sql).execute(&mut **conn).await.map(drop)?,
            Conn::Postgres(conn) => sqlx::raw_sql(sql).execute(&mut **conn).await.map(drop)?,
        }
        Ok(())
    }

    pub(super) fn conn(&mut self) -> Result<&mut Conn, StoreError> {
        self.conn.as_mut().ok_or_else(ended)
    }
}

fn ended() -> StoreError {
    StoreError::failed("the transaction has ended")
}

impl Drop for Tx {
    fn drop(&mut self) {
        match self.conn.take() {
            Some(Conn::Sqlite(conn)) => drop(conn.detach()),
            Some(Conn::Postgres(conn)) => drop(conn.detach()),
            None => {}
        }
    }
}

impl Conn {
    /// Ends with whoever holds it, instead of going back to its pool.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(conn) => conn.close_on_drop(),
            Self::Postgres(conn) => conn.close_on_drop(),
        }
    }

    /// The rows of a query outside a transaction.
    pub(crate) async fn rows(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.fetch(sql.into_sql_str(), args).await?)
    }

    pub(super) async fn execute(&mut self, sql: SqlStr, args: &[Arg]) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(conn) => {
                let done = sqlite_query(sql, args)?.execute(&mut **conn).await?;
                Ok(done.rows_affected())
            }
            Self::Postgres(conn) => {
                let done = postgres_query(sql, args).execute(&mut **conn).await?;
                Ok(done.rows_affected())
            }
        }
    }

    pub(super) async fn fetch(
        &mut self,
        sql: SqlStr,
        args: &[Arg],
    ) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(conn) => {
                let rows = sqlite_query(sql, args)?.fetch_all(&mut **conn).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(conn) => {
                let rows = postgres_query(sql, args).fetch_all(&mut **conn).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }
}

type SqliteQuery = sqlx::query::Query<'static, Sqlite, sqlx::sqlite::SqliteArguments>;
type PostgresQuery = sqlx::query::Query<'static, Postgres, sqlx::postgres::PgArguments>;

fn sqlite_query(sql: SqlStr, args: &[Arg]) -> Result<SqliteQuery, sqlx::Error> {
    let mut query = sqlx::query(sql);
    for arg in args {
        query = match arg.clone() {
            Arg::I64(value) => query.bind(value),
            Arg::Text(value) => query.bind(value),
            Arg::Bytes(value) => query.bind(value),
            Arg::Null => query.bind(Option::<i64>::None),
            Arg::I64s(_) | Arg::Blobs(_) | Arg::Texts(_) => {
                return Err(sqlx::Error::Protocol("SQLite has no arrays".into()));
            }
        };
    }
    Ok(query)
}

fn postgres_query(sql: SqlStr, args: &[Arg]) -> PostgresQuery {
    let mut query = sqlx::query(sql);
    for arg in args {
        query = match arg.clone() {
            Arg::I64(value) => query.bind(value),
            Arg::Text(value) => query.bind(value),
            Arg::Bytes(value) => query.bind(value),
            Arg::Null => query.bind(Nothing),
            Arg::I64s(values) => query.bind(values),
            Arg::Blobs(values) => query.bind(values),
            Arg::Texts(values) => query.bind(values),
        };
    }
    query
}

/// A null of no type: PostgreSQL takes the type from where it stands. (`Option::<i64>::None`
/// would not fit into a text column.)
struct Nothing;

impl sqlx::Type<Postgres> for Nothing {
    fn type_info() -> PgTypeInfo {
        /// The pseudo-type `unknown`.
        const UNKNOWN: Oid = Oid(705);
        PgTypeInfo::with_oid(UNKNOWN)
    }
}

impl sqlx::Encode<'_, Postgres> for Nothing {
    fn encode_by_ref(
        &self,
        _: &mut sqlx::postgres::PgArgumentBuffer,
    ) -> Result<IsNull, sqlx::error::BoxDynError> {
        Ok(IsNull::Yes)
    }
}
