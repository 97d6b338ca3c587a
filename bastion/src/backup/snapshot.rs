//! The rows of a deployment, written down as they were at one moment.
//!
//! One transaction sees the facts, the customers' heads and the head of the log. Entries before
//! that head never change, so they are read after it, a thousand at a time, and hold up nobody.

use super::{
    BackupError,
    check::digest_of_key,
    file::{Piece, Writing, Written},
    reader::key_line,
    text::{Dialect, END, ROWS},
};
use crate::{
    args,
    ledger::head::Head,
    store::{Arg, Db, Row, StoreError, Tx},
};
use bastion_core::limits::{BACKUP_ENTRIES_AT_ONCE, BACKUP_PIECE_BYTES};
use futures_util::StreamExt as _;

/// Text on its way into the file.
pub(super) struct Text {
    dialect: Dialect,
    piece: String,
    writing: Writing,
}

/// What the snapshot saw that is written after the entries.
pub(super) struct Seen {
    pub size: u64,
    head: Vec<Arg>,
}

impl Text {
    /// Begins the text, after the lines of keys.
    pub fn begin(dialect: Dialect, preface: &str, writing: Writing) -> Self {
        Self { dialect, piece: format!("{preface}{ROWS}\n"), writing }
    }

    async fn row(&mut self, table: &str, values: &[Arg]) -> Result<(), BackupError> {
        self.dialect.row(table, values, &mut self.piece);
        match self.piece.len() < BACKUP_PIECE_BYTES {
            true => Ok(()),
            false => self.hand_on().await,
        }
    }

    async fn hand_on(&mut self) -> Result<(), BackupError> {
        self.writing.put(Piece::Text(std::mem::take(&mut self.piece))).await
    }

    /// All rows of a table.
    pub async fn table(&mut self, tx: &mut Tx, table: &str) -> Result<(), BackupError> {
        self.dialect.begin_table(table, &mut self.piece);
        let order = if table == KEYS { " ORDER BY recording" } else { "" };
        let mut rows = tx.stream(format!("SELECT * FROM {table}{order}"))?;
        while let Some(row) = rows.next().await {
            let mut values = values(&row?)?;
            if table == KEYS
                && let Some(Arg::Text(wrapped)) = values.get_mut(2)
            {
                *wrapped = digest_of_key(wrapped);
            }
            self.row(table, &values).await?;
        }
        self.dialect.end_table(&mut self.piece);
        Ok(())
    }

    /// Rows that were read before.
    pub async fn rows(&mut self, table: &str, rows: &[Vec<Arg>]) -> Result<(), BackupError> {
        self.dialect.begin_table(table, &mut self.piece);
        for row in rows {
            self.row(table, row).await?;
        }
        self.dialect.end_table(&mut self.piece);
        Ok(())
    }

    /// The rows of a table whose entries are before a size; answers how many.
    async fn before(&mut self, db: &Db, of: &OfEntries, size: u64) -> Result<u64, BackupError> {
        self.dialect.begin_table(of.table, &mut self.piece);
        let (mut from, mut count) = (0, 0);
        while from < size {
            let to = size.min(from + BACKUP_ENTRIES_AT_ONCE);
            for row in db.rows(of.sql, &args![from, to]).await? {
                self.row(of.table, &values(&row)?).await?;
                count += 1;
            }
            from = to;
        }
        self.dialect.end_table(&mut self.piece);
        Ok(count)
    }

    /// What the log had at the moment of the snapshot.
    pub async fn log(&mut self, db: &Db, seen: &Seen) -> Result<(), BackupError> {
        if self.before(db, &ENTRIES, seen.size).await? != seen.size {
            let lost = "entries are missing: run `bastion audit verify`";
            return Err(BackupError::Log(lost.into()));
        }
        self.before(db, &OPENINGS, seen.size).await?;
        self.dialect.begin_table("head", &mut self.piece);
        self.row("head", &seen.head).await?;
        self.dialect.end_table(&mut self.piece);
        Ok(())
    }

