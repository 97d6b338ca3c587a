//! The first set of approvers: invited by officers, enrolled by proof of possession.
//!
//! An officer's command makes a one-time token and a statement; whoever brings the token with a
//! signature over the statement is an approver with the key of that signature. It can be brought
//! over https by anybody, or by an officer who was sent it: it rests on what is brought, not on who
//! brings it. As soon as one approver of the set is enrolled no officer can invite another: what
//! was invited before can still be used, each approver is told of it, and any of them can void it.

use super::{
    super::{
        Call, Fault, Reply,
        change::{conflict, unknown},
        keys, rows,
        token::{self, Token},
    },
    holder,
};
use crate::{
    app::App,
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
    store::{Row, Tx},
};
use audit_schema::{
    event::{Actor, ActorKind, Event},
    hash::Hash,
    time::Timestamp,
};
use bastion_core::{
    approver_set::{Enrolment, enrolment_namespace},
    id::{ApproverId, CustomerId, Handle},
    limits::{INVITATION_SECONDS, INVITATIONS_OPEN_MAX},
    sshsig::verify_possession,
    statement::Nonce,
};
use serde_json::json;

/// `approver invite`.
pub async fn invite(call: &Call<'_>, handle: Handle, customer: CustomerId) -> Result<Reply, Fault> {
    let actor = call.actor();
    let origin = call.app.config.origin.clone();
    let token = Token::draw().map_err(|none| Fault::Failed(none.to_string()))?;
    let (kept, name, whose) = (token.digest(), handle.clone(), customer.clone());
    let change = call.change("approver invite", move |batch| {
        Box::pin(async move { insert(batch, actor, (name, whose), (origin, kept)).await })
    });
    let (enrolment, statement) = change.await?.into_inner();
    let origin = &call.app.config.origin;
    let url = call.app.config.https.as_ref().map(|https| https.url.clone());
    let bring = match &url {
        Some(url) => format!(
            "  curl -sf {url}/v1/approver/{token} > enrol.json\n  \
             ssh-keygen -Y sign -f KEY -n {namespace} enrol.json\n  \
             curl -sf --data-binary @enrol.json.sig {url}/v1/approver/{token}\n",
            namespace = enrolment_namespace(origin)
        ),
        None => format!(
            "  ssh-keygen -Y sign -f KEY -n {namespace} enrol.json\n\
             where enrol.json is the line below without a line break at its end; they send you \
             enrol.json.sig, and you run\n  \
             (echo {token}; cat enrol.json.sig) | ssh bastion approver enrol\n",
            namespace = enrolment_namespace(origin)
        ),
    };
    let said = String::from_utf8_lossy(&statement).into_owned();
    Ok(Reply::Said {
        text: format!(
            "invited {handle} ({}) as approver of {customer}, until {}; the token is shown this \
             once:\n{token}\nThey run\n{bring}{said}\n",
            enrolment.approver, enrolment.expires_at
        ),
        json: json!({
            "approver": enrolment.approver, "customer": customer, "handle": handle,
            "token": token.to_string(), "expires_at": enrolment.expires_at, "statement": said,
            "namespace": enrolment_namespace(origin), "url": url,
        }),
    })
}

async fn insert(
    batch: &mut Batch,
    actor: Actor,
    (handle, customer): (Handle, CustomerId),
    (origin, token): (String, String),
) -> Result<(Enrolment, Vec<u8>), ChangeError> {
    let signatures_needed = rows::signatures_needed(batch.tx(), &customer).await?;
    if is_founded(batch.tx(), &customer).await? {
        return Err(ChangeError::refused(
            "approvers-decide",
            format!(
                "{customer} has approvers, and they alone change their set: one of them runs \
                 `approver change`"
            ),
        ));
    }
    let taken = rows::approver(batch.tx(), &customer, &handle).await?.is_some();
    let sql = "SELECT COUNT(*) FROM invitations WHERE customer = $1 AND state = 'open'";
    let open = batch.tx().row_opt(sql, &args![customer.as_str()]).await?;
    let open = open.map(|row| row.u64(0)).transpose()?.unwrap_or_default();
    let sql = "SELECT approver FROM invitations WHERE customer = $1 AND handle = $2 \
               AND state = 'open' AND expires_at > $3";
    let now = batch.now();
    let row = args![customer.as_str(), handle.as_str(), now];
    if taken || batch.tx().row_opt(sql, &row).await?.is_some() {
        let taken = format!(
            "{customer} has, had or awaits an approver `{handle}`; take another name, or void \
             the invitation with `approver void`"
        );
        return Err(conflict(taken));
    }
    if open >= INVITATIONS_OPEN_MAX {
        return Err(conflict(format!("{INVITATIONS_OPEN_MAX} invitations wait; void some")));
    }
    let expires_at = now.plus_seconds(INVITATION_SECONDS);
    let enrolment = Enrolment {
        approver: ApproverId::from_entropy(draw()?),
        customer,
        expires_at: expires_at.to_string(),
        handle,
        nonce: Nonce(draw()?),
        origin,
        signatures_needed,
    };
    let statement = enrolment.compose().map_err(|bad| conflict(bad.to_string()))?;
    let sql = "INSERT INTO invitations \
               (approver, customer, handle, token, statement, expires_at, state) \
               VALUES ($1, $2, $3, $4, $5, $6, 'open')";
    let (approver, customer) = (&enrolment.approver, &enrolment.customer);
    let handle = enrolment.handle.as_str();
    let row =
        args![approver.as_str(), customer.as_str(), handle, token, statement.clone(), expires_at];
    batch.tx().run(sql, &row).await?;
    let event = Event::ApproverInvited {
        approver: approver.to_string(),
        expires_at: expires_at.to_string(),
        statement: Hash::of(&statement).to_string(),
    };
    let entry = NewEntry::new(actor, event).of_customer(customer).with("handle", handle);
    let seq = batch.append(entry).await?;
    let facts = json!({ "approver": approver, "handle": handle });
    notices::enqueue(batch, &Notice { customer, kind: "approver.invited", seq, facts }).await?;
    Ok((enrolment, statement))
}

