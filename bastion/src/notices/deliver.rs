//! The task that empties the outbox.
//!
//! A notice leaves the outbox when it was delivered, or given up, and either stands in the
//! customer's log: so the customer can prove what it was told and when. How often a notice was
//! tried is remembered by the process alone; a new start tries at once.
//!
//! Of several gateways on one log, the one that wrote a notice delivers it; if it is not gone from
//! the outbox after a while, whoever sees it does.

use super::{
    Trust,
    hook::{self, HookName},
    webhook::{self, WebhookUrl},
};
use crate::{
    args, clock,
    ledger::{Ledger, LedgerError, NewEntry},
    metrics::{Alarm, METRICS},
    store::StoreError,
};
use audit_schema::event::Event;
use bastion_core::{
    id::CustomerId,
    limits::{
        NOTICE_ALARM_ATTEMPTS, NOTICE_ATTEMPTS_MAX, NOTICE_PAUSE_SECONDS_MAX, NOTICE_SWEEP_MILLIS,
        NOTICE_TAKEOVER_SECONDS, NOTICES_PER_SWEEP_MAX,
    },
};
use ed25519_dalek::SigningKey;
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    time::Duration,
};
use tokio::time::Instant;

/// What delivering takes.
pub struct Courier {
    /// Where the outbox is.
    pub ledger: Ledger,
    /// Signs what is posted.
    pub key: SigningKey,
    /// Where the deployment's hooks are.
    pub hooks: PathBuf,
    /// Whose certificates webhooks may show.
    pub trust: Trust,
}

/// A notice that is in the outbox.
struct Waiting {
    id: String,
    customer: CustomerId,
    payload: String,
    webhook: Option<String>,
    hook: Option<String>,
}

/// How often a notice was tried, and when it is tried again.
#[derive(Clone, Copy)]
pub struct Tried {
    times: u64,
    next: Instant,
}

impl Tried {
    /// Forgets the pause before the next try.
    #[cfg(test)]
    pub fn at_once(&mut self) {
        self.next = Instant::now();
    }
}

/// What this process remembers of the notices that it tried in vain.
pub type Tries = HashMap<String, Tried>;

/// Runs for the life of the gateway.
pub async fn run(courier: Courier) {
    let mut tries = Tries::new();
    loop {
        match courier.sweep(&mut tries).await {
            Ok(late) => METRICS.alarm(Alarm::Notices, late),
            Err(error) => {
                tracing::warn!(%error, "notices cannot be delivered");
                METRICS.alarm(Alarm::Notices, true);
            }
        }
        tokio::time::sleep(Duration::from_millis(NOTICE_SWEEP_MILLIS)).await;
    }
}

impl Courier {
    /// Sends what is due; answers whether any notice is late.
    pub async fn sweep(&self, tries: &mut Tries) -> Result<bool, LedgerError> {
        let waiting = self.waiting().await?;
        tries.retain(|id, _| waiting.iter().any(|notice| notice.id == *id));
        // Whoever does not answer once is not asked again in this sweep: others wait behind.
        let mut silent = HashSet::new();
        for notice in &waiting {
            let tried = tries.get(&notice.id).copied();
            let too_early = tried.is_some_and(|tried| Instant::now() < tried.next);
            if too_early || silent.contains(&notice.customer) {
                continue;
            }
            let times = tried.map_or(0, |tried| tried.times) + 1;
            match self.send(notice).await {
                Ok(()) => self.over(notice, times, true).await?,
                Err(why) => {
                    tracing::warn!(notice = notice.id, times, why, "a notice was not delivered");
                    if times >= NOTICE_ATTEMPTS_MAX {
                        self.over(notice, times, false).await?;
                    }
                    let next = Instant::now() + pause(times);
                    tries.insert(notice.id.clone(), Tried { times, next });
                    silent.insert(&notice.customer);
                }
            }
        }
        Ok(tries.values().any(|tried| tried.times >= NOTICE_ALARM_ATTEMPTS))
    }

    /// What waits of this gateway's, or of nobody's any more; the newest first, so that a dead
    /// webhook of one customer does not hide what another has to hear.
    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let sql = "SELECT n.id, n.customer, n.payload_json, c.webhook_url, c.hook_command \
                   FROM notices n JOIN customers c ON c.id = n.customer \
                   WHERE n.done_at IS NULL AND (n.gateway = $1 OR n.created_at <= $2) \
                   ORDER BY n.created_at DESC LIMIT $3";
        let orphaned = clock::now().plus_seconds(-NOTICE_TAKEOVER_SECONDS);
        let args = args![self.ledger.gateway(), orphaned, NOTICES_PER_SWEEP_MAX];
        let rows = self.ledger.db().rows(sql, &args).await?;
        rows.iter()
            .map(|row| {
                Ok(Waiting {
                    id: row.text(0)?,
                    customer: row.parsed(1)?,
                    payload: row.text(2)?,
                    webhook: row.opt_text(3)?,
                    hook: row.opt_text(4)?,
                })
            })
            .collect()
    }

    async fn send(&self, notice: &Waiting) -> Result<(), String> {
        let body = self.body(&notice.payload)?;
        // Both are tried, so that one that is broken does not silence the other.
        let posted = match &notice.webhook {
            Some(url) => {
                let url: WebhookUrl = url.parse().map_err(|e| format!("webhook: {e}"))?;
                let header = webhook::signature(&self.key, clock::now().seconds(), &body);
                webhook::post(&url, &self.trust, header, body.clone()).await
            }
            None => Ok(()),
        };
        let hooked = match &notice.hook {
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

    /// The notice leaves the outbox; the customer's log says whether it arrived.
    async fn over(&self, notice: &Waiting, times: u64, delivered: bool) -> Result<(), LedgerError> {
        let (id, customer) = (notice.id.clone(), notice.customer.clone());
        let over = self.ledger.record("notice over", move |batch| {
            Box::pin(async move {
                let now = batch.now();
                let sql = "UPDATE notices SET done_at = $1 WHERE id = $2 AND done_at IS NULL";
                if batch.tx().run(sql, &args![now, id.as_str()]).await? == 0 {
                    return Ok(());
                }
                let event = match delivered {
                    true => Event::NoticeDelivered { attempts: times, notice: id },
                    false => Event::NoticeUndelivered { attempts: times, notice: id },
                };
                let actor = batch.gateway_actor();
                batch.append(NewEntry::new(actor, event).of_customer(&customer)).await?;
                Ok(())
            })
        });
        over.await.map(crate::ledger::Recorded::into_inner)
    }
}

/// 1, 2, 4 … seconds, at most an hour.
fn pause(times: u64) -> Duration {
    let doubled = 1_u64 << times.saturating_sub(1).min(20);
    Duration::from_secs(doubled.min(NOTICE_PAUSE_SECONDS_MAX))
}
