//! `session …`: what is live, what was, the end of it, and the recordings.

mod access;
mod fetch;
mod list;
mod replay;
mod search;
mod watch;

pub use fetch::Named;
pub use replay::{Format, Offset, Replay};
pub use search::Ask as Search;

use super::{Call, Fault, Reply, change, values};
use crate::{
    app::End,
    args,
    ledger::NewEntry,
    store::{Row, StoreError},
};
use audit_schema::event::{Actor, Event};
use bastion_core::{
    consent::FreeText,
    id::{CustomerId, SessionId},
    lease::Cause,
};
use clap::{Args, Subcommand};
use serde_json::json;

/// `session …`
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Channels, the live ones first
    #[command(after_help = "Examples:\n  session list --live\n  session list --customer acme")]
    List(List),
    /// All that is known of a session or lease
    Show {
        /// Its id: s-… or l-…
        id: String,
    },
    /// End a session or a lease now
    #[command(after_help = "Example:\n  session end l-0123456789 --reason wrong VM")]
    End {
        /// Its id: s-… or l-…
        id: String,
        /// Why: the operator's customer reads this
        #[arg(long, num_args = 1.., value_name = "TEXT")]
        reason: Vec<String>,
    },
    /// Find where something was typed, or stood on a screen
    #[command(after_help = "\
Commands are found in the log: what was asked to run, and what was seen to be typed at a prompt (an
aid: what a program reads is not seen). With the key that recordings are sealed to, on your machine,
what was on the screens is searched, too. Data channels take a live consent that includes access to
recordings.

Examples:
  ssh bastion session search systemctl restart --since 2026-11-01
  bastion session search 'disk full' --vm pg-1.acme --key provider-recording.pem")]
    Search(Search),
    /// Look on at a live channel, read-only
    #[command(after_help = "\
That somebody watches is in the log, and the operator is told on their terminal. What is shown is
rendered as in a replay. A data channel takes a live consent that includes access to recordings.
Ctrl-C ends it.

Example:
  ssh -t bastion session watch l-0123456789")]
    Watch(watch::Ask),
    /// See a recording, on your machine, with the private key that it is sealed to
    #[command(after_help = "\
Its digest is compared with the one in the log first. What the VM sent is shown through a terminal
emulator, so that nothing in it reaches your terminal; --raw sends it as it was.

Examples:
  bastion session replay l-0123456789 --identity provider-recording.pem --speed 4 --from 1m30s
  bastion session replay l-0123456789 --identity provider-recording.pem --format text
  bastion session replay l-0123456789 --identity provider-recording.pem --out r.cast \\
      --format asciicast --idle-max 1s
  ssh bastion session fetch l-0123456789 > r.tar
  bastion session replay --file r.tar --identity service-recording.pem")]
    Replay(Replay),
    /// A recording, sealed as it is, and its wrapped key: a tar archive
    #[command(after_help = "\
The recording of a data channel is customer data: the provider gets it only under a live consent
that includes access to recordings. RECORDING.md tells how openssl opens it.

Example:
  ssh bastion session fetch l-0123456789 | tar xf -")]
    Fetch {
        /// Of which lease, l-…, or which one of it, r-… (`session show` lists them)
        #[arg(value_name = "ID")]
        named: Named,
    },
}

/// `session list`
#[derive(Debug, Args)]
pub struct List {
    /// Only those that are live
    #[arg(long)]
    pub live: bool,
    /// Of this customer
    #[arg(long)]
    pub customer: Option<CustomerId>,
    /// On this VM
    #[arg(long)]
    pub vm: Option<String>,
    /// Of this operator, by id
    #[arg(long)]
    pub operator: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    pub limit: u32,
}

pub(super) async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::List(ask) => list::list(call, &ask).await,
        Verb::Show { id } => list::show(call, &id).await,
        Verb::End { id, reason } => end(call, id, &reason).await,
        Verb::Search(ask) => search::run(call, &ask).await,
        Verb::Watch(ask) => watch::run(call, &ask).await,
        Verb::Fetch { named } => fetch::run(call, &named).await,
        Verb::Replay(_) => {
            let how = "the key that opens a recording is not on a gateway: on your machine run \
                       `bastion session replay`, or `session fetch` and then replay --file";
            Err(Fault::Usage(how.into()))
        }
    }
}

/// Marks what is live under this id as ended by an officer; the gateways that run it cut it: this
/// one at once, others when they look at their leases and sessions next.
async fn end(call: &mut Call<'_>, id: String, reason: &[String]) -> Result<Reply, Fault> {
    let reason: Option<FreeText> = values::opt_text("--reason", reason)?;
    let actor = call.actor();
    let asked = id.clone();
    let ended = call.change("session end", move |batch| {
        Box::pin(async move {
            let sql = "SELECT id, customer FROM leases \
                       WHERE closed_at IS NULL AND (id = $1 OR session = $1)";
            let rows = batch.tx().rows(sql, &args![&asked]).await?;
            let live = rows.iter().map(owned).collect::<Result<Vec<_>, _>>()?;
            let sql = "SELECT id FROM sessions WHERE id = $1 AND closed_at IS NULL";
            let open = batch.tx().row_opt(sql, &args![&asked]).await?.is_some();
            if live.is_empty() && !open {
                return Err(change::unknown("live session or lease", &asked));
            }
            let now = batch.now();
            let sql = "UPDATE sessions SET end_asked_at = $1 WHERE id = $2 AND closed_at IS NULL";
            batch.tx().run(sql, &args![now, &asked]).await?;
            let sql = "UPDATE leases SET revoked_at = $1, revoked_cause = $2 \
                       WHERE id = $3 AND revoked_at IS NULL";
            for (lease, _) in &live {
                batch.tx().run(sql, &args![now, Cause::Officer.as_str(), lease]).await?;
            }
            let mut customers: Vec<Option<CustomerId>> =
                live.iter().map(|(_, customer)| customer.parse().ok()).collect();
            customers.sort();
            customers.dedup();
            if customers.is_empty() {
                customers.push(None);
            }
            for customer in customers {
                batch.append(requested(&actor, &asked, reason.as_ref(), customer)).await?;
            }
            Ok(live.len())
        })
    });
    let ended = ended.await?.into_inner();
    call.app.live.wake();
    if let Ok(session) = id.parse::<SessionId>() {
        call.app.sessions.end(&session, End::Officer);
    }
    Ok(Reply::Said {
        text: format!("ending {id}: {ended} live channel(s)\n"),
        json: json!({ "id": id, "channels": ended }),
    })
}

fn owned(row: &Row) -> Result<(String, String), StoreError> {
    Ok((row.text(0)?, row.text(1)?))
}

fn requested(
    actor: &Actor,
    id: &str,
    reason: Option<&FreeText>,
    customer: Option<CustomerId>,
) -> NewEntry {
    let event = Event::SessionEndRequested { session: id.to_owned() };
    let mut entry = NewEntry::new(actor.clone(), event);
    entry.customer = customer;
    match reason {
        Some(reason) => entry.with("justification", reason.as_str()),
        None => entry,
    }
}
