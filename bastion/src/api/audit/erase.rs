//! `audit erase`: what the log says of a person in clear goes, and every proof stays.
//!
//! Two officers, a reason, a legal basis. Refused under a legal hold ([`super::hold`]) and before
//! the minimum retention, and while the person still acts. One transaction deletes the openings,
//! scrubs what stands of the person beside the log ([`super::facts`]) and appends the entries that
//! say so, one in each chain concerned; then the keys are destroyed, so that no backup opens, and
//! what the query index held goes. A crash in between is finished by the next start.

use super::{facts, hold};
use crate::{
    api::{Call, Fault, Reply, change, values},
    args,
    ledger::{
        Batch, ChangeError, NewEntry,
        erasure::{self, Found, Sought},
    },
};
use audit_schema::event::{Actor, Event};
use bastion_core::consent::FreeText;
use clap::Args;
use serde_json::json;

/// `audit erase`
#[derive(Clone, Debug, Args)]
pub struct Erase {
    /// Whom: op-…, of-… or ap-…, the name of an operator or officer, contact:CUSTOMER, local:UID,
    /// or unknown:2026-11-24 for whoever failed to log in on that day
    #[arg(long, value_name = "ID")]
    pub subject: String,
    /// On which legal basis, in a word: gdpr-17-1-a
    #[arg(long, value_name = "WORD")]
    pub legal_basis: String,
    /// Entries that name the person in a text of somebody else: all their texts go too
    #[arg(long, value_name = "SEQ")]
    pub entry: Vec<u64>,
    /// Why; do not name the person: this text is not the person's and stays
    #[arg(long, num_args = 1.., required = true, value_name = "TEXT")]
    pub reason: Vec<String>,
}

/// What the transaction needs to know.
struct Work {
    actor: Actor,
    subject: facts::Subject,
    keys: Vec<i64>,
    found: Found,
    legal_basis: String,
    reason: FreeText,
    retention_days: u64,
}

pub(super) async fn run(call: &mut Call<'_>, ask: Erase) -> Result<Reply, Fault> {
    let reason: FreeText = values::text("--reason", &ask.reason)?;
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
    if ask.legal_basis.is_empty()
        || ask.legal_basis.len() > 63
        || !ask.legal_basis.chars().all(word)
    {
        let how = "--legal-basis: use 1 to 63 of a-z, 0-9, '-', '.' and '_', as gdpr-17-1-a";
        return Err(Fault::Usage(how.into()));
    }
    let subject = facts::Subject::resolve(call, &ask.subject).await?;
    restate(call, &ask, &subject);
    let ledger = call.app.ledger.clone();
    let keys = ledger.keys().ids(&subject.id).await?;
    let sought = Sought {
        keys: keys.clone(),
        name: subject.name.clone(),
        entries: ask.entry.iter().copied().collect(),
    };
    let found = erasure::find(&ledger, &sought).await?;
    let count: usize = found.places.values().map(Vec::len).sum();
    let mentions = found.mentions.clone();
    let work = Work {
        actor: call.actor(),
        subject: subject.clone(),
        keys: keys.clone(),
        found,
        legal_basis: ask.legal_basis,
        reason,
        retention_days: call.app.config.erasure.retention_days_min,
    };
    let change =
        call.change("audit erase", move |batch| Box::pin(async move { erase(batch, &work).await }));
    let left = change.await?.into_inner();
    ledger.keys().destroy(&keys).await?;
    let gone = scrub(call).await?;
    Ok(reply(&subject.id, (count, left), &mentions, gone))
}

/// The words that the other officer approves hold the person's id, never the name.
fn restate(call: &mut Call<'_>, ask: &Erase, subject: &facts::Subject) {
    let mut words: Vec<String> =
        ["audit", "erase", "--subject", &subject.id, "--legal-basis", &ask.legal_basis]
            .map(str::to_owned)
            .into();
    for entry in &ask.entry {
        words.extend(["--entry".to_owned(), entry.to_string()]);
    }
    words.push("--reason".to_owned());
    words.extend(ask.reason.iter().cloned());
    call.restated = Some(words);
}

