//! Asking a database what an auditor wrote: read-only, bounded, and as nobody.
//!
//! What comes here was taken apart and spelled again (`bastion_core::sql`). It runs on a connection
//! of its own that is closed afterwards: on SQLite one that is opened for reading alone and
//! interrupted when its time is up, to a file that holds nothing but the query index; on PostgreSQL
//! in a read-only transaction as a role that may select from the views and has no other right.

use super::{Db, StoreError, postgres::PostgresStore, sqlite::SqliteStore};
use bastion_core::{
    limits::{SQL_BYTES_MAX, SQL_ROWS_MAX, SQL_SECONDS_MAX},
    sql::Selection,
};
use futures_util::TryStreamExt as _;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, PgConnection, Row as _,
    SqlSafeStr as _, TypeInfo as _, ValueRef as _,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow},
};
use std::{
    fmt,
    time::{Duration, Instant},
};

/// A row: columns by name, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked(pub Vec<(String, Value)>);

/// What a statement answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Its rows.
    pub rows: Vec<Asked>,
    /// There were more than may be.
    pub is_cut: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// A name in it is a table's.
    #[error("the name `{0}` is taken: give another with `as`")]
    Taken(String),
    /// It took too long.
    #[error("it took longer than {SQL_SECONDS_MAX} s: ask for less, by `seq` or `micros`")]
    TooLong,
    /// The role is not there, or not ours.
    #[error(
        "on PostgreSQL this runs as the role {role}, which the gateway's database user may not \
         take: as the owner of the database run `CREATE ROLE {role} NOLOGIN; GRANT {role} TO \
         {user};`, then `audit rebuild-index`"
    )]
    NoRole {
        /// Which role.
        role: &'static str,
        /// Who would take it.
        user: String,
    },
    /// The database does not understand it.
    #[error("the database says: {0}")]
    Refused(String),
    /// The database did not answer.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl Db {
    /// Asks a statement. `schema` and `role`: where its views are on PostgreSQL, and who may see
    /// them.
    pub(crate) async fn ask(
        &self,
        selection: &Selection,
        schema: &'static str,
        role: &'static str,
    ) -> Result<Answer, AskError> {
        match self {
            Self::Sqlite(store) => sqlite(store, selection).await,
            Self::Postgres(store) => postgres(store, selection, (schema, role)).await,
        }
    }
}

async fn sqlite(store: &SqliteStore, selection: &Selection) -> Result<Answer, AskError> {
    let options = SqliteConnectOptions::new()
        .filename(store.beside(""))
        .read_only(true)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(SQL_SECONDS_MAX))
        .pragma("query_only", "ON")
        .pragma("trusted_schema", "OFF")
        .pragma("cell_size_check", "ON")
        .pragma("mmap_size", "0");
    let mut conn: SqliteConnection = options.connect().await.map_err(StoreError::from)?;
    let tables = "SELECT name FROM sqlite_schema UNION SELECT name FROM pragma_module_list";
    let taken: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(&mut conn).await.map_err(StoreError::from)?;
    free(selection, &taken)?;
    let deadline = Instant::now() + Duration::from_secs(SQL_SECONDS_MAX);
    let mut handle = conn.lock_handle().await.map_err(StoreError::from)?;
    handle.set_progress_handler(STEPS, move || Instant::now() < deadline);
    drop(handle);
    // In parentheses only a selection can stand.
    let sql = format!("SELECT * FROM ({}) LIMIT {}", selection.sql(), SQL_ROWS_MAX + 1);
    let mut answer = Answer::default();
    let mut bytes = 0;
    let outcome = async {
        let mut rows = sqlx::query(AssertSqlSafe(sql).into_sql_str()).fetch(&mut conn);
        while let Some(row) = rows.try_next().await? {
            if !answer.take(of_sqlite(&row)?, &mut bytes) {
                break;
            }
        }
        Ok::<(), sqlx::Error>(())
    };
    match outcome.await {
        Ok(()) => {}
        Err(_) if Instant::now() >= deadline => return Err(AskError::TooLong),
        Err(error) => return Err(refused(error)),
    }
    conn.close().await.map_err(StoreError::from)?;
    Ok(answer)
}

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
const STEPS: i32 = 1_000;

