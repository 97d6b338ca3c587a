//! The task that empties the outbox.
//!
//! Each notice is claimed before it is sent, by moving its next attempt into the future in a
//! transaction: two gateways do not send the same one at once, and a crash in between costs a
//! pause, never the notice.

use super::{
    hook::{self, HookName},
    webhook::{self, WebhookUrl},
};
use crate::{
    args, clock,
    ledger::{Ledger, LedgerError, NewEntry},
    metrics::{Alarm, METRICS},
    store::StoreError,
};
use audit_schema::{event::Event, time::Timestamp};
use bastion_core::{
    id::CustomerId,
    limits::{
        NOTICE_ALARM_ATTEMPTS, NOTICE_ATTEMPTS_MAX, NOTICE_PAUSE_SECONDS_MAX, NOTICE_SECONDS_MAX,
        NOTICE_SWEEP_MILLIS, NOTICES_PER_SWEEP_MAX,
    },
};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// What delivering takes.
pub struct Courier {
    /// Where the outbox is.
    pub ledger: Ledger,
    /// Signs what is posted.
    pub key: SigningKey,
    /// Where the deployment's hooks are.
    pub hooks: PathBuf,
}

/// A notice that is due.
struct Due {
    id: String,
    customer: CustomerId,
    payload: String,
    attempts: u64,
    next_at: i64,
    webhook: Option<String>,
    hook: Option<String>,
}

/// Runs for the life of the gateway.
pub async fn run(courier: Courier) {
    loop {
        match courier.sweep().await {
            Ok(late) => METRICS.alarm(Alarm::Notices, late),
            Err(error) => {
                tracing::warn!(%error, "the outbox of notices cannot be read");
                METRICS.alarm(Alarm::Notices, true);
            }
        }
        tokio::time::sleep(Duration::from_millis(NOTICE_SWEEP_MILLIS)).await;
    }
}

impl Courier {
    /// Sends what is due; answers whether any notice is late.
    pub async fn sweep(&self) -> Result<bool, LedgerError> {
        let now = clock::now();
        for due in self.due(now).await? {
            if !self.claim(&due).await? {
                continue;
            }
            match self.send(&due, now).await {
                Ok(()) => self.done(&due).await?,
                Err(why) => {
                    tracing::warn!(notice = due.id, attempts = due.attempts + 1, why, "not told");
                    if due.attempts + 1 >= NOTICE_ATTEMPTS_MAX {
                        self.give_up(&due).await?;
                    }
                }
            }
        }
        self.any_late().await
    }

    async fn due(&self, now: Timestamp) -> Result<Vec<Due>, StoreError> {
        let sql = "SELECT n.id, n.customer, n.payload_json, n.attempts, n.next_at, \
                   c.webhook_url, c.hook_command FROM notices n \
                   JOIN customers c ON c.id = n.customer \
                   WHERE n.done_at IS NULL AND n.next_at <= $1 ORDER BY n.next_at LIMIT $2";
        let rows = self.ledger.db().rows(sql, &args![now, NOTICES_PER_SWEEP_MAX]).await?;
        rows.iter()
            .map(|row| {
                Ok(Due {
                    id: row.text(0)?,
                    customer: row.parsed(1)?,
                    payload: row.text(2)?,
                    attempts: row.u64(3)?,
                    next_at: row.i64(4)?,
                    webhook: row.opt_text(5)?,
                    hook: row.opt_text(6)?,
                })
            })
            .collect()
    }

    /// Takes a notice for this attempt; false if another gateway was first.
    async fn claim(&self, due: &Due) -> Result<bool, LedgerError> {
        let pause = pause_seconds(due.attempts) + NOTICE_SECONDS_MAX.cast_signed();
        let (id, was) = (due.id.clone(), due.next_at);
        let claim = self.ledger.record("notice claim", move |batch| {
            Box::pin(async move {
                let next = batch.now().plus_seconds(pause);
                let sql = "UPDATE notices SET attempts = attempts + 1, next_at = $1 \
                           WHERE id = $2 AND next_at = $3 AND done_at IS NULL";
                Ok(batch.tx().run(sql, &args![next, id, was]).await? == 1)
            })
        });
        Ok(claim.await?.into_inner())
    }

    async fn send(&self, due: &Due, now: Timestamp) -> Result<(), String> {
        let body = self.body(&due.payload)?;
        // Both are tried, so that one that is broken does not silence the other.
        let posted = match &due.webhook {
            Some(url) => {
                let url: WebhookUrl = url.parse().map_err(|e| format!("webhook: {e}"))?;
                let header = webhook::signature(&self.key, now.seconds(), &body);
                webhook::post(&url, header, body.clone()).await
            }
            None => Ok(()),
        };
        let hooked = match &due.hook {
            Some(name) => {
                let name: HookName = name.parse().map_err(|e| format!("hook: {e}"))?;
                hook::run(&self.hooks, &name, &body).await
            }
            None => Ok(()),
        };
        posted.and(hooked)
    }

    /// The payload with the deployment's name in it.
    fn body(&self, payload: &str) -> Result<Vec<u8>, String> {
        let mut value: Value = serde_json::from_str(payload).map_err(|e| e.to_string())?;
        value["origin"] = Value::from(self.ledger.origin());
        Ok(value.to_string().into_bytes())
    }

    async fn done(&self, due: &Due) -> Result<(), LedgerError> {
        let id = due.id.clone();
        let done = self.ledger.record("notice done", move |batch| {
            Box::pin(async move {
                let now = batch.now();
                let sql = "UPDATE notices SET done_at = $1 WHERE id = $2";
                batch.tx().run(sql, &args![now, id]).await?;
                Ok(())
            })
        });
        done.await.map(crate::ledger::Recorded::into_inner)
    }

    /// The customer was not told and will not be: that is an event in its own chain.
    async fn give_up(&self, due: &Due) -> Result<(), LedgerError> {
        let (id, customer, attempts) = (due.id.clone(), due.customer.clone(), due.attempts + 1);
        let over = self.ledger.record("notice undelivered", move |batch| {
            Box::pin(async move {
                let now = batch.now();
                let sql = "UPDATE notices SET done_at = $1 WHERE id = $2";
                batch.tx().run(sql, &args![now, id.as_str()]).await?;
                let event = Event::NoticeUndelivered { attempts, notice: id };
                let actor = batch.gateway_actor();
                batch.append(NewEntry::new(actor, event).of_customer(&customer)).await?;
                Ok(())
            })
        });
        over.await.map(crate::ledger::Recorded::into_inner)
    }

    async fn any_late(&self) -> Result<bool, LedgerError> {
        let sql = "SELECT id FROM notices WHERE done_at IS NULL AND attempts >= $1 LIMIT 1";
        Ok(self.ledger.db().row_opt(sql, &args![NOTICE_ALARM_ATTEMPTS]).await?.is_some())
    }
}

/// 1, 2, 4 … seconds, at most an hour.
fn pause_seconds(attempts: u64) -> i64 {
    let doubled = 1_i64 << attempts.min(20);
    doubled.min(NOTICE_PAUSE_SECONDS_MAX)
}
