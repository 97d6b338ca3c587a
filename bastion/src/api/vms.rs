//! `vm …`: the inventory. A VM has a name through all its lives; each life is an instance.
//!
//! Retiring or rebuilding ends what runs on the old instance in the transaction that ends its life:
//! its leases lose their ground, and consents that name no other living instance are over.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown, usage},
    consent, destinations,
    effects::{Ground, revoke},
    print::Table,
    provision, reconcile, rows,
    services::sources_shown,
    values::{AccountSpec, Address, Word},
};
use crate::{
    args,
    entropy::draw,
    ledger::{Batch, ChangeError, NewEntry},
    store::Db,
};
use audit_schema::event::{Actor, Event};
use bastion_core::{
    id::{CustomerId, InstanceId, ServiceId, VmName},
    lease::Cause,
    limits::ACCOUNTS_PER_VM_MAX,
    vm::{Account, SourceRanges, VmInstance},
};
use clap::{Args, Subcommand};
use serde_json::json;
use std::collections::BTreeSet;

/// What an officer does with VMs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a VM: its first life
    #[command(after_help = "Example:\n  ssh bastion vm add pg-1.acme --service acme-pg \
        --address 192.0.2.7:22 --region eu-1 --zone eu-1a \\\n      \
        --account ops:troubleshoot --account dba:data:postgres-admin")]
    Add(Add),
    /// Begin a new life of a VM; the old one and all that rests on it ends at once
    Rebuild(Rebuild),
    /// End a VM for good, and all that rests on it
    Retire {
        /// Its name.
        vm: VmName,
    },
    /// Every VM that lives
    List {
        /// Only this service's.
        #[arg(long)]
        service: Option<ServiceId>,
        /// Past lives too.
        #[arg(long)]
        all: bool,
    },
    /// What a fresh VM needs: sshd's settings, the guard, keys, host certificate, revocation lists
    #[command(after_help = "It holds a one-time token for an hour. Run it as root on the VM. \
        Examples:\n  ssh bastion vm bootstrap pg-1.acme > bootstrap.sh\n  \
        ssh bastion vm bootstrap pg-1.acme --format cloud-init > user-data\n  \
        ssh bastion vm bootstrap pg-1.acme --host-key - < ssh_host_ed25519_key.pub")]
    Bootstrap(provision::Ask),
    /// A script that looks whether the VM keeps what it should, for root on the VM
    #[command(after_help = "Example:\n  ssh bastion vm check pg-1.acme | ssh root@pg-1 sh")]
    Check {
        /// Its name.
        vm: VmName,
    },
    /// Compare the VM's own sshd log with the log: every login has its entry, every entry its login
    #[command(after_help = "What differs is entered, told to the customer and raises an alarm. \
        Example:\n  ssh root@pg-1 journalctl -u ssh -o short | \\\n      \
        ssh bastion vm reconcile pg-1.acme --sshd-log -")]
    Reconcile(reconcile::Ask),
    /// Where forwards may go: the VM's list of destinations, each with a level
    #[command(subcommand)]
    Destination(destinations::Verb),
    /// Sign the VM's host key with the VM-host CA: the certificate that its sshd shows
    #[command(after_help = "Example:\n  ssh bastion vm certify pg-1.acme \
        < /etc/ssh/ssh_host_ed25519_key.pub > ssh_host_ed25519_key-cert.pub")]
    Certify {
        /// Its name.
        vm: VmName,
    },
    /// What the VMs of a customer must no longer accept, signed: what their guard reads
    #[command(
        after_help = "The gateway keeps the same text in revocations/CUSTOMER of its folder.\n\n\
        Example:\n  ssh bastion vm revocations acme > revocations"
    )]
    Revocations {
        /// Whose VMs.
        customer: CustomerId,
    },
}

