//! `ssh -L` and `-D`: one grant, one login and one recording for each connection.

use crate::scene::{Echo, FORMS, Forward, free_port, list, permitting, talk};
use bastion_tests::world::until;

#[test]
fn a_local_forward_goes_where_policy_and_list_say_and_is_on_record() {
    let world = permitting(&["forward_local"]);
    let echo = Echo::start(b"hello ");
    list(&world, "echo", &format!("tcp:127.0.0.1:{}", echo.port), "troubleshoot");
    for (number, form) in FORMS.iter().enumerate() {
        let port = free_port();
        let words = format!("127.0.0.1:{port}:127.0.0.1:{}", echo.port);
        let forward = Forward::start(&world, &["-L", &words], &form("ops"), port);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        assert_eq!(talk(port, &sent), [b"hello ", &sent[..]].concat());
        drop(forward);
        until("the connections to be closed", 10, || {
            world.log().events("channel.closed").len() == 2 * (number + 1)
        });
        let log = world.log();
        let granted = log.last("access.granted");
        assert_eq!(granted["channel"], "forward_local");
        assert_eq!(granted["destination"], "echo");
        assert_eq!(granted["policies"][1], "test.forward-local");
        let closed = log.last("channel.closed");
        assert_eq!(closed["channel"], "forward_local");
        assert_eq!(closed["destination"], "echo");
        assert_eq!(closed["bytes_in"], sent.len());
        assert_eq!(closed["bytes_out"], sent.len() + 6);
        assert_eq!(closed["outcome"], "completed");
        assert!(closed["recording_digest"].is_string());
    }
}
