//! One witness, as a gateway asks it.
//!
//! What it has is remembered between two questions, so that as a rule one is enough: the proof
//! begins where it is. Whatever it answers is verified before it counts for anything; a witness
//! that lies can only be one that does not answer.

use crate::https::{Bounds, Trust, Url, agent, failure};
use audit_schema::{
    cosignature::WitnessKey,
    hash::Hash,
    merkle::TreeHead,
    witness::{AddCheckpoint, accept, parse_size},
};
use bastion_core::limits::{
    WITNESS_ANSWER_BYTES_MAX, WITNESS_ANSWER_HEAD_BYTES_MAX, WITNESS_CONNECT_SECONDS_MAX,
    WITNESS_TRIES,
};
use futures_util::future::BoxFuture;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore};
use ureq::Agent;

/// Why a witness has not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// It does not answer.
    #[error("{0}")]
    Silent(String),
    /// It refuses, for a reason that is not the log's history.
    #[error("it refuses with {0}: {1}")]
    Refused(u16, String),
    /// It has more than it was asked to cosign.
    #[error("it has seen {0} entries of the log, more than it was asked to cosign")]
    Ahead(u64),
    /// It has seen another history.
    #[error(
        "it has cosigned {size} entries that this log does not extend: the log was rewritten, or \
         an older store was put back; keep everything as it is and run `bastion doctor`"
    )]
    Fork {
        /// How many.
        size: u64,
    },
    /// It answers what does not hold.
    #[error("its answer does not hold: {0}")]
    Answer(String),
    /// The proof for it cannot be made.
    #[error("{0}")]
    Log(String),
}

/// Makes the consistency proof from a size to the head that is to be cosigned.
pub type Prove = dyn Fn(u64) -> BoxFuture<'static, Result<Vec<Hash>, String>> + Send + Sync;

/// A witness of the policy that can be asked.
pub struct Asked {
    /// What the policy file calls it.
    pub name: String,
    key: WitnessKey,
    url: Url,
    trust: Trust,
    seconds: u64,
    memory: Arc<Mutex<Memory>>,
    /// One question at a time, and one that waits.
    places: Semaphore,
    /// Its last answer was that the log is another.
    forked: AtomicBool,
}

#[derive(Default)]
struct Memory {
    /// The size that it cosigned last, as far as we know.
    size: Option<u64>,
    /// A connection that may be used again.
    agent: Option<Agent>,
}

impl Asked {
    /// A witness at an address, below which its `add-checkpoint` is.
    pub fn new(
        (name, key): (String, WitnessKey),
        url: &str,
        (trust, seconds): (Trust, u64),
    ) -> Result<Self, String> {
        let url: Url = format!("{}/add-checkpoint", url.trim_end_matches('/')).parse()?;
        let (memory, places) = (Arc::default(), Semaphore::new(2));
        let forked = AtomicBool::new(false);
        Ok(Self { name, key, url, trust, seconds, memory, places, forked })
    }

    /// The size that it cosigned last, as far as anybody here knows; none while it is being asked.
    pub fn size(&self) -> Option<u64> {
        self.memory.try_lock().ok().and_then(|memory| memory.size)
    }

    /// Its key.
    pub fn key(&self) -> &WitnessKey {
        &self.key
    }

    /// Whether its last answer was that it has seen another log.
    pub fn has_seen_another(&self) -> bool {
        self.forked.load(Ordering::Relaxed)
    }

    /// Has it cosign a signed head; answers its verified lines. The proof is made from where it is.
    pub async fn cosign(
        &self,
        signed: (TreeHead, &str),
        prove: &Prove,
    ) -> Result<String, NotCosigned> {
        let cosigned = self.try_cosign(signed, prove).await;
        match &cosigned {
            Ok(_) => self.forked.store(false, Ordering::Relaxed),
            Err(NotCosigned::Fork { .. }) => self.forked.store(true, Ordering::Relaxed),
            // It says nothing of the log.
            Err(_) => {}
        }
        cosigned
    }

    async fn try_cosign(
        &self,
        (head, note): (TreeHead, &str),
        prove: &Prove,
    ) -> Result<String, NotCosigned> {
        let busy = || NotCosigned::Silent("it has not answered the questions before".into());
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let mut memory = Arc::clone(&self.memory).lock_owned().await;
        for _ in 0..WITNESS_TRIES {
            let old = memory.size.unwrap_or_default();
            if old > head.size {
                return Err(NotCosigned::Ahead(old));
            }
            let proof = match old {
                0 => Vec::new(),
                old => prove(old).await.map_err(NotCosigned::Log)?,
            };
            let request = AddCheckpoint { old, proof, checkpoint: note.to_owned() };
            let request = request.to_text().map_err(|bad| NotCosigned::Log(bad.to_string()))?;
            let (status, body);
            ((status, body), memory) = self.post(request, memory).await?;
            match status {
                200 => {
                    let held = accept(note, &body, &self.key);
                    held.map_err(|bad| NotCosigned::Answer(bad.to_string()))?;
                    memory.size = Some(head.size);
                    return Ok(body);
                }
                409 => {
                    let size = parse_size(&body);
                    let size = size.map_err(|bad| NotCosigned::Answer(bad.to_string()))?;
                    if size == old && memory.size.is_some() {
                        return Err(NotCosigned::Fork { size });
                    }
                    memory.size = Some(size);
                }
                // Of nothing everything is an extension.
                422 if old > 0 => {
                    // Ask anew the next time: it may have been put right on its side.
                    memory.size = None;
                    return Err(NotCosigned::Fork { size: old });
                }
                status => return Err(NotCosigned::Refused(status, plain(&body))),
            }
        }
        Err(NotCosigned::Silent("its size changes all the time".into()))
    }

    /// Posts a request, on the connection of the last time where there is one.
    async fn post(
        &self,
        request: String,
        mut memory: OwnedMutexGuard<Memory>,
    ) -> Result<((u16, String), OwnedMutexGuard<Memory>), NotCosigned> {
        let (url, trust, seconds) = (self.url.clone(), self.trust.clone(), self.seconds);
        // The lock goes along: if nobody waits any more, the question still is being asked.
        let posted = tokio::task::spawn_blocking(move || {
            if let Some(agent) = memory.agent.take()
                && let Ok(answer) = send(&agent, &url, &request)
            {
                memory.agent = Some(agent);
                return Ok((answer, memory));
            }
            let bounds = Bounds {
                seconds,
                connect_seconds: WITNESS_CONNECT_SECONDS_MAX.min(seconds),
                head_bytes: WITNESS_ANSWER_HEAD_BYTES_MAX,
            };
            let agent = agent(&url, &trust, bounds)?;
            let answer = send(&agent, &url, &request).map_err(|error| failure(&error, &trust))?;
            memory.agent = Some(agent);
            Ok((answer, memory))
        });
        let posted = posted.await.map_err(|_| NotCosigned::Silent("asking it failed".into()))?;
        posted.map_err(NotCosigned::Silent)
    }
}

fn send(agent: &Agent, url: &Url, request: &str) -> Result<(u16, String), ureq::Error> {
    let mut answer = agent
        .post(url.as_str())
        .header("Content-Type", "text/plain; charset=utf-8")
        .config()
        .http_status_as_error(false)
        .build()
        .send(request)?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(WITNESS_ANSWER_BYTES_MAX).read_to_string()?;
    Ok((status, body))
}

/// A stranger's words for a line of ours.
fn plain(text: &str) -> String {
    let safe = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.trim_end().chars().take(200).map(safe).collect()
}
