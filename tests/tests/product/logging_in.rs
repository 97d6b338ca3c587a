//! Who somebody is: keys, certificates of an operator CA, and what is answered to nobody.

use bastion_tests::world::{Answer, Person::*, World, until};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    net::TcpStream,
    time::Duration,
};

/// Adds lines to a table of the configuration and starts the gateway again.
fn configure(world: &mut World, table: &str, lines: &str) {
    world.stop();
    let file = world.dir().join("bastion.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(table), "{table} is not in the configuration");
    fs::write(&file, text.replace(table, &format!("{table}\n{lines}"))).unwrap();
    world.begin();
}

/// Makes a key pair below `keys/`; its path.
fn key(world: &World, name: &str, kind: &[&str]) -> String {
    let file = format!("keys/{name}");
    let words = [&["-q", "-N", "", "-f", &file, "-t"], kind].concat();
    world.run("ssh-keygen", &words).exits(0);
    file
}

/// `ssh bastion whoami` with this key and nothing else, as this login name.
fn whoami(world: &World, key: &str, more: &[&str]) -> Answer {
    let config = fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let without: Vec<&str> = config.lines().filter(|l| !l.contains("IdentityFile")).collect();
    fs::write(world.dir().join("ssh_config.bare"), without.join("\n")).unwrap();
    let words = [&["-F", "ssh_config.bare", "-i", key], more, &["bastion", "whoami"]].concat();
    world.run("ssh", &words)
}

fn public(world: &World, key: &str) -> Vec<u8> {
    fs::read(world.dir().join(format!("{key}.pub"))).unwrap()
}

#[test]
fn a_key_settles_who_somebody_is() {
    let world = crate::sqlite();
    let kinds: [(&str, &[&str]); 5] = [
        ("ed25519", &["ed25519"]),
        ("p256", &["ecdsa", "-b", "256"]),
        ("p384", &["ecdsa", "-b", "384"]),
        ("p521", &["ecdsa", "-b", "521"]),
        ("rsa", &["rsa", "-b", "3072"]),
    ];
    for (name, kind) in kinds {
        let key = key(&world, name, kind);
        whoami(&world, &key, &[]).exits(255).complains("Permission denied (publickey)");
        let add = ["bastion", "operator key add olga --key -"];
        world.ssh_with(Odile, &add, &public(&world, &key)).exits(0);
        whoami(&world, &key, &[]).exits(0).says("olga");
        // The login name is no claim.
        whoami(&world, &key, &["-l", "odile"]).exits(0).says("olga");
    }
    let sha1 = "PubkeyAcceptedAlgorithms=ssh-rsa";
    whoami(&world, "keys/rsa", &["-o", sha1]).exits(255);
    let short = key(&world, "short", &["rsa", "-b", "2048"]);
    let add = ["bastion", "operator key add olga --key -"];
    assert_ne!(world.ssh_with(Odile, &add, &public(&world, &short)).exit, 0);
    whoami(&world, &short, &[]).exits(255);

    world.order(Odile, "operator disable olga --reason she left");
    whoami(&world, "keys/p256", &[]).exits(255);
    world.order(Odile, "operator enable olga");
    whoami(&world, "keys/p256", &[]).exits(0);
}

#[test]
fn a_certificate_is_checked_in_full() {
    let mut world = crate::sqlite();
    let ca = key(&world, "idp", &["ed25519"]);
    let line = String::from_utf8(public(&world, &ca)).unwrap();
    let line = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let table = format!(
        "[[operator_ca]]\npublic_key = \"{line}\"\nvalidity_seconds_max = 3600\n\n[metrics]"
    );
    // So many wrong certificates in a row would look like guessing.
    configure(&mut world, "[guessing]", "forgiven_after_seconds = 1");
    world.stop();
    let file = world.dir().join("bastion.toml");
    let text = fs::read_to_string(&file).unwrap().replacen("[metrics]", &table, 1);
    fs::write(&file, text).unwrap();
    world.begin();

    key(&world, "stranger", &["ed25519"]);
    let certified = key(&world, "certified", &["ed25519"]);
    whoami(&world, &certified, &[]).exits(255);
    let good: [&[&str]; 3] = [
        &["-n", "olga", "-V", "-5m:+30m"],
        &["-n", "somebody,olga", "-V", "-5m:+30m"],
        &["-n", "olga", "-V", "-5m:+30m", "-O", "source-address=127.0.0.0/8"],
    ];
    for options in good {
        certify(&world, "keys/idp", options);
        whoami(&world, &certified, &[]).exits(0).says("olga");
    }
    let bad: [(&str, &[&str]); 11] = [
        ("keys/stranger", &["-n", "olga", "-V", "-5m:+30m"]),
        ("keys/idp", &["-n", "olga", "-V", "-30m:-5m"]),
        ("keys/idp", &["-n", "olga", "-V", "+5m:+30m"]),
        ("keys/idp", &["-n", "olga", "-V", "-5m:+2h"]),
        ("keys/idp", &["-n", "olga", "-V", "always:forever"]),
        ("keys/idp", &["-n", "olga", "-h", "-V", "-5m:+30m"]),
        ("keys/idp", &["-V", "-5m:+30m"]),
        ("keys/idp", &["-n", "olga,otto", "-V", "-5m:+30m"]),
        ("keys/idp", &["-n", "odile", "-V", "-5m:+30m"]),
        ("keys/idp", &["-n", "olga", "-V", "-5m:+30m", "-O", "force-command=true"]),
        ("keys/idp", &["-n", "olga", "-V", "-5m:+30m", "-O", "source-address=192.0.2.0/24"]),
    ];
    for (ca, options) in bad {
        certify(&world, ca, options);
        let answer = whoami(&world, &certified, &[]);
        assert_eq!(answer.exit, 255, "{ca} {options:?}: {}", answer.text());
    }
    certify(&world, "keys/idp", &["-n", "olga", "-V", "-5m:+30m"]);
    world.order(Odile, "operator disable olga --reason she left");
    whoami(&world, &certified, &[]).exits(255);
}

fn certify(world: &World, ca: &str, options: &[&str]) {
    let words = [&["-q", "-s", ca, "-I", "test"], options, &["keys/certified.pub"]].concat();
    world.run("ssh-keygen", &words).exits(0);
}

#[test]
fn nobody_gets_far() {
    let mut world = crate::sqlite();
    let limits = "login_grace_seconds = 2\nconnections_before_login_per_source_max = 5";
    configure(&mut world, "[ingress]", limits);
    let config = fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let port = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap();
    let port: u16 = port.parse().unwrap();
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    };
    let hello = |stream: &mut TcpStream| {
        let mut begin = [0; 4];
        stream.read(&mut begin).is_ok_and(|read| read == 4 && &begin == b"SSH-")
    };
    let mut idle: Vec<TcpStream> = (0..5).map(|_| connect()).collect();
    assert!(idle.iter_mut().all(hello), "as many as may wait are served");
    let mut said = Vec::new();
    connect().read_to_end(&mut said).unwrap();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("too many connections wait for their login"), "one more: {said:?}");
    // The grace is over: they are closed, and there is room again.
    for stream in &mut idle {
        assert!(stream.read_to_end(&mut Vec::new()).is_ok());
    }
    world.ssh(Olga, &["bastion", "whoami"]).exits(0);

    let stranger = key(&world, "stranger", &["ed25519"]);
    for _ in 0..3 {
        whoami(&world, &stranger, &[]).exits(255);
    }
    let words = ["-o", "PreferredAuthentications=password,keyboard-interactive", "bastion", "true"];
    world.ssh(Olga, &words).exits(255).complains("Permission denied (publickey)");
    // Counted, not entered one by one; what is not entered yet is at the stop.
    world.stop();
    world.begin();
    let log = world.log();
    let failed = log.events("auth.failed");
    let count: u64 = failed.iter().map(|event| event["count"].as_u64().unwrap()).sum();
    assert!(failed.len() <= 2 && count >= 4, "{failed:#?}");
}

