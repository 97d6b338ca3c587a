//! The log's signed head with its witnesses' cosignatures.
//!
//! The log never waits for them: an entry is durable and answered for before anybody is asked. Who
//! shows a checkpoint to somebody ([`Ledger::shown`]) asks them and takes what comes in time; who
//! must not go on without them ([`Ledger::witnessed`]) hears why it may not. Whoever comes while
//! they are being asked waits for that round, and for the next one only if his entry is not in it.

use super::{Ledger, LedgerError, OpenError, Signed, rollback::Lost};
use crate::{
    metrics::{Alarm, METRICS},
    witness::{
        asked::{NotCosigned, Prove},
        panel::{Cosigned, Panel, Round},
    },
};
use audit_schema::{
    hash::Hash,
    merkle::{self, TreeHead},
};
use bastion_core::limits::{CHECKPOINT_TRIES, WITNESS_EVERY_SECONDS};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// A signed head as somebody is shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The head and its note, with the cosignatures that there are.
    pub signed: Signed,
    /// Who witnesses it, in words (`witnessed by 2 of 3 (…)`); none where the policy is not
    /// satisfied, or there is none.
    pub witnessed: Option<String>,
}

/// Why an entry is not witnessed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWitnessed {
    /// Nobody is configured who could.
    #[error("no witness is configured")]
    Nobody,
    /// Too few have cosigned in time.
    #[error("{0}")]
    Quorum(String),
    /// The log does not answer.
    #[error("{0}")]
    Log(#[from] LedgerError),
}

impl Ledger {
    /// The log's witnesses, where it has any.
    pub fn panel(&self) -> Option<&Panel> {
        self.shared.panel.as_deref()
    }

    /// The signed head, not before this moment, with the cosignatures that come in time.
    pub async fn shown(&self) -> Result<Shown, LedgerError> {
        let signed = self.signed().await?;
        let Some(panel) = self.panel() else { return Ok(Shown { signed, witnessed: None }) };
        let until = Instant::now() + panel.within();
        let Ok(_turn) = tokio::time::timeout_at(until, panel.turn.lock()).await else {
            return Ok(Shown { signed, witnessed: None });
        };
        if let Some(Cosigned { head, note, words }) = panel.last(signed.head.size) {
            return Ok(Shown { signed: Signed { head, note }, witnessed: Some(words) });
        }
        let (head, round) = self.round(panel, until).await?;
        let signed = Signed { head, note: round.note };
        Ok(Shown { signed, witnessed: round.witnessed.ok() })
    }

    /// The head as it is shown, as its note alone.
    pub async fn checkpoint(&self) -> Result<String, LedgerError> {
        Ok(self.shown().await?.signed.note)
    }

    /// A checkpoint over at least so many entries that the policy of witnesses believes.
    pub async fn witnessed(&self, least: u64) -> Result<Cosigned, NotWitnessed> {
        let panel = self.panel().ok_or(NotWitnessed::Nobody)?;
        let until = Instant::now() + panel.within();
        let busy = |_| NotWitnessed::Quorum("the witnesses have not answered those before".into());
        let _turn = tokio::time::timeout_at(until, panel.turn.lock()).await.map_err(busy)?;
        if let Some(last) = panel.last(least) {
            return Ok(last);
        }
        let (head, round) = self.round(panel, until).await?;
        let words = round.witnessed.map_err(NotWitnessed::Quorum)?;
        Ok(Cosigned { head, note: round.note, words })
    }

    /// Asks once, and again where a witness had more from another gateway.
    async fn round(&self, panel: &Panel, until: Instant) -> Result<(TreeHead, Round), LedgerError> {
        let mut signed = self.signed().await?;
        let mut tries = CHECKPOINT_TRIES;
        let (head, round) = loop {
            let head = signed.head;
            let round = panel.ask((head, signed.note), &self.prove(head), until).await;
            let Some(ahead) = round.ahead.filter(|_| round.witnessed.is_err()) else {
                break (head, round);
            };
            signed = self.signed().await?;
            tries -= 1;
            if signed.head.size < ahead {
                let size = signed.head.size;
                tracing::error!(size, ahead, "a witness has seen more of the log than there is");
                break (head, round);
            }
            if tries == 0 || Instant::now() >= until {
                break (head, round);
            }
        };
        METRICS.alarm(Alarm::Witnessing, round.witnessed.is_err() || panel.has_fork());
        Ok((head, round))
    }

    /// What makes the proof for a witness, from where it is. It is the witness's to check.
    fn prove(&self, head: TreeHead) -> Arc<Prove> {
        let tree = Arc::clone(&self.shared.tree);
        Arc::new(move |old| {
            let tree = Arc::clone(&tree);
            Box::pin(async move {
                let proof = tree.consistency(old, &head).await;
                proof.map_err(|error| format!("the proof from {old} to {}: {error}", head.size))
            })
        })
    }

    /// Asks the witnesses, before anything is written, whether this is the log that they have seen,
    /// and all of it. One that does not answer says nothing.
    pub async fn recall(&self) -> Result<(), OpenError> {
        let Some(panel) = self.panel() else { return Ok(()) };
        let until = Instant::now() + panel.within();
        let signed = self.signed().await.map_err(OpenError::Tree)?;
        let prove = self.prove(signed.head);
        let mut answers = panel.ask_each((signed.head, &signed.note), &prove, until);
        while let Some((asked, answer)) = answers.recv().await {
            let who = format!("the witness {}", asked.name);
            match answer {
                Err(NotCosigned::Fork { size: remembered }) => {
                    return Err(Lost::Other { who, remembered }.into());
                }
                Err(NotCosigned::Ahead(remembered)) => {
                    let size = self.shared.tree.head().await.map_err(OpenError::Tree)?.size;
                    // Otherwise another gateway has written meanwhile.
                    if size < remembered {
                        return Err(Lost::Shorter { who, size, remembered }.into());
                    }
                }
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Lines of the log, and their proofs in the tree of a head.
    pub async fn proven_in(
        &self,
        seqs: &[u64],
        head: &TreeHead,
    ) -> Result<Vec<(Vec<u8>, Vec<Hash>)>, LedgerError> {
        let tree = &self.shared.tree;
        let mut proven = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let line = tree.line(*seq).await?;
            let leaf = merkle::leaf_hash(&line);
            let proof = tree.inclusion((*seq, &leaf), head).await?;
            proven.push((line, proof));
        }
        Ok(proven)
    }
}

/// Asks the witnesses for as long as the task lives, where no publisher does.
pub async fn run(ledger: Ledger) {
    let mut size = ledger.size();
    loop {
        if let Err(error) = ledger.shown().await {
            METRICS.alarm(Alarm::Witnessing, true);
            tracing::error!(%error, "the witnesses are not asked");
        }
        if size.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(WITNESS_EVERY_SECONDS)).await;
    }
}
