//! Every reason for which a request is denied, as a table: a reason without a case fails.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // the golden file is on disk

mod world;

use audit_schema::event::{ChannelKind, Event, Level};
use bastion_core::{
    authorize::{Facts, Reason, RecordingAsked, recording_access},
    consent::{Nonce, TicketState},
    destination::Wanted,
    policy::Policy,
    request::AccessRequest,
    vm::SourceRanges,
};
use std::collections::BTreeSet;
use world::*;

/// One change to a request that would be granted, and the reason that it must give.
#[derive(Clone)]
struct Case {
    name: &'static str,
    reason: Reason,
    change: fn(&mut Asked),
}

struct Asked {
    request: AccessRequest,
    facts: Facts,
    policy: Policy,
}

impl Asked {
    fn data() -> Self {
        let policy = policy();
        Self { request: request("dba", ChannelKind::Exec), facts: facts(&policy), policy }
    }
    /// The consent with other terms, signed anew.
    fn with_terms(&mut self, change: impl FnOnce(&mut bastion_core::consent::Terms)) {
        let mut terms = terms();
        change(&mut terms);
        self.facts.consents = vec![consent(&statement(&ticket(terms), &self.policy))];
    }
    fn consent(&mut self) -> &mut bastion_core::authorize::ConsentFact {
        &mut self.facts.consents[0]
    }
}

/// Every forward everywhere: what is left to refuse is the list's.
const FORWARD: &str = "@id(\"f\") permit(principal, action in Action::\"forward\", resource);";

fn case(name: &'static str, reason: Reason, change: fn(&mut Asked)) -> Case {
    Case { name, reason, change }
}

fn cases() -> Vec<Case> {
    [hard_rules(), which_ticket(), whether_it_stands(), whether_it_is_signed(), policies()].concat()
}

fn hard_rules() -> Vec<Case> {
    use Reason as R;
    vec![
        case("sftp with a terminal", R::RequestMalformed, |a| {
            a.request = request("dba", ChannelKind::Sftp);
            a.request.pty = true;
        }),
        case("exec without a command", R::RequestMalformed, |a| a.request.command = None),
        case("a command that is too long", R::RequestMalformed, |a| {
            a.request.command = Some(vec![b'x'; 128 * 1024 + 1]);
        }),
        case("nobody", R::OperatorUnknown, |a| a.facts.operator = None),
        case("disabled", R::OperatorDisabled, |a| {
            a.facts.operator.as_mut().unwrap().enabled = false;
        }),
        case("no such VM", R::VmUnknown, |a| a.facts.instance = None),
        case("not to be told", R::VmNotListed, |a| {
            a.policy =
                policy_with("@id(\"x\") forbid(principal, action == Action::\"list\", resource);");
        }),
        case("facts of another operator", R::FactsIncomplete, |a| {
            a.facts.operator = Some(otto());
        }),
        case("facts of another VM", R::FactsIncomplete, |a| {
            a.facts.instance = Some(instance("pg-2.acme", "i-acme2"));
        }),
        case("no service", R::FactsIncomplete, |a| a.facts.service = None),
        case("another customer's service", R::FactsIncomplete, |a| {
            a.facts.service.as_mut().unwrap().customer = "globex".parse().unwrap();
        }),
        case("no such account", R::AccountUnknown, |a| {
            a.request.account = "root".parse().unwrap();
        }),
        case("from elsewhere", R::SourceNotAllowed, |a| {
            let ranges = SourceRanges(vec!["203.0.113.0/24".parse().unwrap()]);
            a.facts.service.as_mut().unwrap().sources = ranges;
        }),
        case("never trained", R::TrainingLapsed, |a| a.facts.training.clear()),
        case("training ends with the certificate", R::TrainingLapsed, |a| {
            a.facts.training = vec![training(&olga(), 300)];
        }),
        case("another instance's list", R::FactsIncomplete, |a| {
            a.policy = policy_with(FORWARD);
            a.request = request("ops", ChannelKind::ForwardLocal);
            a.facts.destinations = destinations("i-acme2");
        }),
        case("forward to nowhere", R::DestinationRefused, |a| {
            a.policy = policy_with(FORWARD);
            a.request = request("ops", ChannelKind::ForwardLocal);
            a.request.destination = Wanted::tcp("127.0.0.1", 22);
        }),
        case("forward from troubleshoot to data", R::DestinationOfData, |a| {
            a.policy = policy_with(FORWARD);
            a.request = request("ops", ChannelKind::ForwardLocal);
            a.request.destination = Wanted::tcp("127.0.0.1", 5432);
        }),
    ]
}

