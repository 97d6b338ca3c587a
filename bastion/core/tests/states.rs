//! The two state machines, every state with every event; and what a channel may carry.
#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod world;

use audit_schema::event::{ChannelKind, Level, Outcome};
use bastion_core::{
    channel::{self, Answer},
    consent::{self, BadTerms, Nonce, ReasonCode, Statement, Terms, TicketEvent, TicketState},
    lease::{self, Cause, LeaseEvent, LeaseState},
    limits::ENV_VARIABLES_MAX,
};
use world::*;

#[test]
fn a_ticket_in_every_state_meets_every_event() {
    use TicketState::{Ended, Granted, Pending, Refused, Withdrawn};
    let signed = |now, needed| TicketEvent::Signed { now, needed };
    let events = [
        signed(1, 2),
        signed(2, 2),
        TicketEvent::Revised,
        TicketEvent::Refused,
        TicketEvent::Withdrawn,
        TicketEvent::Ended,
    ];
    let table = [
        (
            Pending,
            [
                Some(Pending),
                Some(Granted),
                Some(Pending),
                Some(Refused),
                Some(Withdrawn),
                Some(Ended),
            ],
        ),
        (Granted, [None, None, Some(Pending), None, Some(Withdrawn), Some(Ended)]),
        (Refused, [None; 6]),
        (Withdrawn, [None; 6]),
        (Ended, [None; 6]),
    ];
    assert_eq!(table.map(|(state, _)| state), TicketState::ALL);
    for (state, wanted) in table {
        for (event, wanted) in events.iter().zip(wanted) {
            assert_eq!(consent::next(state, *event).ok(), wanted, "{state:?} {event:?}");
        }
        assert_eq!(TicketState::from_word(state.as_str()), Some(state));
    }
    // Nobody asks for no signature at all, so none never suffices.
    assert_eq!(consent::next(Pending, signed(0, 0)), Ok(Pending));
}

#[test]
fn what_is_over_never_reopens() {
    for state in TicketState::ALL.iter().copied().filter(|state| state.is_final()) {
        for event in [TicketEvent::Revised, TicketEvent::Signed { now: 9, needed: 1 }] {
            let error = consent::next(state, event).unwrap_err();
            assert!(error.to_string().ends_with("open a new ticket"), "{error}");
        }
    }
}

#[test]
fn a_lease_in_every_state_meets_every_event() {
    use LeaseEvent as E;
    use LeaseState as S;
    let cause = Cause::ConsentWithdrawn;
    let (cut, done) = (Outcome::Cut, Outcome::Completed);
    let events = [
        E::Issued,
        E::Opened,
        E::Revoked(cause),
        E::Closed(done),
        E::Closed(Outcome::Unreachable),
        E::Recovered,
    ];
    let failed = Some(S::Closed(Outcome::Failed));
    let gone = Some(S::Closed(Outcome::Unreachable));
    let ending = Some(S::Ending(cause));
    let officer = S::Ending(Cause::Officer);
    let table = [
        (S::AwaitsIssuance, [Some(S::AwaitsVm), None, ending, None, gone, failed]),
        (S::AwaitsVm, [None, Some(S::Live), ending, None, gone, failed]),
        (S::Live, [None, None, ending, Some(S::Closed(done)), gone, failed]),
        // The first cause stands, and whoever lost the ground was cut.
        (officer, [None, None, Some(officer), Some(S::Closed(cut)), Some(S::Closed(cut)), failed]),
        (S::Closed(done), [None; 6]),
    ];
    for (state, wanted) in table {
        for (event, wanted) in events.iter().zip(wanted) {
            assert_eq!(lease::next(state, *event).ok(), wanted, "{state:?} {event:?}");
        }
    }
}

#[test]
fn every_cause_has_a_code_and_a_sentence() {
    for cause in Cause::ALL {
        assert_eq!(cause.as_str().parse::<Cause>().unwrap(), *cause);
        let sentence = cause.sentence();
        assert!(sentence.starts_with("bastion: ") && sentence.ends_with('.'), "{sentence}");
    }
    assert!("nonsense".parse::<Cause>().unwrap_err().to_string().contains("consent_withdrawn"));
}

#[test]
fn terms_that_no_statement_may_have() {
    type Change = fn(&mut Terms);
    let table: [(&str, Change, BadTerms); 12] = [
        ("ends as it starts", |t| t.not_after = t.not_before, BadTerms::Window),
        ("ends before it starts", |t| t.not_after = at(-61), BadTerms::Window),
        ("a day and a second", |t| t.not_after = at(86_341), BadTerms::WindowLong),
        ("no session", |t| t.sessions_max = 0, BadTerms::Sessions),
        ("too many sessions", |t| t.sessions_max = 101, BadTerms::Sessions),
        ("no VM", |t| t.instances.clear(), BadTerms::Instances),
        ("a VM twice", |t| t.instances.push(t.instances[0].clone()), BadTerms::Instances),
        (
            "65 VMs",
            |t| {
                t.instances = (100..165)
                    .map(|n| {
                        let mut scoped = t.instances[0].clone();
                        scoped.instance = format!("i-{n}").parse().unwrap();
                        scoped
                    })
                    .collect();
            },
            BadTerms::Instances,
        ),
        (
            "VMs out of order",
            |t| {
                let mut first = t.instances[0].clone();
                first.instance = "i-aaa".parse().unwrap();
                t.instances.push(first);
            },
            BadTerms::Instances,
        ),
        ("nobody", |t| t.operators.clear(), BadTerms::Operators),
        ("somebody twice", |t| t.operators.push(t.operators[0].clone()), BadTerms::Operators),
        (
            "33 operators",
            |t| {
                t.operators = (100..133)
                    .map(|n| {
                        let mut named = t.operators[0].clone();
                        named.id = format!("op-{n}").parse().unwrap();
                        named
                    })
                    .collect();
            },
            BadTerms::Operators,
        ),
    ];
    for (name, change, wanted) in table {
        let mut terms = terms();
        change(&mut terms);
        assert_eq!(terms.check(), Err(wanted), "{name}");
    }
    assert_eq!(terms().check(), Ok(()));
}

