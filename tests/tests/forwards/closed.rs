//! As shipped, nothing is forwarded, and who tries is told by which policy.

use crate::scene::{Agent, FORMS, Forward, closed, free_port, list, one, permit, talk};
use bastion_tests::world::{Person::*, finish};

const LOCAL: &str = "no policy permits forward_local on account ops: channels.cedar denies it";

#[test]
fn every_kind_is_denied_by_default() {
    let world = closed();
    let agent = Agent::start(&world);
    // That the place is listed does not help.
    list(&world, "metrics", "tcp:127.0.0.1:9187", "troubleshoot");
    list(&world, "socket", "unix:/run/exporter.sock", "troubleshoot");
    list(&world, "back", "listen:9000", "troubleshoot");
    for form in FORMS {
        let refused = one(&world, "127.0.0.1:9187", &form("ops"), b"x");
        assert_ne!(refused.exit, 0);
        refused.complains("administratively prohibited").complains(LOCAL);
        assert_eq!(world.log().last("access.denied")["channel"], "forward_local");

        let port = free_port();
        let words = format!("127.0.0.1:{port}:/run/exporter.sock");
        let forward = Forward::start(&world, &["-L", &words], &form("ops"), port);
        assert_eq!(talk(port, b"x"), b"");
        let said = forward.end();
        assert!(said.contains("no policy permits forward_streamlocal"), "{said}");
        assert_eq!(world.log().last("access.denied")["channel"], "forward_streamlocal");

        let remote = ["-o", "ExitOnForwardFailure=yes", "-R", "9000:127.0.0.1:1", &form("ops")];
        let remote = world.ssh(Olga, &[&remote[..], &["true"]].concat());
        assert_ne!(remote.exit, 0);
        remote.complains("remote port forwarding failed");
        let log = world.log();
        assert_eq!(log.last("access.denied")["channel"], "forward_remote");
        assert_eq!(log.last("access.denied")["reason"], "policy_not_permitted");

        let words = ["-A", "-Y", &form("ops"), "echo \"[$SSH_AUTH_SOCK$DISPLAY]\""];
        let mut command = agent.ssh(&world, &words);
        command.env("DISPLAY", "127.0.0.1:77");
        let inside = finish(command, b"").exits(0);
        assert_eq!(inside.text(), "[]\n");
        let log = world.log();
        let kinds: Vec<_> =
            log.events("access.denied").iter().map(|e| e["channel"].clone()).collect();
        assert_eq!(kinds[kinds.len() - 2..], ["forward_x11", "forward_agent"], "{kinds:?}");
        // In a terminal the session says why.
        let words = ["-tt", "-A", &form("ops"), "true"];
        let said = finish(agent.ssh(&world, &words), b"").exits(0);
        said.says("no policy permits forward_agent on account ops");
    }
    assert!(world.log().events("forward.opened").is_empty());
}

#[test]
fn what_is_permitted_goes_to_listed_places_only() {
    let world = closed();
    permit(&world, &["forward_local", "forward_streamlocal", "forward_remote"]);
    list(&world, "metrics", "tcp:127.0.0.1:9187", "troubleshoot");
    let to = FORMS[0]("ops");
    one(&world, "127.0.0.1:9188", &to, b"").complains("is not in the list of destinations");
    one(&world, "localhost:9187", &to, b"").complains("is not in the list of destinations");
    assert_eq!(world.log().last("access.denied")["reason"], "destination_refused");
    // Listed and permitted, but nobody listens there.
    one(&world, "127.0.0.1:9187", &to, b"").complains("the VM cannot connect there");
    let log = world.log();
    assert_eq!(log.last("channel.closed")["reason"], "destination_unreachable");
    assert_eq!(log.last("channel.closed")["outcome"], "unreachable");
    for listen in ["9000", "0", "0.0.0.0:9000"] {
        let words = ["-o", "ExitOnForwardFailure=yes", "-R"];
        let remote = format!("{listen}:127.0.0.1:1");
        let refused = world.ssh(Olga, &[&words[..], &[&remote, &to, "true"]].concat());
        assert_ne!(refused.exit, 0, "{listen}");
    }
    // An operator has no say in the list.
    world.ssh(Olga, &["bastion", "vm destination list pg-1.acme"]).exits(3);
    let listed = world.order(Odile, "vm destination list pg-1.acme").text();
    assert!(listed.contains("metrics") && listed.contains("tcp:127.0.0.1:9187"), "{listed}");
    let events = world.log();
    assert_eq!(events.only("vm.destination_added")["spot"], "tcp:127.0.0.1:9187");
}
