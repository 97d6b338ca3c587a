//! `ssh -L`: one grant, one login and one recording for each connection, to ports and sockets.

use crate::scene::{Echo, FORMS, Forward, free_port, list, permitting, talk};
use bastion_tests::world::{World, until};
use std::{
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
};

crate::on_both_stores!(&["forward_local"] =>
    a_local_forward_goes_where_policy_and_list_say_and_is_on_record,
);

fn bytes() -> Vec<u8> {
    (0..1_000_000_u32).map(|n| u8::try_from(n * 7 % 251).unwrap()).collect()
}

/// What the log says of the connection that ended last.
fn on_record(world: &World, kind: &str, to: &str, greeting: usize) {
    let log = world.log();
    let granted = log.last("access.granted");
    assert_eq!((&granted["channel"], &granted["destination"]), (&kind.into(), &to.into()));
    let test = format!("test.{}", kind.replace('_', "-"));
    assert_eq!(granted["policies"][1], test.as_str());
    let closed = log.last("channel.closed");
    assert_eq!((&closed["channel"], &closed["destination"]), (&kind.into(), &to.into()));
    assert_eq!(closed["bytes_in"], bytes().len());
    assert_eq!(closed["bytes_out"], bytes().len() + greeting);
    assert_eq!(closed["outcome"], "completed");
    assert!(closed["recording_digest"].is_string() && closed["duration_ms"].is_u64());
    let story = log.story_of(closed["lease"].as_str().unwrap());
    assert_eq!(story, ["access.granted", "certificate.issued", "channel.closed"]);
}

fn a_local_forward_goes_where_policy_and_list_say_and_is_on_record(world: &World) {
    let echo = Echo::start(b"hello ");
    list(world, "echo", &format!("tcp:127.0.0.1:{}", echo.port), "troubleshoot");
    for form in FORMS {
        let before = world.log().events("channel.closed").len();
        let port = free_port();
        let words = format!("127.0.0.1:{port}:127.0.0.1:{}", echo.port);
        let forward = Forward::start(world, &["-L", &words], &form("ops"), port);
        assert_eq!(talk(port, &bytes()), [b"hello ", &bytes()[..]].concat());
        drop(forward);
        // The first one only tried whether ssh listens.
        until("the connections to be closed", 20, || {
            world.log().events("channel.closed").len() == before + 2
        });
        on_record(world, "forward_local", "echo", 6);
    }
}

#[test]
fn a_socket_of_the_vm_is_a_destination_too() {
    let world = permitting(&["forward_streamlocal"]);
    // Where a VM of the demo sees the machine: outside what is covered.
    let folder = std::path::Path::new("/opt").join(format!("forwards-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("echo.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut got = Vec::new();
            stream.read_to_end(&mut got).unwrap();
            stream.write_all(&got).ok();
        }
    });
    let path = socket.display().to_string();
    list(&world, "sock", &format!("unix:{path}"), "troubleshoot");
    for form in FORMS {
        let before = world.log().events("channel.closed").len();
        let port = free_port();
        let words = format!("127.0.0.1:{port}:{path}");
        let forward = Forward::start(&world, &["-L", &words], &form("ops"), port);
        assert_eq!(talk(port, &bytes()), bytes());
        drop(forward);
        until("the connections to be closed", 20, || {
            world.log().events("channel.closed").len() == before + 2
        });
        on_record(&world, "forward_streamlocal", "sock", 0);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
