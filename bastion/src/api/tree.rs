//! The command tree, and the part of it that a role can see.
//!
//! The words of a command are looked up before anything else is parsed: who may not run a command
//! never reaches the parser of its arguments, so no message of the parser can tell them about it.

use super::{
    approvers, audit, backup, connect, consent, customers, fault::Fault, host, officers, operators,
    permit, policy, proposals, recording, report, services, session, vms,
};
use audit_schema::event::ActorKind;
use bastion_core::id::TicketId;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};

/// One command line.
#[derive(Debug, Parser)]
#[command(
    name = "bastion",
    bin_name = "ssh bastion",
    about = "Operators reach customers' VMs through this gateway, and it is all in a log.",
    no_binary_name = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    subcommand_required = true,
    term_width = 100
)]
pub struct Line {
    /// Answer as JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Every command. `audit`, `session` and `report` hang their own enums here.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say what you may run, or explain one command
    #[command(after_help = "Examples:\n  ssh bastion help\n  ssh bastion help request")]
    Help {
        /// The command to explain.
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Say who the bastion takes you for
    Whoami,
    /// The VMs that you may know of
    Ls,
    /// What to put into ~/.ssh to reach the bastion and the VMs
    ConnectConfig(connect::Ask),
    /// Ask a customer for consent
    #[command(after_help = "Example:\n  ssh bastion request pg-1.acme --account dba \\\n      \
        --reason CUSTOMER_REQUEST --case ZD-1042 --for 1h --note restore of table orders")]
    Request(consent::Request),
    /// Your tickets, or one of them
    Status {
        /// Which ticket.
        ticket: Option<TicketId>,
    },
    /// Permit, refuse, narrow and take back: what the customer decides
    #[command(subcommand)]
    Consent(consent::Verb),
    /// The people who connect
    #[command(subcommand)]
    Operator(operators::Verb),
    /// The security officers
    #[command(subcommand)]
    Officer(officers::Verb),
    /// What other officers want to change: look at it, approve it, refuse it
    #[command(subcommand)]
    Change(proposals::Verb),
    /// The customers' people who decide
    #[command(subcommand)]
    Approver(approvers::Verb),
    /// The customers
    #[command(subcommand)]
    Customer(customers::Verb),
    /// What customers rent
    #[command(subcommand)]
    Service(services::Verb),
    /// The VMs and their accounts
    #[command(subcommand)]
    Vm(vms::Verb),
    /// The Cedar policy
    #[command(subcommand)]
    Policy(policy::Verb),
    /// The certificate authorities
    #[command(subcommand)]
    Ca(host::Verb),
    /// Ask the log, verify it, hand it out
    #[command(subcommand)]
    Audit(audit::Verb),
    /// A sealed copy of the log and of all beside it, made while the gateway runs
    Backup(backup::Ask),
    /// What is live and what was, the end of it, the recordings
    #[command(subcommand)]
    Session(session::Verb),
    /// The end of a recording before its time
    #[command(subcommand)]
    Recording(recording::Verb),
    /// What was done to a customer's services in a period
    Report(report::Ask),
}

/// Where the words of a command line lead.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// A command that can be run.
    Command(String),
    /// A word that only stands before others, as `operator`; empty at the root.
    Group(String),
    /// Nowhere: the words up to the first that is not known.
    Nowhere(String),
}

/// The whole tree.
pub fn whole() -> Command {
    Line::command()
}

/// The tree with everything hidden that the role may not run.
pub fn for_role(role: ActorKind) -> Command {
    veil(whole(), "", role)
}

fn veil(command: Command, path: &str, role: ActorKind) -> Command {
    command.mut_subcommands(|sub| {
        let path = join(path, sub.get_name());
        let hidden = !permit::permits(role, &path) && !permit::permits_below(role, &path);
        veil(sub, &path, role).hide(hidden).disable_help_subcommand(true)
    })
}

/// Follows the words of a command line down the tree. Only `--json` and `--help` may stand among
/// them.
pub fn locate(tree: &Command, words: &[String]) -> Place {
    let mut here = tree;
    let mut path = String::new();
    for word in words.iter().filter(|word| *word != "--json") {
        if !here.has_subcommands() || ["-h", "--help"].contains(&word.as_str()) {
            break;
        }
        match here.find_subcommand(word) {
            Some(next) if !next.is_hide_set() => {
                path = join(&path, next.get_name());
                here = next;
            }
            _ => return Place::Nowhere(join(&path, word)),
        }
    }
    if here.has_subcommands() { Place::Group(path) } else { Place::Command(path) }
}

/// Parses a command line that was located and permitted.
pub fn parse(tree: Command, words: &[String]) -> Result<Line, Fault> {
    let matches = tree.try_get_matches_from(words).map_err(|e| Fault::Usage(e.to_string()))?;
    Line::from_arg_matches(&matches).map_err(|e| Fault::Usage(e.to_string()))
}

/// The help of the command or group that the path names; of the root when it is empty.
pub fn help(mut tree: Command, path: &str) -> String {
    // Names the program in the usage line of every command below.
    tree.build();
    let mut here = tree;
    for word in path.split(' ').filter(|word| !word.is_empty()) {
        match here.find_subcommand(word).cloned() {
            Some(next) => here = next,
            // The caller located the path in this very tree.
            None => break,
        }
    }
    here.render_long_help().to_string()
}

fn join(path: &str, word: &str) -> String {
    if path.is_empty() { word.to_owned() } else { format!("{path} {word}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn leaves(command: &Command, path: &str, into: &mut BTreeSet<String>) {
        for sub in command.get_subcommands() {
            let path = join(path, sub.get_name());
            if sub.has_subcommands() {
                leaves(sub, &path, into);
            } else {
                into.insert(path);
            }
        }
    }

    #[test]
    fn every_command_has_a_row_in_the_table_of_permissions_and_every_row_a_command() {
        let mut commands = BTreeSet::new();
        leaves(&whole(), "", &mut commands);
        let rows: BTreeSet<String> = permit::commands().map(str::to_owned).collect();
        assert_eq!(commands, rows);
    }

    #[test]
    fn the_tree_is_well_formed() {
        whole().debug_assert();
    }
}
