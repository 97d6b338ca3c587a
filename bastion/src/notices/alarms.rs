//! The alarms of the gateway, told to the provider's own people: when something stops or goes on
//! again, a program of the `hooks` folder gets it on its standard input, and a webhook gets it as a
//! signed POST, in the form of the notices to customers.
//!
//! ```json
//! {"cleared":[],"gateway":"gw-1","kind":"alarm","origin":"bastion.example",
//!  "raised":["publishing"],"time":"2026-11-24T08:02:00.000001Z","v":1}
//! ```
//!
//! What stands in the metrics is told as it changes; what could not be told is told again.

use super::{
    HookName, Trust, WebhookUrl, hook,
    webhook::{post, signature},
};
use crate::{clock, metrics::METRICS};
use bastion_core::limits::ALARM_LOOK_SECONDS;
use ed25519_dalek::SigningKey;
use serde_json::json;
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// Who is told of alarms, and in whose name.
pub struct Bell {
    /// The deployment.
    pub origin: String,
    /// This gateway.
    pub gateway: String,
    /// The folder of programs.
    pub hooks: PathBuf,
    /// One of them.
    pub hook: Option<HookName>,
    /// An address.
    pub webhook: Option<WebhookUrl>,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Signs what is posted.
    pub key: SigningKey,
}

/// Tells of every change until the task is dropped.
pub async fn run(bell: Bell) {
    let mut told = BTreeSet::new();
    loop {
        let raised: BTreeSet<_> = METRICS.raised().into_iter().collect();
        if raised != told {
            let news = (
                raised.difference(&told).copied().collect::<Vec<_>>(),
                told.difference(&raised).copied().collect::<Vec<_>>(),
            );
            match bell.ring(&news.0, &news.1).await {
                Ok(()) => told = raised,
                Err(cause) => tracing::error!(cause, "an alarm could not be told"),
            }
        }
        tokio::time::sleep(Duration::from_secs(ALARM_LOOK_SECONDS)).await;
    }
}

impl Bell {
    /// Tells what was raised and what was cleared, to everybody who is to hear it.
    pub async fn ring(&self, raised: &[&str], cleared: &[&str]) -> Result<(), String> {
        tracing::error!(?raised, ?cleared, "alarms have changed");
        let now = clock::now();
        let body = json!({
            "cleared": cleared, "gateway": self.gateway, "kind": "alarm", "origin": self.origin,
            "raised": raised, "time": now, "v": 1,
        });
        let body = body.to_string().into_bytes();
        // Both are tried: one that is down must not keep the other from hearing.
        let hooked = match &self.hook {
            Some(name) => hook::run(&self.hooks, name, &body).await,
            None => Ok(()),
        };
        let posted = match &self.webhook {
            Some(url) => {
                let header = signature(&self.key, now.micros() / 1_000_000, &body);
                post(url, &self.trust, header, body).await
            }
            None => Ok(()),
        };
        hooked.and(posted)
    }
}