#[test]
fn a_stop_tells_the_operator_and_the_log() {
    let mut world = crate::sqlite();
    let command = ["ops@pg-1.acme", "echo in; sleep 60"];
    let mut work = world.ssh_command(Olga, &command).spawn().unwrap();
    let mut lines = BufReader::new(work.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "in");
    world.stop();
    let mut said = String::new();
    work.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("the gateway is stopping"), "{said}");
    assert_ne!(work.wait().unwrap().code(), Some(0));
    world.begin();
    let log = world.log();
    assert_eq!(log.last("channel.closed")["reason"], "gateway_stopping");
    assert!(log.events("recovered").is_empty(), "nothing was left open");
    // One for each customer, and nothing of the old run after them.
    let kinds = log.kinds();
    let stopped = kinds.iter().position(|kind| *kind == "gateway.stopped").unwrap();
    assert_eq!(kinds[stopped - 1], "session.closed");
    assert_eq!(
        kinds[stopped..stopped + 3],
        ["gateway.stopped", "gateway.stopped", "gateway.started"]
    );
}

#[test]
fn what_is_idle_ends() {
    let mut world = crate::sqlite();
    configure(&mut world, "[ingress]", "idle_seconds = 3");
    let socket = world.dir().join("mux").display().to_string();
    let mut idle =
        world.ssh_command(Olga, &["-N", "-M", "-S", &socket, "bastion"]).spawn().unwrap();
    let said = world.ssh(Olga, &["ops@pg-1.acme", "sleep 60"]);
    assert_eq!(said.exit, 254, "{}", said.err);
    assert!(said.err.contains("nothing happened for too long"), "{}", said.err);
    until("the idle connection to end", 10, || idle.try_wait().unwrap().is_some());
    let log = world.log();
    assert!(log.events("session.closed").iter().any(|event| event["reason"] == "idle"));
}

/// A FIDO2 key logs in like any other. OpenSSH's software key stands in for the hardware.
#[test]
fn a_security_key_settles_who_somebody_is() {
    let provider = "/usr/lib/openssh/regress/misc/sk-dummy/sk-dummy.so";
    let there = std::path::Path::new(provider).exists();
    assert!(there, "no software FIDO2 key: apt-get install openssh-tests, or run ./check");
    let world = crate::sqlite();
    let key = key(&world, "sk", &["ed25519-sk", "-w", provider]);
    let option = format!("SecurityKeyProvider={provider}");
    whoami(&world, &key, &["-o", &option]).exits(255);
    let add = ["bastion", "operator key add olga --key -"];
    world.ssh_with(Odile, &add, &public(&world, &key)).exits(0);
    whoami(&world, &key, &["-o", &option]).exits(0).says("olga");
    let log = world.log();
    let methods: Vec<_> = log.events("session.opened").iter().map(|e| &e["method"]).collect();
    assert!(methods.iter().any(|method| *method == "security_key"), "{methods:?}");
}
