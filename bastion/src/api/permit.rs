//! Who may run what: one table, and nothing is permitted that is not in it.
//!
//! A command that the caller's role may not run is answered exactly as one that does not exist, so
//! an operator cannot even learn the officers' vocabulary by trying. A test holds the table against
//! the command tree: a command without a row, or a row without a command, fails it.

use audit_schema::event::ActorKind::{self, Approver, Local, Officer, Operator};

/// The roles that may run each command. A command is spelled by its words from the root on.
const TABLE: &[(&str, &[ActorKind])] = &[
    ("help", &[Operator, Approver, Officer, Local]),
    ("whoami", &[Operator, Approver, Officer, Local]),
    ("connect-config", &[Operator, Approver, Officer, Local]),
    // ---- operators
    ("ls", &[Operator]),
    ("request", &[Operator]),
    ("status", &[Operator]),
    // ---- approvers
    ("consent open", &[Approver]),
    ("consent list", &[Approver]),
    ("consent show", &[Approver]),
    ("consent statement", &[Approver]),
    ("consent decide", &[Approver]),
    ("consent narrow", &[Approver]),
    ("consent refuse", &[Approver]),
    ("consent withdraw", &[Approver]),
    // ---- officers: people
    ("operator add", &[Officer]),
    ("operator change", &[Officer]),
    ("operator disable", &[Officer]),
    ("operator enable", &[Officer]),
    ("operator list", &[Officer]),
    ("operator show", &[Officer]),
    ("operator training", &[Officer]),
    ("operator key add", &[Officer]),
    ("operator key remove", &[Officer]),
    ("officer add", &[Officer]),
    ("officer remove", &[Officer]),
    ("officer list", &[Officer]),
    ("change list", &[Officer]),
    ("change show", &[Officer]),
    ("change approve", &[Officer]),
    ("change refuse", &[Officer]),
    // ---- who decides for a customer: the first set by invitation, then the set itself
    ("approver invite", &[Officer]),
    ("approver enrol", &[Officer]),
    ("approver void", &[Approver, Officer]),
    ("approver change", &[Approver]),
    ("approver statement", &[Approver]),
    ("approver sign", &[Approver]),
    ("approver drop", &[Approver]),
    ("approver reset", &[Officer]),
    ("approver stop-reset", &[Approver, Officer]),
    ("approver list", &[Approver, Officer]),
    // ---- officers: inventory
    ("customer add", &[Officer]),
    ("customer notify", &[Officer]),
    ("customer list", &[Officer]),
    ("service add", &[Officer]),
    ("service list", &[Officer]),
    ("service sources", &[Officer]),
    ("service recording-key", &[Officer]),
    ("vm add", &[Officer]),
    ("vm rebuild", &[Officer]),
    ("vm retire", &[Officer]),
    ("vm list", &[Officer]),
    ("vm destination add", &[Officer]),
    ("vm destination remove", &[Officer]),
    ("vm destination list", &[Officer]),
    ("vm certify", &[Officer]),
    ("vm bootstrap", &[Officer]),
    ("vm revocations", &[Officer]),
    ("vm check", &[Officer]),
    ("vm reconcile", &[Officer]),
    // ---- officers: rules and keys
    ("policy check", &[Officer]),
    ("policy test", &[Officer]),
    ("policy reload", &[Officer]),
    ("policy show", &[Officer]),
    ("ca show", &[Officer]),
    ("ca krl", &[Officer]),
    ("ca revoke", &[Officer]),
    ("recording erase", &[Officer]),
    ("audit erase", &[Officer]),
    ("audit hold add", &[Officer]),
    ("audit hold remove", &[Officer]),
    ("audit hold list", &[Officer]),
    // ---- reading
    ("audit query", &[Approver, Officer, Local]),
    ("audit stats", &[Approver, Officer, Local]),
    ("audit rebuild-index", &[Officer, Local]),
    ("audit show", &[Approver, Officer, Local]),
    ("audit verify", &[Approver, Officer, Local]),
    ("audit checkpoint", &[Approver, Officer, Local]),
    ("audit export", &[Approver, Officer, Local]),
    ("audit prove", &[Approver, Officer, Local]),
    ("audit consistency", &[Approver, Officer, Local]),
    ("audit tile", &[Approver, Officer, Local]),
    ("audit publish", &[Local]),
    ("audit new-epoch", &[Local]),
    ("audit new-mark", &[Local]),
    ("backup", &[Local]),
    ("session list", &[Approver, Officer, Local]),
    ("session show", &[Approver, Officer, Local]),
    ("session end", &[Officer]),
    ("session search", &[Approver, Officer, Local]),
    ("session watch", &[Approver, Officer]),
    ("session replay", &[Approver, Officer, Local]),
    ("session fetch", &[Approver, Officer, Local]),
    ("report", &[Approver, Officer, Local]),
];

/// Whether a role may run a command.
pub fn permits(role: ActorKind, command: &str) -> bool {
    TABLE.iter().any(|(name, roles)| *name == command && roles.contains(&role))
}

/// Whether a role may run anything below these words, so that a group shows in its help.
pub fn permits_below(role: ActorKind, group: &str) -> bool {
    TABLE.iter().any(|(name, roles)| {
        roles.contains(&role) && name.strip_prefix(group).is_some_and(|rest| rest.starts_with(' '))
    })
}

/// Every command of the table: what the test compares with the tree.
#[cfg(test)]
pub fn commands() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_may_do_what_another_is_there_to_decide() {
        for command in ["consent decide", "consent withdraw", "consent refuse", "consent open"] {
            for role in [Operator, Officer, Local, ActorKind::Gateway] {
                assert!(!permits(role, command), "{role:?} must not run {command}");
            }
        }
        for command in ["approver change", "approver statement", "approver sign", "approver drop"] {
            for role in [Operator, Officer, Local] {
                assert!(!permits(role, command), "{role:?} must not run {command}");
            }
        }
        for (command, _) in TABLE {
            assert!(!permits(ActorKind::Gateway, command));
            let first = command.split(' ').next().unwrap();
            let groups = ["operator", "officer", "change", "customer", "service", "vm", "policy"];
            if groups.contains(&first) || ["ca", "recording"].contains(&first) {
                for role in [Operator, Approver, Local] {
                    assert!(!permits(role, command), "{role:?} must not run {command}");
                }
            }
        }
    }

    #[test]
    fn a_group_shows_only_to_those_who_may_run_something_in_it() {
        assert!(permits_below(Officer, "operator"));
        assert!(permits_below(Officer, "operator key"));
        assert!(!permits_below(Operator, "operator"));
        assert!(!permits_below(Approver, "con"));
        assert!(permits_below(Approver, "consent"));
    }
}
