//! Policies load whole or not at all, refuse when in doubt, and their meaning is a readable table.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // the golden file is on disk

mod world;

use audit_schema::event::{ChannelKind, Level};
use bastion_core::policy::{Policy, Question, Refused, World, policy_matrix, test_cases};
use std::fs;
use world::*;

const CASES: &str = include_str!("../../../policies/cases.json");

fn load(text: &str) -> Result<Policy, String> {
    Policy::load(&[("x.cedar", text)], SCHEMA).map_err(|errors| errors.to_string())
}

#[test]
fn the_shipped_policy_passes_its_own_cases() {
    let (count, failures) = test_cases(&policy(), CASES).unwrap();
    assert_eq!(failures, []);
    assert!(count >= 15);
}

#[test]
fn cases_can_fail() {
    let open = load("@id(\"all\") permit(principal, action, resource);").unwrap();
    let (count, failures) = test_cases(&open, CASES).unwrap();
    assert!(failures.len() > 5 && failures.len() <= count);
    assert!(test_cases(&open, "{}").is_err());
    assert!(test_cases(&open, "[{\"name\":\"x\"}]").is_err());
}

#[test]
fn whatever_is_wrong_with_a_policy_is_found_when_it_loads() {
    let permit = "permit(principal, action == Action::\"sftp\", resource)";
    let table = [
        ("not Cedar", "permit(".to_owned(), "x.cedar"),
        ("no id", format!("{permit};"), "@id"),
        ("an id with blanks", format!("@id(\"a b\") {permit};"), "@id"),
        ("the same id twice", format!("@id(\"a\") {permit}; @id(\"a\") {permit};"), "a:"),
        ("an unknown attribute", format!("@id(\"a\") {permit} when {{ principal.age > 3 }};"), "age"),
        ("an unguarded optional", format!("@id(\"a\") {permit} when {{ context.reason == \"x\" }};"), "reason"),
        ("an unknown action", "@id(\"a\") permit(principal, action == Action::\"fly\", resource);".into(), "fly"),
        ("an unknown level", "@id(\"a\") permit(principal, action, resource in Level::\"root\");".into(), "root"),
        ("types that do not fit", format!("@id(\"a\") {permit} when {{ context.pty == 1 }};"), "a: "),
        ("what can never match", format!("@id(\"a\") {permit} when {{ false }};"), "impossible"),
        ("a template", "@id(\"a\") permit(principal == ?principal, action, resource);".into(), "template"),
        ("an unknown annotation", format!("@id(\"a\") @note(\"x\") {permit};"), "unknown annotation"),
        ("no seconds", format!("@id(\"a\") @seconds_max(\"0\") {permit};"), "seconds_max"),
        ("too many seconds", format!("@id(\"a\") @seconds_max(\"43201\") {permit};"), "seconds_max"),
        ("seconds on a forbid", "@id(\"a\") @seconds_max(\"9\") forbid(principal, action, resource);".into(), "seconds_max"),
        ("internal-sftp for a shell", "@id(\"a\") @force_command(\"internal-sftp\") permit(principal, action == Action::\"shell\", resource);".into(), "force_command"),
        ("internal-sftp for every channel", "@id(\"a\") @force_command(\"internal-sftp\") permit(principal, action, resource);".into(), "force_command"),
        ("a command for sftp", format!("@id(\"a\") @force_command(\"/bin/sh\") {permit};"), "force_command"),
        ("a command with a newline", "@id(\"a\") @force_command(\"a\\nb\") permit(principal, action == Action::\"exec\", resource);".into(), "force_command"),
    ];
    for (name, text, word) in table {
        let error = load(&text).map(|policy| policy.ids()).unwrap_err();
        assert!(error.contains(word), "{name}: {error}");
    }
    assert!(Policy::load(&FILES, "entity X {").is_err(), "a bad schema");
    let long = format!("// {}\n", "x".repeat(1024 * 1024));
    assert!(load(&long).is_err(), "too long");
}

#[test]
fn all_errors_are_told_not_only_the_first() {
    let errors = Policy::load(
        &[("a.cedar", "permit("), ("b.cedar", "permit(principal, action, resource);")],
        SCHEMA,
    );
    assert_eq!(errors.unwrap_err().0.len(), 2);
}

#[test]
fn the_digest_covers_names_texts_and_schema() {
    let base = policy().digest();
    let mut files = FILES;
    files.reverse();
    assert_eq!(Policy::load(&files, SCHEMA).unwrap().digest(), base, "order does not count");
    let commented = format!("{}\n// x", files[0].1);
    files[0].1 = &commented;
    assert_ne!(Policy::load(&files, SCHEMA).unwrap().digest(), base);
    let mut files = FILES;
    files[0].0 = "renamed.cedar";
    assert_ne!(Policy::load(&files, SCHEMA).unwrap().digest(), base);
    let schema = format!("{SCHEMA}\n// x");
    assert_ne!(Policy::load(&FILES, &schema).unwrap().digest(), base);
}

