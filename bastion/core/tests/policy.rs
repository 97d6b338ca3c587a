//! Policies load whole or not at all, refuse when in doubt, and their meaning is a readable table.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(clippy::disallowed_methods)] // the golden file is on disk

mod world;

use audit_schema::event::{ChannelKind, Level};
use bastion_core::file_rule::Ways;
use bastion_core::policy::{Policy, Question, Refused, World, policy_matrix, test_cases};
use std::fs;
use world::*;

const CASES: &str = include_str!("../../../policies/cases.json");

const FORBID: &str = "forbid(principal, action, resource)";
const INTERNAL: &str = "force_command(\"internal-sftp\")";
const SHELL: &str = " == Action::\"shell\"";

/// A permit of one action, without its end.
fn on(action: &str) -> String {
    format!("permit(principal, action == Action::\"{action}\", resource)")
}

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
    let sftp = on("sftp");
    let when = |condition: &str| format!("@id(\"a\") {sftp} when {{ {condition} }};");
    let with = |annotation: &str, rest: &str| format!("@id(\"a\") @{annotation} {rest};");
    let table = [
        ("not Cedar", "permit(".to_owned(), "x.cedar"),
        ("no id", format!("{sftp};"), "@id"),
        ("an id with blanks", format!("@id(\"a b\") {sftp};"), "@id"),
        ("the same id twice", format!("@id(\"a\") {sftp}; @id(\"a\") {sftp};"), "a:"),
        ("an unknown attribute", when("principal.age > 3"), "age"),
        ("an unguarded optional", when("context.reason == \"x\""), "reason"),
        ("types that do not fit", when("context.pty == 1"), "a: "),
        ("what can never match", when("false"), "impossible"),
        ("an unknown action", format!("@id(\"a\") {};", on("fly")), "fly"),
        ("an unknown level", when("resource in Level::\"root\""), "root"),
        ("a template", sftp.replace("principal", "principal == ?principal") + ";", "template"),
        ("an unknown annotation", with("note(\"x\")", &sftp), "unknown annotation"),
        ("no seconds", with("seconds_max(\"0\")", &sftp), "seconds_max"),
        ("too many seconds", with("seconds_max(\"43201\")", &sftp), "seconds_max"),
        ("seconds on a forbid", with("seconds_max(\"9\")", FORBID), "seconds_max"),
        ("a command on a forbid", with("force_command(\"id\")", FORBID), "force_command"),
        ("internal-sftp for a shell", with(INTERNAL, &on("shell")), "force_command"),
        ("internal-sftp for all", with(INTERNAL, &on("shell").replace(SHELL, "")), "force_command"),
        ("a command for sftp", with("force_command(\"/bin/sh\")", &sftp), "force_command"),
        ("a word that is no way", with("sftp(\"both\")", &sftp), "upload, download or list"),
        ("a way on a forbid", with("sftp(\"list\")", FORBID), "@sftp stands on"),
        ("a way on exec", with("sftp(\"list\")", &on("exec")), "@sftp stands on"),
        ("a way without internal-sftp", with("sftp(\"list\")", &sftp), "internal-sftp"),
        (
            "a recording of data",
            with("recording(\"digests\")", &on("exec")),
            "@recording stands on",
        ),
        ("a newline", with("force_command(\"a\\nb\")", &on("exec")), "force_command"),
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
    let forward =
        |place: &str| on("forward_local").replace("resource", &format!("resource in {place}"));
    let hidden = "permit(principal, action, resource) when { resource in Level::\"data\" }";
    let reach =
        on("reach").replace("permit", "forbid").replace("principal", "principal in Team::\"t\"");
    let table = [
        ("who may see", on("list"), (false, false)),
        ("who may be there", reach, (false, false)),
        ("a forward for data", forward("Level::\"data\""), (false, true)),
        ("a forward for troubleshoot", forward("Level::\"troubleshoot\""), (true, false)),
        ("a forward somewhere", forward("Service::\"s\""), (true, true)),
        ("all channels", on("channel").replace("==", "in"), (true, true)),
        ("everything", FORBID.to_owned(), (true, true)),
        ("a condition out of sight", hidden.to_owned(), (true, true)),
    ];
    assert_ne!(base.channel_rules(Level::Data), base.channel_rules(Level::Troubleshoot));
    let commented = policy_with("// a comment");
    assert_eq!(rules(&commented), (false, false));
    for (name, text, changed) in table {
        let policy = policy_with(&format!("// a comment\n@id(\"x\") {text};"));
        assert_eq!(rules(&policy), changed, "{name}");
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
    let exec = on("exec");
    let permit = ask(&format!("@id(\"x\") @seconds_max(\"60\") {exec};")).unwrap();
    assert_eq!(permit.seconds_max, Some(60));
    assert_eq!(permit.policies, ["access.troubleshoot", "channels.troubleshoot", "x"]);
    let date = format!("@id(\"x\") @force_command(\"/bin/date\") {exec};");
    assert_eq!(ask(&date).unwrap().force_command.as_deref(), Some("/bin/date"));
    let refusal = ask(&format!("{date} @id(\"y\") @force_command(\"/bin/id\") {exec};"));
    assert_eq!(refusal.unwrap_err().why, Refused::Failed);
}

/// A rule on the direction of files, with its end.
fn ruled(scope: &str) -> String {
    format!(
        "@id(\"rule\") @sftp(\"upload\") @force_command(\"internal-sftp\") \
         permit(principal, action == Action::\"sftp\", {scope});"
    )
}

#[test]
fn a_rule_on_files_loads_only_where_nothing_gets_round_it() {
    let data = ruled("resource in Level::\"data\"");
    let also = |text: &str| format!("{data} @id(\"other\") {text};");
    let exec =
        |scope: &str| also(&format!("permit(principal, action == Action::\"exec\", {scope})"));
    let forbid = |text: &str| {
        let all = "permit(principal, action, resource)";
        also(&format!("{all}; @id(\"bar\") forbid(principal, action in [{text}"))
    };
    let every = ["shell", "exec", "forward_local", "forward_streamlocal", "forward_remote"]
        .into_iter()
        .chain(["forward_agent", "forward_x11"])
        .map(|name| format!("Action::\"{name}\""))
        .collect::<Vec<_>>()
        .join(", ")
        + "]";
    let internal = "@force_command(\"internal-sftp\")";
    let conditional = data.replace(");", ") when { context.consent };");
    let plain = format!("{internal} {}", on("sftp"));
    let table = [
        ("alone", data.clone(), true),
        ("a shell elsewhere", exec("resource in Level::\"troubleshoot\""), true),
        ("a shell there", exec("resource in Level::\"data\""), false),
        ("a shell everywhere", exec("resource"), false),
        ("a shell in a service, which may be there", exec("resource in Service::\"s\""), false),
        ("a shell on one account, which may be there", exec("resource == Account::\"a@i\""), false),
        ("all channels", also("permit(principal, action in Action::\"channel\", resource)"), false),
        ("everything", also("permit(principal, action, resource)"), false),
        ("a forward there", also(&on("forward_x11")), false),
        ("who may be there", also(&on("reach")), true),
        ("who may see it", also(&on("list")), true),
        ("another team", exec("resource").replace("principal", "principal in Team::\"t\""), false),
        ("sftp without the rule beside it", also(&plain), true),
        (
            "sftp without the rule where its conditions fail",
            format!("{conditional} @id(\"other\") {plain};"),
            false,
        ),
        (
            "all of it forbidden there",
            forbid(&format!("{every}, resource in Level::\"data\")")),
            true,
        ),
        ("all of it forbidden", forbid(&format!("{every}, resource)")), true),
        ("some of it forbidden", forbid("Action::\"shell\"], resource)"), false),
        ("forbidden elsewhere", forbid(&format!("{every}, resource in Service::\"s\")")), false),
        (
            "forbidden at times",
            forbid(&format!("{every}, resource) when {{ context.pty }}")),
            false,
        ),
        (
            "forbidden to some",
            forbid(&format!("{every}, resource)"))
                .replace("forbid(principal", "forbid(principal in Team::\"t\""),
            false,
        ),
    ];
    for (name, text, loads) in table {
        let loaded = load(&text).map(|policy| policy.ids());
        assert_eq!(loaded.is_ok(), loads, "{name}: {loaded:?}");
        if let Err(error) = loaded {
            assert!(error.contains("rule: @sftp: `other` permits"), "{name}: {error}");
        }
    }
    let teams = |two: &str| {
        let rule = data.replace("(principal", "(principal in Team::\"juniors\"");
        load(&format!("{rule} @id(\"other\") permit(principal {two}, action, resource);"))
    };
    assert!(teams("in Team::\"dba\"").is_ok(), "an operator has one team");
    for two in ["in Team::\"juniors\"", "== Operator::\"op-1\"", "is Operator"] {
        assert!(teams(two).is_err(), "{two} may be a junior");
    }
}

#[test]
fn rules_on_files_are_merged_to_what_all_permit_and_named() {
    let files = |more: &str| {
        let text = [
            "@id(\"all\") permit(principal, action in [Action::\"list\", Action::\"reach\"], ",
            "resource);",
            &ruled("resource"),
            more,
        ];
        let policy = load(&text.concat()).unwrap();
        let (operator, instance) = (olga(), instance("pg-1.acme", "i-acme1"));
        let account = instance.account(&"ops".parse().unwrap()).unwrap();
        let (kind, pty) = (ChannelKind::Sftp, false);
        let (operator, instance) = (&operator, &instance);
        let question = Question { operator, instance, account, kind, pty, consent: None };
        policy.decide(&question).unwrap().files.unwrap()
    };
    let rule = files("");
    assert_eq!((rule.ways, rule.policies), (Ways::Upload, vec!["rule".to_owned()]));
    let more = ruled("resource").replace("\"rule\"", "\"more\"").replace("upload", "download");
    let both = files(&more);
    assert_eq!(both.policies, ["more", "rule"]);
    assert_eq!(both.ways, Ways::List, "what one permits, the other does not");
    assert!(both.sentence("upload").contains("upload is refused by policy more, rule: "));
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
        facts.destinations = destinations(instance.id.as_str());
        facts
    });
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/policy_matrix.out");
    if std::env::var("UPDATE_GOLDEN").is_ok() {
        fs::write(path, &table).unwrap();
    }
    let wanted = fs::read_to_string(path).unwrap_or_default();
    assert!(table == wanted, "run with UPDATE_GOLDEN=1 and read the difference:\n{table}");
}
