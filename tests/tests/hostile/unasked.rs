//! A VM that opens channels towards us without having been asked: each kind is refused, nothing of
//! it reaches the operator, and the session beside it goes on.

use crate::{
    vm::{self, How},
    world,
};
use bastion_tests::world::{Person::Olga, until};
use russh::server::Handle;

/// Tries every kind of channel that SSH has, and says what came of each, in a line.
pub async fn try_all(vm: &Handle) -> String {
    let here = || "127.0.0.1".to_owned();
    let tried = [
        ("session", vm.channel_open_session().await),
        ("agent", vm.channel_open_agent().await),
        ("x11", vm.channel_open_x11(here(), 6000).await),
        ("direct-tcpip", vm.channel_open_direct_tcpip(here(), 22, here(), 1).await),
        ("direct-streamlocal", vm.channel_open_direct_streamlocal("/run/x").await),
        ("forwarded-tcpip", vm.channel_open_forwarded_tcpip(here(), 9000, here(), 1).await),
        ("forwarded-streamlocal", vm.channel_open_forwarded_streamlocal("/run/x").await),
    ];
    let line = |(kind, opened): (&str, Result<_, russh::Error>)| match opened {
        Ok(_) => format!("{kind}: opened\n"),
        Err(russh::Error::ChannelOpenFailure(why)) => format!("{kind}: {why:?}\n"),
        Err(other) => format!("{kind}: {other}\n"),
    };
    tried.into_iter().map(line).collect()
}

#[test]
fn what_a_vm_opens_unasked_is_refused_and_the_session_goes_on() {
    let world = world(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept = vm::start(&world, &runtime, How::OpensChannels);
    let login = format!("ops+{}", vm::name(How::OpensChannels));
    // With an agent and a display on offer, too: no policy lends them.
    let words = ["-A", "-Y", "-l", &login, "bastion", "anything"];
    let said = world.ssh(Olga, &words).exits(0).text();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 8, "{said}");
    for line in &lines[..7] {
        assert!(line.ends_with(": AdministrativelyProhibited"), "{said}");
    }
    assert_eq!(lines[7], "and goes on");
    // A client hears its status before the last entry is written.
    until("the last entry", 10, || !world.log().events("channel.closed").is_empty());
    let log = world.log();
    assert!(log.events("forward.opened").is_empty());
    assert_eq!(log.last("channel.closed")["reason"], "program_ended");
    drop(kept);
}