#[test]
fn channel_rules_change_with_what_bears_on_the_level_and_with_nothing_else() {
    let base = policy();
    let rules = |policy: &Policy| {
        let one =
            policy.channel_rules(Level::Troubleshoot) != base.channel_rules(Level::Troubleshoot);
        let two = policy.channel_rules(Level::Data) != base.channel_rules(Level::Data);
        (one, two)
    };
    let table = [
        ("a comment", "// x", (false, false)),
        (
            "who may see",
            "@id(\"x\") permit(principal, action == Action::\"list\", resource);",
            (false, false),
        ),
        (
            "who may be there",
            "@id(\"x\") forbid(principal in Team::\"t\", action == Action::\"reach\", resource);",
            (false, false),
        ),
        (
            "a forward for data",
            "@id(\"x\") permit(principal, action == Action::\"forward\", resource in Level::\"data\");",
            (false, true),
        ),
        (
            "a forward for troubleshoot",
            "@id(\"x\") permit(principal, action == Action::\"forward\", resource in Level::\"troubleshoot\");",
            (true, false),
        ),
        (
            "a forward somewhere",
            "@id(\"x\") permit(principal, action == Action::\"forward\", resource in Service::\"s\");",
            (true, true),
        ),
        (
            "all channels",
            "@id(\"x\") permit(principal, action in Action::\"channel\", resource);",
            (true, true),
        ),
        ("everything", "@id(\"x\") permit(principal, action, resource);", (true, true)),
        (
            "a hidden condition",
            "@id(\"x\") permit(principal, action, resource) when { resource in Level::\"data\" };",
            (true, true),
        ),
    ];
    assert_ne!(base.channel_rules(Level::Data), base.channel_rules(Level::Troubleshoot));
    for (name, text, changed) in table {
        // A condition that can only be about one resource type needs an action to go with it.
        let mut files = FILES.to_vec();
        files.push(("more.cedar", text));
        match Policy::load(&files, SCHEMA) {
            Ok(policy) => assert_eq!(rules(&policy), changed, "{name}"),
            Err(errors) => panic!("{name}: {errors}"),
        }
    }
}

#[test]
fn restrictions_of_deciding_permits_are_merged_to_the_strictest() {
    let ask = |more: &str| {
        let policy = policy_with(more);
        let (operator, instance) = (olga(), instance("pg-1.acme", "i-acme1"));
        let account = instance.account(&"ops".parse().unwrap()).unwrap();
        let (kind, pty) = (ChannelKind::Exec, false);
        let question = Question {
            operator: &operator,
            instance: &instance,
            account,
            kind,
            pty,
            consent: None,
        };
        policy.decide(&question)
    };
    let permit = ask(
        "@id(\"x\") @seconds_max(\"60\") permit(principal, action == Action::\"exec\", resource);",
    )
    .unwrap();
    assert_eq!(permit.seconds_max, Some(60));
    assert_eq!(permit.policies, ["access.troubleshoot", "channels.troubleshoot", "x"]);
    let permit = ask("@id(\"x\") @force_command(\"/bin/date\") permit(principal, action == Action::\"exec\", resource);").unwrap();
    assert_eq!(permit.force_command.as_deref(), Some("/bin/date"));
    let refusal = ask(
        "@id(\"x\") @force_command(\"/bin/date\") permit(principal, action == Action::\"exec\", resource); \
         @id(\"y\") @force_command(\"/bin/id\") permit(principal, action == Action::\"exec\", resource);",
    );
    assert_eq!(refusal.unwrap_err().why, Refused::Failed);
}

#[test]
fn a_forbid_that_cannot_be_evaluated_refuses() {
    let policy = policy_with(
        "@id(\"x\") forbid(principal, action == Action::\"exec\", resource) \
         when { 9223372036854775807 + (if context.pty then 0 else 1) > 0 };",
    );
    let (operator, instance) = (olga(), instance("pg-1.acme", "i-acme1"));
    let account = instance.account(&"ops".parse().unwrap()).unwrap();
    let (kind, pty) = (ChannelKind::Exec, false);
    let question =
        Question { operator: &operator, instance: &instance, account, kind, pty, consent: None };
    let refusal = policy.decide(&question).unwrap_err();
    assert_eq!(refusal.why, Refused::Failed);
    assert_eq!(refusal.errors.len(), 1);
}

#[test]
fn hostile_names_are_ids_and_nothing_else() {
    // Teams and regions are free words of the inventory: they must stay data.
    let mut operator = olga();
    operator.team = "a\"}] , {\"uid\": \"x\\u0000\n".into();
    let mut instance = instance("pg-1.acme", "i-acme1");
    instance.region = "\"; permit(principal, action, resource); //".into();
    assert!(policy().may_list(&operator, &instance).is_ok());
}

/// `UPDATE_GOLDEN=1` writes the table anew; its difference is what a change of policy means.
#[test]
fn the_policy_matrix_is_as_written() {
    let policy = policy();
    let world = World {
        operators: vec![olga(), otto()],
        instances: vec![
            instance("pg-1.acme", "i-acme1"),
            instance("pg-2.acme", "i-acme2"),
            instance("pg-1.globex", "i-globex1"),
        ],
        source: "198.51.100.7".parse().unwrap(),
        session: "s-1".parse().unwrap(),
        lease: "l-1".parse().unwrap(),
    };
    let table = policy_matrix(&policy, &world, |operator, instance| {
        let mut facts = facts(&policy);
        facts.operator = Some(operator.clone());
        facts.training = vec![training(&olga(), 86_400), training(&otto(), -1)];
        facts.instance = Some(instance.clone());
        facts.service = Some(service(instance.customer.as_str()));
        facts
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/policy_matrix.out");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        fs::write(path, &table).unwrap();
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    assert!(table == wanted, "run with UPDATE_GOLDEN=1 and read the difference:\n{table}");
}
