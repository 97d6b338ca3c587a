//! The witnesses of a log together, and the policy that says how many of them have to cosign.

use super::asked::{Asked, NotCosigned, Prove};

use crate::{config::Witnessing, https::Trust, metrics::METRICS};
use audit_schema::{
    checkpoint::Vkey,
    event::Level,
    merkle::TreeHead,
    policy::{Policy, Unwitnessed},
    time::Timestamp,
    witness,
};
use bastion_core::limits::WITNESSES_MAX;
use std::{
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};

/// A checkpoint that the policy believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// Size and root.
    pub head: TreeHead,
    /// The note with the cosignatures.
    pub note: String,
    /// `witnessed by 2 of 3 (…)`.
    pub words: String,
}

/// The note of a round, and whether the policy believes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Round {
    /// The note with whatever cosignatures came in time.
    pub note: String,
    /// Who witnesses it, in words; or why it is unwitnessed.
    pub witnessed: Result<String, String>,
    /// The most that a witness has seen, where it is more than it was asked to cosign.
    pub ahead: Option<u64>,
}

/// All of them.
pub struct Panel {
    policy: Policy,
    log: Vkey,
    each: Vec<Arc<Asked>>,
    demand: Vec<Level>,
    within: Duration,
    /// Whose turn it is to ask: whoever comes meanwhile takes what comes of it, if it is enough.
    pub turn: tokio::sync::Mutex<()>,
    last: Mutex<Option<Cosigned>>,
}

impl Panel {
    /// The witnesses of a configuration.
    pub fn new(config: &Witnessing, log: Vkey) -> Result<Self, String> {
        let (policy, _) = config.read()?;
        let trust = Trust::named(config.roots.clone(), "witness.extra_roots")?;
        let mut each = Vec::new();
        for witness in policy.witnesses() {
            let Some(url) = &witness.url else { continue };
            let who = (witness.name.clone(), witness.key.clone());
            let asked = Asked::new(who, url, (trust.clone(), config.within.as_secs()));
            let wrong = |why| format!("`witness.policy`: the address of {}: {why}", witness.name);
            each.push(Arc::new(asked.map_err(wrong)?));
        }
        let (demand, within) = (config.demand.clone(), config.within);
        let turn = tokio::sync::Mutex::default();
        Ok(Self { policy, log, each, demand, within, turn, last: Mutex::default() })
    }

    /// Whether nobody logs in at this level before the entry is witnessed.
    pub fn demands(&self, level: Level) -> bool {
        self.demand.contains(&level)
    }

    /// How long a round may take.
    pub fn within(&self) -> Duration {
        self.within
    }

    /// The last checkpoint that the policy believed, if it covers so many entries.
    pub fn last(&self, least: u64) -> Option<Cosigned> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone().filter(|last| last.head.size >= least)
    }

    /// Asks all of them, at once: their answers, as they come.
    pub fn ask_each(
        &self,
        (head, note): (TreeHead, &str),
        prove: &Arc<Prove>,
        until: Instant,
    ) -> mpsc::Receiver<Answered> {
        let (answer, answers) = mpsc::channel(WITNESSES_MAX);
        for asked in &self.each {
            let (asked, answer) = (Arc::clone(asked), answer.clone());
            let (note, prove) = (note.to_owned(), Arc::clone(prove));
            tokio::spawn(async move {
                let cosigned = asked.cosign((head, &note), &*prove);
                let cosigned = tokio::time::timeout_at(until, cosigned).await;
                let late = || NotCosigned::Silent("it does not answer in time".into());
                let cosigned = cosigned.unwrap_or_else(|_| Err(late()));
                match &cosigned {
                    Ok(_) => METRICS.witness_lag(&asked.name, 0),
                    Err(why) => {
                        tracing::warn!(witness = asked.name, %why, "not cosigned");
                        let seen = asked.size().unwrap_or_default();
                        METRICS.witness_lag(&asked.name, head.size.saturating_sub(seen));
                    }
                }
                // Where nobody waits any more, the policy was satisfied without it.
                answer.send((asked, cosigned)).await.ok();
            });
        }
        answers
    }

    /// Asks all of them, and waits until the policy is satisfied, all have answered, or the time is
    /// over.
    pub async fn ask(
        &self,
        (head, note): (TreeHead, String),
        prove: &Arc<Prove>,
        until: Instant,
    ) -> Round {
        let mut answers = self.ask_each((head, &note), prove, until);
        let none = Err("no witness has cosigned it".to_owned());
        let mut round = Round { note, witnessed: none, ahead: None };
        while round.witnessed.is_err()
            && let Ok(Some(answered)) = tokio::time::timeout_at(until, answers.recv()).await
        {
            self.take(&mut round, answered);
        }
        // Who has answered meanwhile counts too.
        while let Ok(answered) = answers.try_recv() {
            self.take(&mut round, answered);
        }
        if let Ok(words) = &round.witnessed {
            let new = Cosigned { head, note: round.note.clone(), words: words.clone() };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
        }
        round
    }

    /// Whether one of them has seen another log than this.
    pub fn has_fork(&self) -> bool {
        self.each.iter().any(|asked| asked.has_seen_another())
    }

    fn take(&self, round: &mut Round, (asked, cosigned): Answered) {
        match cosigned {
            Ok(lines) => match witness::accept(&round.note, &lines, asked.key()) {
                Ok((note, _)) => {
                    round.note = note;
                    round.witnessed = self.words(&round.note);
                }
                Err(why) => tracing::warn!(witness = asked.name, %why, "not cosigned"),
            },
            Err(NotCosigned::Ahead(size)) => round.ahead = round.ahead.max(Some(size)),
            Err(_) => {}
        }
    }

    /// Who witnesses a note of the log, in words; or why nobody does.
    pub fn words(&self, note: &str) -> Result<String, String> {
        said(&self.policy, note, &self.log).map_err(|why| why.to_string())
    }
}

/// A witness and what came of asking it.
pub type Answered = (Arc<Asked>, Result<String, NotCosigned>);

/// Who witnesses a note under a policy, in words.
pub fn said(policy: &Policy, note: &str, log: &Vkey) -> Result<String, Unwitnessed> {
    let witnessed = policy.check(note, Some(log))?;
    let (found, known) = (witnessed.cosigned.len(), policy.witnesses().len());
    let mut words = format!("witnessed by {found} of {known}");
    let mut between = " (";
    for (name, seconds) in witnessed.cosigned {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let when = Timestamp::from_seconds(seconds).to_string();
        // Writing into a String cannot fail.
        write!(words, "{between}{name} at {}Z", when.get(..19).unwrap_or(&when)).ok();
        between = ", ";
    }
    Ok(words + ")")
}
