//! What is not permitted is answered: clearly, never in silence, and it is in the log.

use bastion_tests::world::{Person::*, World};
use std::time::{Duration, Instant};

crate::on_both_stores!(whatever_else_is_asked_is_refused);

fn whatever_else_is_asked_is_refused(world: &mut World) {
    // A forward to anywhere but a VM's SSH port.
    for destination in ["127.0.0.1:5432", "pg-1.acme:5432", "example.org:80", "[::1]:22"] {
        let refused = world.ssh(Olga, &["-W", destination, "bastion"]);
        assert_ne!(refused.exit, 0, "{destination}");
        assert!(!refused.err.is_empty(), "{destination}: refused in silence");
    }
    // Unknown and not-yours get the same answer, with the name exchanged.
    let unknown = world.ssh(Olga, &["ops+no-such.acme@bastion", "id"]).exits(254);
    assert!(unknown.text().is_empty());
    let account = world.ssh(Olga, &["root@pg-1.acme", "id"]).exits(254);
    assert!(account.text().is_empty());

    // Forwarding of ports, sockets, agents, X11: the login goes on without, or says no.
    let listen = ["-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "ops@pg-1.acme", "id"];
    assert_ne!(world.ssh(Olga, &listen).exit, 0, "a remote forward was permitted");
    let inside = world.ssh(Olga, &["-A", "ops@pg-1.acme", "echo agent=$SSH_AUTH_SOCK"]).exits(0);
    assert_eq!(inside.text(), "agent=\n");
    let display = world.ssh(Olga, &["-X", "ops@pg-1.acme", "echo display=$DISPLAY"]).exits(0);
    assert_eq!(display.text(), "display=\n");
    // A subsystem that is not sftp.
    let since = Instant::now();
    let netconf = world.ssh(Olga, &["-s", "ops@pg-1.acme", "netconf"]);
    assert_ne!(netconf.exit, 0);
    assert!(since.elapsed() < Duration::from_secs(10), "refused in silence");

    // Approvers and officers never reach a VM; operators and approvers run no officer's command.
    for person in [Acme, Odile] {
        let refused = world.ssh(person, &["ops+pg-1.acme@bastion", "id"]);
        assert_ne!(refused.exit, 0);
        assert!(refused.text().is_empty(), "{person:?}: {}", refused.text());
    }
    for person in [Olga, Acme] {
        world.ssh(person, &["bastion", "operator list"]).exits(3);
    }
    // Who is nobody is told nothing but that.
    let key = world.dir().join("stranger");
    let words = ["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()];
    world.run("ssh-keygen", &words).exits(0);
    let stranger = ["-i", "stranger", "-o", "IdentityFile=stranger", "-F", "none"];
    let port = std::fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let port = port.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap().to_owned();
    let rest = ["-o", "BatchMode=yes", "-o", "HostKeyAlias=bastion", "-p", &port];
    let known = ["-o", "UserKnownHostsFile=known_hosts", "olga@127.0.0.1", "whoami"];
    let refused = world.run("ssh", &[&stranger[..], &rest[..], &known[..]].concat());
    assert_eq!(refused.exit, 255);
    refused.complains("Permission denied");

    let denied = world.log();
    assert!(denied.events("access.denied").len() >= 6, "{:?}", denied.kinds());
}