/// Whether somebody of the present set was ever enrolled: from then on officers invite nobody.
async fn is_founded(tx: &mut Tx, customer: &CustomerId) -> Result<bool, ChangeError> {
    let sql = "SELECT a.id FROM approvers a JOIN customers c ON c.id = a.customer \
               AND c.approver_epoch = a.epoch WHERE a.customer = $1 LIMIT 1";
    Ok(tx.row_opt(sql, &args![customer.as_str()]).await?.is_some())
}

/// `approver enrol`: an officer brings what an approver sent.
pub async fn relay(call: &mut Call<'_>) -> Result<Reply, Fault> {
    let given = call.input("the token, and below it the signature").await?;
    let (token, signature) = given.split_once('\n').unwrap_or((&given, ""));
    let brought = Brought {
        actor: Some(call.actor()),
        origin: call.app.config.origin.clone(),
        token: token::digest(token),
        signature: signature.to_owned(),
    };
    let change = call.change("approver enrol", move |batch| Box::pin(enrol(batch, brought)));
    Ok(said(&change.await?.into_inner()))
}

/// The same over https, where what is brought speaks for itself.
pub async fn bring(app: &App, token: &str, signature: String) -> Result<String, Fault> {
    let origin = app.config.origin.clone();
    let brought = Brought { actor: None, origin, token: token::digest(token), signature };
    let change = app.ledger.record("approver enrol", move |batch| Box::pin(enrol(batch, brought)));
    match said(&change.await?.into_inner()) {
        Reply::Said { text, .. } => Ok(text),
        Reply::Bytes(_) | Reply::Written => Ok(String::new()),
    }
}

/// What an invitation's token opens: the exact bytes to sign.
pub async fn statement(app: &App, token: &str) -> Result<Option<Vec<u8>>, Fault> {
    let sql = "SELECT statement FROM invitations WHERE token = $1 AND state = 'open' \
               AND expires_at > $2";
    let row = args![token::digest(token), crate::clock::now()];
    let row = app.ledger.db().row_opt(sql, &row).await?;
    Ok(row.map(|row| row.bytes(0)).transpose()?)
}

/// A token and a signature.
struct Brought {
    /// The officer who brings it; none where nobody is known.
    actor: Option<Actor>,
    origin: String,
    token: String,
    signature: String,
}

/// Somebody became an approver.
struct Enrolled {
    enrolment: Enrolment,
    fingerprint: String,
    others: Vec<String>,
}

fn said(enrolled: &Enrolled) -> Reply {
    let Enrolment { handle, approver, customer, .. } = &enrolled.enrolment;
    let fingerprint = &enrolled.fingerprint;
    let others = match enrolled.others.is_empty() {
        true => String::new(),
        false => format!(
            "invited besides: {}; whoever of these you do not know, void with `approver void \
             NAME`\n",
            enrolled.others.join(", ")
        ),
    };
    Reply::Said {
        text: format!(
            "enrolled {handle} ({approver}) as approver of {customer}, key {fingerprint}\n{others}"
        ),
        json: json!({
            "approver": approver, "handle": handle, "customer": customer,
            "fingerprint": fingerprint, "invited_besides": enrolled.others,
        }),
    }
}