    /// Ends the text, and waits until all of it is on the disk.
    pub async fn finish(mut self) -> Result<Written, BackupError> {
        for line in END {
            self.piece.push_str(line);
            self.piece.push('\n');
        }
        self.hand_on().await?;
        self.writing.finish().await
    }
}

fn values(row: &Row) -> Result<Vec<Arg>, StoreError> {
    (0..row.width()).map(|column| row.any(column)).collect()
}

/// The table of the recordings' wrapped keys.
const KEYS: &str = "recording_keys";
/// What is written after the snapshot, by place, and last of all.
const LATER: [&str; 3] = ["entries", "openings", "head"];

struct OfEntries {
    table: &'static str,
    sql: &'static str,
}

const ENTRIES: OfEntries = OfEntries {
    table: "entries",
    sql: "SELECT * FROM entries WHERE seq >= $1 AND seq < $2 ORDER BY seq",
};
const OPENINGS: OfEntries = OfEntries {
    table: "openings",
    sql: "SELECT * FROM openings WHERE seq >= $1 AND seq < $2 ORDER BY seq, field",
};

/// Writes the lines of keys and the facts down, in one transaction; `begin` opens the file once it
/// is known how many entries and recordings there are.
pub(super) async fn facts<B>(db: &Db, begin: B) -> Result<(Text, Seen), BackupError>
where
    B: FnOnce(u64, u64) -> Result<Writing, BackupError> + Send + 'static,
{
    let dialect = Dialect::of(db.is_postgres());
    let taken = db.read(move |tx| Box::pin(async move { Ok(take(tx, dialect, begin).await) }));
    taken.await?
}

async fn take<B>(tx: &mut Tx, dialect: Dialect, begin: B) -> Result<(Text, Seen), BackupError>
where
    B: FnOnce(u64, u64) -> Result<Writing, BackupError> + Send,
{
    if dialect == Dialect::Postgres {
        // Longer than any other statement may take: the rows go at the pace of the disk.
        tx.script("SET LOCAL statement_timeout = '1h'").await?;
    }
    let head = Head::read_in(tx).await?;
    let size = head.ok_or_else(|| StoreError::failed("the log is empty"))?.size();
    let row = tx.row_opt("SELECT * FROM head", &[]).await?;
    let head = row.map(|row| values(&row)).transpose()?.unwrap_or_default();
    let count = tx.row_opt("SELECT COUNT(*) FROM recording_keys", &[]).await?;
    let count = count.map(|row| row.u64(0)).transpose()?.unwrap_or_default();
    let mut writing = begin(size, count)?;
    keys(tx, &mut writing).await?;
    let mut text = Text::begin(dialect, &dialect.preface(), writing);
    for table in dialect.tables().into_iter().filter(|table| !LATER.contains(table)) {
        text.table(tx, table).await?;
    }
    Ok((text, Seen { size, head }))
}

/// All rows of small tables, as they were at one moment.
pub(super) async fn rows_of(
    db: &Db,
    tables: &'static [&'static str],
) -> Result<Vec<(&'static str, Vec<Vec<Arg>>)>, StoreError> {
    db.read(move |tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            for table in tables {
                let mut stream = tx.stream(format!("SELECT * FROM {table}"))?;
                let mut rows = Vec::new();
                while let Some(row) = stream.next().await {
                    rows.push(values(&row?)?);
                }
                found.push((*table, rows));
            }
            Ok(found)
        })
    })
    .await
}

async fn keys(tx: &mut Tx, writing: &mut Writing) -> Result<(), BackupError> {
    let sql = "SELECT recording, wrapped_json FROM recording_keys ORDER BY recording";
    let mut rows = tx.stream(sql.to_owned())?;
    while let Some(row) = rows.next().await {
        let row = row?;
        writing.put(Piece::Key(key_line(&row.text(0)?, &row.text(1)?))).await?;
    }
    Ok(())
}