fn which_ticket() -> Vec<Case> {
    use Reason as R;
    vec![
        case("no ticket", R::ConsentMissing, |a| a.facts.consents.clear()),
        case("for another operator", R::ConsentMissing, |a| {
            a.with_terms(|t| t.operators[0].id = "op-other".parse().unwrap());
        }),
        case("for another team", R::ConsentMissing, |a| {
            a.with_terms(|t| {
                t.operators.clear();
                t.team = Some("network".parse().unwrap());
            });
        }),
        case("for another account", R::ConsentMissing, |a| {
            a.with_terms(|t| t.account = "postgres".parse().unwrap());
        }),
        case("for another level", R::ConsentMissing, |a| {
            a.with_terms(|t| t.level = Level::Troubleshoot);
        }),
        case("for another customer", R::ConsentMissing, |a| {
            let mut ticket = ticket(terms());
            ticket.customer = "globex".parse().unwrap();
            a.facts.consents = vec![consent(&statement(&ticket, &a.policy))];
        }),
        case("for another VM", R::ConsentMissing, |a| {
            a.with_terms(|t| {
                t.instances[0].instance = "i-acme2".parse().unwrap();
                t.instances[0].vm = "pg-2.acme".parse().unwrap();
            });
        }),
        case("an unreadable statement", R::ConsentMissing, |a| {
            a.consent().statement = b"{}".to_vec();
        }),
        case("before the rebuild", R::ConsentOtherInstance, |a| {
            a.facts.instance = Some(instance("pg-1.acme", "i-acme9"));
        }),
    ]
}

fn whether_it_stands() -> Vec<Case> {
    use Reason as R;
    vec![
        case("waiting", R::ConsentPending, |a| a.consent().state = TicketState::Pending),
        case("refused", R::ConsentRefused, |a| a.consent().state = TicketState::Refused),
        case("withdrawn", R::ConsentWithdrawn, |a| a.consent().state = TicketState::Withdrawn),
        case("ended", R::ConsentExpired, |a| a.consent().state = TicketState::Ended),
        case("the window's last moment", R::ConsentExpired, |a| a.facts.now = at(3600)),
        case("before the window", R::ConsentNotYet, |a| {
            a.with_terms(|t| t.not_before = at(1));
        }),
        case("all sessions used", R::ConsentUsedUp, |a| {
            a.consent().uses = vec!["s-8".parse().unwrap(), "s-9".parse().unwrap()];
        }),
        case("other channel rules", R::ConsentRulesChanged, |a| {
            a.policy =
                policy_with("@id(\"x\") forbid(principal, action == Action::\"sftp\", resource);");
        }),
    ]
}

fn whether_it_is_signed() -> Vec<Case> {
    use Reason as R;
    vec![
        case("not signed", R::ConsentUnsigned, |a| a.consent().signatures.clear()),
        case("another revision is current", R::ConsentUnsigned, |a| a.consent().revision = 2),
        case("another ticket's statement", R::ConsentUnsigned, |a| {
            a.consent().ticket = "t-2000".parse().unwrap();
        }),
        case("signed by a stranger", R::ConsentUnsigned, |a| {
            let signature = sign(&a.consent().statement.clone(), 99);
            a.consent().signatures[0].signature = signature;
        }),
        case("signed with a key of globex", R::ConsentUnsigned, |a| {
            a.facts.approver_keys[0].customer = "globex".parse().unwrap();
        }),
        case("signed after the key was removed", R::ConsentUnsigned, |a| {
            a.facts.approver_keys[0].removed_at = Some(at(-30));
        }),
        case("signed before the key was enrolled", R::ConsentUnsigned, |a| {
            a.facts.approver_keys[0].added_at = at(-29);
        }),
        case("signed in the future", R::ConsentUnsigned, |a| {
            a.consent().signatures[0].decided_at = at(1);
        }),
        case("for another deployment", R::ConsentUnsigned, |a| {
            a.facts.origin = "other.example".into();
        }),
        case("the customer asks for two signatures now", R::ConsentUnsigned, |a| {
            a.facts.signatures_needed = 2;
        }),
        case("one approver twice", R::ConsentUnsigned, |a| {
            a.facts.signatures_needed = 2;
            let again = a.consent().signatures[0].clone();
            a.consent().signatures.push(again);
        }),
        case("a signature over an earlier statement", R::ConsentUnsigned, |a| {
            let mut other = statement(&ticket(terms()), &a.policy);
            other.nonce = Nonce([8; 16]);
            a.consent().statement = other.compose().unwrap();
        }),
    ]
}

