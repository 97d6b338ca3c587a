//! The index's tables, and whose they are.

use super::{ProjectionError, views};
use crate::{
    args,
    ledger::{Ledger, head::Head},
    store::{Db, StoreError, Tx},
};
use audit_schema::hash::Hash;

/// The schema that holds the tables on PostgreSQL.
pub(super) const NAME: &str = "projection";

/// Everything can be dropped at will. `words` is the full-text index of what the entries'
/// commitments open to; the texts themselves are not here, and their words must be in no log of
/// the database, so PostgreSQL's tables are unlogged. After a crash of the server all of them are
/// empty, and the index is begun anew. Every index ends in `seq`, so that a page of any filter is
/// read in the order of the entries. `counts` is what a count of any grouping is added up from: one
/// row for each combination that occurs, with the day on which its week begins.
macro_rules! tables {
    ($table:literal, $words:literal) => {
        concat!(
            "
DROP TABLE IF EXISTS projection_state;
DROP TABLE IF EXISTS events;
DROP TABLE IF EXISTS contexts;
DROP TABLE IF EXISTS words;
DROP TABLE IF EXISTS counts;
",
            $table,
            " projection_state (
    id     BIGINT PRIMARY KEY CHECK (id = 1),
    made   TEXT NOT NULL,
    cursor BIGINT NOT NULL
);
",
            $table,
            " events (
    seq        BIGINT PRIMARY KEY,
    time       BIGINT NOT NULL,
    type       TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor      TEXT NOT NULL,
    operator   TEXT,
    customer   TEXT,
    service    TEXT,
    vm         TEXT,
    instance   TEXT,
    account    TEXT,
    level      TEXT,
    lease      TEXT,
    session    TEXT,
    ticket     TEXT,
    outcome    TEXT,
    reason     TEXT
);
CREATE INDEX events_time ON events (time, seq);
CREATE INDEX events_type ON events (type, seq);
CREATE INDEX events_customer ON events (customer, seq);
CREATE INDEX events_operator ON events (operator, seq);
CREATE INDEX events_service ON events (service, seq);
CREATE INDEX events_outcome ON events (outcome, seq);
CREATE INDEX events_instance ON events (instance, seq);
CREATE INDEX events_vm ON events (vm, seq);
CREATE INDEX events_lease ON events (lease, seq);
CREATE INDEX events_session ON events (session, seq);
CREATE INDEX events_ticket ON events (ticket, seq);
",
            $table,
            " contexts (
    name         TEXT PRIMARY KEY,
    columns_json TEXT NOT NULL
);
",
            $table,
            " counts (
    week     BIGINT NOT NULL,
    type     TEXT NOT NULL,
    operator TEXT NOT NULL,
    customer TEXT NOT NULL,
    entries  BIGINT NOT NULL,
    PRIMARY KEY (week, type, operator, customer)
);
",
            $words
        )
    };
}
const TABLES_SQLITE: &str = tables!(
    "CREATE TABLE",
    "
CREATE VIRTUAL TABLE words USING fts5 (
    told, withheld, content = '', columnsize = 0, tokenize = 'ascii'
);
"
);
const TABLES_POSTGRES: &str = tables!(
    "CREATE UNLOGGED TABLE",
    "
CREATE UNLOGGED TABLE words (
    seq   BIGINT PRIMARY KEY,
    words TSVECTOR NOT NULL
);
CREATE INDEX words_words ON words USING gin (words);
"
);

/// Makes the tables if they are not there, or of another log or build; answers how many entries
/// the index has seen.
pub(super) async fn prepare(index: &Db, ledger: &Ledger) -> Result<u64, ProjectionError> {
    let made = made_for(index, ledger).await?;
    let size = Head::read(ledger.db()).await?.size();
    if has_state(index).await? {
        let row = index.row_opt("SELECT made, cursor FROM projection_state", &[]).await?;
        if let Some(row) = row
            && row.text(0)? == made
            && row.u64(1)? <= size
        {
            return Ok(row.u64(1)?);
        }
    }
    reset(index, ledger).await?;
    Ok(0)
}

/// How many entries the index has seen, by its own word.
pub(super) async fn cursor(index: &Db) -> Result<Option<u64>, StoreError> {
    let row = index.row_opt("SELECT cursor FROM projection_state WHERE id = 1", &[]).await?;
    row.map(|row| row.u64(0)).transpose()
}

/// Drops every row.
pub(super) async fn reset(index: &Db, ledger: &Ledger) -> Result<(), ProjectionError> {
    let made = made_for(index, ledger).await?;
    let mut tx = Tx::begin_write(index.writer().await?).await?;
    if tx.is_postgres() {
        tx.script("CREATE SCHEMA IF NOT EXISTS projection").await?;
    }
    tx.script(views::DROP).await?;
    tx.script(tables(index)).await?;
    tx.script(views_of(index)).await?;
    tx.run("INSERT INTO projection_state (id, made, cursor) VALUES (1, $1, 0)", &args![made])
        .await?;
    tx.commit().await.map(drop)?;
    Ok(())
}

fn views_of(index: &Db) -> &'static str {
    if index.is_postgres() { views::POSTGRES } else { views::SQLITE }
}

fn tables(index: &Db) -> &'static str {
    if index.is_postgres() { TABLES_POSTGRES } else { TABLES_SQLITE }
}

/// What an index must say that it was made for: this log, these tables and this fold, and nothing
/// erased since.
async fn made_for(index: &Db, ledger: &Ledger) -> Result<String, ProjectionError> {
    /// Raised whenever the fold gives another row for the same entry.
    const FOLD: u32 = 1;
    let genesis = ledger.entry(0).await?.map_or(Hash::ZERO, |found| found.leaf);
    let tables = Hash::of([tables(index), views_of(index)].concat().as_bytes());
    let erased = ledger.db().row_opt("SELECT COUNT(*) FROM erasures", &[]).await?;
    let erased = erased.map(|row| row.u64(0)).transpose()?.unwrap_or_default();
    Ok(format!("{genesis} {tables} {FOLD} {erased}"))
}

async fn has_state(index: &Db) -> Result<bool, StoreError> {
    let ask = match index.is_postgres() {
        true => "SELECT COUNT(to_regclass('projection.projection_state'))",
        false => "SELECT COUNT(*) FROM sqlite_schema WHERE name = 'projection_state'",
    };
    index.row_opt(ask, &[]).await?.map_or(Ok(false), |row| row.bool(0))
}
