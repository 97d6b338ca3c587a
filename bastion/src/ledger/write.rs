//! Writing a batch: lines, openings, heads, one commit; then reading the lines back.
//!
//! Each kind of row goes in with one statement whatever the number of rows: a row at a time is
//! bound by hops between threads, not by the disk. SQLite has no arrays, so lines travel as one
//! packed blob with their places as JSON; the bytes are exact either way.

use super::{
    batch::{Opened, Parts, Pending},
    head::Head,
    hooks::{Fault, Hooks, Step},
};
use crate::{
    args,
    store::{Arg, StoreError, Tx, tx::Conn},
};
use audit_schema::{hash::Hash, merkle};
use bastion_core::limits::{COMMIT_SECONDS_MAX, POSTGRES_STATEMENT_SECONDS_MAX};
use std::{future::Future, ops::Range, time::Duration};

/// How a batch failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing was written, and nothing will be.
    NotWritten(StoreError),
    /// It may or may not be in the log.
    Unknown(String),
}

/// Writes a batch and commits it; answers the connection for the next one, and what was written.
pub(super) async fn write(parts: Parts, hooks: &Hooks) -> Result<(Conn, Vec<Pending>), Failure> {
    let Parts { mut tx, before, head, pending, openings, customers } = parts;
    let work = async {
        step(hooks, Step::Entries, insert_entries(&mut tx, &pending)).await?;
        if !openings.is_empty() {
            step(hooks, Step::Openings, insert_openings(&mut tx, &openings)).await?;
        }
        if !customers.is_empty() {
            step(hooks, Step::CustomerHeads, upsert_customers(&mut tx, &customers)).await?;
        }
        step(hooks, Step::Head, head.replace(&before, &mut tx)).await
    };
    // Dropping the transaction at an error closes its connection, which rolls it back.
    bounded(POSTGRES_STATEMENT_SECONDS_MAX, work).await.map_err(|error| {
        match error.is_doubtful() {
            true => Failure::Unknown(error.to_string()),
            false => Failure::NotWritten(error),
        }
    })?;
    let conn = commit(tx, hooks).await?;
    let conn = read_back(conn, &before, &pending, hooks).await?;
    Ok((conn, pending))
}

async fn commit(tx: Tx, hooks: &Hooks) -> Result<Conn, Failure> {
    // If we crash here, the next start finds the whole batch or nothing of it.
    let committed = step(hooks, Step::Commit, tx.commit());
    bounded(COMMIT_SECONDS_MAX, committed).await.map_err(|error| match error {
        // SQLite rolls a full disk back before it answers; the caller makes sure.
        StoreError::Full => Failure::NotWritten(StoreError::Full),
        other => Failure::Unknown(format!("the commit failed: {other}")),
    })
}

/// What is on the disk must be what was hashed, before anybody hears that it is.
async fn read_back(
    mut conn: Conn,
    before: &Head,
    pending: &[Pending],
    hooks: &Hooks,
) -> Result<Conn, Failure> {
    let range = before.size()..before.size() + pending.len() as u64;
    let reading = step(hooks, Step::ReadBack, lines_of(&mut conn, range));
    let unknown = |fault: String| Failure::Unknown(format!("reading the batch back: {fault}"));
    let lines = bounded(POSTGRES_STATEMENT_SECONDS_MAX, reading)
        .await
        .map_err(|error| unknown(error.to_string()))?;
    if lines.len() != pending.len() {
        return Err(unknown(format!("{} of {} lines are there", lines.len(), pending.len())));
    }
    for (line, written) in lines.iter().zip(pending) {
        if merkle::leaf_hash(line) != written.leaf {
            return Err(unknown(format!("entry {} is not what was written", written.seq)));
        }
    }
    Ok(conn)
}

/// As many different places of that range as it has are all of it, in its order.
const LINES: &str = "SELECT line FROM entries WHERE seq >= $1 AND seq < $2 ORDER BY seq";
/// The same as one row: a row each is most of the work of SQLite's thread and ours. No line has a
/// newline in it; one that did, or that came out of its place, would not be what was hashed.
const LINES_IN_ONE: &str = "SELECT group_concat(CAST(line AS TEXT), char(10))
    FROM entries WHERE seq >= $1 AND seq < $2";