#[test]
fn a_statement_composes_to_one_spelling_and_its_summary_says_all_of_it() {
    let mut terms = terms();
    terms.team = Some("databases".parse().unwrap());
    terms.recording_access = true;
    terms.justification = "say \"yes\" \\ to this".parse().unwrap();
    let statement = statement(&ticket(terms), &policy());
    let bytes = statement.compose().unwrap();
    assert_eq!(Statement::parse(&bytes).unwrap(), statement);
    let summary = statement.summary();
    for words in [
        "Customer acme permits access to customer data on the bastion bastion.example",
        "(ticket t-1042, revision 1)",
        "Who: olga (op-olga), any operator of the team \"databases\".",
        "Where: pg-1.acme (instance i-acme1, service acme-pg).",
        "As: account dba, level data.",
        "(1 h 01 min)",
        "2 session(s) at most",
        "CUSTOMER_REQUEST",
        "Case: \"ZD-1042\"",
        r#"In their words: "say \"yes\" \\ to this"."#,
        "the provider may open the recordings while this consent is live",
        "It takes 1 approver(s) to sign.",
    ] {
        assert!(summary.contains(words), "{words}\n{summary}");
    }
    let mut other = statement.clone();
    other.nonce = Nonce([8; 16]);
    assert_ne!(other.compose().unwrap(), bytes);
}

#[test]
fn codes_read_back_and_an_unknown_one_lists_them() {
    for code in ReasonCode::ALL {
        assert_eq!(code.as_str().parse::<ReasonCode>().unwrap(), *code);
        let json = serde_json::to_string(code).unwrap();
        assert_eq!(json, format!("\"{code}\""));
    }
    let error = "BREAK_GLASS".parse::<ReasonCode>().unwrap_err().to_string();
    assert!(error.contains("SECURITY_REVIEW"), "{error}");
}

#[test]
fn the_environment_passes_by_name_and_value() {
    let table = [
        ("LANG", &b"de_DE.UTF-8"[..], true),
        ("TERM", b"xterm-256color", true),
        ("LC_ALL", b"C", true),
        ("LC_TIME", b"", true),
        ("LC_", b"C", false),
        ("LC_A B", b"C", false),
        ("LC_lower", b"C", false),
        ("LD_PRELOAD", b"/tmp/x.so", false),
        ("PATH", b"/tmp", false),
        ("BASH_ENV", b"/tmp/x", false),
        ("lang", b"C", false),
        ("LANG", b"a b", false),
        ("LANG", b"a\nb", false),
        ("LANG", b"() { :;}; id", false),
        ("TERM", &[0xff], false),
        ("TERM", &[b'x'; 4096], false),
    ];
    for (name, value, passes) in table {
        assert_eq!(channel::env_passes(name, value, 0), passes, "{name}={value:?}");
    }
    assert!(!channel::env_passes("LANG", b"C", ENV_VARIABLES_MAX));
}

#[test]
fn everything_that_is_not_served_is_refused_with_a_sentence() {
    let served = |answer: Answer| match answer {
        Answer::Served => true,
        Answer::Refused(sentence) => {
            assert!(!sentence.is_empty() && sentence.len() < 120);
            false
        }
    };
    for request in ["pty-req", "shell", "exec", "subsystem", "env", "window-change", "signal"]
        .into_iter()
        .chain(["auth-agent-req@openssh.com", "x11-req"])
    {
        assert!(served(channel::answer_request(request)), "{request}");
    }
    for request in ["break", "xon-xoff", ""] {
        assert!(!served(channel::answer_request(request)), "{request}");
    }
    assert!(
        served(channel::answer_open("session")) && served(channel::answer_open("direct-tcpip"))
    );
    for kind in ["tun@openssh.com", "x11", "forwarded-tcpip"] {
        assert!(!served(channel::answer_open(kind)), "{kind}");
    }
    for request in ["streamlocal-forward@openssh.com", "hostkeys-00@openssh.com"] {
        assert!(!served(channel::answer_global(request)), "{request}");
    }
    assert_eq!(channel::subsystem_kind("sftp"), Some(ChannelKind::Sftp));
    assert_eq!(channel::subsystem_kind("netconf"), None);
    assert!(channel::signal_passes("INT") && !channel::signal_passes("WINCH"));
    assert_ne!(channel::rules(Level::Data), channel::rules(Level::Troubleshoot));
}