/// A new VM.
#[derive(Debug, Args)]
pub struct Add {
    /// Its name, the same through all lives.
    vm: VmName,
    /// The service that it is part of.
    #[arg(long)]
    service: ServiceId,
    /// Where its sshd listens, as 192.0.2.7:22.
    #[arg(long)]
    address: Address,
    /// The region, as the provider names it.
    #[arg(long, default_value = "default")]
    region: Word,
    /// The zone within it.
    #[arg(long, default_value = "default")]
    zone: Word,
    /// An account, NAME:LEVEL[:UNIX-USER], level `troubleshoot` or `data`; repeat it.
    #[arg(long = "account", required = true, value_name = "NAME:LEVEL[:UNIX-USER]")]
    accounts: Vec<AccountSpec>,
}

/// A new life; what is not given is as in the life before.
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Its name.
    vm: VmName,
    /// Where its sshd listens now.
    #[arg(long)]
    address: Option<Address>,
    /// All accounts of the new life.
    #[arg(long = "account", value_name = "NAME:LEVEL[:UNIX-USER]")]
    accounts: Vec<AccountSpec>,
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add(add) => begin(call, add).await,
        Verb::Rebuild(rebuild) => begin_again(call, rebuild).await,
        Verb::Retire { vm } => end(call, vm).await,
        Verb::List { service, all } => list(call, service, all).await,
        Verb::Destination(verb) => destinations::run(call, verb).await,
        Verb::Bootstrap(ask) => provision::bootstrap(call, ask).await,
        Verb::Check { vm } => provision::check(call, vm).await,
        Verb::Reconcile(ask) => reconcile::run(call, ask).await,
        Verb::Certify { vm } => super::host::certify(call, vm).await,
        Verb::Revocations { customer } => super::revocations::show(call, customer).await,
    }
}

fn accounts(specs: Vec<AccountSpec>) -> Result<Vec<Account>, Fault> {
    let names: BTreeSet<_> = specs.iter().map(|spec| spec.name.clone()).collect();
    if names.len() < specs.len() {
        return Err(Fault::Usage("an account is given twice: give each once".into()));
    }
    if specs.len() > ACCOUNTS_PER_VM_MAX {
        return Err(Fault::Usage(format!("a VM has at most {ACCOUNTS_PER_VM_MAX} accounts")));
    }
    let account = |spec: AccountSpec| Account {
        name: spec.name,
        level: spec.level,
        unix_user: spec.unix_user,
    };
    Ok(specs.into_iter().map(account).collect())
}

/// A warning where one Unix user has two levels: then nothing on the VM separates them.
fn warning(accounts: &[Account]) -> &'static str {
    let shared = accounts.iter().any(|one| {
        accounts.iter().any(|other| other.unix_user == one.unix_user && other.level != one.level)
    });
    if shared {
        "warning: accounts of both levels are one Unix user, so nothing on the VM separates them\n"
    } else {
        ""
    }
}

async fn begin(call: &Call<'_>, add: Add) -> Result<Reply, Fault> {
    let accounts = accounts(add.accounts)?;
    let actor = call.actor();
    let vm = add.vm.clone();
    let change = call.change("vm add", move |batch| {
        Box::pin(async move {
            let service = rows::service(batch.tx(), &add.service).await?;
            if rows::live_instance(batch.tx(), &add.vm).await?.is_some() {
                let taken =
                    format!("there is a VM `{}` already; `vm rebuild` gives it a new life", add.vm);
                return Err(conflict(taken));
            }
            let other = "SELECT customer FROM instances WHERE vm = $1 AND customer <> $2 LIMIT 1";
            let other = batch
                .tx()
                .row_opt(other, &args![add.vm.as_str(), service.customer.as_str()])
                .await?;
            if other.is_some() {
                return Err(conflict("this name was a VM of another customer; take another name"));
            }
            let instance = VmInstance {
                id: InstanceId::from_entropy(draw()?),
                vm: add.vm,
                service: service.id,
                customer: service.customer,
                region: add.region.0,
                zone: add.zone.0,
                address: add.address.0,
                accounts,
            };
            insert(batch, actor, instance, None).await
        })
    });
    let instance = change.await?.into_inner();
    Ok(begun(&vm, &instance, None))
}

fn begun(vm: &VmName, instance: &VmInstance, replaces: Option<&InstanceId>) -> Reply {
    Reply::Said {
        text: format!(
            "{vm} lives as instance {}; next: `vm bootstrap {vm}`\n{}",
            instance.id,
            warning(&instance.accounts)
        ),
        json: json!({
            "vm": vm, "instance": instance.id, "service": instance.service,
            "customer": instance.customer, "replaces": replaces,
        }),
    }
}