async fn lines_of(conn: &mut Conn, range: Range<u64>) -> Result<Vec<Vec<u8>>, StoreError> {
    let range = args![range.start, range.end];
    if let Conn::Postgres(_) = conn {
        let rows = conn.rows(LINES, &range).await?;
        return rows.iter().map(|row| row.bytes(0)).collect();
    }
    let rows = conn.rows(LINES_IN_ONE, &range).await?;
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    Ok(row.bytes(0)?.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

/// A write, or the fault that a test put in its place.
pub(super) async fn step<T>(
    hooks: &Hooks,
    step: Step,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let injected = || StoreError::failed(format!("injected at {step:?}"));
    match (hooks.fault)(step) {
        Fault::None => work.await,
        Fault::Before => Err(injected()),
        Fault::After => work.await.and_then(|_| Err(injected())),
        Fault::Full => Err(StoreError::Full),
    }
}

/// Every step has its time.
pub(super) async fn bounded<T>(
    seconds: u64,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::time::timeout(Duration::from_secs(seconds), work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable(format!("no answer within {seconds} s"))))
}

/// `json_each` goes through an array in its order, and the trigger of `entries` refuses any other.
const ENTRIES_SQLITE: &str = "INSERT INTO entries (seq, line)
    SELECT $1 + key, substr($2, (value >> 16) + 1, value & 65535) FROM json_each($3)";
const ENTRIES_POSTGRES: &str = "INSERT INTO entries (seq, line)
    SELECT * FROM UNNEST($1::bigint[], $2::bytea[])";

async fn insert_entries(tx: &mut Tx, pending: &[Pending]) -> Result<(), StoreError> {
    let Some(first) = pending.first() else {
        return Ok(());
    };
    let inserted = if tx.is_postgres() {
        let seqs = pending.iter().map(|entry| entry.seq as i64).collect();
        let lines = pending.iter().map(|entry| entry.line.clone()).collect();
        tx.run(ENTRIES_POSTGRES, &[Arg::I64s(seqs), Arg::Blobs(lines)]).await?
    } else {
        let mut blob = Vec::with_capacity(pending.iter().map(|entry| entry.line.len()).sum());
        let mut places = Vec::with_capacity(pending.len());
        for entry in pending {
            // A line has at most 65,535 bytes (`Entry::to_line` refuses more): 16 bits hold it.
            places.push((blob.len() << 16 | entry.line.len()) as u64);
            blob.extend(&entry.line);
        }
        tx.run(ENTRIES_SQLITE, &args![first.seq, blob, json(&places)?]).await?
    };
    all_rows(inserted, pending.len())
}

const OPENINGS_SQLITE: &str = "INSERT INTO openings (seq, field, key, sealed)
    SELECT value ->> 0, value ->> 1, value ->> 2, substr($1, (value ->> 3) + 1, value ->> 4)
    FROM json_each($2)";
const OPENINGS_POSTGRES: &str = "INSERT INTO openings (seq, field, key, sealed)
    SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::bigint[], $4::bytea[])";

async fn insert_openings(tx: &mut Tx, openings: &[Opened]) -> Result<(), StoreError> {
    let inserted = if tx.is_postgres() {
        let seqs = openings.iter().map(|opened| opened.seq as i64).collect();
        let fields = openings.iter().map(|opened| Some(opened.field.to_owned())).collect();
        let keys = openings.iter().map(|opened| opened.key).collect();
        let sealed = openings.iter().map(|opened| opened.sealed.clone()).collect();
        let args = [Arg::I64s(seqs), Arg::Texts(fields), Arg::I64s(keys), Arg::Blobs(sealed)];
        tx.run(OPENINGS_POSTGRES, &args).await?
    } else {
        let mut blob = Vec::with_capacity(openings.iter().map(|one| one.sealed.len()).sum());
        let mut rows = Vec::with_capacity(openings.len());
        for opened in openings {
            let (at, length) = (blob.len(), opened.sealed.len());
            rows.push((opened.seq, opened.field, opened.key, at, length));
            blob.extend(&opened.sealed);
        }
        tx.run(OPENINGS_SQLITE, &args![blob, json(&rows)?]).await?
    };
    all_rows(inserted, openings.len())
}

const CUSTOMERS_SQLITE: &str = "INSERT INTO customer_heads (customer, seq, leaf)
    SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM json_each($1) WHERE true
    ON CONFLICT (customer) DO UPDATE SET seq = excluded.seq, leaf = excluded.leaf";
const CUSTOMERS_POSTGRES: &str = "INSERT INTO customer_heads (customer, seq, leaf)
    SELECT * FROM UNNEST($1::text[], $2::bigint[], $3::bytea[])
    ON CONFLICT (customer) DO UPDATE SET seq = excluded.seq, leaf = excluded.leaf";

async fn upsert_customers(
    tx: &mut Tx,
    customers: &[(String, (u64, Hash))],
) -> Result<(), StoreError> {
    let written = if tx.is_postgres() {
        let ids = customers.iter().map(|(id, _)| Some(id.clone())).collect();
        let seqs = customers.iter().map(|(_, (seq, _))| *seq as i64).collect();
        let leaves = customers.iter().map(|(_, (_, leaf))| leaf.0.to_vec()).collect();
        let args = [Arg::Texts(ids), Arg::I64s(seqs), Arg::Blobs(leaves)];
        tx.run(CUSTOMERS_POSTGRES, &args).await?
    } else {
        let rows: Vec<_> =
            customers.iter().map(|(id, (seq, leaf))| (id, seq, leaf.to_string())).collect();
        tx.run(CUSTOMERS_SQLITE, &args![json(&rows)?]).await?
    };
    all_rows(written, customers.len())
}

fn json(rows: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(rows).map_err(|error| StoreError::failed(error.to_string()))
}

fn all_rows(written: u64, expected: usize) -> Result<(), StoreError> {
    match written == expected as u64 {
        true => Ok(()),
        false => Err(StoreError::failed(format!("{written} of {expected} rows were written"))),
    }
}
