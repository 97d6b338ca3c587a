//! Dual control: what an officer's command loosens takes two officers, and tells the customers.
//!
//! One closed table says of every officer's command what it does. One that loosens is not run where
//! there is another officer to ask: its words and its input are stored as a *proposed change*, and
//! another officer's `change approve` runs them. The approval and the change are one transaction,
//! so there is no approval without its change, no change without its approval, and no second run.
//! With one officer there is nobody to ask, as a deployment must begin somewhere; since removing an
//! officer loosens, too, one of two cannot go back to that alone. What only takes away never waits.
//!
//! ```text
//! operator add … ─▶ change.proposed c-…                      (of-1, exit 0)
//! change approve c-… ─▶ change.approved, operator.added, …   (of-2; the change in of-1's name)
//! ```

use super::{Call, Fault, Reply, change::conflict, rows};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
};
use audit_schema::{
    event::{Actor, ActorKind, Event},
    hash::Hash,
    time::Timestamp,
};
use bastion_core::{
    id::{ChangeId, CustomerId},
    limits::{PROPOSAL_SECONDS_MAX, PROPOSALS_OPEN_MAX},
};
use serde_json::json;
use std::collections::BTreeMap;

/// What an officer's command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Changes nothing.
    Reads,
    /// Takes away, or begins something that nobody's consent or access rests on yet.
    Alone,
    /// Lets somebody do what nobody could before, or weakens what a customer decides with.
    Loosens(Told),
    /// Loosens or not, as the rows tell that it finds.
    Depends(Told),
}

/// Who hears of a change that loosens, and in which word of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Each customer: it may concern the services of all.
    Everybody(&'static str),
    /// The customers in whose chains its entries stand.
    Concerned(&'static str),
    /// The command tells them itself, in its own words.
    Itself,
}

use Effect::{Alone, Depends, Loosens, Reads};
use Told::{Concerned, Everybody, Itself};

/// Every command that officers may run.
const TABLE: &[(&str, Effect)] = &[
    ("help", Reads),
    ("connect-config", Reads),
    ("whoami", Reads),
    // ---- people
    ("operator add", Loosens(Everybody("operator.added"))),
    // A consent may name a team, and a policy a country.
    ("operator change", Loosens(Everybody("operator.changed"))),
    ("operator disable", Alone),
    ("operator enable", Loosens(Everybody("operator.enabled"))),
    ("operator list", Reads),
    ("operator show", Reads),
    ("operator training", Loosens(Everybody("training.recorded"))),
    ("operator key add", Loosens(Everybody("key.added"))),
    ("operator key remove", Alone),
    ("officer add", Loosens(Everybody("officer.added"))),
    ("officer remove", Loosens(Everybody("officer.removed"))),
    ("officer list", Reads),
    ("change list", Reads),
    ("change show", Reads),
    // An approval runs the change, and that is what waits or not.
    ("change approve", Alone),
    ("change refuse", Alone),
    ("approver invite", Loosens(Itself)),
    // Rests on the invitation and on the signature, not on who brings them.
    ("approver enrol", Alone),
    ("approver void", Alone),
    // Takes the customer's control away, not the operators'.
    ("approver reset", Loosens(Itself)),
    ("approver stop-reset", Alone),
    ("approver list", Reads),
    // ---- inventory
    ("customer add", Alone),
    // Loosens where a customer is no longer told as it was; told where it is told from now on.
    ("customer notify", Depends(Itself)),
    ("customer list", Reads),
    ("service add", Loosens(Concerned("service.added"))),
    ("service list", Reads),
    // Loosens where an address is allowed that was not.
    ("service sources", Depends(Concerned("service.sources_changed"))),
    ("service recording-key", Loosens(Concerned("service.recording_key_changed"))),
    ("vm add", Loosens(Concerned("vm.added"))),
    ("vm rebuild", Loosens(Concerned("vm.added"))),
    ("vm retire", Alone),
    ("vm destination add", Loosens(Concerned("vm.destination_added"))),
    // Loosens where the item is data: its port may lie in a range.
    ("vm destination remove", Depends(Concerned("vm.destination_removed"))),
    ("vm destination list", Reads),
    ("vm list", Reads),
    // Names what is in the inventory already.
    ("vm certify", Alone),
    ("vm bootstrap", Alone),
    ("vm revocations", Reads),
    ("vm check", Reads),
    // Enters what it finds, and changes nothing.
    ("vm reconcile", Alone),
    // ---- rules and keys
    ("policy check", Reads),
    ("policy test", Reads),
    // Loosens nothing where the policy is in force already.
    ("policy reload", Depends(Everybody("policy.changed"))),
    ("policy show", Reads),
    ("ca show", Reads),
    ("ca krl", Reads),
    // A key in use is refused; any other opens less.
    ("ca revoke", Alone),
    // ---- reading
    ("audit query", Reads),
    ("audit stats", Reads),
    ("audit rebuild-index", Reads),
    ("audit show", Reads),
    ("audit verify", Reads),
    ("audit checkpoint", Reads),
    ("audit consistency", Reads),
    ("audit prove", Reads),
    ("audit tile", Reads),
    ("audit export", Reads),
    ("session list", Reads),
    ("session show", Reads),
    ("session end", Alone),
    ("session search", Reads),
    ("session watch", Reads),
    ("session replay", Reads),
    // Loosens nothing, and can never be undone: what a customer could look up is gone.
    ("recording erase", Loosens(Concerned("recording.erased"))),
    ("audit erase", Loosens(Concerned("subject.erased"))),
    ("audit hold add", Alone),
    // Lets something be erased.
    ("audit hold remove", Loosens(Concerned("hold.removed"))),
    ("audit hold list", Reads),
    ("session fetch", Reads),
    ("report", Reads),
];

/// What a command does; one that the table does not know loosens.
pub fn effect(command: &str) -> Effect {
    let row = TABLE.iter().find(|(name, _)| *name == command);
    row.map_or(Loosens(Everybody("change.approved")), |(_, effect)| *effect)
}

/// Every row: what tests compare with the table of permissions.
#[cfg(test)]
pub fn table() -> &'static [(&'static str, Effect)] {
    TABLE
}

