//! `ssh-audit` looks at the gateway, and finds nothing to fail or to warn about.
//!
//! With one exception that is stated here and in THREATS.md: it warns that X25519 alone is no
//! protection against quantum computers. Debian 12's own clients have no exchange that is one and
//! that the gateway has, so X25519 stays on offer, after mlkem768x25519. A deployment whose clients
//! all are newer sets `post_quantum_only`, and then nothing is left.

use crate::{port, world};
use bastion_tests::world::{Person::Olga, World};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The exception, in the tool's own words.
const EXCEPTION: &str = "does not provide protection against post-quantum attacks";

/// What the tests of the clients fetch too: ssh-audit, and OpenSSH of the backports.
pub fn tools() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients.sh");
    let done = Command::new(script).arg(&folder).status().unwrap();
    assert!(done.success(), "tests/clients.sh could not fetch the tools: see above");
    folder
}

/// What ssh-audit says, line by line.
fn audit(world: &World, tools: &Path) -> Vec<String> {
    let program = tools.join("venv/bin/ssh-audit").display().to_string();
    let port = port(world).to_string();
    // Its rate test counts connections that are refused a place, too.
    let words = ["-n", "-b", "--skip-rate-test", "-p", &port, "127.0.0.1"];
    let said = world.run(&program, &words);
    // 0 is nothing, 2 warnings, 3 failures; anything else means that it did not look.
    assert!([0, 2, 3].contains(&said.exit), "{}: {}{}", said.exit, said.text(), said.err);
    let lines: Vec<String> = said.text().lines().map(str::to_owned).collect();
    assert!(lines.iter().any(|line| line.contains("mlkem768x25519-sha256")), "{lines:#?}");
    lines
}

/// Each finding with the algorithm that it is about.
fn findings(lines: &[String]) -> Vec<String> {
    let mut about = "";
    let mut found = Vec::new();
    for line in lines {
        if line.starts_with('(') {
            about = line.split(" -- ").next().unwrap_or(line);
        }
        if line.contains("[warn]") || line.contains("[fail]") {
            found.push(format!("{about}: {}", line.trim()));
        }
    }
    found
}

fn order(lines: &[String], of: &str) -> Vec<String> {
    let of = format!("({of}) ");
    let named = lines.iter().filter_map(|line| line.strip_prefix(&of));
    named.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn ssh_audit_finds_nothing() {
    let tools = tools();
    let new = tools.join("openssh/usr/bin/ssh").display().to_string();
    let mlkem = ["-F", "ssh_config", "-o", "KexAlgorithms=mlkem768x25519-sha256"];
    let with_mlkem = [&mlkem[..], &["-v", "bastion", "whoami"]].concat();

    let usual = world(&[]);
    let lines = audit(&usual, &tools);
    let found = findings(&lines);
    let others: Vec<_> = found.iter().filter(|line| !line.contains(EXCEPTION)).collect();
    assert!(others.is_empty(), "{others:#?}");
    assert!(found.iter().all(|line| line.starts_with("(kex) curve25519-sha256")), "{found:#?}");
    assert_eq!(order(&lines, "kex")[0], "mlkem768x25519-sha256");
    let ciphers = order(&lines, "enc");
    // ssh-audit names itself OpenSSH near us, so it is not even offered the slower ChaCha20.
    let aead = ["aes256-gcm@openssh.com", "aes128-gcm@openssh.com"];
    assert_eq!(ciphers[..2], aead.map(str::to_owned));
    assert!(!ciphers.iter().any(|cipher| cipher.contains("chacha20")), "{ciphers:?}");
    let said = usual.run(&new, &with_mlkem).exits(0).says("olga").err;
    assert!(said.contains("kex: algorithm: mlkem768x25519-sha256"), "{said}");
    drop(usual);

    let strict = world(&[("[ingress]", "post_quantum_only = true")]);
    let found = findings(&audit(&strict, &tools));
    assert!(found.is_empty(), "{found:#?}");
    strict.run(&new, &with_mlkem).exits(0).says("olga");
    let jump = ["-F", "ssh_config", "ops@pg-1.acme", "echo through"];
    // Both connections of the second form, by a client that has the exchange, and by one that has
    // not: it says so itself.
    let newest = format!("-oProxyCommand={new} -F ssh_config -W %h:%p bastion");
    strict.run(&new, &[&[newest.as_str()], &jump[..]].concat()).exits(0).says("through");
    strict.ssh(Olga, &["bastion", "whoami"]).exits(255).complains("no matching key exchange");
}
