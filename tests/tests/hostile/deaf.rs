//! Peers that take nothing: an operator's client that no longer reads its socket while more is for
//! it, and a VM that does not even take our good-bye.

use crate::{
    port, signal,
    vm::{self, How},
    world,
};
use bastion_tests::{
    own_vm::output,
    world::{Person::Olga, World, until},
};
use nix::sys::signal::Signal;
use russh::{
    ChannelId,
    client::{self, Session},
    keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key},
};
use std::{
    io::Write as _,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

/// How long a client may take nothing here.
const TAKES_NOTHING: u64 = 8;
/// Seconds in which a VM may take what an operator sent before leaving, and then our good-bye.
const LEFT: u64 = 5;
const PARTING: u64 = 5;
/// What a loaded machine may add.
const SLACK: u64 = 15;

/// A client that stops in the middle of what it is sent: it reads its socket no more, and its
/// kernel still answers.
struct Deaf;

impl client::Handler for Deaf {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }

    async fn data(&mut self, _: ChannelId, _: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        std::future::pending().await
    }
}

/// Logs in and asks for more than fits between the gateway and a client that takes none of it.
async fn ask_and_go_deaf(world: &World, port: u16) -> client::Handle<Deaf> {
    // A window that holds nothing back: what is full is the socket.
    let config = client::Config { window_size: 1 << 30, ..client::Config::default() };
    let at = ("127.0.0.1", port);
    let mut handle = client::connect(Arc::new(config), at, Deaf).await.unwrap();
    let key = load_secret_key(world.dir().join(Olga.key()), None).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    assert!(handle.authenticate_publickey("ops+pg-1.acme", key).await.unwrap().success());
    let channel = handle.channel_open_session().await.unwrap();
    channel.exec(false, "exec head -c 1G /dev/zero").await.unwrap();
    // Its handle keeps the connection; what comes for the channel is never looked at.
    std::mem::forget(channel);
    handle
}

#[test]
fn a_client_that_takes_no_byte_is_lost_in_time() {
    // Keepalives would find it before, if they could be sent.
    let limits = format!(
        "login_grace_seconds = 3\nkeepalive_seconds = 3\ntakes_nothing_seconds = {TAKES_NOTHING}"
    );
    let world = world(&[("[ingress]", &limits)]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let began = Instant::now();
    let deaf = runtime.block_on(ask_and_go_deaf(&world, port(&world)));
    until("the channel to be over", 3 + TAKES_NOTHING + SLACK, || {
        !world.log().events("channel.closed").is_empty()
    });
    let took = began.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    let log = world.log();
    let ended = log.last("session.closed");
    println!("lost after {took:.1?}: {ended}");
    assert_eq!(ended["reason"], "lost");
    assert_eq!(log.last("channel.closed")["reason"], "operator_left");
    assert!(took >= Duration::from_secs(TAKES_NOTHING), "{took:?}");
    assert!(output("pgrep", &["-xf", "head -c 1G /dev/zero"]).is_empty());
    drop(deaf);
}

/// Whether this machine has an open connection to a port of it.
fn is_connected(port: u16) -> bool {
    let filter = format!("( dport = :{port} )");
    !output("ss", &["-Htn", "state", "established", &filter]).trim().is_empty()
}

/// It freezes while it is sent more than fits anywhere, so that what the gateway would say stands
/// behind what nobody takes. Its keepalives alone would take four minutes to notice.
#[test]
fn a_vm_that_takes_no_goodbye_is_dropped_in_time() {
    let world = world(&[("[egress]", "keepalive_seconds = 60")]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let how = How::FreezesGreedy;
    let kept = vm::start(&world, &runtime, how);
    let login = format!("ops+{}", vm::name(how));
    let mut work = world.ssh_command(Olga, &["-l", &login, "bastion", "anything"]);
    let mut work = work.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = work.stdin.take().unwrap();
    let sending = std::thread::spawn(move || {
        // It ends with the client.
        input.write_all(&vec![b'x'; 64 << 20]).ok();
    });
    until("the VM's connection", 20, || is_connected(kept.port()));
    // By then everything on the way is full.
    std::thread::sleep(Duration::from_secs(3));
    assert!(is_connected(kept.port()));
    let began = Instant::now();
    signal(i32::try_from(work.id()).unwrap(), Signal::SIGTERM);
    work.wait().unwrap();
    sending.join().unwrap();
    until("the VM's connection to be dropped", LEFT + PARTING + SLACK, || {
        !is_connected(kept.port())
    });
    println!("dropped after {:.1?}", began.elapsed());
    let closed = || !world.log().events("channel.closed").is_empty();
    until("the entries of the end", SLACK, closed);
    assert_eq!(world.log().last("channel.closed")["reason"], "operator_left");
}
