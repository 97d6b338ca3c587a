//! Reading tickets: for approvers those of their customer, for operators those they may know.

use super::{
    super::{
        Call, Fault, Reply,
        change::unknown,
        print::{Table, shown},
        rows,
    },
    ticket::{self, Stored, ticket_columns},
};
use crate::{args, ledger::LedgerError};
use audit_schema::time::Timestamp;
use bastion_core::{
    consent::{BadStatement, Statement, TicketState},
    id::{CustomerId, TicketId},
    limits::TICKETS_LISTED_MAX,
    operator::Operator,
};
use serde_json::{Value, json};

/// `consent list`.
pub async fn list(call: &Call<'_>, customer: &CustomerId, all: bool) -> Result<Reply, Fault> {
    let sql = concat!(
        ticket_columns!(),
        "WHERE customer = $1 ORDER BY CASE state WHEN 'pending' THEN 0 WHEN 'granted' THEN 1 \
         ELSE 2 END, created_at DESC LIMIT $2"
    );
    let rows = call.db().rows(sql, &args![customer.as_str(), TICKETS_LISTED_MAX]).await?;
    let mut tickets = Vec::new();
    for row in &rows {
        let stored = ticket::of(row)?;
        if all || !stored.state.is_final() {
            tickets.push(stored);
        }
    }
    Ok(said(&tickets, "no tickets; `consent list --all` shows those that are over"))
}

/// `consent show`.
pub async fn show(call: &Call<'_>, customer: &CustomerId, id: &TicketId) -> Result<Reply, Fault> {
    let stored = load(call, customer, id).await?;
    one(call, &stored).await
}

/// `consent statement`: the exact bytes, nothing before and nothing behind.
pub async fn statement(
    call: &Call<'_>,
    customer: &CustomerId,
    id: &TicketId,
) -> Result<Reply, Fault> {
    let stored = load(call, customer, id).await?;
    // What does not read as it was composed is not handed out to be signed.
    parse(&stored)?;
    Ok(Reply::Bytes(stored.statement))
}

/// `status`.
pub async fn status(call: &Call<'_>, ticket: Option<TicketId>) -> Result<Reply, Fault> {
    let me = me(call).await?;
    match ticket {
        Some(id) => {
            let sql = concat!(ticket_columns!(), "WHERE id = $1");
            let row = call.db().row_opt(sql, &args![id.as_str()]).await?;
            let stored = row.map(|row| ticket::of(&row)).transpose()?;
            match stored.filter(|stored| concerns(stored, &me)) {
                Some(stored) => one(call, &stored).await,
                None => Err(LedgerError::from(unknown("ticket", id.as_str())).into()),
            }
        }
        None => {
            let sql = concat!(ticket_columns!(), "ORDER BY created_at DESC LIMIT $1");
            let mut tickets = Vec::new();
            for row in call.db().rows(sql, &args![TICKETS_LISTED_MAX]).await? {
                let stored = ticket::of(&row)?;
                if concerns(&stored, &me) {
                    tickets.push(stored);
                }
            }
            Ok(said(&tickets, "no tickets of yours; ask for one with `request`"))
        }
    }
}

/// Whether an operator may know of a ticket: theirs, or one that they may use.
fn concerns(stored: &Stored, me: &Operator) -> bool {
    stored.ticket.opened_by.id == me.id.as_str() || stored.ticket.terms.names(me)
}

async fn me(call: &Call<'_>) -> Result<Operator, Fault> {
    let sql = concat!(rows::operator_columns!(), "WHERE id = $1");
    let row = call.db().row_opt(sql, &args![call.caller.actor.id.as_str()]).await?;
    match row {
        Some(row) => Ok(rows::operator_of(&row)?),
        None => Err(Fault::Failed("the caller is no operator; report this".into())),
    }
}

async fn load(call: &Call<'_>, customer: &CustomerId, id: &TicketId) -> Result<Stored, Fault> {
    let sql = concat!(ticket_columns!(), "WHERE id = $1 AND customer = $2");
    let row = call.db().row_opt(sql, &args![id.as_str(), customer.as_str()]).await?;
    match row {
        Some(row) => Ok(ticket::of(&row)?),
        None => Err(LedgerError::from(unknown("ticket", id.as_str())).into()),
    }
}

fn parse(stored: &Stored) -> Result<Statement, Fault> {
    if stored.statement == crate::api::audit::facts::ERASED.as_bytes() {
        let sentence = "the texts of this ticket are erased; its digest stands in the log";
        return Err(Fault::Conflict(sentence.into()));
    }
    Statement::parse(&stored.statement).map_err(|bad: BadStatement| {
        Fault::Failed(format!("the stored statement does not hold: {bad}; tell the provider"))
    })
}

async fn one(call: &Call<'_>, stored: &Stored) -> Result<Reply, Fault> {
    let ticket = &stored.ticket;
    let statement = parse(stored)?;
    let of_revision = args![ticket.id.as_str(), ticket.revision];
    let sql = "SELECT approver, fingerprint, decided_at FROM consent_signatures \
               WHERE ticket = $1 AND revision = $2 ORDER BY signed_seq";
    let mut text = statement.summary();
    text += &format!("State: {}.\n", stored.state.as_str());
    let mut signatures = Vec::new();
    for row in call.db().rows(sql, &of_revision).await? {
        let (approver, key) = (row.text(0)?, row.text(1)?);
        let at = Timestamp::from_micros(row.i64(2)?);
        text += &format!("Signed by {} with {} at {at}.\n", shown(&approver), shown(&key));
        signatures.push(json!({ "approver": approver, "fingerprint": key, "decided_at": at }));
    }
    let sql = "SELECT COUNT(*) FROM ticket_uses WHERE ticket = $1 AND revision = $2";
    let used = call.db().row_opt(sql, &of_revision).await?.map(|row| row.u64(0)).transpose()?;
    let used = used.unwrap_or_default();
    text += &format!("Sessions used: {used} of {}.\n", ticket.terms.sessions_max);
    if stored.state == TicketState::Pending {
        text += &format!("Decide by {}: `help consent decide` shows how.\n", stored.decide_by());
    }
    Ok(Reply::Said {
        text,
        json: json!({
            "ticket": ticket, "state": stored.state, "summary": statement.summary(),
            "signatures": signatures, "signatures_needed": statement.signatures_needed,
            "sessions_used": used, "decide_by": stored.decide_by(),
        }),
    })
}

fn said(tickets: &[Stored], none: &str) -> Reply {
    let mut table = Table::new(&["ticket", "state", "where", "account", "until", "case", "why"]);
    for stored in tickets {
        let terms = &stored.ticket.terms;
        let mut places: Vec<&str> = terms.instances.iter().map(|i| i.vm.as_str()).take(2).collect();
        if terms.instances.len() > places.len() {
            places.push("…");
        }
        table.row(&[
            stored.ticket.id.as_str(),
            stored.state.as_str(),
            &places.join(", "),
            terms.account.as_str(),
            &terms.not_after.to_string()[..16],
            terms.case.as_ref().map_or("-", |case| case.as_str()),
            &format!("\"{}\"", terms.justification.as_str()),
        ]);
    }
    let tickets: Vec<Value> = tickets
        .iter()
        .map(|stored| json!({ "ticket": stored.ticket, "state": stored.state }))
        .collect();
    Reply::Said { text: table.or(none), json: json!({ "tickets": tickets }) }
}
