//! A thousand malformed inputs: each gets a clear error, and changes nothing.

use bastion_tests::world::{Answer, ORIGIN, Person, Person::*, World};
use std::fs;

#[test]
fn malformed_inputs_change_nothing() {
    malformed(&crate::sqlite());
}

/// Texts that break parsers, terminals and shells.
const HOSTILE: [&str; 16] = [
    "",
    " ",
    "-",
    "--help=",
    "../../etc/passwd",
    "a'b\"c",
    "$(id)",
    "`id`",
    ";id",
    "\u{1b}[31mred",
    "\u{202e}gnirts",
    "ä€😀",
    "a\tb",
    "-1",
    "99999999999999999999999999!",
    "pg-1.acme\u{0}x",
];

/// Commands with a place for a hostile word; none of them may succeed with one.
const COMMANDS: [(&str, Person); 16] = [
    ("request @ --account dba --reason CUSTOMER_REQUEST --for 1h --note x", Olga),
    ("request pg-1.acme --account @ --reason CUSTOMER_REQUEST --for 1h --note x", Olga),
    ("request pg-1.acme --account dba --reason @ --for 1h --note x", Olga),
    ("request pg-1.acme --account dba --reason CUSTOMER_REQUEST --for @ --note x", Olga),
    ("status @", Olga),
    ("consent show @", Acme),
    ("consent statement @", Acme),
    ("consent decide @", Acme),
    ("consent withdraw @ --reason x", Acme),
    ("operator add @ --key - --team t --entity e --country DE", Odile),
    ("operator disable @ --reason x", Odile),
    ("operator training olga --course access-101 --completed @ --valid-until 2030-01-01", Odile),
    ("service sources acme-pg @", Odile),
    (
        "vm add @ --service acme-pg --region r --zone z --address 127.0.0.1:1 --account a:data",
        Odile,
    ),
    ("vm add x.acme --service acme-pg --region r --zone z --address @ --account a:data", Odile),
    ("audit show @", Odile),
];

fn malformed(world: &World) {
    let before = world.log();
    let tried =
        commands(world) + logins(world) + signatures(world) + files(world) + policies(world);
    println!("{tried} malformed inputs");
    assert!(tried >= 1000, "only {tried}");
    let after = world.log();
    let changes = ["operator.added", "vm.added", "service.sources_changed", "training.recorded"];
    for kind in
        changes.into_iter().chain(["consent.granted", "operator.disabled", "policy.changed"])
    {
        assert_eq!(before.events(kind).len(), after.events(kind).len(), "{kind}");
    }
    world.bastion(&["audit", "verify"]).exits(0);
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
}

/// Every command with every hostile word, quoted and bare.
fn commands(world: &World) -> usize {
    let mut tried = 0;
    for person in [Olga, Acme, Odile] {
        let connection = world.connection(person);
        for (command, _) in COMMANDS.iter().filter(|(_, who)| *who == person) {
            for word in HOSTILE.iter().filter(|word| !word.contains('\u{0}')) {
                let quoted = format!("'{}'", word.replace('\'', r"'\''"));
                let answer = connection.command(&command.replace('@', &quoted), &[]);
                assert!([2, 3].contains(&answer.exit), "{command} {word:?}: {answer:?}");
                is_clear(&answer, &format!("{command} {word:?}"));
                tried += 1;
            }
        }
        for word in HOSTILE.iter().filter(|word| !word.contains('\u{0}')) {
            for command in [format!("{word} x"), format!("help {word} y"), format!("'{word}")] {
                let answer = connection.command(&command, &[]);
                if answer.exit != 0 {
                    is_clear(&answer, &command);
                }
                tried += 1;
            }
        }
    }
    tried
}

/// Says something, and nothing that a terminal would obey.
#[track_caller]
fn is_clear(answer: &Answer, what: &str) {
    assert!(!answer.err.trim().is_empty(), "{what}: refused in silence");
    assert!(!answer.err.contains('\u{1b}'), "{what}: {:?}", answer.err);
    assert!(!answer.err.contains("panicked"), "{what}: {}", answer.err);
}

