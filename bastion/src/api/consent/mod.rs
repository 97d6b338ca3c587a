//! `consent …`, `request` and `status`: how a customer permits, and how it takes back.
//!
//! A ticket is opened once ([`open`]), by an operator or by the customer itself; its statement is
//! composed there, as the exact bytes that approvers sign ([`decide`]). It is closed by one word of
//! one approver, or by time ([`close`]). Approvers see their own customer's tickets only, operators
//! those that they opened or may use: any other ticket does not exist for them.

mod close;
mod decide;
mod narrow;
mod open;
mod ticket;
mod view;

pub use close::{end, expire, orphaned, signed_by};
pub use open::Request;

use super::{Call, Fault, Reply, values::opt_text};
use bastion_core::id::{CustomerId, TicketId};
use clap::Subcommand;

/// What an approver does.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Ask the provider for help: the terms that you would sign
    #[command(after_help = "Then sign them, as `help consent decide` shows. Example:\n  \
        ssh bastion consent open pg-1.acme --account dba --operator olga \\\n      \
        --reason CUSTOMER_REQUEST --case ZD-1042 --for 1h --note 'restore of table orders'")]
    Open(open::Open),
    /// The tickets of your services: those that wait for you first
    List {
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
    },
    /// What a ticket permits, in plain words, and who has signed
    Show {
        /// Which ticket.
        ticket: TicketId,
    },
    /// The exact bytes to sign
    #[command(after_help = "See `help consent decide`.")]
    Statement {
        /// Which ticket.
        ticket: TicketId,
    },
    /// Grant: your signature over the statement, on standard input
    #[command(after_help = "Read the statement, sign it, send the signature:\n  \
        ssh bastion consent statement t-… > s.json\n  \
        jq -r .summary s.json\n  \
        ssh-keygen -Y sign -f KEY -n operator-consent@ORIGIN s.json\n  \
        ssh bastion consent decide t-… < s.json.sig")]
    Decide {
        /// Which ticket.
        ticket: TicketId,
    },
    /// Permit less than was asked: new terms to sign, earlier signatures are void
    #[command(after_help = "Example:\n  ssh bastion consent narrow t-… --for 30m --sessions 1")]
    Narrow(narrow::Narrow),
    /// Say no
    Refuse {
        /// Which ticket.
        ticket: TicketId,
        /// Why, in your words.
        #[arg(long, num_args = 1.., value_name = "TEXT")]
        reason: Vec<String>,
    },
    /// Take a consent back: every channel that rests on it ends within a second
    Withdraw {
        /// Which ticket.
        ticket: TicketId,
        /// Why, in your words.
        #[arg(long, num_args = 1.., value_name = "TEXT")]
        reason: Vec<String>,
    },
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    let customer = customer(call)?;
    match verb {
        Verb::Open(ask) => open::open(call, customer, ask).await,
        Verb::List { all } => view::list(call, &customer, all).await,
        Verb::Show { ticket } => view::show(call, &customer, &ticket).await,
        Verb::Statement { ticket } => view::statement(call, &customer, &ticket).await,
        Verb::Decide { ticket } => decide::decide(call, customer, ticket).await,
        Verb::Narrow(narrow) => narrow::narrow(call, customer, narrow).await,
        Verb::Refuse { ticket, reason } => {
            let reason = opt_text("--reason", &reason)?;
            close::refuse(call, customer, ticket, reason).await
        }
        Verb::Withdraw { ticket, reason } => {
            let reason = opt_text("--reason", &reason)?;
            close::withdraw(call, customer, ticket, reason).await
        }
    }
}

/// `request`: an operator asks.
pub async fn request(call: &mut Call<'_>, request: Request) -> Result<Reply, Fault> {
    open::request(call, request).await
}

/// `status`: an operator's tickets, or one of them.
pub async fn status(call: &Call<'_>, ticket: Option<TicketId>) -> Result<Reply, Fault> {
    view::status(call, ticket).await
}

/// Whose approver the caller is. The table of permissions lets nobody else come here; if it did,
/// there would be no customer to act for.
fn customer(call: &Call<'_>) -> Result<CustomerId, Fault> {
    call.caller.customer.clone().ok_or_else(|| {
        Fault::refused("unknown-command", "no such command; `help` lists what you may run")
    })
}
