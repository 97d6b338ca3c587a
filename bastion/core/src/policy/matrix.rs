//! The policy as a table: every operator × account × VM × channel of a world, with its decision. A
//! change of policy becomes a difference that a customer can read.

use super::Policy;
use crate::{
    authorize::{Decision, Facts, authorize},
    channel::KINDS,
    destination::Wanted,
    id::{LeaseId, SessionId},
    operator::Operator,
    request::{AccessRequest, Beside},
    vm::{Account, VmInstance},
};
use audit_schema::event::ChannelKind;
use std::{fmt::Write as _, net::IpAddr};

/// A world to decide about.
#[derive(Clone, Debug)]
pub struct World {
    /// The operators, in the order of the table.
    pub operators: Vec<Operator>,
    /// The VM instances, in the order of the table.
    pub instances: Vec<VmInstance>,
    /// From where operators come.
    pub source: IpAddr,
    /// The id that requests carry as their session and lease; any.
    pub session: SessionId,
    /// See `session`.
    pub lease: LeaseId,
}

/// The table. `facts` gathers what the decision reads for one operator and one instance, as the
/// gateway would.
pub fn policy_matrix(
    policy: &Policy,
    world: &World,
    facts: impl Fn(&Operator, &VmInstance) -> Facts,
) -> String {
    let mut out = String::new();
    for operator in &world.operators {
        for instance in &world.instances {
            let facts = facts(operator, instance);
            for account in &instance.accounts {
                for kind in KINDS {
                    let request = request(world, operator, (instance, account), kind);
                    let decision = authorize(&request, &facts, policy);
                    // Writing to a String cannot fail.
                    writeln!(
                        out,
                        "{:<8} {:<12} {:<6} {:<12} {:<20} {}",
                        operator.handle.as_str(),
                        instance.vm.as_str(),
                        account.name.as_str(),
                        account.level.as_str(),
                        kind.as_str(),
                        describe(&decision)
                    )
                    .unwrap_or_default();
                }
            }
        }
    }
    out
}

fn request(
    world: &World,
    operator: &Operator,
    (instance, account): (&VmInstance, &Account),
    kind: ChannelKind,
) -> AccessRequest {
    AccessRequest {
        lease: world.lease.clone(),
        session: world.session.clone(),
        operator: operator.id.clone(),
        source: world.source,
        vm: instance.vm.clone(),
        account: account.name.clone(),
        kind,
        pty: kind == ChannelKind::Shell,
        command: (kind == ChannelKind::Exec).then(|| b"true".to_vec()),
        destination: wanted(kind),
        beside: Beside::default(),
    }
}

/// A destination that world lists as troubleshooting for each kind of forward that has one.
fn wanted(kind: ChannelKind) -> Option<Wanted> {
    let host = || "127.0.0.1".to_owned();
    match kind {
        ChannelKind::ForwardLocal => Some(Wanted::Tcp { host: host(), port: 9187 }),
        ChannelKind::ForwardStreamlocal => {
            Some(Wanted::Unix { path: "/run/exporter.sock".to_owned() })
        }
        ChannelKind::ForwardRemote => Some(Wanted::Listen { host: host(), port: 9000 }),
        _ => None,
    }
}

fn describe(decision: &Decision) -> String {
    match decision {
        Decision::Granted(grant) => {
            let ticket = grant.ticket().map(|t| format!(" under {t}")).unwrap_or_default();
            format!("granted{ticket} by {}", grant.policies().join(", "))
        }
        Decision::Denied(denial) => {
            let by = denial.policies().join(", ");
            let by = if by.is_empty() { by } else { format!(" by {by}") };
            format!("denied  {}{by}", denial.reason())
        }
    }
}
