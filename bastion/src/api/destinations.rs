//! `vm destination …`: where forwards may go, item by item, for each life of a VM.
//!
//! An item lets operators reach a port or a socket, so adding one takes two officers and is told to
//! the customer. Taking one away ends the forwards that go there; where the item is data it
//! loosens, too, because its port may lie in a range that troubleshooting accounts may reach.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    effects::{revoke_destination, revoke_troubleshooting_forwards},
    print::Table,
    rows,
    values::LevelWord,
};
use crate::{
    args,
    gate::facts,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::event::{Actor, Event, Level};
use bastion_core::{
    destination::{Destination, Spot, contradiction},
    id::{DestinationName, InstanceId, VmName},
    limits::DESTINATIONS_PER_VM_MAX,
    text::FreeText,
    vm::VmInstance,
};
use clap::{Args, Subcommand};
use futures_util::future::BoxFuture;
use serde_json::json;

/// What an officer does with a VM's list.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Let forwards go somewhere, for accounts of a level and above
    #[command(after_help = "Examples:\n  \
        ssh bastion vm destination add pg-1.acme metrics tcp:[::1]:9187 --level troubleshoot\n  \
        ssh bastion vm destination add pg-1.acme database tcp:127.0.0.1:5432 --level data\n  \
        ssh bastion vm destination add pg-1.acme editor tcp:127.0.0.1:30000-60000 --level \
        troubleshoot\n  \
        ssh bastion vm destination add pg-1.acme back listen:9000 --level troubleshoot\n\n\
        The kind of forward has to be permitted by policy, too: see channels.cedar.")]
    Add(Add),
    /// Let forwards go there no more; those that do end at once
    Remove {
        /// The VM.
        vm: VmName,
        /// What the list calls it.
        name: DestinationName,
    },
    /// The list of a VM
    List {
        /// The VM.
        vm: VmName,
    },
}

/// A new item.
#[derive(Debug, Args)]
pub struct Add {
    /// The VM.
    vm: VmName,
    /// What to call it in the log.
    name: DestinationName,
    /// As seen from the VM: tcp:HOST:PORT, unix:/PATH, or listen:PORT for `ssh -R`.
    #[arg(value_name = "PLACE")]
    spot: Spot,
    /// What it reaches: `data` for the database and all that holds customer data.
    #[arg(long)]
    level: LevelWord,
    /// What it is.
    #[arg(long)]
    description: Option<FreeText>,
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add(item) => add(call, item).await,
        Verb::Remove { vm, name } => remove(call, vm, name).await,
        Verb::List { vm } => list(call, vm).await,
    }
}

async fn live(batch: &mut Batch, vm: &VmName) -> Result<VmInstance, ChangeError> {
    let instance = rows::live_instance(batch.tx(), vm).await?;
    instance.ok_or_else(|| unknown("VM", vm.as_str()))
}

async fn add(call: &Call<'_>, add: Add) -> Result<Reply, Fault> {
    let actor = call.actor();
    let change = call.change("vm destination add", move |batch| {
        Box::pin(async move {
            let instance = live(batch, &add.vm).await?;
            let item = Destination {
                name: add.name,
                instance: instance.id.clone(),
                spot: add.spot,
                level: add.level.0,
                description: add.description.map_or_else(String::new, |d| d.as_str().to_owned()),
            };
            fits(batch, &item).await?;
            let ended = match item.level {
                Level::Data => revoke_troubleshooting_forwards(batch, &instance.id).await?,
                Level::Troubleshoot => Vec::new(),
            };
            insert(batch, &actor, (&instance, &item), ended.clone()).await?;
            Ok((item, ended))
        })
    });
    let (item, ended) = change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!("forwards may go to {} ({}) now\n", item.spot, item.level.as_str()),
        json: json!({ "destination": item, "leases": ended }),
    })
}

/// Whether an item can stand in the list beside what stands there.
async fn fits(batch: &mut Batch, item: &Destination) -> Result<(), ChangeError> {
    let listed = facts::destinations(batch.tx(), &item.instance).await?;
    if listed.len() >= DESTINATIONS_PER_VM_MAX {
        return Err(conflict(format!("a VM has at most {DESTINATIONS_PER_VM_MAX} destinations")));
    }
    if listed.iter().any(|old| old.name == item.name || old.spot == item.spot) {
        return Err(conflict("this name or place is in the list already: `vm destination list`"));
    }
    match contradiction(item, &listed) {
        Some(old) => Err(conflict(format!(
            "this may be the same place as `{}` ({}), which is of level {}: a place has one level",
            old.name,
            old.spot,
            old.level.as_str()
        ))),
        None => Ok(()),
    }
}

