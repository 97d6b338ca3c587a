//! `connect-config`: an operator with nothing but what it prints, and a key, reaches both forms.

use bastion_tests::world::{Person::*, World};
use std::fs;

#[test]
fn what_connect_config_prints_is_all_that_an_operator_needs() {
    let world = World::start(crate::BASTION, None);
    // The first time it comes from the gateway's machine.
    let local = world.bastion(&["connect-config", "--operator", "olga"]).exits(0).text();
    assert!(local.contains("# @cert-authority bastion,*.acme,*.globex ssh-ed25519 "), "{local}");
    let config = world.order(Olga, "connect-config").text();
    assert!(local.starts_with(&config), "{local}");
    let known = world.order(Olga, "connect-config --known-hosts").text();
    let home = world.dir().join("home");
    fs::create_dir_all(home.join(".ssh")).unwrap();
    // `~` in ssh's files is the account's home, whatever HOME says.
    let config = config.replace("~/.ssh", &home.join(".ssh").display().to_string());
    let key = format!(
        "Host *\n    IdentityFile {}\n    IdentitiesOnly yes\n    BatchMode yes\n    \
         GlobalKnownHostsFile /dev/null\n",
        world.dir().join("keys/olga").display()
    );
    fs::write(home.join(".ssh/bastion.conf"), format!("{config}{key}")).unwrap();
    fs::write(home.join(".ssh/bastion.known_hosts"), known).unwrap();
    let ssh =
        |words: &[&str]| world.run("ssh", &[&["-F", "home/.ssh/bastion.conf"], words].concat());
    ssh(&["bastion", "whoami"]).exits(0).says("olga");
    ssh(&["ops@pg-1.acme", "exit 7"]).exits(7);
    ssh(&["ops+pg-2.acme@bastion", "exit 6"]).exits(6);
    // Others reach the gateway, and no VM; another host name is taken as it is given.
    let acme = world.order(Acme, "connect-config --host gw.example:2222").text();
    assert!(acme.contains("HostName gw.example\n    Port 2222\n"), "{acme}");
    assert!(!acme.contains("ProxyJump"), "{acme}");
    world.ssh(Olga, &["bastion", "connect-config --operator otto"]).exits(2);
    world.bastion(&["connect-config"]).exits(2).complains("--operator");
}
