//! A thousand malformed inputs: each gets a clear error, and changes nothing.

use bastion_tests::world::{ORIGIN, Person, Person::*, World};

#[test]
fn malformed_inputs_change_nothing() {
    malformed(&crate::sqlite());
}

/// Texts that break parsers, terminals and shells.
const HOSTILE: [&str; 18] = [
    "",
    " ",
    "-",
    "--",
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
    "0",
    "-1",
    "99999999999999999999999999",
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
    let mut tried = 0;
    // Each person's attempts go over few connections: a shell loop on one control connection.
    for (command, person) in COMMANDS {
        for word in HOSTILE.iter().filter(|word| !word.contains('\u{0}')) {
            let quoted = format!("'{}'", word.replace('\'', r"'\''"));
            let answer = world.ssh(person, &["bastion", &command.replace('@', &quoted)]);
            assert!([2, 3].contains(&answer.exit), "{command} {word:?}: {}", answer.exit);
            assert!(!answer.err.trim().is_empty(), "{command} {word:?}: refused in silence");
            assert!(!answer.err.contains('\u{1b}'), "{command} {word:?}: {:?}", answer.err);
            assert!(!answer.err.contains("panicked"), "{command} {word:?}: {}", answer.err);
            tried += 1;
        }
    }
    for login in HOSTILE.iter().filter(|login| !login.contains('\u{0}')) {
        for login in [format!("{login}+pg-1.acme@bastion"), format!("ops+{login}@bastion")] {
            let answer = world.ssh(Olga, &["-o", "User=", "-l", &login, "bastion", "id"]);
            assert_ne!(answer.exit, 0, "{login:?}");
            assert!(answer.text().is_empty(), "{login:?}: {}", answer.text());
            tried += 1;
        }
    }
    tried += signatures(world);
    println!("{tried} malformed inputs");
    let after = world.log();
    let changes = ["operator.added", "vm.added", "service.sources_changed", "training.recorded"];
    for kind in changes.into_iter().chain(["consent.granted", "operator.disabled"]) {
        assert_eq!(before.events(kind).len(), after.events(kind).len(), "{kind}");
    }
    world.bastion(&["audit", "verify"]).exits(0);
    world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
}

/// Damaged signatures over the right statement.
fn signatures(world: &World) -> usize {
    let ticket = world.request("pg-1.acme");
    let good = world.sign(Acme, &ticket);
    let decide = format!("consent decide {ticket}");
    let mut tried = 0;
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] = bad[at].wrapping_add(1);
        for bad in [bad, good[..at].to_vec()] {
            if bad.is_empty() {
                continue;
            }
            let answer = world.ssh_with(Acme, &["bastion", &decide], &bad);
            assert!([2, 3, 4].contains(&answer.exit), "{at}: {} {}", answer.exit, answer.err);
            tried += 1;
        }
    }
    let other = format!("operator-consent@{ORIGIN}.example");
    let statement = world.order(Acme, &format!("consent statement {ticket}")).out;
    let bad = world.sign_bytes(Acme, &other, &statement);
    assert_ne!(world.ssh_with(Acme, &["bastion", &decide], &bad).exit, 0);
    tried + 1
}
