//! At the door of a real sshd: who gets in, who does not, and what the VM's log says of it.

use super::{
    BASTION,
    forge::{self, Forge, TICKET, Wish},
};
use audit_schema::{event::Level, note, time::Timestamp};
use bastion::keyfile;
use bastion_core::revocation::Revocations;
use bastion_tests::world::{Answer, Person, World, until};
use russh::keys::{PrivateKey, ssh_key::LineEnding};
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

const VM: &str = "pg-1.acme";

/// A world, and all of its gateway's keys in a thief's hands.
struct Burglary {
    world: World,
    forge: Forge,
    port: String,
}

impl Burglary {
    fn begin() -> Self {
        let world = World::start(BASTION, None);
        let key = |name: &str| keyfile::read_ssh(&world.dir().join("keys").join(name)).unwrap();
        let pinned: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(pinned(&world)).unwrap()).unwrap();
        let config = fs::read_to_string(disk(&world).join("etc-ssh/sshd_config")).unwrap();
        let port = config.lines().find_map(|line| line.strip_prefix("Port ")).unwrap().to_owned();
        let forge = Forge {
            origin: "bastion.demo".to_owned(),
            customer: "acme".to_owned(),
            instance: pinned["instance"].as_str().unwrap().to_owned(),
            ca: key("user-ca"),
            log: keyfile::read_log_key(&world.dir().join("keys/log.pem")).unwrap(),
            approver: key("acme-approver"),
        };
        Self { world, forge, port }
    }

    fn wish(&self) -> Wish {
        Wish::good(&self.forge, now())
    }

    /// Logs in with a forged certificate.
    fn knock(&self, forge: &Forge, wish: &Wish, account: &str) -> Answer {
        let subject = forge::key("thief");
        let certificate = forge.certificate(wish, &subject);
        self.knock_with(&subject, &certificate.to_openssh().unwrap(), account)
    }

    fn knock_with(&self, subject: &PrivateKey, certificate: &str, account: &str) -> Answer {
        let file = self.world.dir().join("thief");
        fs::write(&file, subject.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(self.world.dir().join("thief-cert.pub"), certificate).unwrap();
        let address = format!("{account}@127.0.0.1");
        let words = [
            "-F",
            "none",
            "-i",
            "thief",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "LogLevel=ERROR",
            "-p",
            &self.port,
            &address,
            "id -un",
        ];
        self.world.run("ssh", &words)
    }

    /// Knocks, is not let in, and finds why in what the guard said.
    #[track_caller]
    fn refused(&self, forge: &Forge, wish: &Wish, why: &str) {
        self.refused_as(forge, wish, ("dba", why));
    }

    #[track_caller]
    fn refused_as(&self, forge: &Forge, wish: &Wish, (account, why): (&str, &str)) {
        let before = self.said().len();
        let answer = self.knock(forge, wish, account);
        assert_eq!(answer.exit, 255, "{why}: {} {}", answer.text(), answer.err);
        answer.complains("Permission denied");
        until(why, 5, || self.said()[before..].contains(why));
    }

    fn said(&self) -> String {
        fs::read_to_string(disk(&self.world).join("guard.log")).unwrap_or_default()
    }

    /// Points the guard at a list of ours.
    fn list(&self, text: Option<&str>) {
        let file = disk(&self.world).join("etc-ssh/list");
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        } else if file.exists() {
            fs::remove_file(&file).unwrap();
        }
        let config = fs::read_to_string(pinned(&self.world)).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(&config).unwrap();
        value["revocations"] = "/etc/ssh/list".into();
        fs::write(pinned(&self.world), value.to_string()).unwrap();
    }
}

fn disk(world: &World) -> PathBuf {
    world.dir().join("vms").join(VM)
}

fn pinned(world: &World) -> PathBuf {
    disk(world).join("etc-ssh/guard.json")
}

fn now() -> Timestamp {
    bastion::clock::now()
}

/// A list that takes these consents back.
fn list_of(forge: &Forge, issued: Timestamp, consents: &[&str]) -> String {
    let list = Revocations {
        origin: forge.origin.clone(),
        customer: forge.customer.parse().unwrap(),
        version: 99,
        issued,
        consents: consents.iter().map(|ticket| (ticket.parse().unwrap(), 1)).collect(),
        instances: Default::default(),
    };
    note::sign(&list.to_text().unwrap(), &forge.origin, &forge.log).unwrap()
}

