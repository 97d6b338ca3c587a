//! Following the log: read a chunk, fold it, write its rows and the cursor in one transaction.
//!
//! A crash in between loses nothing: the cursor says what was seen. On PostgreSQL several gateways
//! feed one index; whoever has the cursor's row does the next chunk.

use super::{
    ProjectionError,
    chunk::Chunk,
    fold::{self, Contexts},
    schema,
};
use crate::{
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
    seen: Arc<watch::Sender<u64>>,
    wanted: Arc<Notify>,
    contexts: Contexts,
}

impl Follower {
    /// Feeds `index` and says how far it is; `wanted` tells that somebody waits for it.
    pub fn new(
        index: Db,
        ledger: Ledger,
        (seen, wanted): (Arc<watch::Sender<u64>>, Arc<Notify>),
    ) -> Self {
        Self { index, ledger, seen, wanted, contexts: Contexts::default() }
    }

    pub async fn run(mut self) {
        let mut size = self.ledger.size();
        loop {
            let outcome = advance(&self.index, &self.ledger, &mut self.contexts, &self.seen).await;
            METRICS.alarm(Alarm::Projection, outcome.is_err());
            match outcome {
                Ok(seen) => {
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

/// Folds what the index has not seen; says after each chunk how many entries it has seen, and
/// answers how many there are at the end.
pub(super) async fn advance(
    index: &Db,
    log: &Ledger,
    contexts: &mut Contexts,
    sign: &watch::Sender<u64>,
) -> Result<u64, ProjectionError> {
    loop {
        let mut tx = Tx::begin_write(index.writer().await?).await?;
        let cursor = take_cursor(&mut tx).await?;
        let end = cursor + INDEX_ROWS_AT_ONCE;
        let mut lines = log.lines(cursor, end).await?.with_openings(log.keys());
        let mut chunk = Chunk::new(tx.is_postgres());
        while let Some(found) = lines.next().await? {
            look_up(&mut tx, contexts, &found).await?;
            let folded = fold::fold(&found.entry, &found.openings, contexts);
            chunk.push(&found.entry, folded);
        }
        let more = chunk.len();
        if more == 0 {
            tx.rollback().await.map(drop)?;
            sign.send_replace(cursor);
            return Ok(cursor);
        }
        chunk.write(&mut tx, contexts, cursor + more).await?;
        tx.commit().await.map(drop)?;
        sign.send_replace(cursor + more);
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
