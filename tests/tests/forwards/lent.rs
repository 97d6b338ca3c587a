//! `ssh -A` and `ssh -X`: what a session may use of the operator's, each connection an event.

use crate::scene::{Agent, FORMS, permitting};
use bastion_tests::world::{Person::*, World, finish, until};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

crate::on_both_stores!(&["forward_agent"] => the_operators_agent_is_lent_to_a_session);

fn the_operators_agent_is_lent_to_a_session(world: &World) {
    let agent = Agent::start(world);
    let own = world.run("ssh-keygen", &["-lf", "keys/olga.pub"]).exits(0).text();
    let print = own.split_whitespace().nth(1).unwrap();
    for (number, form) in FORMS.iter().enumerate() {
        let listed = agent.ssh(world, &["-A", &form("ops"), "ssh-add -l"]);
        finish(listed, b"").exits(0).says(print);
        let log = world.log();
        let opened = log.events("forward.opened");
        assert_eq!(opened.len(), number + 1);
        let granted = log.last("access.granted");
        assert_eq!(granted["beside"][0], "forward_agent");
        assert!(granted["policies"].as_array().unwrap().contains(&"test.forward-agent".into()));
        let closed = log.last("forward.closed");
        assert_eq!(closed["channel"], "forward_agent");
        assert_eq!(closed["lease"], granted["lease"]);
        assert!(closed["bytes_in"].as_u64().unwrap() > 50, "the key came through");
        assert_eq!(closed["recording"], opened[number]["recording"]);
        // Without being asked for it is not lent.
        let plain = world.ssh(Olga, &[&form("ops"), "echo [$SSH_AUTH_SOCK]"]).exits(0);
        assert_eq!(plain.text(), "[]\n");
    }
}

/// Takes hold of the agent on the VM, and lets the session end without it.
const HOLDER: &str = r#"
import os, socket, time
s = socket.socket(socket.AF_UNIX)
s.connect(os.environ["SSH_AUTH_SOCK"])
s.sendall(b"\0\0\0\x01\x0b")
s.recv(5)
print("held", flush=True)
time.sleep(60)
"#;

/// sshd would keep it open for as long as the connection; here it ends with what it was lent to.
#[test]
fn what_outlives_its_session_is_cut_and_said_to_be() {
    let world = permitting(&["forward_agent"]);
    let agent = Agent::start(&world);
    for (number, form) in FORMS.iter().enumerate() {
        let script = format!(
            "python3 -c '{HOLDER}' > holder.$$ 2>&1 < /dev/null & \
             until grep -qs held holder.$$; do sleep 0.1; done; rm holder.$$; echo over; exit 3"
        );
        let said = finish(agent.ssh(&world, &["-A", &form("ops"), &script]), b"").exits(3);
        assert_eq!((said.text().as_str(), said.err.as_str()), ("over\n", ""));
        until("both ends", 10, || {
            let log = world.log();
            log.events("forward.closed").len() == number + 1
                && log.events("channel.closed").len() == number + 1
        });
        let log = world.log();
        let closed = log.last("forward.closed");
        assert_eq!(
            (&closed["outcome"], &closed["reason"]),
            (&"completed".into(), &"session_over".into())
        );
        assert!(closed["recording_digest"].is_string(), "{closed}");
        assert_eq!(log.last("channel.closed")["reason"], "program_ended");
    }
}

/// Speaks the beginning of X11 on the VM, with the cookie that sshd put there.
const X_CLIENT: &str = r#"
import os, socket, struct, subprocess
number = int(os.environ["DISPLAY"].rsplit(":", 1)[1].split(".")[0])
line = subprocess.check_output(["xauth", "list", os.environ["DISPLAY"]]).split()
name, cookie = line[1], bytes.fromhex(line[2].decode())
s = socket.create_connection(("127.0.0.1", 6000 + number))
pad = lambda b: b + bytes(-len(b) % 4)
s.sendall(struct.pack("<BxHHHHxx", 0x6C, 11, 0, len(name), len(cookie)) + pad(name) + pad(cookie))
print(s.recv(5).decode())
"#;

#[test]
fn the_operators_display_is_lent_to_a_session() {
    let world = permitting(&["forward_x11"]);
    // A display of ours: what connects there says who it is, and is greeted.
    let (display, listener) = (71..99)
        .find_map(|n| TcpListener::bind(("127.0.0.1", 6000 + n)).ok().map(|bound| (n, bound)))
        .unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut first = [0; 12];
            stream.read_exact(&mut first).unwrap();
            assert_eq!(first[0], 0x6c);
            stream.write_all(b"shown").unwrap();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
    });
    for form in FORMS {
        let script = format!("python3 -c '{X_CLIENT}'");
        let mut command = world.ssh_command(Olga, &["-Y", &form("ops"), &script]);
        command.env("DISPLAY", format!("127.0.0.1:{display}"));
        let shown = finish(command, b"").exits(0);
        assert_eq!(shown.text(), "shown\n", "{}", shown.err);
        until("its end", 10, || !world.log().events("forward.closed").is_empty());
        let log = world.log();
        assert_eq!(log.last("access.granted")["beside"][0], "forward_x11");
        assert_eq!(log.last("forward.closed")["channel"], "forward_x11");
        assert_eq!(log.last("forward.closed")["bytes_in"], 5);
    }
}
