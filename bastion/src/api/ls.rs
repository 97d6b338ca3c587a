//! `ls`: the VMs that this operator may know of.

use super::{
    Call, Fault, Reply,
    print::Table,
    services::sources_shown,
    vms::{accounts_shown, inventory},
};
use crate::gate::facts;
use bastion_core::{destination::Destination, id::InstanceId, operator::Operator};
use serde_json::json;

/// Runs it.
pub async fn run(call: &Call<'_>) -> Result<Reply, Fault> {
    let sql = concat!(super::rows::operator_columns!(), "WHERE id = $1");
    let row = call.db().row_opt(sql, &crate::args![call.caller.actor.id.as_str()]).await?;
    let row = row.ok_or_else(|| Fault::Failed("the caller is no operator; report this".into()))?;
    let me: Operator = super::rows::operator_of(&row)?;
    let policy = call.app.policy.current();
    let mut table = Table::new(&["vm", "service", "accounts", "region", "zone", "from"]);
    let (mut vms, mut forwards) = (Vec::new(), String::new());
    for vm in inventory(call.db(), false).await? {
        if policy.may_list(&me, &vm.instance).is_err() {
            continue;
        }
        let instance = &vm.instance;
        table.row(&[
            instance.vm.as_str(),
            instance.service.as_str(),
            &accounts_shown(&instance.accounts),
            &instance.region,
            &instance.zone,
            &sources_shown(&vm.sources),
        ]);
        let listed = listed(call, &instance.id).await?;
        for item in &listed {
            let (name, spot, level) = (&item.name, &item.spot, item.level.as_str());
            forwards += &format!("\n{} forwards to {name}: {spot} ({level})", instance.vm);
        }
        vms.push(json!({
            "vm": instance.vm, "instance": instance.id, "service": instance.service,
            "customer": instance.customer, "region": instance.region, "zone": instance.zone,
            "accounts": instance.accounts, "sources": vm.sources,
            "wide_open": vm.sources.is_wide_open(), "destinations": listed,
        }));
    }
    let mut text = table.or("no VMs that you may list");
    if !forwards.is_empty() {
        text += &format!("{forwards}\n");
    }
    if !table.is_empty() {
        text += "\nlog in with `ssh ACCOUNT+VM@bastion`, or `ssh -J bastion ACCOUNT@VM`; for an \
                 account of level data ask for consent first: `help request`\n";
    }
    Ok(Reply::Said { text, json: json!({ "vms": vms }) })
}

/// Where forwards from a VM may go, as far as policy permits any.
async fn listed(call: &Call<'_>, instance: &InstanceId) -> Result<Vec<Destination>, Fault> {
    let instance = instance.clone();
    let read =
        call.db().read(move |tx| Box::pin(async move { facts::destinations(tx, &instance).await }));
    Ok(read.await?)
}
