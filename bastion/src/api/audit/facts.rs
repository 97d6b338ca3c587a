//! What stands of a person beside the log, and what an erasure leaves of it.
//!
//! Kept: pseudonyms, team, employing entity and country (what a customer's export carries),
//! trainings by course and time, the fingerprints of keys (so that no key ever belongs to two), the
//! signatures of consents. Gone: the name, the public keys' text and its comment, addresses, the
//! free text and the names in tickets that are over, what was proposed and delivered. A ticket's
//! statement goes with its text; its digest stands in the log, and the customer has what it signed.

use super::erase::{unknown, word};
use crate::{
    api::{Call, Fault, change},
    args,
    ledger::{Batch, ChangeError},
    store::StoreError,
};
use bastion_core::id::CustomerId;
use serde_json::Value;

/// What stands where a text stood.
pub(in crate::api) const ERASED: &str = "erased";

/// The tables that [`scrub`] changes.
pub(super) const TABLES: [&str; 9] = [
    "operators",
    "officers",
    "approvers",
    "keys",
    "sessions",
    "leases",
    "tickets",
    "consent_signatures",
    "proposals",
];

/// Whose data is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// As entries name it.
    pub id: String,
    /// What the person is called; none once that is erased, and for who has no name here.
    pub name: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Operator,
    Officer,
    Approver,
    /// A customer's contact, or a Unix user: only texts of the log.
    Texts,
}

const FIND: &str = "SELECT 'operator', id, handle FROM operators WHERE id = $1 OR handle = $1 \
    UNION ALL SELECT 'officer', id, handle FROM officers WHERE id = $1 OR handle = $1 \
    UNION ALL SELECT 'approver', id, handle FROM approvers WHERE id = $1";

impl Subject {
    /// Whoever is meant, by id or by name.
    pub async fn resolve(call: &Call<'_>, asked: &str) -> Result<Self, Fault> {
        if let Some(customer) = asked.strip_prefix("contact:") {
            let customer: CustomerId = customer.parse().map_err(|_| unknown(asked))?;
            let id = crate::ledger::subjects::contact(&customer);
            return Ok(Self { id, name: None, kind: Kind::Texts });
        }
        if let Some(uid) = asked.strip_prefix("local:") {
            let uid: u32 = uid.parse().map_err(|_| unknown(asked))?;
            return Ok(Self { id: format!("local:{uid}"), name: None, kind: Kind::Texts });
        }
        if let Some(day) = asked.strip_prefix("unknown:") {
            let super::super::values::Moment(at) = day.parse().map_err(|_| unknown(asked))?;
            let id = at.to_string().get(..10).map(crate::ledger::subjects::unknown_of);
            let id = id.filter(|id| id == asked).ok_or_else(|| unknown(asked))?;
            return Ok(Self { id, name: None, kind: Kind::Texts });
        }
        let rows = call.db().rows(FIND, &args![asked]).await?;
        let [row] = rows.as_slice() else {
            return Err(match rows.is_empty() {
                true => unknown(asked),
                false => Fault::Conflict(format!("`{asked}` is several people: give an id")),
            });
        };
        let kind = match row.text(0)?.as_str() {
            "operator" => Kind::Operator,
            "officer" => Kind::Officer,
            _ => Kind::Approver,
        };
        let (id, handle) = (row.text(1)?, row.text(2)?);
        let name = Some(handle).filter(|handle| *handle != erased_name(&id));
        Ok(Self { id, name, kind })
    }
}

/// A name that nobody else has and that says nothing.
fn erased_name(id: &str) -> String {
    format!("{ERASED}-{id}")
}

/// Refuses while the person still acts, or something still needs what would go.
pub(super) async fn refuse_active(batch: &mut Batch, who: &Subject) -> Result<(), ChangeError> {
    let state = match who.kind {
        Kind::Operator => "SELECT state FROM operators WHERE id = $1",
        Kind::Officer => "SELECT state FROM officers WHERE id = $1",
        Kind::Approver => "SELECT state FROM approvers WHERE id = $1",
        Kind::Texts => return Ok(()),
    };
    if word(batch, state, &who.id).await?.as_deref() == Some("enabled") {
        return Err(change::conflict(format!(
            "{} still acts here: disable or remove the person first",
            who.id
        )));
    }
    let open = "SELECT id FROM sessions WHERE subject = $1 AND closed_at IS NULL";
    let lease = "SELECT id FROM leases WHERE operator = $1 AND closed_at IS NULL";
    for sql in [open, lease] {
        if let Some(id) = word(batch, sql, &who.id).await? {
            return Err(change::conflict(format!("{id} is still open: end it first")));
        }
    }
    Ok(())
}

/// Takes the person out of every row.
pub(super) async fn scrub(batch: &mut Batch, who: &Subject) -> Result<(), ChangeError> {
    let rename = match who.kind {
        Kind::Operator => "UPDATE operators SET handle = $1 WHERE id = $2",
        Kind::Officer => "UPDATE officers SET handle = $1 WHERE id = $2",
        Kind::Approver => "UPDATE approvers SET handle = $1 WHERE id = $2",
        Kind::Texts => return Ok(()),
    };
    batch.tx().run(rename, &args![erased_name(&who.id), who.id.as_str()]).await?;
    let now = batch.now();
    let keys = "UPDATE keys SET public_key = '', removed_at = COALESCE(removed_at, $1) \
                WHERE subject = $2";
    batch.tx().run(keys, &args![now, who.id.as_str()]).await?;
    // As many characters as there were: SQLite then moves nothing, and leaves no copy in a page.
    let sessions = "UPDATE sessions SET source = \
                    substr('erased---------------------------------', 1, length(source)) \
                    WHERE subject = $1";
    let leases = "UPDATE leases SET source = \
                  substr('erased---------------------------------', 1, length(source)) \
                  WHERE operator = $1";
    for sql in [sessions, leases] {
        batch.tx().run(sql, &args![who.id.as_str()]).await?;
    }
    tickets(batch, who).await?;
    outboxes(batch, who).await
}

