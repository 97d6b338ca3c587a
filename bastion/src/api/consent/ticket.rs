//! A ticket's row, read under the head of the log.

use super::super::{change::unknown, rows};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError},
    store::{Row, StoreError, Tx},
};
use audit_schema::time::Timestamp;
use bastion_core::{
    consent::{IllegalEvent, Nonce, Statement, Ticket, TicketEvent, TicketState, next},
    id::{ApproverId, CustomerId, TicketId},
    limits::CONSENT_PENDING_SECONDS_MAX,
    policy::Policy,
    statement::Frame,
};
use std::sync::Arc;

/// A ticket as it is stored.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its terms.
    pub ticket: Ticket,
    /// Where it stands.
    pub state: TicketState,
    /// The exact bytes to sign.
    pub statement: Vec<u8>,
    /// When it was opened.
    pub created_at: Timestamp,
}

impl Stored {
    /// When the wait for a decision is over; the window may be over before.
    pub fn decide_by(&self) -> Timestamp {
        let wait = self.created_at.plus_seconds(CONSENT_PENDING_SECONDS_MAX);
        wait.min(self.ticket.terms.not_after)
    }

    /// Takes the one step of a ticket, or says why it cannot.
    pub fn step(&self, event: TicketEvent) -> Result<TicketState, ChangeError> {
        next(self.state, event).map_err(|illegal: IllegalEvent| {
            ChangeError::refused("ticket-state", illegal.to_string())
        })
    }
}

/// The columns of [`of`], in its order.
macro_rules! ticket_columns {
    () => {
        "SELECT scope_json, state, statement, created_at FROM tickets "
    };
}
pub(super) use ticket_columns;

/// A ticket's row.
pub fn of(row: &Row) -> Result<Stored, StoreError> {
    let state = row.text(1)?;
    Ok(Stored {
        ticket: rows::json(&row.text(0)?)?,
        state: TicketState::from_word(&state)
            .ok_or_else(|| StoreError::failed(format!("no ticket state `{state}`")))?,
        statement: row.bytes(2)?,
        created_at: Timestamp::from_micros(row.i64(3)?),
    })
}

/// A customer's ticket; another customer's is unknown.
pub async fn load(
    tx: &mut Tx,
    customer: &CustomerId,
    id: &TicketId,
) -> Result<Stored, ChangeError> {
    let sql = concat!(ticket_columns!(), "WHERE id = $1 AND customer = $2");
    let row = tx.row_opt(sql, &args![id.as_str(), customer.as_str()]).await?;
    Ok(of(&row.ok_or_else(|| unknown("ticket", id.as_str()))?)?)
}

/// Sets where a ticket stands.
pub async fn set_state(tx: &mut Tx, id: &TicketId, state: TicketState) -> Result<(), ChangeError> {
    let sql = "UPDATE tickets SET state = $1 WHERE id = $2";
    tx.run(sql, &args![state.as_str(), id.as_str()]).await?;
    Ok(())
}

/// Who signed the ticket's present revision.
pub async fn signers(tx: &mut Tx, ticket: &Ticket) -> Result<Vec<ApproverId>, ChangeError> {
    let sql = "SELECT approver FROM consent_signatures WHERE ticket = $1 AND revision = $2";
    let rows = tx.rows(sql, &args![ticket.id.as_str(), ticket.revision]).await?;
    Ok(rows.iter().map(|row| row.parsed(0)).collect::<Result<_, _>>()?)
}

/// Composes the statement of a ticket's present revision, under the policy in force.
pub async fn compose(
    batch: &mut Batch,
    ticket: &Ticket,
    origin: &str,
    policy: &Arc<Policy>,
) -> Result<Vec<u8>, ChangeError> {
    let frame = Frame {
        origin,
        signatures_needed: rows::signatures_needed(batch.tx(), &ticket.customer).await?,
        nonce: Nonce(draw()?),
        channel_rules: policy.channel_rules(ticket.terms.level),
        policy: policy.digest(),
    };
    Statement::of(ticket, &frame).compose().map_err(|e| super::super::change::usage(e.to_string()))
}
