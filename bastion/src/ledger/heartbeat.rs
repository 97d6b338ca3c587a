//! Heartbeats: an entry now and then that says that there was nothing to say.
//!
//! Without one, a log in which nothing happened and one whose end was cut off look alike. And each
//! holds the root of the map of customers ([`audit_schema::customers`]): where every customer's
//! own chain had come to, under blinded ids. So a customer whose entries are handed out up to a
//! heartbeat can check that none is missing at the end, and sees nothing of anybody else.
//!
//! The map itself is not kept: it is made again from the customers' heads as they are now and the
//! entries since, each of which names the one before it. Several gateways on one log share one
//! heartbeat: whoever is first within the time makes it.

use super::{
    Batch, ChangeError, Ledger, LedgerError, NewEntry,
    head::{CUSTOMER_HEADS, customer_head},
    reading::{ReadError, lines},
};
use crate::{
    args,
    metrics::{Alarm, METRICS},
    store::{Db, StoreError},
};
use audit_schema::{
    customers::{CustomerMap, Row, blinded},
    entry::Entry,
    event::Event,
    hash::Hash,
    time::Timestamp,
};
use bastion_core::limits::HEARTBEAT_RETRY_SECONDS;
use std::{collections::BTreeMap, time::Duration};

/// Where each customer's chain ends: the number of its last entry there, and its leaf hash.
pub type Ends = BTreeMap<String, (u64, Hash)>;

/// A heartbeat.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// Its place in the log.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
}

const LAST: &str = "log.heartbeat";
const BLIND: &str = "customer.blind.";

impl Ledger {
    /// The last heartbeat, if there was one.
    pub async fn last_heartbeat(&self) -> Result<Option<Heartbeat>, ReadError> {
        last_in(self.db()).await
    }

    /// Enters a heartbeat, unless somebody has within this time. Answers when the next is due.
    pub async fn heartbeat(&self, every: Duration) -> Result<Duration, LedgerError> {
        let micros = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
        let made = self.record("heartbeat", move |batch| {
            Box::pin(async move {
                let since = batch.now().micros() - last(batch).await?.micros();
                if since < micros {
                    let due = u64::try_from(micros - since).unwrap_or_default();
                    return Ok(Duration::from_micros(due));
                }
                enter(batch).await?;
                Ok(every)
            })
        });
        made.await.map(super::Recorded::into_inner)
    }

    /// Where each customer's chain ended at a heartbeat: made again from what stands there now.
    pub async fn ends_at(&self, heartbeat: u64) -> Result<Ends, ReadError> {
        let rows = self.db().rows(CUSTOMER_HEADS, &[]).await?;
        let mut ends: Ends = rows.iter().map(customer_head).collect::<Result<_, _>>()?;
        // Read after the ends, so that whatever moved one of them is among these.
        let mut since = lines(self.db(), heartbeat, u64::MAX).await?;
        let mut seen = std::collections::BTreeSet::new();
        while let Some(found) = since.next().await? {
            let Some(link) = found.entry.customer else { continue };
            if !seen.insert(link.id.clone()) {
                continue;
            }
            match link.seq.checked_sub(1) {
                Some(before) => drop(ends.insert(link.id, (before, link.prev))),
                None => drop(ends.remove(&link.id)),
            }
        }
        Ok(ends)
    }

    /// The map over ends of chains.
    pub async fn map_of(&self, ends: &Ends) -> Result<CustomerMap, LedgerError> {
        let mut rows = Vec::with_capacity(ends.len());
        for (customer, (seq, head)) in ends {
            let blind = self.blind(customer).await?;
            rows.push(Row { customer: blinded(customer, &blind.0), head: *head, seq: *seq });
        }
        CustomerMap::new(rows).ok_or_else(|| twice().into())
    }

    /// What a customer's id is blinded with.
    pub async fn blind(&self, customer: &str) -> Result<Hash, LedgerError> {
        let row = self.db().row_opt(SETTING, &args![format!("{BLIND}{customer}")]).await?;
        let none = || StoreError::failed("a customer has no blind: it was in no heartbeat yet");
        Ok(row.ok_or_else(none)?.parsed(0)?)
    }
}

/// The last heartbeat of a log that is only read.
pub async fn last_in(db: &Db) -> Result<Option<Heartbeat>, ReadError> {
    let row = db.row_opt(SETTING, &args![LAST]).await?;
    let Some(seq) = row.map(|row| row.parsed(0)).transpose()? else { return Ok(None) };
    let found = lines(db, seq, seq + 1).await?.next().await?;
    Ok(found.map(|found| Heartbeat { seq, time: found.entry.time }))
}

const SETTING: &str = "SELECT value FROM settings WHERE key = $1";
const SET: &str = "INSERT INTO settings (key, value) VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// When the last heartbeat was; before the first, when the log began.
async fn last(batch: &mut Batch) -> Result<Timestamp, ChangeError> {
    let row = batch.tx().row_opt(SETTING, &args![LAST]).await?;
    let seq = row.map_or(Ok(0), |row| row.parsed::<u64>(0))?;
    let sql = "SELECT line FROM entries WHERE seq = $1";
    let row = batch.tx().row_opt(sql, &args![seq]).await?;
    let line = row.ok_or_else(|| StoreError::failed("the last heartbeat is missing"))?.bytes(0)?;
    let entry = Entry::parse(&line).map_err(|bad| StoreError::Shape(bad.to_string()))?;
    Ok(entry.time)
}

async fn enter(batch: &mut Batch) -> Result<(), ChangeError> {
    let mut rows = Vec::new();
    for (customer, (seq, head)) in batch.customer_ends().await? {
        let blind = blind(batch, &customer).await?;
        rows.push(Row { customer: blinded(&customer, &blind.0), head, seq });
    }
    let map = CustomerMap::new(rows).ok_or_else(twice)?.head();
    let event = Event::Heartbeat { customers: map.size, map: map.root.to_string() };
    let actor = batch.gateway_actor();
    let seq = batch.append(NewEntry::new(actor, event)).await?;
    batch.tx().run(SET, &args![LAST, seq.to_string()]).await?;
    Ok(())
}

/// A customer's blind, drawn at the first heartbeat that it is in.
async fn blind(batch: &mut Batch, customer: &str) -> Result<Hash, ChangeError> {
    let key = format!("{BLIND}{customer}");
    if let Some(row) = batch.tx().row_opt(SETTING, &args![&key]).await? {
        return Ok(row.parsed(0)?);
    }
    let mut drawn = [0; 32];
    aws_lc_rs::rand::fill(&mut drawn)
        .map_err(|_| StoreError::failed("the system has no randomness"))?;
    let blind = Hash(drawn);
    batch.tx().run(SET, &args![&key, blind.to_string()]).await?;
    Ok(blind)
}

fn twice() -> StoreError {
    StoreError::failed("a customer stands in the map twice")
}

/// Heartbeats for as long as the task lives.
pub async fn run(ledger: Ledger, every: Duration) {
    loop {
        let next = match ledger.heartbeat(every).await {
            Ok(due) => {
                METRICS.alarm(Alarm::Heartbeat, false);
                due
            }
            Err(LedgerError::Closed) => return,
            Err(error) => {
                METRICS.alarm(Alarm::Heartbeat, true);
                tracing::error!(%error, "no heartbeat could be entered");
                Duration::from_secs(HEARTBEAT_RETRY_SECONDS)
            }
        };
        tokio::time::sleep(next).await;
    }
}
