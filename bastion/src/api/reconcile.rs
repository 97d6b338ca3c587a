//! `vm reconcile`: the VM's own sshd log against ours.
//!
//! What is compared is every login of the VM's present life between two moments: whatever sshd
//! accepted must be a certificate of this log, and every channel that reached the VM must have its
//! line. What differs is entered for the customer, told to its approvers, and raises the alarm
//! `reconciliation`, which the next comparison without a finding clears.

use super::{Call, Fault, Reply, audit, change::unknown, print::shown, rows};
use crate::{
    args,
    ledger::{Batch, ChangeError, NewEntry, projection::Filter},
    metrics::{Alarm, METRICS},
    notices::{self, Notice},
};
use audit_schema::{
    event::{Actor, Event},
    time::Timestamp,
};
use bastion_core::{
    id::VmName,
    limits::{RECONCILE_ENTRIES_MAX, RECONCILE_GRACE_SECONDS, SSHD_LOG_BYTES_MAX, SSHD_LOGINS_MAX},
    reconcile::{Compared, Issued, Login, compare},
    vm::VmInstance,
};
use clap::Args;
use serde_json::json;
use std::sync::PoisonError;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

/// What is compared.
#[derive(Debug, Args)]
pub struct Ask {
    /// The VM's name.
    vm: VmName,
    /// The VM's sshd log (journalctl -u ssh, syslog or sshd -e); - for standard input.
    #[arg(long, value_name = "-")]
    sshd_log: String,
    /// The log begins here; if left out, with the first certificate in it.
    #[arg(long, value_parser = audit::since)]
    since: Option<Timestamp>,
    /// The log ends here; now if left out.
    #[arg(long, value_parser = audit::until)]
    until: Option<Timestamp>,
}

/// `vm reconcile`.
pub async fn run(call: &mut Call<'_>, ask: Ask) -> Result<Reply, Fault> {
    if ask.sshd_log != "-" {
        let how = "give the log on standard input: vm reconcile NAME --sshd-log - < auth.log";
        return Err(Fault::Usage(how.into()));
    }
    let name = ask.vm.clone();
    let found = call.db().read(move |tx| {
        Box::pin(async move { crate::gate::facts::live_instance(tx, &name).await })
    });
    let missing = || crate::ledger::LedgerError::from(unknown("VM", ask.vm.as_str()));
    let instance = found.await?.ok_or_else(missing)?;
    let logins = logins(call).await?;
    let issued = issued(call, &instance, &logins, &ask).await?;
    let compared = compare(&logins, &issued);
    let actor = call.actor();
    let (whose, kept) = (instance.clone(), compared.clone());
    let change = call.change("vm reconcile", move |batch| {
        Box::pin(async move { enter(batch, &actor, &whose, &kept).await })
    });
    change.await?.into_inner();
    METRICS
        .alarm(Alarm::Reconciliation, !compared.unlogged.is_empty() || !compared.unseen.is_empty());
    Ok(said(&instance, &compared))
}

/// What sshd accepted, of the whole log on standard input.
async fn logins(call: &mut Call<'_>) -> Result<Vec<Login>, Fault> {
    let stdin = call.stdin.get_mut().unwrap_or_else(PoisonError::into_inner);
    let mut reader = BufReader::new(stdin.take(SSHD_LOG_BYTES_MAX + 1));
    let (mut logins, mut line, mut bytes) = (Vec::new(), Vec::new(), 0_u64);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).await?;
        bytes += read as u64;
        if bytes > SSHD_LOG_BYTES_MAX {
            let most = SSHD_LOG_BYTES_MAX >> 20;
            return Err(Fault::Usage(format!("more than {most} MiB: give it in pieces")));
        }
        if read == 0 {
            break;
        }
        logins.extend(Login::of_line(&String::from_utf8_lossy(&line)));
        if logins.len() > SSHD_LOGINS_MAX {
            let how = format!("more than {SSHD_LOGINS_MAX} logins: give it in pieces");
            return Err(Fault::Usage(how));
        }
    }
    if bytes == 0 {
        return Err(Fault::Usage("give the VM's sshd log on standard input: … < auth.log".into()));
    }
    Ok(logins)
}