fn policies() -> Vec<Case> {
    use Reason as R;
    vec![
        case("no permit", R::PolicyNotPermitted, |a| {
            a.request = request("ops", ChannelKind::ForwardLocal);
        }),
        case("a forbid", R::PolicyForbidden, |a| {
            a.policy = policy_with(
                "@id(\"no-de\") forbid(principal, action == Action::\"reach\", resource) \
                 when { principal.country == \"DE\" };",
            );
        }),
        case("an error in the policy", R::PolicyFailed, |a| {
            a.policy = policy_with(
                "@id(\"x\") forbid(principal, action == Action::\"reach\", resource) \
                 when { 9223372036854775807 + (if context.pty then 0 else 1) > 0 };",
            );
        }),
    ]
}

#[test]
fn each_reason_has_a_case_and_each_case_its_reason() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let mut asked = Asked::data();
        (case.change)(&mut asked);
        let denial = denied(&asked.request, &asked.facts, &asked.policy);
        assert_eq!(denial.reason(), case.reason, "{}: {}", case.name, denial.sentence());
        let Event::AccessDenied { reason, .. } = denial.event() else { panic!("{}", case.name) };
        assert_eq!(reason, case.reason.as_str(), "{}", case.name);
        let sentence = denial.sentence();
        let opens_low = sentence.starts_with(|c: char| c.is_ascii_lowercase());
        assert!(opens_low && !sentence.contains('\n') && sentence.len() < 300, "{sentence}");
        seen.insert(case.reason);
    }
    let all: BTreeSet<Reason> = Reason::ALL.iter().copied().collect();
    assert_eq!(seen, all, "a reason without a case");
}

#[test]
fn what_is_in_order_is_granted() {
    let asked = Asked::data();
    let grant = granted(&asked.request, &asked.facts, &asked.policy);
    let consent = grant.consent().unwrap();
    assert_eq!(consent.ticket.as_str(), "t-1042");
    assert_eq!(consent.approvers, ["ap-anna".parse().unwrap()]);
    assert!(consent.first_use);
    assert_eq!(grant.policies(), ["access.data", "channels.data"]);
    assert_eq!(grant.deadline(), at(3600), "the consent ends first");
    let Event::AccessGranted { ticket, revision, place, .. } = grant.event() else { panic!() };
    assert_eq!((ticket.as_deref(), revision), (Some("t-1042"), Some(1)));
    assert_eq!(place.level, Level::Data);
}

#[test]
fn troubleshooting_needs_no_consent_and_carries_none() {
    let mut asked = Asked::data();
    asked.facts.consents.clear();
    let grant = granted(&request("ops", ChannelKind::Shell), &asked.facts, &asked.policy);
    assert!(grant.consent().is_none());
    assert_eq!(grant.deadline(), at(12 * 3600));
}

#[test]
fn the_earliest_end_is_the_deadline() {
    let mut asked = Asked::data();
    asked.facts.training = vec![training(&olga(), 301)];
    let grant = granted(&asked.request, &asked.facts, &asked.policy);
    assert_eq!(grant.deadline(), at(301), "training");

    let mut asked = Asked::data();
    asked.with_terms(|t| t.not_after = at(20_000));
    let grant = granted(&asked.request, &asked.facts, &asked.policy);
    assert_eq!(grant.deadline(), at(14_400), "policy");
}

#[test]
fn a_session_that_was_counted_goes_on() {
    let mut asked = Asked::data();
    asked.consent().uses = vec!["s-1".parse().unwrap(), "s-9".parse().unwrap()];
    let grant = granted(&asked.request, &asked.facts, &asked.policy);
    assert!(!grant.consent().unwrap().first_use);
}

#[test]
fn a_team_may_be_named_instead_of_people() {
    let mut asked = Asked::data();
    asked.with_terms(|t| {
        t.operators.clear();
        t.team = Some("databases".parse().unwrap());
    });
    granted(&asked.request, &asked.facts, &asked.policy);
}

#[test]
fn enough_distinct_approvers_suffice() {
    let mut asked = Asked::data();
    asked.facts.signatures_needed = 2;
    asked.facts.approver_keys.push(approver_key("ap-ben", 2));
    let signature = sign(&asked.consent().statement.clone(), 2);
    let stored = bastion_core::authorize::SignatureFact { signature, decided_at: at(-20) };
    asked.consent().signatures.push(stored);
    let grant = granted(&asked.request, &asked.facts, &asked.policy);
    assert_eq!(grant.consent().unwrap().approvers.len(), 2);
}

#[test]
fn a_ticket_that_does_not_hold_does_not_hide_one_that_does() {
    let mut asked = Asked::data();
    let mut bad = asked.facts.consents[0].clone();
    bad.state = TicketState::Withdrawn;
    bad.ticket = "t-0001".parse().unwrap();
    asked.facts.consents.insert(0, bad);
    granted(&asked.request, &asked.facts, &asked.policy);
}