/// A change that waits for another officer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// What the other officer names.
    pub id: ChangeId,
    /// The command's name.
    pub command: String,
    /// SHA-256 of its words and its input.
    pub digest: Hash,
    /// Until when it can be approved.
    pub expires_at: Timestamp,
}

/// Another officer's word for a proposed change.
#[derive(Clone, Debug)]
pub struct Approval {
    /// Which change.
    pub proposal: ChangeId,
    /// Who says so.
    pub approver: Actor,
}

/// The digest that entries name: of the words as a JSON array, a line feed, and the input.
pub fn digest(command_json: &str, stdin: &str) -> Hash {
    Hash::of(format!("{command_json}\n{stdin}").as_bytes())
}

/// The words of a command as one can type them.
pub fn spelled(argv: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=@,".contains(c);
    let word = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

/// A proposed change is an answer, not a fault.
pub fn answer(fault: Fault) -> Result<Reply, Fault> {
    let Fault::Proposed(Proposed { id, command, digest, expires_at }) = fault else {
        return Err(fault);
    };
    Ok(Reply::Said {
        text: format!(
            "`{command}` takes two officers: proposed as {id}; nothing is changed until another \
             officer runs\n  ssh bastion change approve {id}\nbefore {expires_at}\n"
        ),
        json: json!({
            "proposal": id, "state": "proposed", "command": command, "digest": digest,
            "expires_at": expires_at,
        }),
    })
}

/// What dual control adds to a change of an officer.
pub struct Step {
    actor: Actor,
    command: String,
    argv: Vec<String>,
    command_json: String,
    stdin: String,
    told: Told,
    approval: Option<Approval>,
}

impl Step {
    /// None where the command can loosen nothing.
    pub fn of(call: &Call<'_>) -> Result<Option<Self>, Fault> {
        let told = match effect(&call.command) {
            _ if call.caller.actor.kind != ActorKind::Officer => return Ok(None),
            Reads | Alone => return Ok(None),
            Loosens(told) | Depends(told) => told,
        };
        let argv = call.restated.clone().unwrap_or_else(|| call.argv.to_vec());
        Ok(Some(Self {
            actor: call.actor(),
            command: call.command.clone(),
            command_json: rows::to_json(&argv)?,
            argv,
            stdin: call.given.clone(),
            told,
            approval: call.approval.clone(),
        }))
    }

    /// Before the change: enters the approval, or proposes the change instead of making it.
    pub async fn before(
        &self,
        batch: &mut Batch,
        loosens: bool,
    ) -> Result<Option<Proposed>, ChangeError> {
        if let Some(approval) = &self.approval {
            self.approve(batch, approval).await?;
            return Ok(None);
        }
        if !loosens
            || count(batch, "SELECT COUNT(*) FROM officers WHERE state = 'enabled'").await? < 2
        {
            return Ok(None);
        }
        self.propose(batch).await.map(Some)
    }

    async fn propose(&self, batch: &mut Batch) -> Result<Proposed, ChangeError> {
        let now = batch.now();
        let sql = "SELECT COUNT(*) FROM proposals WHERE state = 'proposed' AND expires_at > $1";
        let open = batch.tx().row_opt(sql, &args![now]).await?;
        if open.map(|row| row.u64(0)).transpose()?.unwrap_or_default() >= PROPOSALS_OPEN_MAX {
            return Err(conflict(format!(
                "{PROPOSALS_OPEN_MAX} changes wait already: approve or refuse some (`change list`)"
            )));
        }
        let id = ChangeId::from_entropy(draw()?);
        let expires_at = now.plus_seconds(PROPOSAL_SECONDS_MAX);
        let sql = "INSERT INTO proposals \
                   (id, officer, command_json, stdin, created_at, expires_at, state) \
                   VALUES ($1, $2, $3, $4, $5, $6, 'proposed')";
        let (words, stdin) = (self.command_json.as_str(), self.stdin.as_str());
        let row = args![id.as_str(), self.actor.id.as_str(), words, stdin, now, expires_at];
        batch.tx().run(sql, &row).await?;
        let digest = digest(words, stdin);
        let event = Event::ChangeProposed {
            command: self.command.clone(),
            digest: digest.to_string(),
            proposal: id.to_string(),
        };
        let entry = NewEntry::new(self.actor.clone(), event);
        batch.append(entry.with("arguments", spelled(&self.argv))).await?;
        Ok(Proposed { id, command: self.command.clone(), digest, expires_at })
    }

    /// Everything that makes an approval count is read here, under the head of the log.
    async fn approve(&self, batch: &mut Batch, approval: &Approval) -> Result<(), ChangeError> {
        let id = &approval.proposal;
        let open = Open::load(batch, id).await?;
        if open.officer == approval.approver.id {
            return Err(ChangeError::refused(
                "own-change",
                "you proposed this change yourself: another officer has to approve it",
            ));
        }
        if open.officer != self.actor.id || open.digest != digest(&self.command_json, &self.stdin) {
            return Err(ChangeError::refused("change-differs", "this is not what was proposed"));
        }
        let sql = "SELECT id FROM officers WHERE id = $1 AND state = 'enabled'";
        if batch.tx().row_opt(sql, &args![open.officer.as_str()]).await?.is_none() {
            return Err(ChangeError::refused(
                "proposer-gone",
                "the officer who proposed it is an officer no more: propose it anew",
            ));
        }
        set_state(batch, id, "approved").await?;
        let event = Event::ChangeApproved {
            approver: approval.approver.id.clone(),
            digest: open.digest.to_string(),
            proposal: id.to_string(),
            proposer: open.officer,
        };
        batch.append(NewEntry::new(approval.approver.clone(), event)).await?;
        Ok(())
    }

    /// After the change: puts the notices to the customers into the same transaction. `first` is
    /// the place of its first own entry; one that entered nothing has changed nothing.
    pub async fn tell(&self, batch: &mut Batch, first: u64) -> Result<(), ChangeError> {
        let entered = batch.appended_from(first)?;
        let Some((_, last)) = entered.last().cloned() else { return Ok(()) };
        let (kind, all) = match self.told {
            Everybody(kind) => (kind, true),
            Concerned(kind) => (kind, false),
            Itself => return Ok(()),
        };
        // The last entry of each customer's own; the last of all where none is.
        let mut places: BTreeMap<CustomerId, u64> = BTreeMap::new();
        if all {
            for row in batch.tx().rows("SELECT id FROM customers", &[]).await? {
                places.insert(row.parsed(0)?, last);
            }
        }
        places.extend(entered.into_iter().filter_map(|(whose, seq)| Some((whose?, seq))));
        let approver = self.approval.as_ref().map(|approval| &approval.approver.id);
        for (customer, seq) in &places {
            let facts = json!({
                "command": self.command, "officer": self.actor.id, "approved_by": approver,
            });
            notices::enqueue(batch, &Notice { customer, kind, seq: *seq, facts }).await?;
        }
        Ok(())
    }
}

/// A proposed change that can still be decided.
pub struct Open {
    /// Who proposed it.
    pub officer: String,
    /// Of its words and its input.
    pub digest: Hash,
}

impl Open {
    /// Refuses what is decided already, and what has expired.
    pub async fn load(batch: &mut Batch, id: &ChangeId) -> Result<Self, ChangeError> {
        let sql = "SELECT officer, command_json, stdin, expires_at, state FROM proposals \
                   WHERE id = $1";
        let row = batch.tx().row_opt(sql, &args![id.as_str()]).await?;
        let row = row.ok_or_else(|| super::change::unknown("change", id.as_str()))?;
        let state = row.text(4)?;
        if state != "proposed" {
            return Err(ChangeError::refused("change-decided", format!("{id} is {state} already")));
        }
        if batch.now() >= Timestamp::from_micros(row.i64(3)?) {
            let sentence = format!("{id} has expired: it has to be proposed anew");
            return Err(ChangeError::refused("change-expired", sentence));
        }
        Ok(Self { officer: row.text(0)?, digest: digest(&row.text(1)?, &row.text(2)?) })
    }
}

/// Decides a proposed change, once.
pub async fn set_state(
    batch: &mut Batch,
    id: &ChangeId,
    state: &'static str,
) -> Result<(), ChangeError> {
    let sql = "UPDATE proposals SET state = $1 WHERE id = $2 AND state = 'proposed'";
    match batch.tx().run(sql, &args![state, id.as_str()]).await? {
        1 => Ok(()),
        _ => Err(ChangeError::refused("change-decided", format!("{id} is decided already"))),
    }
}

async fn count(batch: &mut Batch, sql: &'static str) -> Result<u64, ChangeError> {
    let row = batch.tx().row_opt(sql, &[]).await?;
    Ok(row.map(|row| row.u64(0)).transpose()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::permit;

    #[test]
    fn every_command_of_officers_has_one_row_and_every_row_a_command() {
        let mut rows: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        let mut theirs: Vec<&str> =
            permit::commands().filter(|name| permit::permits(ActorKind::Officer, name)).collect();
        rows.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(rows, theirs);
        assert!(matches!(effect("frobnicate"), Loosens(_)));
    }

    #[test]
    fn words_are_spelled_as_they_are_read() {
        let words: Vec<String> = ["a", "", "b c", "it's"].map(str::to_owned).into();
        assert_eq!(crate::api::line::split(&spelled(&words)).unwrap(), words);
    }
}
