//! VS Code Remote, as it goes about it: look at the machine, put a server there, start it, and talk
//! to the port that it picked, through the proxy of the connection that started it.

use crate::{
    scene::{Echo, FORMS, first_line, free_port, list, permitting},
    socks,
};
use bastion_tests::world::Person::*;
use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    process::Stdio,
};

/// A server that picks a port, says it, and ends with its standard input.
const SERVER: &str = r#"
import http.server, os, sys, threading
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = ("editor as " + os.environ["USER"] + "\n").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Hello)
print("listening on", server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"#;

#[test]
fn the_sequence_of_vs_code_remote_works_and_is_on_record() {
    let world = permitting(&["forward_local"]);
    let database = Echo::start(b"data!");
    // The server picks its port: a range, with the database as a hole in it.
    list(&world, "editor", "tcp:127.0.0.1:1024-65535", "troubleshoot");
    list(&world, "database", &format!("tcp:127.0.0.1:{}", database.port), "data");
    fs::write(world.dir().join("server.py"), SERVER).unwrap();
    for form in FORMS {
        let to = form("ops");
        let look = "uname -sm; echo $SHELL; command -v python3";
        world.ssh(Olga, &["-T", &to, look]).exits(0).says("Linux").says("python3");
        let target = format!("{to}:/tmp/vscode-server.py");
        world.run("scp", &["-F", "ssh_config", "server.py", &target]).exits(0);

        let proxy = free_port();
        let dynamic = format!("127.0.0.1:{proxy}");
        let words = ["-T", "-D", &dynamic, &to, "python3 /tmp/vscode-server.py"];
        let mut command = world.ssh_command(Olga, &words);
        command.process_group(0);
        let mut server = command.stdin(Stdio::piped()).spawn().unwrap();
        let said = first_line(&mut server);
        let port: u16 = said.strip_prefix("listening on ").unwrap().parse().unwrap();

        let mut stream = socks::connect(proxy, "127.0.0.1", port).unwrap();
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.contains("200 OK") && page.ends_with("editor as ops\n"), "{page}");
        assert!(socks::connect(proxy, "127.0.0.1", database.port).is_err());

        // ssh stays for as long as a connection is open.
        drop(stream);
        drop(server.stdin.take());
        assert_eq!(server.wait().unwrap().code(), Some(0));
        world.ssh(Olga, &[&to, "rm /tmp/vscode-server.py"]).exits(0);
        let log = world.log();
        let kinds: Vec<_> =
            log.events("access.granted").iter().map(|e| e["channel"].clone()).collect();
        let last = &kinds[kinds.len() - 5..];
        assert_eq!(last, ["exec", "sftp", "exec", "forward_local", "exec"], "{kinds:?}");
        assert_eq!(log.last("access.denied")["reason"], "destination_of_data");
        let forward =
            log.events("channel.closed").into_iter().rfind(|e| e["destination"] == "editor");
        assert!(forward.unwrap()["bytes_out"].as_u64().unwrap() > 14);
    }
}
