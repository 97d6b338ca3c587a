//! How the schema comes to be: numbered SQL files that are part of this program.
//!
//! Each that was applied stands in `migrations` with the digest of its text. A database that was
//! made by other text is not ours to write to, however similar it looks.

use super::{Db, StoreError, Tx, tx::Conn};
use crate::args;
use audit_schema::hash::Hash;
use sqlx::SqlSafeStr as _;

/// The files for one database, oldest first; the version is the place in the list, from 1.
type Files = &'static [&'static str];

const SQLITE: Files = &[
    include_str!("../../migrations/sqlite/0001_init.sql"),
    include_str!("../../migrations/sqlite/0002_destinations.sql"),
    include_str!("../../migrations/sqlite/0003_erasure.sql"),
    include_str!("../../migrations/sqlite/0004_approvers.sql"),
    include_str!("../../migrations/sqlite/0005_vms.sql"),
    include_str!("../../migrations/sqlite/0006_session_ends.sql"),
    include_str!("../../migrations/sqlite/0007_touched.sql"),
];
const POSTGRES: Files = &[
    include_str!("../../migrations/postgres/0001_init.sql"),
    include_str!("../../migrations/postgres/0002_destinations.sql"),
    include_str!("../../migrations/postgres/0003_erasure.sql"),
    include_str!("../../migrations/postgres/0004_approvers.sql"),
    include_str!("../../migrations/postgres/0005_vms.sql"),
    include_str!("../../migrations/postgres/0006_session_ends.sql"),
    include_str!("../../migrations/postgres/0007_touched.sql"),
];

/// Brings the schema up if that was asked for, and checks that it is the one of this build.
pub(crate) async fn migrate(db: &Db, create: bool) -> Result<(), StoreError> {
    let files = if db.is_postgres() { POSTGRES } else { SQLITE };
    let mut applied = applied(db).await?;
    if create {
        for (index, text) in files.iter().enumerate().skip(applied.len()) {
            apply(db, index + 1, text).await?;
            applied.push(Hash::of(text.as_bytes()).to_string());
        }
    }
    let wanted: Vec<String> =
        files.iter().map(|text| Hash::of(text.as_bytes()).to_string()).collect();
    match (applied == wanted, applied.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => Err(StoreError::Unfit(
            "the store is empty: make a deployment with `bastion init` first".into(),
        )),
        (false, false) => Err(StoreError::Unfit(format!(
            "the store's schema is of another build ({} migrations there, {} here): run the \
             build that made it",
            applied.len(),
            wanted.len()
        ))),
    }
}

/// The schema as a script that makes it in an empty database, with the rows that say which text it
/// was made by: what a backup begins with.
pub(crate) fn script(postgres: bool) -> String {
    let files = if postgres { POSTGRES } else { SQLITE };
    let mut script = format!("{MIGRATIONS_TABLE};\n");
    for (index, text) in files.iter().enumerate() {
        let digest = Hash::of(text.as_bytes());
        let version = index + 1;
        script += text;
        script += &format!(
            "\nINSERT INTO migrations (version, digest) VALUES ({version}, '{digest}');\n"
        );
    }
    script
}

/// Every table that the files make, in their order, but for the one of the migrations.
pub(crate) fn tables(postgres: bool) -> Vec<&'static str> {
    let files = if postgres { POSTGRES } else { SQLITE };
    let lines = files.iter().flat_map(|text| text.lines());
    let made = lines.filter_map(|line| line.strip_prefix("CREATE TABLE "));
    let mut tables = Vec::new();
    for table in made.filter_map(|rest| rest.split([' ', '(']).next()) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

const MIGRATIONS_TABLE: &str = "CREATE TABLE IF NOT EXISTS migrations
         (version BIGINT PRIMARY KEY, digest TEXT NOT NULL)";

/// Whether the table of migrations is there, in either database's words.
const HAS_TABLE_SQLITE: &str =
    "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'migrations'";
const HAS_TABLE_POSTGRES: &str = "SELECT COUNT(to_regclass('migrations'))";

async fn applied(db: &Db) -> Result<Vec<String>, StoreError> {
    let has_table = if db.is_postgres() { HAS_TABLE_POSTGRES } else { HAS_TABLE_SQLITE };
    let there = db.row_opt(has_table, &[]).await?;
    if !there.map(|row| row.bool(0)).transpose()?.unwrap_or(false) {
        return Ok(Vec::new());
    }
    let rows = db.rows("SELECT digest FROM migrations ORDER BY version", &[]).await?;
    rows.iter().map(|row| row.text(0)).collect()
}

/// One file, in one transaction with the row that says so.
async fn apply(db: &Db, version: usize, text: &'static str) -> Result<(), StoreError> {
    let mut tx = Tx::begin_write(db.writer().await?).await?;
    tx.script(MIGRATIONS_TABLE).await?;
    tx.script(text).await?;
    tx.run(
        "INSERT INTO migrations (version, digest) VALUES ($1, $2)",
        &args![version as u64, Hash::of(text.as_bytes()).to_string()],
    )
    .await?;
    tx.commit().await.map(drop)
}

impl Tx {
    /// Many statements without arguments.
    pub(crate) async fn script(&mut self, text: &'static str) -> Result<(), StoreError> {
        self.conn()?.script(text).await?;
        Ok(())
    }
}

impl Conn {
    async fn script(&mut self, text: &'static str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(text.into_sql_str());
        match self {
            Self::Sqlite(conn) => script.execute(&mut **conn).await.map(drop),
            Self::Postgres(conn) => script.execute(&mut **conn).await.map(drop),
        }
    }
}