async fn enrol(batch: &mut Batch, brought: Brought) -> Result<Enrolled, ChangeError> {
    let bad = |why: String| ChangeError::refused("signature-bad", why);
    let now = batch.now();
    let sql = "SELECT statement, expires_at FROM invitations WHERE token = $1 AND state = 'open'";
    let row = batch.tx().row_opt(sql, &args![brought.token.as_str()]).await?;
    let none = || bad("no invitation has this token: it was used, voided, or never made".into());
    let row: Row = row.ok_or_else(none)?;
    if now >= Timestamp::from_micros(row.i64(1)?) {
        return Err(bad("the invitation has expired: ask for another".into()));
    }
    let statement = row.bytes(0)?;
    let enrolment = Enrolment::parse(&statement).map_err(|error| bad(error.to_string()))?;
    let wanted = enrolment_namespace(&brought.origin);
    let key = verify_possession(&brought.signature, &wanted, &statement);
    let key = key.map_err(|error| bad(error.to_string()))?;
    let key = keys::of(key).map_err(|fault| bad(fault.to_string()))?;

    let Enrolment { approver, customer, handle, .. } = &enrolment;
    let own = Actor { id: approver.to_string(), kind: ActorKind::Approver };
    let actor = brought.actor.unwrap_or(own);
    let sql = "UPDATE invitations SET state = 'used' WHERE approver = $1 AND state = 'open'";
    batch.tx().run(sql, &args![approver.as_str()]).await?;
    let proof = Proof { statement: Hash::of(&statement), signature: &brought.signature };
    insert_approver(batch, &actor, (approver, handle, customer), Some(proof)).await?;
    keys::add(batch, &actor, &holder(approver, customer), &key).await?;
    let sql = "INSERT INTO approver_signatures \
               (subject, fingerprint, approver, signature, signed_at) VALUES ($1, $2, $1, $3, $4)";
    let (fingerprint, signature) = (key.fingerprint.as_str(), brought.signature.as_str());
    batch.tx().run(sql, &args![approver.as_str(), fingerprint, signature, now]).await?;
    let others = open(batch.tx(), customer, now).await?;
    Ok(Enrolled { fingerprint: key.fingerprint.clone(), others, enrolment })
}

/// What an approver signed to become one.
pub(super) struct Proof<'a> {
    pub(super) statement: Hash,
    pub(super) signature: &'a str,
}

/// Enters an approver, without keys yet, and tells the others.
pub(super) async fn insert_approver(
    batch: &mut Batch,
    actor: &Actor,
    (id, handle, customer): (&ApproverId, &Handle, &CustomerId),
    proof: Option<Proof<'_>>,
) -> Result<(), ChangeError> {
    let sql = "INSERT INTO approvers (id, handle, customer, state, epoch) \
               SELECT $1, $2, id, 'enabled', approver_epoch FROM customers WHERE id = $3";
    batch.tx().run(sql, &args![id.as_str(), handle.as_str(), customer.as_str()]).await?;
    let signature = proof.as_ref().map(|proof| Hash::of(proof.signature.as_bytes()).to_string());
    let statement = proof.map(|proof| proof.statement.to_string());
    let event = Event::ApproverAdded { approver: id.to_string(), signature, statement };
    let entry = NewEntry::new(actor.clone(), event).of_customer(customer);
    let seq = batch.append(entry.with("handle", handle.as_str())).await?;
    let facts = json!({ "approver": id, "handle": handle });
    notices::enqueue(batch, &Notice { customer, kind: "approver.added", seq, facts }).await
}

/// The names of a customer's invitations that can still be used.
async fn open(
    tx: &mut Tx,
    customer: &CustomerId,
    now: Timestamp,
) -> Result<Vec<String>, ChangeError> {
    let sql = "SELECT handle FROM invitations WHERE customer = $1 AND state = 'open' \
               AND expires_at > $2 ORDER BY handle";
    let rows = tx.rows(sql, &args![customer.as_str(), now]).await?;
    Ok(rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?)
}

/// `approver void`: an invitation can be used no more.
pub async fn void(call: &Call<'_>, handle: Handle, customer: CustomerId) -> Result<Reply, Fault> {
    let actor = call.actor();
    let (text, json) = (
        format!("the invitation of {handle} to {customer} is void\n"),
        json!({ "handle": handle, "customer": customer }),
    );
    let change = call.close("approver void", move |batch| {
        Box::pin(async move {
            let sql = "SELECT approver FROM invitations WHERE customer = $1 AND handle = $2 \
                       AND state = 'open'";
            let found = args![customer.as_str(), handle.as_str()];
            let row = batch.tx().row_opt(sql, &found).await?;
            let row = row.ok_or_else(|| unknown("invitation", handle.as_str()))?;
            let approver: ApproverId = row.parsed(0)?;
            let sql = "UPDATE invitations SET state = 'void' WHERE approver = $1";
            batch.tx().run(sql, &args![approver.as_str()]).await?;
            let event = Event::ApproverInvitationVoided { approver: approver.to_string() };
            let entry = NewEntry::new(actor, event).of_customer(&customer);
            let seq = batch.append(entry).await?;
            let facts = json!({ "approver": approver });
            let kind = "approver.invitation_voided";
            notices::enqueue(batch, &Notice { customer: &customer, kind, seq, facts }).await
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said { text, json })
}
