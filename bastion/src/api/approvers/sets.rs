//! Later sets of approvers: made by the present one, never by officers.
//!
//! An approver says what should change, and the whole new set is composed as a statement. It is in
//! force once as many of the present approvers have signed it as a consent takes, and each key that
//! comes in has signed it too, which proves that somebody holds it. Who brings a signature does not
//! matter, who made it does. A statement names the set that it replaces, so of several that wait
//! the first one to be made makes the others void.

use super::{
    super::{
        Call, Fault, Reply,
        change::{conflict, unknown, usage},
        consent,
        keys::{self, PersonKey},
        print::shown,
        rows,
    },
    holder,
    invite::insert_approver,
};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
    store::{Row, StoreError, Tx},
};
use audit_schema::{
    event::{Actor, Event},
    hash::Hash,
    time::Timestamp,
};
use bastion_core::{
    approver_set::{ApproverSet, Member, digest, fingerprint, set_namespace},
    id::{ApproverId, CustomerId, Handle, SetChangeId},
    lease::Cause,
    limits::{CONSENT_SIGNATURES_MAX, SET_CHANGE_SECONDS, SET_CHANGES_OPEN_MAX},
    sshsig::verify_possession,
    statement::Nonce,
};
use clap::Args;
use serde_json::json;
use std::collections::BTreeSet;

/// What should change; at least one of these.
#[derive(Debug, Args)]
pub struct Ask {
    /// Somebody who comes in, with the key of --key.
    #[arg(long, value_name = "NAME", conflicts_with = "rekey", requires = "key")]
    add: Option<Handle>,
    /// Somebody who gets the key of --key instead of all theirs.
    #[arg(long, value_name = "NAME", requires = "key")]
    rekey: Option<Handle>,
    /// Somebody who leaves.
    #[arg(long, value_name = "NAME")]
    remove: Option<Handle>,
    /// How many of them a consent takes from then on.
    #[arg(long, value_name = "NUMBER",
        value_parser = clap::value_parser!(u64).range(1..=CONSENT_SIGNATURES_MAX))]
    signatures: Option<u64>,
    /// A public key: a line of a .pub file, or - for standard input.
    #[arg(long)]
    key: Option<String>,
}

/// The set of a customer as it stands.
struct Present {
    members: Vec<Member>,
    signatures_needed: u64,
    revision: u64,
}

impl Present {
    async fn load(tx: &mut Tx, customer: &CustomerId) -> Result<Self, ChangeError> {
        let sql = "SELECT signatures_needed, approver_revision FROM customers WHERE id = $1";
        let row = tx.row_opt(sql, &args![customer.as_str()]).await?;
        let row = row.ok_or_else(|| unknown("customer", customer.as_str()))?;
        let (signatures_needed, revision) = (row.u64(0)?, row.u64(1)?);
        let sql = "SELECT a.id, a.handle, k.public_key FROM approvers a \
                   JOIN keys k ON k.subject = a.id AND k.role = 'approver' \
                   AND k.removed_at IS NULL \
                   WHERE a.customer = $1 AND a.state = 'enabled' ORDER BY a.id, k.public_key";
        let mut members: Vec<Member> = Vec::new();
        for row in tx.rows(sql, &args![customer.as_str()]).await? {
            let (approver, handle): (ApproverId, Handle) = (row.parsed(0)?, row.parsed(1)?);
            let key = row.text(2)?;
            match members.last_mut() {
                Some(last) if last.approver == approver => last.keys.push(key),
                _ => members.push(Member { approver, handle, keys: vec![key] }),
            }
        }
        // The database's order of text need not be ours.
        members.iter_mut().for_each(|member| member.keys.sort());
        members.sort();
        Ok(Self { members, signatures_needed, revision })
    }

    fn owner(&self, key: &str) -> Option<&ApproverId> {
        let owner = self.members.iter().find(|member| member.keys.iter().any(|k| k == key));
        owner.map(|member| &member.approver)
    }
}

