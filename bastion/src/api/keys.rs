//! Public keys of people: checked once, and never in two hands.
//!
//! The primary key of the table of keys is what keeps one key from belonging to two people or two
//! roles; nothing here has to be remembered for that. A key that was removed stays in the table,
//! because signatures that it made while it was in force still count: it cannot come back.

use super::{
    Call, Fault,
    change::{conflict, unknown},
};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion_core::{
    algorithm::accept_key,
    id::CustomerId,
    limits::{KEYS_PER_PERSON_MAX, PUBLIC_KEY_BYTES_MAX},
};
use russh::keys::{HashAlg, PublicKey};

/// A public key that somebody may be known by.
#[derive(Clone, Debug)]
pub struct PersonKey {
    /// `SHA256:…`.
    pub fingerprint: String,
    /// In OpenSSH's form, without its comment.
    pub line: String,
}

/// Whose key it is.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Their role.
    pub role: ActorKind,
    /// Their pseudonym.
    pub id: String,
    /// The customer that an approver decides for.
    pub customer: Option<CustomerId>,
}

impl Holder {
    fn word(&self) -> &'static str {
        match self.role {
            ActorKind::Operator => "operator",
            ActorKind::Officer => "officer",
            // Nobody else holds a key; the table's own check refuses every other word.
            _ => "approver",
        }
    }
}

/// Reads a key as it is given: a line of a `.pub` file.
pub fn parse(text: &str) -> Result<PersonKey, Fault> {
    let wrong = |why: &str| {
        Fault::Usage(format!("not a public key: {why}; give one line of a .pub file of ssh-keygen"))
    };
    let text = text.trim();
    if text.len() > PUBLIC_KEY_BYTES_MAX || text.lines().count() != 1 {
        return Err(wrong("it is not one line of bounded size"));
    }
    if text.contains("-cert-v01@") {
        return Err(wrong("it is a certificate"));
    }
    let mut key = PublicKey::from_openssh(text).map_err(|_| wrong("it does not parse"))?;
    accept_key(key.key_data()).map_err(|weak| Fault::Usage(weak.to_string()))?;
    key.set_comment("");
    let line = key.to_openssh().map_err(|_| wrong("it cannot be written"))?;
    Ok(PersonKey { fingerprint: key.fingerprint(HashAlg::Sha256).to_string(), line })
}

/// A key that was proven by a signature.
pub fn of(key: PublicKey) -> Result<PersonKey, Fault> {
    let line = key.to_openssh().map_err(|bad| Fault::Usage(format!("not a public key: {bad}")))?;
    parse(&line)
}

impl Call<'_> {
    /// A key that is given as `--key`, or on standard input where that is `-`.
    pub async fn key(&mut self, given: &str) -> Result<PersonKey, Fault> {
        if given == "-" {
            let text = self.input("a public key").await?;
            return parse(&text);
        }
        parse(given)
    }
}

/// Gives somebody a key, in the transaction of the change.
pub async fn add(
    batch: &mut Batch,
    actor: &Actor,
    holder: &Holder,
    key: &PersonKey,
) -> Result<(), ChangeError> {
    let taken = "SELECT removed_at FROM keys WHERE fingerprint = $1";
    let taken = batch.tx().row_opt(taken, &args![key.fingerprint.as_str()]).await?;
    if let Some(row) = taken {
        return Err(conflict(match row.opt_i64(0)? {
            None => "this key already belongs to somebody here; make another with ssh-keygen",
            Some(_) => "this key was removed before and cannot come back; make another",
        }));
    }
    let count = "SELECT COUNT(*) FROM keys WHERE role = $1 AND subject = $2 AND removed_at IS NULL";
    let count = batch.tx().row_opt(count, &args![holder.word(), holder.id.as_str()]).await?;
    if count.map(|row| row.u64(0)).transpose()?.unwrap_or_default() >= KEYS_PER_PERSON_MAX {
        return Err(conflict(format!(
            "a person has at most {KEYS_PER_PERSON_MAX} keys; remove one"
        )));
    }
    let sql = "INSERT INTO keys (fingerprint, public_key, role, subject, added_at) \
               VALUES ($1, $2, $3, $4, $5)";
    let now = batch.now();
    let row =
        args![key.fingerprint.as_str(), key.line.as_str(), holder.word(), holder.id.as_str(), now];
    batch.tx().run(sql, &row).await?;
    let event = Event::KeyAdded {
        fingerprint: key.fingerprint.clone(),
        role: holder.role,
        subject: holder.id.clone(),
    };
    append(batch, actor, holder, event).await
}

/// Takes a key away.
pub async fn remove(
    batch: &mut Batch,
    actor: &Actor,
    holder: &Holder,
    fingerprint: &str,
) -> Result<(), ChangeError> {
    let sql = "UPDATE keys SET removed_at = $1 \
               WHERE fingerprint = $2 AND role = $3 AND subject = $4 AND removed_at IS NULL";
    let now = batch.now();
    let row = args![now, fingerprint, holder.word(), holder.id.as_str()];
    if batch.tx().run(sql, &row).await? == 0 {
        return Err(unknown("key", fingerprint));
    }
    let event = Event::KeyRemoved {
        fingerprint: fingerprint.to_owned(),
        role: holder.role,
        subject: holder.id.clone(),
    };
    append(batch, actor, holder, event).await
}

/// Takes every key of somebody away.
pub async fn remove_all(
    batch: &mut Batch,
    actor: &Actor,
    holder: &Holder,
) -> Result<(), ChangeError> {
    let sql = "SELECT fingerprint FROM keys \
               WHERE role = $1 AND subject = $2 AND removed_at IS NULL ORDER BY fingerprint";
    for row in batch.tx().rows(sql, &args![holder.word(), holder.id.as_str()]).await? {
        remove(batch, actor, holder, &row.text(0)?).await?;
    }
    Ok(())
}

async fn append(
    batch: &mut Batch,
    actor: &Actor,
    holder: &Holder,
    event: Event,
) -> Result<(), ChangeError> {
    let mut entry = NewEntry::new(actor.clone(), event);
    entry.customer.clone_from(&holder.customer);
    batch.append(entry).await?;
    Ok(())
}