async fn insert(
    batch: &mut Batch,
    actor: &Actor,
    (instance, item): (&VmInstance, &Destination),
    leases: Vec<String>,
) -> Result<(), ChangeError> {
    let sql = "INSERT INTO destinations (instance, name, spot, level, description) \
               VALUES ($1, $2, $3, $4, $5)";
    let row = args![
        item.instance.as_str(),
        item.name.as_str(),
        item.spot.to_string(),
        item.level.as_str(),
        item.description.as_str()
    ];
    batch.tx().run(sql, &row).await?;
    let event = Event::VmDestinationAdded {
        destination: item.name.to_string(),
        instance: instance.id.to_string(),
        leases,
        level: item.level,
        spot: item.spot.to_string(),
        vm: instance.vm.to_string(),
    };
    let entry = NewEntry::new(actor.clone(), event).of_customer(&instance.customer);
    batch.append(entry.with("description", item.description.as_str())).await?;
    Ok(())
}

/// Takes the list over into the next life of a VM, as its accounts are.
pub async fn carry(
    batch: &mut Batch,
    actor: &Actor,
    old: &InstanceId,
    new: &VmInstance,
) -> Result<(), ChangeError> {
    for mut item in facts::destinations(batch.tx(), old).await? {
        item.instance = new.id.clone();
        insert(batch, actor, (new, &item), Vec::new()).await?;
    }
    Ok(())
}

async fn find(
    batch: &mut Batch,
    vm: &VmName,
    name: &DestinationName,
) -> Result<(VmInstance, Destination), ChangeError> {
    let instance = live(batch, vm).await?;
    let listed = facts::destinations(batch.tx(), &instance.id).await?;
    let item = listed.into_iter().find(|item| item.name == *name);
    Ok((instance, item.ok_or_else(|| unknown("destination", name.as_str()))?))
}

/// Whether the item reaches data, as far as there is one.
fn is_data(
    (vm, name): (VmName, DestinationName),
) -> impl for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<bool, ChangeError>> + Send + 'static
{
    move |batch| Box::pin(async move { Ok(find(batch, &vm, &name).await?.1.level == Level::Data) })
}

async fn remove(call: &Call<'_>, vm: VmName, name: DestinationName) -> Result<Reply, Fault> {
    let actor = call.actor();
    let (seen, called) = ((vm.clone(), name.clone()), name.clone());
    let change = call.change_if("vm destination remove", is_data(seen), move |batch| {
        Box::pin(async move {
            let (instance, item) = find(batch, &vm, &name).await?;
            let sql = "DELETE FROM destinations WHERE instance = $1 AND name = $2";
            batch.tx().run(sql, &args![instance.id.as_str(), item.name.as_str()]).await?;
            let leases = revoke_destination(batch, &item).await?;
            let event = Event::VmDestinationRemoved {
                destination: item.name.to_string(),
                instance: instance.id.to_string(),
                leases: leases.clone(),
                vm: instance.vm.to_string(),
            };
            let entry = NewEntry::new(actor, event).of_customer(&instance.customer);
            batch.append(entry).await?;
            Ok(leases)
        })
    });
    let leases = change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!("removed {called}; {} forward(s) are being ended\n", leases.len()),
        json: json!({ "destination": called, "leases": leases }),
    })
}

async fn list(call: &Call<'_>, vm: VmName) -> Result<Reply, Fault> {
    let name = vm.clone();
    let read = call.db().read(move |tx| {
        Box::pin(async move {
            let Some(instance) = facts::live_instance(tx, &name).await? else { return Ok(None) };
            facts::destinations(tx, &instance.id).await.map(Some)
        })
    });
    let listed = read.await?.ok_or_else(|| Fault::Conflict(format!("no VM `{vm}` here")))?;
    let mut table = Table::new(&["destination", "place", "level", "what it is"]);
    for item in &listed {
        let place = item.spot.to_string();
        table.row(&[item.name.as_str(), &place, item.level.as_str(), &item.description]);
    }
    Ok(Reply::Said {
        text: table.or("no destinations, so no forward goes anywhere; `vm destination add`"),
        json: json!({ "vm": vm, "destinations": listed }),
    })
}