/// `approver change`.
pub async fn propose(call: &mut Call<'_>, customer: CustomerId, ask: Ask) -> Result<Reply, Fault> {
    if ask.add.is_none() && ask.rekey.is_none() && ask.remove.is_none() && ask.signatures.is_none()
    {
        let say = "say what changes: --add, --rekey, --remove or --signatures";
        return Err(Fault::Usage(say.into()));
    }
    let key = match &ask.key {
        Some(given) => Some(call.key(&given.clone()).await?),
        None => None,
    };
    let (actor, origin) = (call.actor(), call.app.config.origin.clone());
    let change = call.change("approver change", move |batch| {
        Box::pin(async move {
            let present = Present::load(batch.tx(), &customer).await?;
            let set = asked(batch, (&customer, &present), (ask, key), origin).await?;
            insert(batch, &actor, set).await
        })
    });
    let (id, set) = change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("{}\nProposed as {id}. {}", shown(&set.summary()), how(&id, &set.origin)),
        json: json!({ "change": id, "revision": set.revision, "summary": set.summary() }),
    })
}

fn how(id: &SetChangeId, origin: &str) -> String {
    format!(
        "Approvers, and whoever comes in with a new key, sign it:\n  \
         ssh bastion approver statement {id} > set.json\n  \
         ssh-keygen -Y sign -f KEY -n {} set.json\n  \
         ssh bastion approver sign {id} < set.json.sig\n",
        set_namespace(origin)
    )
}

/// The set that is asked for.
async fn asked(
    batch: &mut Batch,
    (customer, present): (&CustomerId, &Present),
    (ask, key): (Ask, Option<PersonKey>),
    origin: String,
) -> Result<ApproverSet, ChangeError> {
    let mut members = present.members.clone();
    let none = |name: &Handle| unknown("approver", name.as_str());
    if let Some(name) = &ask.remove {
        let before = members.len();
        members.retain(|member| member.handle != *name);
        if members.len() == before {
            return Err(none(name));
        }
    }
    if let (Some(name), Some(key)) = (&ask.rekey, &key) {
        let member = members.iter_mut().find(|member| member.handle == *name);
        member.ok_or_else(|| none(name))?.keys = vec![key.line.clone()];
    }
    if let (Some(name), Some(key)) = (ask.add, &key) {
        if rows::approver(batch.tx(), customer, &name).await?.is_some() {
            return Err(conflict(format!("{customer} has or had an approver `{name}`")));
        }
        let approver = ApproverId::from_entropy(draw()?);
        members.push(Member { approver, handle: name, keys: vec![key.line.clone()] });
    }
    if let Some(key) = &key {
        let sql = "SELECT fingerprint FROM keys WHERE fingerprint = $1";
        if batch.tx().row_opt(sql, &args![key.fingerprint.as_str()]).await?.is_some() {
            return Err(conflict("this key belongs or belonged to somebody here; make another"));
        }
    }
    members.sort();
    let previous = digest(&present.members, present.signatures_needed);
    Ok(ApproverSet {
        customer: customer.clone(),
        members,
        nonce: Nonce(draw()?),
        origin,
        previous: previous.map_err(|bad| usage(bad.to_string()))?,
        revision: present.revision + 1,
        signatures_needed: ask.signatures.unwrap_or(present.signatures_needed),
    })
}