/// Free text and names in the tickets that the person opened, or that name the person.
async fn tickets(batch: &mut Batch, who: &Subject) -> Result<(), ChangeError> {
    let sql = "SELECT id, state, scope_json FROM tickets WHERE scope_json LIKE $1";
    for row in batch.tx().rows(sql, &args![format!("%\"{}\"%", who.id)]).await? {
        let (id, state) = (row.text(0)?, row.text(1)?);
        let mut ticket: Value = serde_json::from_str(&row.text(2)?).map_err(shape)?;
        if ["pending", "granted"].contains(&state.as_str()) {
            let sentence = format!("ticket {id} names {} and is {state}: end it first", who.id);
            return Err(change::conflict(sentence));
        }
        blank(&mut ticket, &who.id);
        let scope = serde_json::to_string(&ticket).map_err(shape)?;
        let sql = "UPDATE tickets SET scope_json = $1, statement = $2 WHERE id = $3";
        batch.tx().run(sql, &args![scope, ERASED.as_bytes(), id.as_str()]).await?;
        let sql = "UPDATE consent_signatures SET statement = $1 WHERE ticket = $2";
        batch.tx().run(sql, &args![ERASED.as_bytes(), id.as_str()]).await?;
        let sql = "UPDATE notices SET payload_json = '{}' \
                   WHERE done_at IS NOT NULL AND payload_json LIKE $1";
        batch.tx().run(sql, &args![format!("%\"{id}\"%")]).await?;
    }
    Ok(())
}

/// A ticket's text is its opener's; a name is the operator's.
fn blank(ticket: &mut Value, subject: &str) {
    let opened = ticket.pointer("/opened_by/id").and_then(Value::as_str) == Some(subject);
    let Some(terms) = ticket.get_mut("terms").and_then(Value::as_object_mut) else { return };
    if opened {
        terms.insert("justification".into(), ERASED.into());
        if let Some(case) = terms.get_mut("case").filter(|case| case.is_string()) {
            *case = ERASED.into();
        }
    }
    for named in terms.get_mut("operators").and_then(Value::as_array_mut).into_iter().flatten() {
        if named.get("id").and_then(Value::as_str) == Some(subject)
            && let Some(handle) = named.get_mut("handle")
        {
            *handle = erased_name(subject).into();
        }
    }
}

/// What was proposed and decided, and what was told, with the person's name in it.
async fn outboxes(batch: &mut Batch, who: &Subject) -> Result<(), ChangeError> {
    // Without a name only the person's own proposals are meant: nothing has the id as its text.
    let holds = who.name.as_ref().map_or_else(|| who.id.clone(), |name| format!("%{name}%"));
    let sql = "SELECT id FROM proposals WHERE state = 'proposed' AND expires_at > $1 \
               AND (officer = $2 OR command_json LIKE $3 OR stdin LIKE $3)";
    let now = batch.now();
    let row = batch.tx().row_opt(sql, &args![now, who.id.as_str(), holds.as_str()]).await?;
    if let Some(row) = row {
        let sentence = format!("change {} names this person: decide it first", row.text(0)?);
        return Err(change::conflict(sentence));
    }
    let sql = "UPDATE proposals SET command_json = '[]', stdin = '' \
               WHERE officer = $1 OR command_json LIKE $2 OR stdin LIKE $2";
    batch.tx().run(sql, &args![who.id.as_str(), holds.as_str()]).await?;
    let sql = "UPDATE notices SET payload_json = '{}' \
               WHERE done_at IS NOT NULL AND payload_json LIKE $1";
    batch.tx().run(sql, &args![holds]).await?;
    Ok(())
}

fn shape(error: serde_json::Error) -> StoreError {
    StoreError::failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_ticket_loses_the_texts_of_its_opener_and_the_names_of_its_operators() {
        let ticket = json!({
            "opened_by": { "id": "op-1", "kind": "operator" },
            "terms": {
                "case": null, "justification": "disk full",
                "operators": [
                    { "handle": "olga", "id": "op-1" },
                    { "handle": "otto", "id": "op-2" },
                ],
            },
        });
        let mut of_opener = ticket.clone();
        blank(&mut of_opener, "op-1");
        let terms = &of_opener["terms"];
        assert_eq!(terms["justification"], "erased");
        assert_eq!(terms["case"], Value::Null);
        assert_eq!(terms["operators"][0]["handle"], "erased-op-1");
        assert_eq!(terms["operators"][1]["handle"], "otto");
        let mut of_named = ticket;
        blank(&mut of_named, "op-2");
        assert_eq!(of_named["terms"]["justification"], "disk full");
        assert_eq!(of_named["terms"]["operators"][1]["handle"], "erased-op-2");
    }
}
