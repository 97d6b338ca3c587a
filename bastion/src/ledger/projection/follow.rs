//! Following the log: read a chunk, fold it, write its rows and the cursor in one transaction.
//!
//! A crash in between loses nothing: the cursor says what was seen. On PostgreSQL several gateways
//! feed one index; whoever has the cursor's row does the next chunk.

use super::{
    ProjectionError,
    fold::{self, Contexts, Folded},
    schema,
};
use crate::{
    args,
    ledger::{Ledger, reading::Verified},
    metrics::{Alarm, METRICS},
    store::{Db, Query, StoreError, Tx},
};
use bastion_core::limits::{
    INDEX_CONTEXTS_MAX, INDEX_GATHER_MILLIS, INDEX_POLL_MILLIS, INDEX_ROWS_AT_ONCE,
};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};

/// The task that feeds the index.
pub(super) struct Follower {
    index: Db,
    ledger: Ledger,
    seen: watch::Sender<u64>,
    wanted: Arc<Notify>,
    contexts: Contexts,
}

impl Follower {
    /// Feeds `index` and says how far it is; `wanted` tells that somebody waits for it.
    pub fn new(
        index: Db,
        ledger: Ledger,
        (seen, wanted): (watch::Sender<u64>, Arc<Notify>),
    ) -> Self {
        Self { index, ledger, seen, wanted, contexts: Contexts::default() }
    }

    pub async fn run(mut self) {
        let mut size = self.ledger.size();
        loop {
            let outcome = advance(&self.index, &self.ledger, &mut self.contexts).await;
            METRICS.alarm(Alarm::Projection, outcome.is_err());
            match outcome {
                Ok(seen) => {
                    self.seen.send_replace(seen);
                    METRICS.projection_lag(size.borrow().saturating_sub(seen));
                }
                Err(error) => {
                    // The log does not wait for its index; queries say how far behind it is.
                    tracing::error!(%error, "the query index does not follow the log");
                    METRICS.projection_lag(size.borrow().saturating_sub(*self.seen.borrow()));
                    self.contexts = Contexts::default();
                    // A server that crashed has emptied the index, which is then begun anew.
                    if let Err(error) = schema::prepare(&self.index, &self.ledger).await {
                        tracing::warn!(%error, "the query index cannot be begun anew yet");
                    }
                }
            }
            // Another gateway's entries do not wake us, so look now and then.
            tokio::select! {
                changed = size.changed() => if changed.is_err() { return },
                () = self.wanted.notified() => continue,
                () = pause(INDEX_POLL_MILLIS) => continue,
            }
            // Many commits in one go cost a fraction of one by one, unless somebody waits.
            tokio::select! {
                () = self.wanted.notified() => {}
                () = pause(INDEX_GATHER_MILLIS) => {}
            }
        }
    }
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Folds what the index has not seen; answers how many entries it has seen then.
pub(super) async fn advance(
    index: &Db,
    log: &Ledger,
    contexts: &mut Contexts,
) -> Result<u64, ProjectionError> {
    loop {
        let mut tx = Tx::begin_write(index.writer().await?).await?;
        let cursor = take_cursor(&mut tx).await?;
        let end = cursor + INDEX_ROWS_AT_ONCE;
        let mut lines = log.lines(cursor, end).await?.with_openings(log.keys());
        let mut rows = Vec::new();
        while let Some(found) = lines.next().await? {
            look_up(&mut tx, contexts, &found).await?;
            let folded = fold::fold(&found.entry, &found.openings, contexts);
            rows.push(row(&found, folded));
        }
        let seen = cursor + rows.len() as u64;
        if rows.is_empty() {
            tx.rollback().await.map(drop)?;
            return Ok(seen);
        }
        write(&mut tx, &rows, contexts, seen).await?;
        tx.commit().await.map(drop)?;
        contexts.shrink(INDEX_CONTEXTS_MAX);
    }
}

async fn take_cursor(tx: &mut Tx) -> Result<u64, StoreError> {
    let sql = match tx.is_postgres() {
        true => "SELECT cursor FROM projection_state WHERE id = 1 FOR UPDATE",
        false => "SELECT cursor FROM projection_state WHERE id = 1",
    };
    let row = tx.row_opt(sql, &[]).await?;
    row.ok_or_else(|| StoreError::failed("the index has no cursor"))?.u64(0)
}

/// What the entry's row may have to take from an earlier one.
async fn look_up(
    tx: &mut Tx,
    contexts: &mut Contexts,
    found: &Verified,
) -> Result<(), ProjectionError> {
    for name in contexts.missing(&found.entry) {
        let mut query = Query::new("SELECT columns_json FROM contexts WHERE name = ");
        query.bind(&name);
        let rows = tx.query(&query).await?;
        let columns = rows.first().map(|row| row.text(0)).transpose()?;
        // What does not parse is an index of another build, which `made` rules out.
        let columns = columns.and_then(|json| serde_json::from_str(&json).ok());
        contexts.learn(name, columns);
    }
    Ok(())
}

/// The columns in the order of [`INSERT_SQLITE`].
fn row(found: &Verified, folded: Folded) -> serde_json::Value {
    let entry = &found.entry;
    let Folded { kind, actor_kind, columns, outcome, reason, text } = folded;
    let customer = entry.customer.as_ref().map(|link| &link.id);
    serde_json::json!([
        entry.seq,
        entry.time.micros(),
        kind,
        actor_kind,
        entry.actor.id,
        columns.operator,
        customer,
        columns.service,
        columns.vm,
        columns.instance,
        columns.account,
        columns.level,
        columns.lease,
        columns.session,
        columns.ticket,
        outcome,
        reason,
        text,
    ])
}

/// One statement for all rows; the two databases differ only in the name of a function.
macro_rules! insert_events {
    ($each:literal) => {
        concat!(
            "INSERT INTO events (seq, time, type, actor_kind, actor, operator, customer, service,
               vm, instance, account, level, lease, session, ticket, outcome, reason, text)
             SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), value ->> 2,
               value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
               value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
               value ->> 15, value ->> 16, value ->> 17 FROM ",
            $each
        )
    };
}
const INSERT_SQLITE: &str = insert_events!("json_each($1)");
const INSERT_POSTGRES: &str = insert_events!("json_array_elements($1::text::json) AS each (value)");

async fn write(
    tx: &mut Tx,
    rows: &[serde_json::Value],
    contexts: &mut Contexts,
    seen: u64,
) -> Result<(), StoreError> {
    let json =
        serde_json::to_string(rows).map_err(|error| StoreError::failed(error.to_string()))?;
    let insert = if tx.is_postgres() { INSERT_POSTGRES } else { INSERT_SQLITE };
    tx.run(insert, &args![json]).await?;
    for (name, columns) in contexts.take_fresh() {
        let json = serde_json::to_string(&columns)
            .map_err(|error| StoreError::failed(error.to_string()))?;
        tx.run(
            "INSERT INTO contexts (name, columns_json) VALUES ($1, $2)
             ON CONFLICT (name) DO UPDATE SET columns_json = excluded.columns_json",
            &args![name, json],
        )
        .await?;
    }
    tx.run("UPDATE projection_state SET cursor = $1 WHERE id = 1", &args![seen]).await.map(drop)
}
