//! A change: what every administrative command does to the store and the log, in one transaction.
//!
//! The caller's own standing is read again under the head of the log, so that an officer who was
//! removed a moment ago, on a connection that is still open, changes nothing any more. There, too,
//! it is settled whether the change waits for another officer ([`dual`]).

use super::{Call, Caller, Fault, dual, quota};
use crate::{
    args,
    entropy::NoEntropy,
    ledger::{Batch, ChangeError, LedgerError, NewEntry, Recorded},
    store::{Db, Row, StoreError, Tx},
};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion_core::limits::REFUSED_ARGUMENTS_CHARS_MAX;
use futures_util::future::BoxFuture;

/// The codes by which a refusal of a closure becomes another fault than a refusal.
const CONFLICT: &str = "conflict";
const USAGE: &str = "usage";

/// The state of things does not allow it (a name is taken, say); nobody has to be told but the
/// caller, so nothing is recorded.
pub fn conflict(sentence: impl Into<String>) -> ChangeError {
    ChangeError::refused(CONFLICT, sentence)
}

/// The command asks for something that cannot be.
pub fn usage(sentence: impl Into<String>) -> ChangeError {
    ChangeError::refused(USAGE, sentence)
}

/// There is no such thing, or it is not the caller's: one answer for both.
pub fn unknown(what: &'static str, name: &str) -> ChangeError {
    ChangeError::refused("unknown", unknown_sentence(what, name))
}

/// The sentence of [`unknown`].
pub(super) fn unknown_sentence(what: &str, name: &str) -> String {
    format!("no {what} `{name}` here; the `list` commands show what there is")
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Refused(refusal) => match refusal.code {
                CONFLICT => Self::Conflict(refusal.sentence),
                USAGE => Self::Usage(refusal.sentence),
                code if code.starts_with("signature") => {
                    Self::Unverified { code, sentence: refusal.sentence }
                }
                code => Self::Refused { code, sentence: refusal.sentence },
            },
            other => Self::Log(other.to_string()),
        }
    }
}

impl From<NoEntropy> for ChangeError {
    fn from(none: NoEntropy) -> Self {
        StoreError::failed(none.to_string()).into()
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Failed(format!("the store did not answer: {error}; run `bastion doctor`"))
    }
}

impl Call<'_> {
    /// Who causes the entries of this command.
    pub fn actor(&self) -> Actor {
        self.caller.actor.clone()
    }

    /// The database, for reading.
    pub fn db(&self) -> &Db {
        self.app.ledger.db()
    }

    /// Makes a change under the head of the log, if the caller still stands. An officer's command
    /// that loosens is proposed instead, where there is another officer to ask.
    pub async fn change<T, F>(&self, label: &'static str, work: F) -> Result<Recorded<T>, Fault>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>> + Send + 'static,
    {
        self.change_if(label, |_| Box::pin(async { Ok(true) }), work).await
    }

    /// The same for a command of which only the rows tell whether it loosens: `loosens` reads them.
    pub async fn change_if<T, L, F>(
        &self,
        label: &'static str,
        loosens: L,
        work: F,
    ) -> Result<Recorded<T>, Fault>
    where
        T: Send + 'static,
        L: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<bool, ChangeError>>
            + Send
            + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>> + Send + 'static,
    {
        let step = dual::Step::of(self)?;
        let who = self.approval.as_ref().map_or_else(|| self.actor(), |one| one.approver.clone());
        quota::wait(&who.id).await;
        let change = self.app.ledger.record(label, move |batch| {
            Box::pin(async move {
                stands(batch.tx(), &who).await?;
                let Some(step) = step else { return work(batch).await.map(Ok) };
                let loosens = loosens(batch).await?;
                if let Some(proposed) = step.before(batch, loosens).await? {
                    return Ok(Err(proposed));
                }
                let first = batch.next_seq();
                let made = work(batch).await?;
                if loosens {
                    step.tell(batch, first).await?;
                }
                Ok(Ok(made))
            })
        });
        let settled = change.await?.split::<T, dual::Proposed>();
        settled.map_err(|proposed| Fault::Proposed(proposed.into_inner()))
    }
}

impl Call<'_> {
    /// The same for a change that only takes away: it still works when the disk of the log is so
    /// full that nothing else does.
    pub async fn close<T, F>(&self, label: &'static str, work: F) -> Result<Recorded<T>, Fault>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>>
            + Clone
            + Send
            + 'static,
    {
        if dual::Step::of(self)?.is_some() {
            // A verb of ours took the wrong way: better no change than one officer's alone.
            return Err(Fault::Failed(format!("`{}` may loosen; report this", self.command)));
        }
        let actor = self.actor();
        quota::wait(&actor.id).await;
        let change = self.app.ledger.record_closing(label, move |batch| {
            Box::pin(async move {
                stands(batch.tx(), &actor).await?;
                work(batch).await
            })
        });
        Ok(change.await?)
    }
}

/// The one statement that says whether somebody of this role may still act.
fn standing_sql(kind: ActorKind) -> Option<&'static str> {
    match kind {
        ActorKind::Operator => Some("SELECT state FROM operators WHERE id = $1"),
        ActorKind::Officer => Some("SELECT state FROM officers WHERE id = $1"),
        ActorKind::Approver => Some("SELECT state FROM approvers WHERE id = $1"),
        // Whoever may open the Unix socket stands by that alone; a gateway asks for nothing here.
        ActorKind::Local | ActorKind::Gateway => None,
    }
}

fn is_enabled(row: Option<Row>) -> Result<bool, StoreError> {
    Ok(row.map(|row| row.text(0)).transpose()?.as_deref() == Some("enabled"))
}

const GONE: &str = "your access here has ended; ask the security officers of the provider";

async fn stands(tx: &mut Tx, actor: &Actor) -> Result<(), ChangeError> {
    match standing_sql(actor.kind) {
        Some(sql) if !is_enabled(tx.row_opt(sql, &args![actor.id.as_str()]).await?)? => {
            Err(ChangeError::refused("not-enabled", GONE))
        }
        _ => Ok(()),
    }
}

/// The same, for commands that only read.
pub async fn check_standing(db: &Db, caller: &Caller) -> Result<(), Fault> {
    match standing_sql(caller.actor.kind) {
        Some(sql) if !is_enabled(db.row_opt(sql, &args![caller.actor.id.as_str()]).await?)? => {
            Err(Fault::refused("not-enabled", GONE))
        }
        _ => Ok(()),
    }
}

/// Enters a refusal in the log; only then may it be spoken.
pub async fn record_refusal(
    call: &Refused<'_>,
    ledger: &crate::ledger::Ledger,
) -> Result<(), Fault> {
    quota::wait(&call.caller.actor.id).await;
    let event = Event::CommandRefused {
        command: call.command.to_owned(),
        reason: call.code.to_owned(),
        session: call.caller.session.as_ref().map(ToString::to_string),
    };
    let words = call.argv.join(" ");
    let words: String = words.chars().take(REFUSED_ARGUMENTS_CHARS_MAX).collect();
    let mut entry = NewEntry::new(call.caller.actor.clone(), event).with("arguments", words);
    entry.customer.clone_from(&call.caller.customer);
    ledger.append("command refused", vec![entry]).await?.into_inner();
    Ok(())
}

/// A command that is about to be refused.
pub struct Refused<'a> {
    /// To whom.
    pub caller: &'a Caller,
    /// The command's name if it is one that the caller may run; else `unknown`.
    pub command: &'a str,
    /// Why.
    pub code: &'a str,
    /// Its words.
    pub argv: &'a [String],
}
