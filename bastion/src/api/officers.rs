//! `officer …`: the provider's security officers, and how the first one comes to be.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    keys::{self, Holder, PersonKey},
    print::Table,
    rows,
};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, Ledger, NewEntry, Recorded},
};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion_core::id::{Handle, OfficerId};
use clap::Subcommand;
use serde_json::json;

/// What officers do with officers.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Take on a security officer
    #[command(after_help = "Example:\n  ssh bastion officer add omar --key - < omar.pub")]
    Add {
        /// What people call them; a-z, 0-9, '-' and '.'.
        handle: Handle,
        /// Their public key: a line of a .pub file, or - for standard input.
        #[arg(long)]
        key: String,
    },
    /// Let an officer go; the last one cannot
    Remove {
        /// Their name.
        handle: Handle,
    },
    /// Every officer
    List,
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add { handle, key } => {
            let key = call.key(&key).await?;
            add(call, handle, key).await
        }
        Verb::Remove { handle } => remove(call, handle).await,
        Verb::List => list(call).await,
    }
}

/// Makes the first officer of a deployment, who makes everybody else. There is a first one once:
/// afterwards this is refused, so that whoever has a shell on the gateway's machine cannot quietly
/// become an officer.
pub async fn make_first(
    ledger: &Ledger,
    actor: Actor,
    handle: Handle,
    public_key: &str,
) -> Result<Recorded<OfficerId>, Fault> {
    let key = keys::parse(public_key)?;
    let first = ledger.record("first officer", move |batch| {
        Box::pin(async move {
            let any = batch.tx().row_opt("SELECT id FROM officers LIMIT 1", &[]).await?;
            if any.is_some() {
                return Err(conflict(
                    "this deployment has an officer already; they add others with `officer add`",
                ));
            }
            insert(batch, actor, handle, key).await
        })
    });
    Ok(first.await?)
}

fn holder(id: &OfficerId) -> Holder {
    Holder { role: ActorKind::Officer, id: id.to_string(), customer: None }
}

async fn add(call: &Call<'_>, handle: Handle, key: PersonKey) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = handle.clone();
    let change = call.change("officer add", move |batch| Box::pin(insert(batch, actor, name, key)));
    let id = change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("added officer {handle} ({id})\n"),
        json: json!({ "officer": id, "handle": handle }),
    })
}

async fn insert(
    batch: &mut Batch,
    actor: Actor,
    handle: Handle,
    key: PersonKey,
) -> Result<OfficerId, ChangeError> {
    if rows::officer(batch.tx(), &handle).await?.is_some() {
        return Err(conflict(format!("there is or was an officer `{handle}`; take another name")));
    }
    let id = OfficerId::from_entropy(draw()?);
    let sql = "INSERT INTO officers (id, handle, state) VALUES ($1, $2, 'enabled')";
    batch.tx().run(sql, &args![id.as_str(), handle.as_str()]).await?;
    let event = Event::OfficerAdded { officer: id.to_string() };
    batch.append(NewEntry::new(actor.clone(), event).with("handle", handle.as_str())).await?;
    keys::add(batch, &actor, &holder(&id), &key).await?;
    Ok(id)
}

async fn remove(call: &Call<'_>, handle: Handle) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = handle.clone();
    let change = call.change("officer remove", move |batch| {
        Box::pin(async move {
            let id = rows::officer(batch.tx(), &name).await?;
            let id = id.ok_or_else(|| unknown("officer", name.as_str()))?;
            let sql = "SELECT id FROM officers WHERE state = 'enabled' AND id <> $1 LIMIT 1";
            if batch.tx().row_opt(sql, &args![id.as_str()]).await?.is_none() {
                return Err(conflict("the last officer cannot go: add another one first"));
            }
            let sql = "UPDATE officers SET state = 'disabled' WHERE id = $1 AND state = 'enabled'";
            if batch.tx().run(sql, &args![id.as_str()]).await? == 0 {
                return Err(conflict(format!("officer `{name}` is removed already")));
            }
            let event = Event::OfficerRemoved { officer: id.to_string() };
            batch.append(NewEntry::new(actor.clone(), event)).await?;
            keys::remove_all(batch, &actor, &holder(&id)).await
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("removed officer {handle}\n"),
        json: json!({ "handle": handle }),
    })
}

async fn list(call: &Call<'_>) -> Result<Reply, Fault> {
    let rows =
        call.db().rows("SELECT handle, id, state FROM officers ORDER BY handle", &[]).await?;
    let mut table = Table::new(&["name", "id", "state"]);
    let mut people = Vec::new();
    for row in &rows {
        let (handle, id, state) = (row.text(0)?, row.text(1)?, row.text(2)?);
        table.row(&[&handle, &id, &state]);
        people.push(json!({ "handle": handle, "id": id, "state": state }));
    }
    Ok(Reply::Said { text: table.or("no officers"), json: json!({ "officers": people }) })
}