/// The certificates of this instance, and which of them the VM's log must show.
async fn issued(
    call: &Call<'_>,
    instance: &VmInstance,
    logins: &[Login],
    ask: &Ask,
) -> Result<Vec<Issued>, Fault> {
    let sql = "SELECT serial, id, account, granted_at, closed_at FROM leases WHERE instance = $1 \
               ORDER BY serial";
    let first = logins.iter().filter_map(|login| login.certificate.as_ref()).map(|(_, s)| *s).min();
    let late = crate::clock::now().plus_seconds(-RECONCILE_GRACE_SECONDS);
    let until = ask.until.map_or(late, |until| until.min(late));
    let seen: std::collections::BTreeSet<u64> =
        logins.iter().filter_map(|login| Some(login.certificate.as_ref()?.1)).collect();
    let mut issued = Vec::new();
    for row in call.db().rows(sql, &args![instance.id.as_str()]).await? {
        let (serial, lease) = (row.u64(0)?, row.text(1)?);
        let account = instance.account(&row.parsed(2)?);
        let granted = Timestamp::from_micros(row.i64(3)?);
        let closed = row.opt_i64(4)?.map(Timestamp::from_micros);
        let begun = match ask.since {
            Some(since) => granted >= since,
            None => first.is_some_and(|first| serial >= first),
        };
        let over = closed.is_some_and(|closed| closed < until);
        let mut must_show = begun && over;
        // Only of what the VM does not show is it asked whether it was ever reached.
        if must_show && !seen.contains(&serial) {
            must_show = reached(call, &lease).await?;
        }
        let unix_user = account.map(|account| account.unix_user.clone()).unwrap_or_default();
        issued.push(Issued { serial, lease, unix_user, must_show });
    }
    Ok(issued)
}

/// Whether the end of a channel says that the VM took its login.
async fn reached(call: &Call<'_>, lease: &str) -> Result<bool, Fault> {
    let index = call.app.projection().await;
    let failed = |error| Fault::Failed(format!("the query index: {error}"));
    let index = index.map_err(failed)?;
    index.catch_up().await.map_err(failed)?;
    let filter = Filter {
        lease: Some(lease.to_owned()),
        event: Some("channel.closed".into()),
        limit: 1,
        ..Filter::default()
    };
    let page = index.query(&filter).await;
    let page = page.map_err(failed)?;
    let outcome = page.rows.first().and_then(|row| row.outcome.as_deref());
    Ok(matches!(outcome, Some("completed" | "cut")))
}

async fn enter(
    batch: &mut Batch,
    actor: &Actor,
    instance: &VmInstance,
    compared: &Compared,
) -> Result<(), ChangeError> {
    // The instance may have ended since its log was read; then there is nothing to say of it.
    rows::live_instance(batch.tx(), &instance.vm)
        .await?
        .filter(|live| live.id == instance.id)
        .ok_or_else(|| unknown("VM", instance.vm.as_str()))?;
    let customer = &instance.customer;
    let entry = |event: Event| NewEntry::new(actor.clone(), event).of_customer(customer);
    for (login, why) in compared.unlogged.iter().take(RECONCILE_ENTRIES_MAX) {
        let event = Event::VmLoginUnlogged {
            instance: instance.id.to_string(),
            reason: why.as_str().to_owned(),
            serial: login.certificate.as_ref().map(|(_, serial)| *serial).filter(|s| *s < 1 << 53),
            vm: instance.vm.to_string(),
        };
        batch.append(entry(event).with("line", login.line.as_str())).await?;
    }
    for issued in compared.unseen.iter().take(RECONCILE_ENTRIES_MAX) {
        let event = Event::VmLoginUnseen {
            instance: instance.id.to_string(),
            lease: issued.lease.clone(),
            serial: issued.serial,
            vm: instance.vm.to_string(),
        };
        batch.append(entry(event)).await?;
    }
    let (unlogged, unseen) = (compared.unlogged.len() as u64, compared.unseen.len() as u64);
    let event = Event::VmReconciled {
        instance: instance.id.to_string(),
        matched: compared.matched,
        unlogged,
        unseen,
        vm: instance.vm.to_string(),
    };
    let seq = batch.append(entry(event)).await?;
    if unlogged + unseen == 0 {
        return Ok(());
    }
    let facts = json!({ "instance": instance.id, "unlogged": unlogged, "unseen": unseen });
    notices::enqueue(batch, &Notice { customer, kind: "vm.reconciled", seq, facts }).await
}

fn said(instance: &VmInstance, compared: &Compared) -> Reply {
    let Compared { matched, unlogged, unseen } = compared;
    let mut text = format!("{matched} login(s) of {} have their entry\n", instance.vm);
    for (login, why) in unlogged {
        text += &format!(
            "ALARM: a login without an entry ({}): {}\n",
            why.as_str(),
            shown(&login.line)
        );
    }
    for issued in unseen {
        text += &format!(
            "ALARM: entry {} ({}) has no login in the VM's log\n",
            issued.serial, issued.lease
        );
    }
    let logins: Vec<_> = unlogged
        .iter()
        .map(|(login, why)| json!({ "reason": why.as_str(), "line": login.line }))
        .collect();
    let entries: Vec<_> = unseen
        .iter()
        .map(|issued| json!({ "serial": issued.serial, "lease": issued.lease }))
        .collect();
    Reply::Said {
        text,
        json: json!({
            "vm": instance.vm, "instance": instance.id, "matched": matched,
            "unlogged": logins, "unseen": entries,
        }),
    }
}
