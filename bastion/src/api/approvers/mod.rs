//! `approver …`: the customer's people who decide about consent.
//!
//! Who they are is not the provider's to say: officers invite the first set ([`invite`]), and from
//! then on the set changes itself ([`sets`]); all that officers can do then is to end it, slowly
//! and loudly ([`reset`]). Each of these stands in the customer's own chain and is told to all of
//! its approvers, so that a provider that adds an approver of its own making cannot do it unseen.

pub mod invite;
pub mod reset;
mod sets;

use super::{Call, Fault, Reply, keys::Holder, print::Table, values::text};
use audit_schema::event::ActorKind;
use bastion_core::id::{ApproverId, CustomerId, Handle, SetChangeId};
use clap::Subcommand;
use serde_json::json;

/// What is done about approvers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Invite an approver of a customer's first set: a one-time token, shown once
    #[command(after_help = "Give token and statement to the person over a way that you trust. \
        Once one of them is enrolled, the set changes itself (`approver change`), and nobody can \
        be invited any more. Example:\n  ssh bastion approver invite ada --customer acme")]
    Invite {
        /// What people call them; a-z, 0-9, '-' and '.'.
        handle: Handle,
        /// Whose approver.
        #[arg(long)]
        customer: CustomerId,
    },
    /// Enrol an invited approver: the token and, below it, their signature, on standard input
    #[command(after_help = "Example:\n  \
        (echo TOKEN; cat enrol.json.sig) | ssh bastion approver enrol")]
    Enrol,
    /// Void an invitation that waits
    Void {
        /// Whose invitation.
        handle: Handle,
        /// Whose approver they would be; an approver's own customer if left out.
        #[arg(long)]
        customer: Option<CustomerId>,
    },
    /// Propose another set of approvers: who comes, goes or has another key, how many sign
    #[command(after_help = "Examples:\n  \
        ssh bastion approver change --add bea --key - < bea.pub\n  \
        ssh bastion approver change --rekey ada --key - < new.pub\n  \
        ssh bastion approver change --remove ada --signatures 1")]
    Change(sets::Ask),
    /// The exact bytes of a proposed set, to sign
    Statement {
        /// Which change.
        change: SetChangeId,
    },
    /// A signature for a proposed set, on standard input: yours, or a new key's
    Sign {
        /// Which change.
        change: SetChangeId,
    },
    /// Drop a proposed set
    Drop {
        /// Which change.
        change: SetChangeId,
    },
    /// End all approvers of a customer in 72 hours, unless one of them stops it
    #[command(after_help = "For a customer whose approvers are all gone. They are told at once \
        and daily; VM instances that live then take no consent of whoever comes after. Example:\n  \
        ssh bastion approver reset acme --reason all three left the company, letter of 12 May")]
    Reset {
        /// Whose approvers.
        customer: CustomerId,
        /// Why, in your words; the customer reads it.
        #[arg(long, required = true, num_args = 1.., value_name = "TEXT")]
        reason: Vec<String>,
    },
    /// Stop a reset of your approvers that waits
    StopReset {
        /// Whose; an approver's own customer if left out.
        #[arg(long)]
        customer: Option<CustomerId>,
    },
    /// Every approver, invitation and change that waits; yours, or of one customer
    List {
        /// Only this customer's.
        #[arg(long)]
        customer: Option<CustomerId>,
    },
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Invite { handle, customer } => invite::invite(call, handle, customer).await,
        Verb::Enrol => invite::relay(call).await,
        Verb::Void { handle, customer } => {
            let customer = whose(call, customer)?;
            invite::void(call, handle, customer).await
        }
        Verb::Change(ask) => {
            let customer = whose(call, None)?;
            sets::propose(call, customer, ask).await
        }
        Verb::Statement { change } => sets::statement(call, &whose(call, None)?, &change).await,
        Verb::Sign { change } => {
            let customer = whose(call, None)?;
            sets::sign(call, customer, change).await
        }
        Verb::Drop { change } => sets::drop_change(call, whose(call, None)?, change).await,
        Verb::Reset { customer, reason } => {
            reset::begin(call, customer, text("--reason", &reason)?).await
        }
        Verb::StopReset { customer } => reset::stop(call, whose(call, customer)?).await,
        Verb::List { customer } => list(call, customer).await,
    }
}

/// An approver acts for their own customer whatever they name; an officer names one.
fn whose(call: &Call<'_>, named: Option<CustomerId>) -> Result<CustomerId, Fault> {
    match (&call.caller.customer, named) {
        (Some(own), None) => Ok(own.clone()),
        (Some(own), Some(named)) if *own == named => Ok(named),
        (Some(_), Some(named)) => Err(Fault::refused(
            "unknown",
            format!("no customer `{named}` here; the `list` commands show what there is"),
        )),
        (None, Some(named)) => Ok(named),
        (None, None) => Err(Fault::Usage("say whose: --customer CUSTOMER".into())),
    }
}

fn holder(id: &ApproverId, customer: &CustomerId) -> Holder {
    Holder { role: ActorKind::Approver, id: id.to_string(), customer: Some(customer.clone()) }
}

const LISTED: &str = "\
    SELECT a.customer, a.handle, a.id, a.state, k.fingerprint FROM approvers a \
    LEFT JOIN keys k ON k.subject = a.id AND k.role = 'approver' AND k.removed_at IS NULL \
    UNION ALL \
    SELECT customer, handle, approver, 'invited', NULL FROM invitations WHERE state = 'open' \
    UNION ALL \
    SELECT customer, 'a new set', id, 'waits', NULL FROM set_changes WHERE state = 'open' \
    UNION ALL \
    SELECT customer, 'a reset', id, 'waits', NULL FROM approver_resets WHERE state = 'waiting' \
    ORDER BY 1, 2, 5";

async fn list(call: &Call<'_>, customer: Option<CustomerId>) -> Result<Reply, Fault> {
    let customer = match &call.caller.customer {
        Some(_) => Some(whose(call, customer)?),
        None => customer,
    };
    let mut table = Table::new(&["customer", "name", "id", "state", "key"]);
    let mut people = Vec::new();
    for row in call.db().rows(LISTED, &[]).await? {
        let of = row.text(0)?;
        if customer.as_ref().is_some_and(|wanted| wanted.as_str() != of) {
            continue;
        }
        let (handle, id, state) = (row.text(1)?, row.text(2)?, row.text(3)?);
        let key = row.opt_text(4)?;
        table.row(&[&of, &handle, &id, &state, key.as_deref().unwrap_or("-")]);
        people.push(json!({
            "customer": of, "handle": handle, "id": id, "state": state, "fingerprint": key,
        }));
    }
    Ok(Reply::Said {
        text: table.or("no approvers; invite the first with `approver invite`"),
        json: json!({ "approvers": people }),
    })
}
