//! Clients that know no host certificates keep the key that they saw in known_hosts: it stays right
//! over restarts of the gateway, and changes when a VM is rebuilt, as it would without a gateway.

use bastion_tests::world::{Answer, Person::*, World};

/// `ssh -J` to a VM by a client that takes plain keys only, with a known_hosts of its own.
fn plainly(world: &World, strict: &str) -> Answer {
    let options = [
        "-o",
        "HostKeyAlgorithms=ssh-ed25519",
        "-o",
        "UserKnownHostsFile=kept",
        "-o",
        &format!("StrictHostKeyChecking={strict}"),
        "-o",
        "LogLevel=INFO",
        "ops@pg-1.acme",
        "true",
    ];
    world.ssh(Olga, &options)
}

#[test]
fn a_kept_key_stays_right_until_the_vm_is_rebuilt() {
    let mut world = World::start(crate::BASTION, None);
    plainly(&world, "yes").exits(255).complains("host key is known for pg-1.acme");
    plainly(&world, "accept-new").exits(0);
    plainly(&world, "yes").exits(0);
    world.stop();
    world.begin();
    plainly(&world, "yes").exits(0);
    // Each VM has a key of its own, and each life of one.
    let shown = |vm: &str| {
        let words = ["-o", "HostKeyAlgorithms=ssh-ed25519", "-v", &format!("ops@{vm}"), "true"];
        let said = world.ssh(Olga, &words).err;
        let key = said.lines().rfind(|line| line.contains("Server host key:"));
        key.unwrap_or_else(|| panic!("no key in {said}")).to_owned()
    };
    let (first, other) = (shown("pg-1.acme"), shown("pg-2.acme"));
    assert!(first.contains("ssh-ed25519 SHA256:"), "{first}");
    assert_ne!(first, other);
    world.order(Odile, "vm rebuild pg-1.acme");
    assert_ne!(shown("pg-1.acme"), first);
    plainly(&world, "yes").exits(255).complains("REMOTE HOST IDENTIFICATION HAS CHANGED");
    assert_eq!(shown("pg-2.acme"), other);
}