async fn postgres(
    store: &PostgresStore,
    selection: &Selection,
    (schema, role): (&'static str, &'static str),
) -> Result<Answer, AskError> {
    let mut pooled = store.pool().acquire().await.map_err(StoreError::from)?;
    // Whatever happens, nobody else gets this connection.
    pooled.close_on_drop();
    let conn: &mut PgConnection = &mut pooled;
    let (user, taken): (String, Vec<String>) =
        sqlx::query_as("SELECT current_user::text, array_agg(relname::text) FROM pg_class")
            .fetch_one(&mut *conn)
            .await
            .map_err(StoreError::from)?;
    free(selection, &taken)?;
    let begin = format!(
        "BEGIN READ ONLY; SET LOCAL statement_timeout = '{SQL_SECONDS_MAX}s';
         SET LOCAL standard_conforming_strings = on; SET LOCAL search_path = {schema}, pg_temp"
    );
    raw(conn, begin).await.map_err(StoreError::from)?;
    if raw(conn, format!("SET LOCAL ROLE {role}")).await.is_err() {
        return Err(AskError::NoRole { role, user });
    }
    let sql = format!(
        "SELECT row_to_json(answer)::text FROM ({}) AS answer LIMIT {}",
        selection.sql(),
        SQL_ROWS_MAX + 1
    );
    let mut answer = Answer::default();
    let mut bytes = 0;
    // The extended protocol takes one statement and no more.
    let mut rows = sqlx::query(AssertSqlSafe(sql).into_sql_str()).fetch(&mut *conn);
    loop {
        let row = match rows.try_next().await {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) if is_cancelled(&error) => return Err(AskError::TooLong),
            Err(error) => return Err(refused(error)),
        };
        let json: String = row.try_get(0).map_err(StoreError::from)?;
        let row = serde_json::from_str(&json).map_err(|error| refused_by(&error))?;
        if !answer.take(row, &mut bytes) {
            break;
        }
    }
    Ok(answer)
}

async fn raw(conn: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql).into_sql_str()).execute(conn).await.map(drop)
}

/// `query_canceled`.
fn is_cancelled(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "57014")
}

fn refused(error: sqlx::Error) -> AskError {
    match error {
        sqlx::Error::Database(error) => AskError::Refused(error.message().to_owned()),
        error @ sqlx::Error::ColumnDecode { .. } => refused_by(&error),
        error => AskError::Store(error.into()),
    }
}

fn refused_by(error: &impl fmt::Display) -> AskError {
    AskError::Refused(error.to_string())
}

/// A name that the statement gives must not lead to something that is there already.
fn free(selection: &Selection, taken: &[String]) -> Result<(), AskError> {
    let found = selection.names().find(|name| taken.iter().any(|t| t.eq_ignore_ascii_case(name)));
    found.map_or(Ok(()), |name| Err(AskError::Taken(name.to_owned())))
}

impl Answer {
    /// Takes a row; false if it is one too many.
    fn take(&mut self, row: Asked, bytes: &mut usize) -> bool {
        *bytes +=
            row.0.iter().map(|(name, value)| name.len() + value.to_string().len()).sum::<usize>();
        if self.rows.len() as u64 >= SQL_ROWS_MAX || *bytes > SQL_BYTES_MAX {
            self.is_cut = true;
            return false;
        }
        self.rows.push(row);
        true
    }
}

fn of_sqlite(row: &SqliteRow) -> Result<Asked, sqlx::Error> {
    let mut columns = Vec::with_capacity(row.columns().len());
    for (at, column) in row.columns().iter().enumerate() {
        let kind = row.try_get_raw(at)?.type_info().name().to_owned();
        let value = match kind.as_str() {
            "NULL" => Value::Null,
            "INTEGER" => row.try_get::<i64, _>(at)?.into(),
            "REAL" => row.try_get::<f64, _>(at)?.into(),
            // Nothing in the views is binary.
            _ => row.try_get::<String, _>(at)?.into(),
        };
        columns.push((column.name().to_owned(), value));
    }
    Ok(Asked(columns))
}

/// A JSON object whose fields keep their order.
impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Asked;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Asked, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Asked(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}