async fn insert(
    batch: &mut Batch,
    actor: &Actor,
    set: ApproverSet,
) -> Result<(SetChangeId, ApproverSet), ChangeError> {
    let statement = set.compose().map_err(|bad| usage(bad.to_string()))?;
    let now = batch.now();
    let sql = "SELECT COUNT(*) FROM set_changes WHERE customer = $1 AND state = 'open' \
               AND expires_at > $2";
    let open = batch.tx().row_opt(sql, &args![set.customer.as_str(), now]).await?;
    if open.map(|row| row.u64(0)).transpose()?.unwrap_or_default() >= SET_CHANGES_OPEN_MAX {
        return Err(conflict(format!("{SET_CHANGES_OPEN_MAX} changes wait: drop some")));
    }
    let id = SetChangeId::from_entropy(draw()?);
    let sql = "INSERT INTO set_changes \
               (id, customer, revision, statement, created_at, expires_at, state) \
               VALUES ($1, $2, $3, $4, $5, $6, 'open')";
    let until = now.plus_seconds(SET_CHANGE_SECONDS);
    let (customer, revision) = (set.customer.as_str(), set.revision);
    let row = args![id.as_str(), customer, revision, statement.clone(), now, until];
    batch.tx().run(sql, &row).await?;
    let event = Event::ApproversChangeProposed {
        change: id.to_string(),
        revision,
        statement: Hash::of(&statement).to_string(),
    };
    tell(batch, actor, &set.customer, (event, "approvers.change_proposed", &id)).await?;
    Ok((id, set))
}

