//! `connect-config`: what an operator puts into `~/.ssh` to reach the gateway and the VMs.
//!
//! An operator who reaches the gateway asks for it over ssh; for the first time an officer hands it
//! out, from `bastion connect-config --operator NAME` on the gateway's machine, since the CA in it
//! is what later connections are checked against.

use super::{Call, Fault, Reply, change::unknown, rows, vms::inventory};
use crate::config::Config;
use audit_schema::event::ActorKind;
use bastion_core::{
    id::{Handle, VmName},
    operator::Operator,
};
use serde_json::json;
use std::collections::BTreeSet;

/// What is asked.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ssh bastion connect-config > ~/.ssh/bastion.conf
  ssh bastion connect-config --known-hosts > ~/.ssh/bastion.known_hosts
  bastion connect-config --operator olga --host gw.example:2222")]
pub struct Ask {
    /// Only the line for known_hosts
    #[arg(long)]
    known_hosts: bool,
    /// The name or address, and port, under which operators reach this gateway
    #[arg(long, value_name = "HOST[:PORT]", value_parser = place)]
    host: Option<Place>,
    /// For this operator, on the gateway's own machine
    #[arg(long, value_name = "NAME")]
    operator: Option<Handle>,
}

/// A host and its port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
}

fn place(text: &str) -> Result<Place, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port),
        _ => (text, "22"),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
    match port.parse() {
        Ok(port) if !host.is_empty() && host.chars().all(plain) => {
            Ok(Place { host: host.to_owned(), port })
        }
        _ => Err("not HOST or HOST:PORT, for example gw.example:2222".to_owned()),
    }
}

/// Where the configuration says that the gateway is; people may have to name it differently.
fn configured(config: &Config) -> Place {
    let listen = config.listen.first();
    let address = listen.filter(|at| !at.ip().is_unspecified()).map(|at| at.ip().to_string());
    let origin = config.origin.split('/').next().unwrap_or_default().to_owned();
    let named = config.ingress.host_names.first().cloned();
    Place { host: named.or(address).unwrap_or(origin), port: listen.map_or(22, |at| at.port()) }
}

/// Runs it.
pub(super) async fn run(call: &Call<'_>, ask: Ask) -> Result<Reply, Fault> {
    let me = whose(call, ask.operator.as_ref()).await?;
    let policy = call.app.policy.current();
    let vms: Vec<VmName> = inventory(call.db(), false)
        .await?
        .into_iter()
        .filter(|vm| me.as_ref().is_some_and(|me| policy.may_list(me, &vm.instance).is_ok()))
        .map(|vm| vm.instance.vm)
        .collect();
    let patterns = patterns(&vms);
    let names: Vec<&str> =
        std::iter::once("bastion").chain(patterns.iter().map(String::as_str)).collect();
    let ca = super::host::line(call.app.ca.gateway_host_ca())?;
    let known = format!("@cert-authority {} {ca}\n", names.join(","));
    let place = ask.host.unwrap_or_else(|| configured(&call.app.config));
    let handle = me.map_or_else(|| call.caller.handle.clone(), |me| me.handle.to_string());
    let config = ssh_config(&handle, &place, &patterns);
    let text = match (ask.known_hosts, call.caller.actor.kind) {
        (true, _) => known.clone(),
        (false, ActorKind::Local) => format!(
            "{config}\n# And this line in ~/.ssh/bastion.known_hosts, without the first `# `:\n\
             # {known}"
        ),
        (false, _) => config.clone(),
    };
    Ok(Reply::Said { text, json: json!({ "ssh_config": config, "known_hosts": known }) })
}

/// The operator whose configuration it is; none for an officer or an approver, who reach no VM.
async fn whose(call: &Call<'_>, named: Option<&Handle>) -> Result<Option<Operator>, Fault> {
    let (sql, key) = match (call.caller.actor.kind, named) {
        (ActorKind::Local, Some(handle)) => {
            (concat!(rows::operator_columns!(), "WHERE handle = $1"), handle.to_string())
        }
        (ActorKind::Local, None) => {
            return Err(Fault::Usage("say for whom: --operator NAME".to_owned()));
        }
        (_, Some(_)) => {
            let sentence = "--operator is for the gateway's own machine: leave it away";
            return Err(Fault::Usage(sentence.to_owned()));
        }
        (ActorKind::Operator, None) => {
            let id = call.caller.actor.id.clone();
            (concat!(rows::operator_columns!(), "WHERE id = $1"), id)
        }
        _ => return Ok(None),
    };
    let row = call.db().row_opt(sql, &crate::args![key.as_str()]).await?;
    let row = row.ok_or_else(|| unknown("operator", &key));
    Ok(Some(rows::operator_of(&row.map_err(crate::ledger::LedgerError::from)?)?))
}

/// Patterns of ssh that name these VMs, and those that come later beside them.
fn patterns(vms: &[VmName]) -> BTreeSet<String> {
    let pattern = |vm: &VmName| match vm.as_str().split_once('.') {
        Some((_, rest)) => format!("*.{rest}"),
        None => vm.to_string(),
    };
    vms.iter().map(pattern).collect()
}

fn ssh_config(handle: &str, place: &Place, patterns: &BTreeSet<String>) -> String {
    let Place { host, port } = place;
    let mut text = format!(
        "# The bastion, for {handle}. Save this as ~/.ssh/bastion.conf, the line that\n\
         # `ssh bastion connect-config --known-hosts` prints as ~/.ssh/bastion.known_hosts,\n\
         # and put `Include bastion.conf` first into ~/.ssh/config.\n\
         Host bastion\n    \
             HostName {host}\n    \
             Port {port}\n    \
             User {handle}\n    \
             HostKeyAlias bastion\n"
    );
    let jump: Vec<&str> = patterns.iter().map(String::as_str).collect();
    if !jump.is_empty() {
        text += "\n# A VM: ssh ACCOUNT@VM. Clients that cannot jump: ssh ACCOUNT+VM@bastion.\n";
        text += &format!("Host {}\n    ProxyJump bastion\n", jump.join(" "));
    }
    let all: Vec<&str> = std::iter::once("bastion").chain(jump).collect();
    text += &format!(
        "\nHost {}\n    \
             UserKnownHostsFile ~/.ssh/bastion.known_hosts\n    \
             StrictHostKeyChecking yes\n    \
             UpdateHostKeys no\n    \
             ForwardAgent no\n",
        all.join(" ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_what_people_type() {
        for (text, host, port) in [
            ("gw.example", "gw.example", 22),
            ("gw.example:2222", "gw.example", 2222),
            ("192.0.2.1:22", "192.0.2.1", 22),
            ("2001:db8::1", "2001:db8::1", 22),
            ("[2001:db8::1]:2222", "2001:db8::1", 2222),
        ] {
            let expected = Place { host: host.to_owned(), port };
            assert_eq!(place(text), Ok(expected), "{text}");
        }
        for text in ["", ":22", "gw:ssh", "gw\nProxyCommand x", "gw example", "gw:99999"] {
            assert!(place(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn one_pattern_names_the_vms_of_a_customer() {
        let vms: Vec<VmName> =
            ["pg-1.acme", "pg-2.acme", "alone"].map(|vm| vm.parse().expect("VM")).to_vec();
        assert_eq!(patterns(&vms).into_iter().collect::<Vec<_>>(), ["*.acme", "alone"]);
    }
}