#[test]
fn unknown_and_not_to_be_told_are_the_same_words() {
    let mut unknown = Asked::data();
    unknown.facts.instance = None;
    let mut untold = Asked::data();
    untold.policy =
        policy_with("@id(\"x\") forbid(principal, action == Action::\"list\", resource);");
    let one = denied(&unknown.request, &unknown.facts, &unknown.policy);
    let two = denied(&untold.request, &untold.facts, &untold.policy);
    assert_eq!(one.sentence(), two.sentence());
    assert!(two.place().is_none() && two.customer().is_none());
}

#[test]
fn who_has_no_consent_reads_what_to_type() {
    let mut asked = Asked::data();
    asked.facts.consents.clear();
    let sentence = denied(&asked.request, &asked.facts, &asked.policy).sentence();
    assert!(sentence.contains("ssh bastion request pg-1.acme --account dba"), "{sentence}");
}

#[test]
fn the_hard_rules_hold_under_a_policy_that_permits_everything() {
    let everything = "@id(\"all\") permit(principal, action, resource);";
    let open = Policy::load(&[("all.cedar", everything)], SCHEMA).unwrap();
    let mut asked = Asked::data();
    asked.policy = open;
    asked.facts.consents.clear();
    let denial = denied(&asked.request, &asked.facts, &asked.policy);
    assert_eq!(denial.reason(), Reason::ConsentMissing);
}

#[test]
fn an_address_shown_as_ipv6_counts_as_the_ipv4_that_it_is() {
    let mut asked = Asked::data();
    let ranges = SourceRanges(vec!["198.51.100.0/24".parse().unwrap()]);
    asked.facts.service.as_mut().unwrap().sources = ranges;
    asked.request.source = "::ffff:198.51.100.7".parse().unwrap();
    granted(&asked.request, &asked.facts, &asked.policy);
}

#[test]
fn a_recording_of_a_data_channel_opens_only_under_a_consent_that_says_so() {
    let policy = policy();
    let ask = |terms: bastion_core::consent::Terms, change: fn(&mut Facts), level| {
        let mut facts = facts(&policy);
        facts.consents = vec![consent(&statement(&ticket(terms), &policy))];
        change(&mut facts);
        recording_access(&RecordingAsked {
            now: facts.now,
            origin: &facts.origin,
            customer: &"acme".parse().unwrap(),
            instance: &"i-acme1".parse().unwrap(),
            account: &"dba".parse().unwrap(),
            level,
            signatures_needed: facts.signatures_needed,
            approver_keys: &facts.approver_keys,
            consents: &facts.consents,
        })
    };
    let mut open = terms();
    open.recording_access = true;
    let ticket = Some("t-1042".parse().unwrap());
    assert_eq!(ask(open.clone(), |_| {}, Level::Data), Ok(ticket));
    assert_eq!(ask(terms(), |_| {}, Level::Troubleshoot), Ok(None));
    type Refused = (&'static str, bastion_core::consent::Terms, fn(&mut Facts));
    let refused: [Refused; 6] = [
        ("not said", terms(), |_| {}),
        ("over", open.clone(), |f| f.now = at(3600)),
        ("not yet", open.clone(), |f| f.now = at(-61)),
        ("withdrawn", open.clone(), |f| f.consents[0].state = TicketState::Withdrawn),
        ("not signed", open.clone(), |f| f.consents[0].signatures.clear()),
        ("no ticket", open.clone(), |f| f.consents.clear()),
    ];
    for (name, terms, change) in refused {
        assert_eq!(ask(terms, change, Level::Data), Err(Reason::ConsentMissing), "{name}");
    }
    let mut elsewhere = open;
    elsewhere.instances[0].instance = "i-acme2".parse().unwrap();
    assert_eq!(ask(elsewhere, |_| {}, Level::Data), Err(Reason::ConsentMissing));
}

/// `UPDATE_GOLDEN=1` writes the page anew: what operators read, for people to look at.
#[test]
fn what_operators_read_is_as_written() {
    let mut page = String::new();
    let mut seen = BTreeSet::new();
    for case in cases() {
        let mut asked = Asked::data();
        (case.change)(&mut asked);
        let denial = denied(&asked.request, &asked.facts, &asked.policy);
        if seen.insert(denial.reason()) {
            page += &format!("{}\n    {}\n", denial.reason(), denial.sentence());
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/denials.out");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        std::fs::write(path, &page).unwrap();
    }
    let wanted = std::fs::read_to_string(path).unwrap_or_default();
    assert!(page == wanted, "run with UPDATE_GOLDEN=1 and read the difference:\n{page}");
}