/// Login names that name nothing.
fn logins(world: &World) -> usize {
    let mut tried = 0;
    for login in HOSTILE.iter().filter(|login| !login.contains('\u{0}')) {
        for login in [format!("{login}+pg-1.acme"), format!("ops+{login}"), format!("{login}+")] {
            let answer = world.ssh(Olga, &["-l", &login, "bastion", "id"]);
            assert_ne!(answer.exit, 0, "{login:?}");
            assert!(answer.text().is_empty(), "{login:?}: {}", answer.text());
            tried += 1;
        }
    }
    tried
}

/// Damaged signatures over the right statement: each byte changed, and cut at each byte.
fn signatures(world: &World) -> usize {
    let ticket = world.request("pg-1.acme");
    let good = world.sign(Acme, &ticket);
    let decide = format!("consent decide {ticket}");
    let connection = world.connection(Acme);
    let mut tried = 0;
    // The armour's last line break may go; what it holds is whole without it.
    for at in 1..good.len() - 1 {
        let mut changed = good.clone();
        changed[at] = changed[at].wrapping_add(1);
        let cut = good[..at].to_vec();
        let bad = if at % 2 == 0 { changed } else { cut };
        let answer = connection.command(&decide, &bad);
        assert!([2, 3, 4].contains(&answer.exit), "{at}: {answer:?}");
        is_clear(&answer, "a damaged signature");
        tried += 1;
    }
    let other = format!("operator-consent@{ORIGIN}.example");
    let statement = world.order(Acme, &format!("consent statement {ticket}")).out;
    let bad = world.sign_bytes(Acme, &other, &statement);
    assert_ne!(connection.command(&decide, &bad).exit, 0);
    tried + 1
}

/// Configurations and checkpoints that are not whole.
fn files(world: &World) -> usize {
    let config = fs::read_to_string(world.dir().join("bastion.toml")).unwrap();
    let checkpoint = world.bastion(&["audit", "checkpoint"]).exits(0).text();
    let log = world.bastion(&["audit", "export"]).exits(0).text();
    fs::write(world.dir().join("log.jsonl"), log).unwrap();
    let mut tried = 0;
    for at in (1..config.len() - 1).step_by(config.len() / 60) {
        // A cut inside a comment would leave a whole configuration.
        let bad = format!("{}\n[[[\n{}", &config[..at], &config[at..]);
        fs::write(world.dir().join("bad.toml"), bad).unwrap();
        let answer = world.bastion(&["--config", "bad.toml", "doctor"]);
        assert_ne!(answer.exit, 0, "{at}");
        tried += 1;
    }
    let bytes = checkpoint.into_bytes();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        fs::write(world.dir().join("bad.note"), bad).unwrap();
        let verify = ["audit", "verify", "--file", "log.jsonl", "--checkpoint", "bad.note"];
        let answer = world.bastion(&verify);
        assert!([2, 4].contains(&answer.exit), "{at}: {answer:?}");
        tried += 1;
    }
    tried
}

/// Policies with an error in them: found by `policy check`, and never in force.
fn policies(world: &World) -> usize {
    let file = world.dir().join("policies/access.cedar");
    let good = fs::read_to_string(&file).unwrap();
    let connection = world.connection(Odile);
    let mut tried = 0;
    for at in (0..good.len()).filter(|at| good.is_char_boundary(*at)).step_by(good.len() / 25) {
        for junk in ["\n)(;\n", "\npermit (principal, action == Action::\"fly\", resource);\n"] {
            fs::write(&file, format!("{}{junk}{}", &good[..at], &good[at..])).unwrap();
            for command in ["policy check", "policy reload"] {
                let answer = connection.command(command, &[]);
                assert_ne!(answer.exit, 0, "{command} with {junk:?} at {at}");
                assert!(!format!("{}{}", answer.text(), answer.err).trim().is_empty());
                tried += 1;
            }
        }
    }
    fs::write(&file, good).unwrap();
    connection.command("policy check", &[]).exits(0);
    tried
}