async fn insert(
    batch: &mut Batch,
    actor: Actor,
    instance: VmInstance,
    replaces: Option<&InstanceId>,
) -> Result<VmInstance, ChangeError> {
    let sql = "INSERT INTO instances \
               (id, vm, service, customer, region, zone, address, added_at, approver_epoch) \
               SELECT $1, $2, $3, id, $4, $5, $6, $7, approver_epoch FROM customers WHERE id = $8";
    let now = batch.now();
    let row = args![
        instance.id.as_str(),
        instance.vm.as_str(),
        instance.service.as_str(),
        instance.region.as_str(),
        instance.zone.as_str(),
        instance.address.as_str(),
        now,
        instance.customer.as_str()
    ];
    batch.tx().run(sql, &row).await?;
    let sql = "INSERT INTO accounts (instance, name, level, unix_user) VALUES ($1, $2, $3, $4)";
    for account in &instance.accounts {
        let row = args![
            instance.id.as_str(),
            account.name.as_str(),
            account.level.as_str(),
            account.unix_user.as_str()
        ];
        batch.tx().run(sql, &row).await?;
    }
    let mut spelled: Vec<String> = instance
        .accounts
        .iter()
        .map(|account| format!("{}:{}", account.level.as_str(), account.name))
        .collect();
    spelled.sort();
    let event = Event::VmAdded {
        accounts: spelled,
        instance: instance.id.to_string(),
        region: instance.region.clone(),
        replaces: replaces.map(ToString::to_string),
        service: instance.service.to_string(),
        vm: instance.vm.to_string(),
        zone: instance.zone.clone(),
    };
    batch.append(NewEntry::new(actor, event).of_customer(&instance.customer)).await?;
    Ok(instance)
}

async fn begin_again(call: &Call<'_>, rebuild: Rebuild) -> Result<Reply, Fault> {
    let accounts = accounts(rebuild.accounts)?;
    let (vm, address) = (rebuild.vm, rebuild.address);
    let actor = call.actor();
    let name = vm.clone();
    let change = call.change("vm rebuild", move |batch| {
        Box::pin(async move {
            let old = rows::live_instance(batch.tx(), &name).await?;
            let old = old.ok_or_else(|| unknown("VM", name.as_str()))?;
            retire(batch, &actor, &old).await?;
            let mut new = old.clone();
            new.id = InstanceId::from_entropy(draw()?);
            if let Some(address) = address {
                new.address = address.0;
            }
            if !accounts.is_empty() {
                new.accounts = accounts;
            }
            let new = insert(batch, actor.clone(), new, Some(&old.id)).await?;
            destinations::carry(batch, &actor, &old.id, &new).await?;
            Ok((old.id, new))
        })
    });
    let (old, new) = change.await?.into_inner();
    call.app.live.wake();
    Ok(begun(&vm, &new, Some(&old)))
}

async fn end(call: &Call<'_>, vm: VmName) -> Result<Reply, Fault> {
    let actor = call.actor();
    let name = vm.clone();
    let change = call.close("vm retire", move |batch| {
        Box::pin(async move {
            let old = rows::live_instance(batch.tx(), &name).await?;
            let old = old.ok_or_else(|| unknown("VM", name.as_str()))?;
            retire(batch, &actor, &old).await.map(|over| (old.id, over))
        })
    });
    let (instance, over) = change.await?.into_inner();
    call.app.live.wake();
    Ok(Reply::Said {
        text: format!(
            "retired {vm} (instance {instance}); {} channel(s) are being ended, {} consent(s) are \
             over\n",
            over.leases.len(),
            over.tickets.len()
        ),
        json: json!({
            "vm": vm, "instance": instance, "leases": over.leases, "tickets": over.tickets,
        }),
    })
}

/// What ended with an instance.
struct Over {
    leases: Vec<String>,
    tickets: Vec<String>,
}

