//! What is cosigned is said to be, and what must be is not gone on without.

use super::{
    BASTION,
    house::{Witness, log_key, policy, tell},
};
use audit_schema::{checkpoint::Vkey, merkle::leaf_hash, policy::Policy, proof::Proof};
use bastion_tests::{
    postgres::free_port,
    world::{Person, World, until},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

/// What a VM knows by itself.
fn pinned(world: &World) -> PathBuf {
    world.dir().join("vms/pg-1.acme/etc-ssh/guard.json")
}

/// Pins a policy on a VM, or takes it away.
fn pin(world: &World, policy: Option<&str>) {
    let file = pinned(world);
    let mut known: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    known["witnesses"] = json!(policy);
    fs::write(&file, serde_json::to_string(&known).unwrap()).unwrap();
}

fn metrics(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// The proof of an entry under the policy, by the library and, where it was built, by the program.
fn proven(world: &World, (log, policy): (&str, &str)) {
    let answer = world.bastion(&["audit", "prove", "0"]).exits(0);
    let text = answer.text();
    let line = world.bastion(&["audit", "export"]).text().lines().next().unwrap().to_owned();
    let proof = Proof::parse(&text).unwrap();
    let parsed = Policy::parse(policy.as_bytes()).unwrap();
    let vkey: Vkey = log.parse().unwrap();
    let held = proof.verify_under(&leaf_hash(line.as_bytes()), &parsed, Some(&vkey)).unwrap();
    // Two are enough; the third may have been as quick.
    let cosigned = held.cosigned.len();
    assert!(cosigned >= 2, "{held:?}");
    answer.complains(&format!("witnessed by {cosigned} of 3 ("));
    let program = Path::new(BASTION).with_file_name("audit-verify");
    if !program.exists() {
        eprintln!("SKIPPED: audit-verify is not built beside these tests");
        return;
    }
    let file = |name: &str, text: &str| {
        fs::write(world.dir().join(name), text).unwrap();
        world.dir().join(name)
    };
    let verify = |policy: &str| {
        let done = Command::new(&program)
            .args(["proof", "--vkey", log, "--policy"])
            .arg(file("policy", policy))
            .arg("--entry")
            .arg(file("entry", &line))
            .arg(file("proof", &text))
            .output()
            .unwrap();
        (done.status.success(), format!("{done:?}"))
    };
    let (held, said) = verify(policy);
    assert!(held, "{said}");
    let (held, said) = verify(&policy.replace("enough 2", "enough 3"));
    assert_eq!(held, cosigned == 3, "{said}");
}

#[test]
fn what_witnesses_cosign_is_said_and_what_they_must_is_not_gone_on_without() {
    let mut world = World::start(BASTION, None);
    let log = log_key(&world);
    let unwitnessed = world.bastion(&["audit", "checkpoint"]).exits(0);
    unwitnessed.complains("unwitnessed");
    let names = ["acme", "globex", "auditor"];
    let mut witnesses = names.map(|name| Witness::start("cosigned", name, &log));
    let two = policy(&witnesses, 2);
    world.stop();
    let port = free_port();
    tell(world.dir(), &witnesses, (Some(&two), "\"data\""));
    let file = world.dir().join("bastion.toml");
    let text = fs::read_to_string(&file).unwrap();
    let listen = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    fs::write(&file, text.replacen("[metrics]\n", &listen, 1)).unwrap();
    world.begin();
    pin(&world, Some(&two));

    // All of them answer; two are enough, and nobody waits for the third.
    let shown = world.bastion(&["audit", "checkpoint"]).exits(0);
    shown.complains("witnessed by ").complains(" of 3 (");
    proven(&world, (&log, &two));
    let report = "report --customer acme --from 2026-01-01 --to 2027-01-01 --format html";
    world.order(Person::Odile, report).says("The log is witnessed by ");
    world.consent("pg-1.acme");
    let data = |world: &World| world.ssh(Person::Olga, &["dba@pg-1.acme", "echo in"]);
    data(&world).exits(0).says("in");
    world.bastion(&["doctor"]).says("the published checkpoint is witnessed by");

    // Two of three are enough.
    witnesses[0].kill();
    data(&world).exits(0).says("in");
    // One is not: no data, and everything else.
    witnesses[1].kill();
    let refused = data(&world).exits(254);
    refused.complains("the log's witnesses have cosigned");
    let closed = world.log();
    assert_eq!(closed.last("channel.closed")["reason"], "unwitnessed");
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0).says("in");
    world.bastion(&["audit", "checkpoint"]).exits(0).complains("unwitnessed");
    let alarm = |raised: u8| format!("bastion_alarm{{of=\"witnessing\"}} {raised}");
    let shown = metrics(port);
    assert!(shown.contains(&alarm(1)), "{shown}");
    assert!(shown.contains("bastion_witness_lag_entries{witness=\"acme\"}"), "{shown}");
    // It comes back with what it knew.
    witnesses[1].begin();
    data(&world).exits(0).says("in");
    until("the alarm to end", 40, || metrics(port).contains(&alarm(0)));

    // A gateway that does not ask them any more gets past itself, and not past the VM.
    world.stop();
    tell(world.dir(), &witnesses, (None, ""));
    world.begin();
    pin(&world, Some(&two));
    let refused = data(&world);
    assert_ne!(refused.exit, 0, "{refused:?}");
    let said = fs::read_to_string(world.dir().join("vms/pg-1.acme/guard.log")).unwrap();
    assert!(said.contains("not witnessed as it must be"), "{said}");
    world.ssh(Person::Olga, &["ops@pg-1.acme", "echo in"]).exits(0).says("in");
    pin(&world, None);
    data(&world).exits(0).says("in");
}