#[test]
fn a_stolen_key_opens_nothing_that_the_log_and_the_customer_did_not_permit() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: sshd with a guard of root's takes root");
        return;
    }
    let scene = Burglary::begin();
    let (forge, good) = (&scene.forge, || scene.wish());
    // The gateway's own logins pass, without consent and with it.
    scene.world.ssh(Person::Olga, &["ops@pg-1.acme", "id -un"]).exits(0).says("ops");
    scene.world.consent(VM);
    scene.world.ssh(Person::Olga, &["dba@pg-1.acme", "id -un"]).exits(0).says("dba");
    // So does a forgery with every key there is, the customer's too: what follows is refused for
    // the one thing that differs.
    scene.knock(forge, &good(), "dba").exits(0).says("dba");

    scene.refused(forge, &Wish { receipt: false, ..good() }, "carries no receipt");
    scene.refused(forge, &Wish { consent: false, ..good() }, "carries no consent");
    scene.refused(forge, &Wish { age: 61, ..good() }, "s old: the gateway has to log in again");
    let other = Wish { instance: "i-another".to_owned(), ..good() };
    scene.refused(forge, &other, "it is for instance i-another");
    let ops = Wish { account: "ops", level: Level::Troubleshoot, consent: false, ..good() };
    scene.refused(forge, &ops, "it is for account ops");
    scene.refused(forge, &Wish { summary: true, ..good() }, "the summary does not say");
    scene.refused(forge, &Wish { damage: Some(400), ..good() }, "refused dba: certificate 7");
    scene.refused_as(forge, &good(), ("ops", "that is not this Unix user here"));
    let keys = |ca: &str, log: [u8; 32], approver: &str| Forge {
        origin: forge.origin.clone(),
        customer: forge.customer.clone(),
        instance: forge.instance.clone(),
        ca: if ca.is_empty() { forge.ca.clone() } else { forge::key(ca) },
        log: bastion::ledger::SigningKey::from_bytes(&log),
        approver: forge::key(approver),
    };
    let officer = keys("", forge.log.to_bytes(), "an officer's own");
    scene.refused(&officer, &good(), "0 of 1 approvers known here signed the consent");
    let other_log = Forge { approver: forge.approver.clone(), ..keys("", [9; 32], "") };
    scene.refused(&other_log, &good(), "checkpoint does not hold");
}

#[test]
fn what_was_taken_back_or_cannot_be_known_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: sshd with a guard of root's takes root");
        return;
    }
    let scene = Burglary::begin();
    let (forge, good) = (&scene.forge, || scene.wish());
    scene.list(Some(&list_of(forge, now(), &["t-another"])));
    scene.knock(forge, &good(), "dba").exits(0).says("dba");
    scene.list(Some(&list_of(forge, now(), &[TICKET])));
    scene.refused(forge, &good(), "the consent t-forged was taken back");
    scene.list(None);
    scene.refused(forge, &good(), "the revocation list cannot be read");
    scene.list(Some("nothing of the kind"));
    scene.refused(forge, &good(), "the revocation list's signature does not hold");
    scene.list(Some(&list_of(forge, now().plus_seconds(-301), &[])));
    scene.refused(forge, &good(), "its refresh has stopped");
    // Without customer data no list is needed.
    let ops = Wish { account: "ops", level: Level::Troubleshoot, consent: false, ..good() };
    scene.knock(forge, &ops, "ops").exits(0).says("ops");

    // What the gateway itself writes: the withdrawal of a real consent, within a moment.
    let ticket = scene.world.consent(VM);
    let withdraw = format!("consent withdraw {ticket} --reason enough");
    scene.world.order(Person::Acme, &withdraw);
    let file = scene.world.dir().join("revocations/acme");
    let line = format!("consent {ticket} 1\n");
    until("the list of the gateway", 10, || {
        fs::read_to_string(&file).is_ok_and(|list| list.contains(&line))
    });
    let list = fs::read_to_string(&file).unwrap();
    Revocations::open(&list, &[forge.vkey()]).unwrap();
    let shown = scene.world.order(Person::Odile, "vm revocations acme").text();
    assert!(shown.contains(&line), "{shown}");

    // A configuration that others may write is none.
    fs::set_permissions(pinned(&scene.world), fs::Permissions::from_mode(0o666)).unwrap();
    scene.refused_as(forge, &ops, ("ops", "")); // its words go to /dev/log: the file is not read
}