async fn retire(
    batch: &mut Batch,
    actor: &Actor,
    instance: &VmInstance,
) -> Result<Over, ChangeError> {
    let now = batch.now();
    let sql = "UPDATE instances SET retired_at = $1 WHERE id = $2 AND retired_at IS NULL";
    if batch.tx().run(sql, &args![now, instance.id.as_str()]).await? == 0 {
        return Err(usage("this VM has just been retired"));
    }
    let leases = revoke(batch, Ground::Instance(&instance.id), Cause::VmRetired).await?;
    let tickets = consent::orphaned(batch, instance).await?;
    let event = Event::VmRetired {
        instance: instance.id.to_string(),
        leases: leases.clone(),
        tickets: tickets.iter().map(ToString::to_string).collect(),
        vm: instance.vm.to_string(),
    };
    batch.append(NewEntry::new(actor.clone(), event).of_customer(&instance.customer)).await?;
    for ticket in &tickets {
        consent::end(batch, ticket, "vm_retired", Cause::VmRetired).await?;
    }
    let tickets = tickets.iter().map(ToString::to_string).collect();
    Ok(Over { leases, tickets })
}

/// A VM with what a list shows of it.
pub struct Shown {
    /// This life.
    pub instance: VmInstance,
    /// From where operators may come to its service.
    pub sources: SourceRanges,
    /// Whether this life is over.
    pub retired: bool,
    /// Whether somebody has been root on it.
    pub touched: bool,
}

/// Every VM of the inventory with its accounts and its service, by name.
pub async fn inventory(db: &Db, past_too: bool) -> Result<Vec<Shown>, Fault> {
    let sql = "SELECT i.id, i.vm, i.service, i.customer, i.region, i.zone, i.address, \
               i.retired_at, s.sources_json, a.name, a.level, a.unix_user, \
               i.touched_at FROM instances i \
               JOIN services s ON s.id = i.service \
               LEFT JOIN accounts a ON a.instance = i.id ORDER BY i.vm, i.added_at, a.name";
    let mut vms: Vec<Shown> = Vec::new();
    for row in db.rows(sql, &[]).await? {
        let retired = row.opt_i64(7)?.is_some();
        if retired && !past_too {
            continue;
        }
        let instance = rows::instance_of(&row)?;
        let touched = row.opt_i64(12)?.is_some();
        if vms.last().is_none_or(|last| last.instance.id != instance.id) {
            vms.push(Shown { instance, sources: rows::json(&row.text(8)?)?, retired, touched });
        }
        if let (Some(_), Some(vm)) = (row.opt_text(9)?, vms.last_mut()) {
            vm.instance.accounts.push(rows::account_at(&row, 9)?);
        }
    }
    Ok(vms)
}

/// Accounts for people: `dba (data)`.
pub fn accounts_shown(accounts: &[Account]) -> String {
    let spelled: Vec<String> = accounts
        .iter()
        .map(|account| format!("{} ({})", account.name, account.level.as_str()))
        .collect();
    spelled.join(", ")
}

async fn list(call: &Call<'_>, service: Option<ServiceId>, all: bool) -> Result<Reply, Fault> {
    let mut table =
        Table::new(&["vm", "instance", "service", "address", "accounts", "from", "state"]);
    let mut vms = Vec::new();
    for vm in inventory(call.db(), all).await? {
        if service.as_ref().is_some_and(|wanted| *wanted != vm.instance.service) {
            continue;
        }
        let state = match (vm.retired, vm.touched) {
            (true, _) => "retired",
            (false, true) => "touched",
            (false, false) => "live",
        };
        table.row(&[
            vm.instance.vm.as_str(),
            vm.instance.id.as_str(),
            vm.instance.service.as_str(),
            &vm.instance.address,
            &accounts_shown(&vm.instance.accounts),
            &sources_shown(&vm.sources),
            state,
        ]);
        vms.push(json!({
            "vm": vm.instance, "state": state, "sources": vm.sources, "touched": vm.touched,
            "wide_open": vm.sources.is_wide_open(),
        }));
    }
    Ok(Reply::Said {
        text: table.or("no VMs yet; add one with `vm add`"),
        json: json!({ "vms": vms }),
    })
}
