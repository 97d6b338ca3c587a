//! A certificate and a consent name one life of a VM; a rebuilt VM is another.

use bastion_tests::world::{Person::*, World, until};
use std::io::{BufRead as _, BufReader};

crate::on_both_stores!(a_rebuilt_vm_is_another);

fn a_rebuilt_vm_is_another(world: &mut World) {
    world.consent("pg-1.acme");
    let mut data =
        world.ssh_command(Olga, &["dba@pg-1.acme", "echo in; sleep 60"]).spawn().unwrap();
    let mut lines = BufReader::new(data.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "in");
    let before = world.log();
    let old = before.last("access.granted")["place"]["instance"].as_str().unwrap().to_owned();

    let vms = world.order(Odile, "vm list --json").json().to_string();
    assert!(vms.contains(&old), "{vms}");
    world.order(Odile, "vm rebuild pg-1.acme");
    until("the old life's channel to end", 2, || data.try_wait().unwrap().is_some());

    // The consent was for the old life.
    world.ssh(Olga, &["dba@pg-1.acme", "id"]).exits(254).complains("consent");
    // The sshd is still the old one: it proves to be another instance, so no byte reaches it.
    let refused = world.ssh(Olga, &["ops@pg-1.acme", "echo in"]);
    assert_ne!(refused.exit, 0);
    assert_eq!(refused.text(), "");
    let log = world.log();
    assert_eq!(log.last("vm.added")["replaces"], old.as_str());
    let new = log.last("vm.added")["instance"].as_str().unwrap();
    assert_ne!(new, old);
    assert_eq!(log.last("channel.closed")["outcome"], "unreachable");
}