async fn tell(
    batch: &mut Batch,
    actor: &Actor,
    customer: &CustomerId,
    (event, kind, id): (Event, &'static str, &SetChangeId),
) -> Result<u64, ChangeError> {
    let entry = NewEntry::new(actor.clone(), event).of_customer(customer);
    let seq = batch.append(entry).await?;
    let facts = json!({ "change": id });
    notices::enqueue(batch, &Notice { customer, kind, seq, facts }).await?;
    Ok(seq)
}

/// A new set that waits.
struct Open {
    statement: Vec<u8>,
    set: ApproverSet,
}

impl Open {
    async fn load(
        batch: &mut Batch,
        customer: &CustomerId,
        id: &SetChangeId,
    ) -> Result<Self, ChangeError> {
        let sql = "SELECT statement, state, expires_at FROM set_changes \
                   WHERE id = $1 AND customer = $2";
        let row = batch.tx().row_opt(sql, &args![id.as_str(), customer.as_str()]).await?;
        let row = row.ok_or_else(|| unknown("change", id.as_str()))?;
        let state = row.text(1)?;
        if state != "open" {
            return Err(conflict(format!("{id} is {state} already")));
        }
        if batch.now() >= Timestamp::from_micros(row.i64(2)?) {
            return Err(conflict(format!("{id} has expired: propose it anew")));
        }
        let statement = row.bytes(0)?;
        let set = ApproverSet::parse(&statement).map_err(|bad| usage(bad.to_string()))?;
        Ok(Self { statement, set })
    }
}

/// `approver statement`: the exact bytes to sign.
pub async fn statement(
    call: &Call<'_>,
    customer: &CustomerId,
    id: &SetChangeId,
) -> Result<Reply, Fault> {
    let sql = "SELECT statement FROM set_changes WHERE id = $1 AND customer = $2";
    let row = call.db().row_opt(sql, &args![id.as_str(), customer.as_str()]).await?;
    let row =
        row.ok_or_else(|| crate::ledger::LedgerError::from(unknown("change", id.as_str())))?;
    Ok(Reply::Bytes(row.bytes(0)?))
}

/// What a signature led to.
struct Outcome {
    made: bool,
    now: u64,
    needed: u64,
    keys_waited_for: Vec<String>,
}

/// `approver sign`.
pub async fn sign(
    call: &mut Call<'_>,
    customer: CustomerId,
    id: SetChangeId,
) -> Result<Reply, Fault> {
    let signature = call.input("the signature (the .sig file of ssh-keygen -Y sign)").await?;
    let (actor, origin) = (call.actor(), call.app.config.origin.clone());
    let name = id.clone();
    let change = call.change("approver sign", move |batch| {
        Box::pin(async move {
            let open = Open::load(batch, &customer, &name).await?;
            let wanted = set_namespace(&origin);
            let key = verify_possession(&signature, &wanted, &open.statement)
                .map_err(|bad| ChangeError::refused("signature-bad", bad.to_string()))?;
            let key = keys::of(key)
                .map_err(|bad| ChangeError::refused("signature-bad", bad.to_string()))?;
            take(batch, &actor, (&name, &open), (&key, &signature)).await
        })
    });
    let Outcome { made, now, needed, keys_waited_for } = change.await?.into_inner();
    call.app.live.wake();
    let text = match made {
        true => format!("made {id}: the set of approvers is the new one\n"),
        false => format!(
            "signed: {now} of {needed} approvers; new keys that have not signed: {}\n",
            if keys_waited_for.is_empty() { "none".into() } else { keys_waited_for.join(", ") }
        ),
    };
    Ok(Reply::Said {
        text,
        json: json!({
            "change": id, "made": made, "signatures_now": now, "signatures_needed": needed,
            "keys_waited_for": keys_waited_for,
        }),
    })
}

async fn take(
    batch: &mut Batch,
    actor: &Actor,
    (id, open): (&SetChangeId, &Open),
    (key, signature): (&PersonKey, &str),
) -> Result<Outcome, ChangeError> {
    let present = Present::load(batch.tx(), &open.set.customer).await?;
    let replaced = digest(&present.members, present.signatures_needed);
    if replaced.ok() != Some(open.set.previous) || open.set.revision != present.revision + 1 {
        return Err(conflict("the set has changed since this was proposed: propose it anew"));
    }
    let owner = present.owner(&key.line).cloned();
    let incoming: BTreeSet<&String> = open.set.members.iter().flat_map(|m| &m.keys).collect();
    if owner.is_none() && !incoming.contains(&key.line) {
        let whose = "the signature is by a key that is neither an approver's nor one that comes in";
        return Err(ChangeError::refused("signature-bad", whose));
    }
    let sql = "INSERT INTO approver_signatures \
               (subject, fingerprint, approver, signature, signed_at) VALUES ($1, $2, $3, $4, $5)";
    let signers = signatures(batch, id).await?;
    if signers.iter().any(|(fingerprint, _)| *fingerprint == key.fingerprint) {
        return Err(ChangeError::refused("signature-repeated", "this key has signed it already"));
    }
    let (now, by) = (batch.now(), owner.as_ref().map(ToString::to_string));
    let row = args![id.as_str(), key.fingerprint.as_str(), by.as_deref(), signature, now];
    batch.tx().run(sql, &row).await?;
    let signers = signatures(batch, id).await?;
    let approvers: BTreeSet<&String> = signers.iter().filter_map(|(_, by)| by.as_ref()).collect();
    let (now, needed) = (approvers.len() as u64, present.signatures_needed);
    let event = Event::ApproversChangeSigned {
        approver: by,
        change: id.to_string(),
        fingerprint: key.fingerprint.clone(),
        signature: Hash::of(signature.as_bytes()).to_string(),
        signatures_needed: needed,
        signatures_now: now,
    };
    tell(batch, actor, &open.set.customer, (event, "approvers.change_signed", id)).await?;
    let waits = |key: &&&String| {
        let signed = fingerprint(key);
        present.owner(key).is_none() && !signers.iter().any(|(other, _)| *other == signed)
    };
    let keys_waited_for: Vec<String> =
        incoming.iter().filter(waits).map(|key| fingerprint(key)).collect();
    let made = now >= needed && keys_waited_for.is_empty();
    if made {
        make(batch, actor, (id, open), &present).await?;
    }
    Ok(Outcome { made, now, needed, keys_waited_for })
}

/// Who signed a change: the key, and the approver where it was one.
async fn signatures(
    batch: &mut Batch,
    id: &SetChangeId,
) -> Result<Vec<(String, Option<String>)>, ChangeError> {
    let sql = "SELECT fingerprint, approver FROM approver_signatures WHERE subject = $1";
    let rows = batch.tx().rows(sql, &args![id.as_str()]).await?;
    let signer = |row: &Row| Ok((row.text(0)?, row.opt_text(1)?));
    Ok(rows.iter().map(signer).collect::<Result<_, StoreError>>()?)
}

/// The new set comes into force.
async fn make(
    batch: &mut Batch,
    actor: &Actor,
    (id, open): (&SetChangeId, &Open),
    present: &Present,
) -> Result<(), ChangeError> {
    let set = &open.set;
    let customer = &set.customer;
    let event = Event::ApproversChanged {
        change: id.to_string(),
        revision: set.revision,
        signatures_needed: set.signatures_needed,
        statement: Hash::of(&open.statement).to_string(),
    };
    tell(batch, actor, customer, (event, "approvers.changed", id)).await?;
    let sql = "UPDATE customers SET approver_revision = $1, signatures_needed = $2 WHERE id = $3";
    let row = args![set.revision, set.signatures_needed, customer.as_str()];
    batch.tx().run(sql, &row).await?;
    let sql = "UPDATE set_changes SET state = 'void' WHERE customer = $1 AND state = 'open'";
    batch.tx().run(sql, &args![customer.as_str()]).await?;
    let sql = "UPDATE set_changes SET state = 'made' WHERE id = $1";
    batch.tx().run(sql, &args![id.as_str()]).await?;
    for gone in present.members.iter().filter(|old| !has(&set.members, old)) {
        remove(batch, actor, (&gone.approver, customer)).await?;
    }
    for member in &set.members {
        let old = present.members.iter().find(|old| old.approver == member.approver);
        let who = (&member.approver, &member.handle, customer);
        if old.is_none() {
            insert_approver(batch, actor, who, None).await?;
        }
        rekey(batch, actor, (member, old), customer).await?;
    }
    Ok(())
}

fn has(members: &[Member], one: &Member) -> bool {
    members.iter().any(|member| member.approver == one.approver)
}

async fn rekey(
    batch: &mut Batch,
    actor: &Actor,
    (member, old): (&Member, Option<&Member>),
    customer: &CustomerId,
) -> Result<(), ChangeError> {
    let holder = holder(&member.approver, customer);
    let before: &[String] = old.map_or(&[], |old| &old.keys);
    for key in before.iter().filter(|key| !member.keys.contains(key)) {
        keys::remove(batch, actor, &holder, &fingerprint(key)).await?;
    }
    for key in member.keys.iter().filter(|key| !before.contains(key)) {
        let key = PersonKey { fingerprint: fingerprint(key), line: key.clone() };
        keys::add(batch, actor, &holder, &key).await?;
    }
    Ok(())
}

/// Ends an approver, and the open consents that they signed.
pub(super) async fn remove(
    batch: &mut Batch,
    actor: &Actor,
    (id, customer): (&ApproverId, &CustomerId),
) -> Result<(), ChangeError> {
    let sql = "UPDATE approvers SET state = 'disabled' WHERE id = $1";
    batch.tx().run(sql, &args![id.as_str()]).await?;
    let event = Event::ApproverRemoved { approver: id.to_string() };
    let seq = batch.append(NewEntry::new(actor.clone(), event).of_customer(customer)).await?;
    keys::remove_all(batch, actor, &holder(id, customer)).await?;
    let facts = json!({ "approver": id });
    notices::enqueue(batch, &Notice { customer, kind: "approver.removed", seq, facts }).await?;
    for ticket in consent::signed_by(batch, id).await? {
        consent::end(batch, &ticket, "approver_removed", Cause::ConsentWithdrawn).await?;
    }
    Ok(())
}

/// `approver drop`: any one of them is enough.
pub async fn drop_change(
    call: &Call<'_>,
    customer: CustomerId,
    id: SetChangeId,
) -> Result<Reply, Fault> {
    let (actor, name) = (call.actor(), id.clone());
    let change = call.close("approver drop", move |batch| {
        Box::pin(async move {
            Open::load(batch, &customer, &name).await?;
            let sql = "UPDATE set_changes SET state = 'dropped' WHERE id = $1";
            batch.tx().run(sql, &args![name.as_str()]).await?;
            let event = Event::ApproversChangeDropped { change: name.to_string() };
            tell(batch, &actor, &customer, (event, "approvers.change_dropped", &name)).await?;
            Ok(())
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("dropped {id}; the set stays as it is\n"),
        json: json!({ "change": id, "state": "dropped" }),
    })
}