async fn erase(batch: &mut Batch, work: &Work) -> Result<usize, ChangeError> {
    let customers: Vec<_> = work.found.places.keys().flatten().cloned().collect();
    hold::refuse(batch, Some(&work.subject.id), &customers).await?;
    refuse_early(batch, work)?;
    facts::refuse_active(batch, &work.subject).await?;
    erasure::note(batch, &work.subject.id, &work.keys).await?;
    let left = erasure::delete(batch, &work.found).await?;
    facts::scrub(batch, &work.subject).await?;
    let nowhere = vec![(None, Vec::new())];
    let places: Vec<_> = match work.found.places.is_empty() {
        true => nowhere,
        false => work.found.places.clone().into_iter().collect(),
    };
    for (customer, places) in places {
        let event = Event::SubjectErased {
            digest: erasure::digest(&places).to_string(),
            legal_basis: work.legal_basis.clone(),
            openings: places.len() as u64,
            subject: work.subject.id.clone(),
        };
        let mut entry = NewEntry::new(work.actor.clone(), event);
        entry.customer = customer;
        batch.append(entry.with("justification", work.reason.as_str())).await?;
    }
    Ok(left)
}

fn refuse_early(batch: &Batch, work: &Work) -> Result<(), ChangeError> {
    let Some(newest) = work.found.newest else { return Ok(()) };
    let seconds = i64::try_from(work.retention_days.saturating_mul(86_400)).unwrap_or(i64::MAX);
    let free_at = newest.plus_seconds(seconds);
    match batch.now() < free_at {
        false => Ok(()),
        true => Err(ChangeError::refused(
            "retention",
            format!(
                "the newest text of {} is of {newest}, and nothing younger than {} days is erased \
                 (`erasure.retention_days_min`): try again after {free_at}",
                work.subject.id, work.retention_days
            ),
        )),
    }
}

/// Whether nothing was left in a file of the store, and of the index.
async fn scrub(call: &Call<'_>) -> Result<bool, Fault> {
    let db = call.db();
    let index = call.app.projection().await?.forget().await?;
    let rows = db.vacuum_full(&facts::TABLES).await?;
    let log = db.scrub().await?;
    Ok(index && rows && log)
}

fn reply(subject: &str, (count, left): (usize, usize), mentions: &[u64], gone: bool) -> Reply {
    let mut text = format!(
        "erased {subject}: {count} texts of the log and the keys that opened them; every hash and \
         proof stays\n"
    );
    if left > 0 {
        text += &format!("{left} sealed rows stay where they are: no key opens them any more\n");
    }
    if !gone {
        text += "old copies of rows may still be in files of the store: on SQLite they go with the \
                 next start of the gateway; on PostgreSQL the owner of the tables has to run \
                 `VACUUM FULL`\n";
    }
    if !mentions.is_empty() {
        let shown: Vec<String> = mentions.iter().take(20).map(u64::to_string).collect();
        text += &format!(
            "texts that others wrote name this person in {} entries: {}. Look at each with `audit \
             show`; `audit erase --subject {subject} --entry SEQ` takes its texts too\n",
            mentions.len(),
            shown.join(" ")
        );
    }
    let json = json!({
        "subject": subject, "openings": count, "left_sealed": left, "mentions": mentions,
        "scrubbed": gone,
    });
    Reply::Said { text, json }
}

/// The way to say that there is no such person, whoever asks.
pub(super) fn unknown(asked: &str) -> Fault {
    crate::ledger::LedgerError::from(change::unknown("person", asked)).into()
}

/// The first row's first column as text.
pub(super) async fn word(
    batch: &mut Batch,
    sql: &'static str,
    id: &str,
) -> Result<Option<String>, ChangeError> {
    let row = batch.tx().row_opt(sql, &args![id]).await?;
    Ok(row.map(|row| row.text(0)).transpose()?)
}
