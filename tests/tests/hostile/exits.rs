//! Exit status is never lost: every client, both forms, all under load at once.

use crate::{port, times, world};
use bastion_tests::world::{World, until};
use std::process::{Command, Stdio};

/// A client and a form of it: what to run for an exit status, and how often the sample runs it.
struct Client {
    name: &'static str,
    words: Vec<String>,
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn clients(world: &World) -> Vec<Client> {
    let port = port(world).to_string();
    let convert = ["openssh", "dropbear", "keys/olga", "olga.dropbear"];
    world.run("dropbearconvert", &convert).exits(0);
    world.run("puttygen", &["keys/olga", "-o", "olga.ppk"]).exits(0);
    let scan = format!("ssh-keyscan -p {port} 127.0.0.1 > scanned 2>&1; ssh-keygen -lf scanned");
    let seen = world.run("sh", &["-c", &scan]).exits(0).text();
    let print = seen.split_whitespace().nth(1).expect("a fingerprint").to_owned();
    let to = "ops+pg-1.acme@127.0.0.1";
    let outer = ["ssh", "-F", "ssh_config", "-l", "ops+pg-1.acme", "bastion"];
    let terminal = ["ssh", "-F", "ssh_config", "-tt", "-l", "ops+pg-1.acme", "bastion"];
    vec![
        Client { name: "ssh, user+vm", words: words(&outer) },
        Client { name: "ssh, user+vm, terminal", words: words(&terminal) },
        Client { name: "ssh, -J", words: words(&["ssh", "-F", "ssh_config", "ops@pg-1.acme"]) },
        Client {
            name: "dbclient",
            words: words(&["dbclient", "-y", "-y", "-i", "olga.dropbear", "-p", &port, to]),
        },
        Client {
            name: "plink",
            words: words(&[
                "plink", "-batch", "-hostkey", &print, "-i", "olga.ppk", "-P", &port, to,
            ]),
        },
    ]
}

/// Runs a command whose status is `status`, with or without output before it.
fn run(world: &World, client: &Client, number: usize) -> Result<(), String> {
    let status = 1 + number % 100;
    let command = match number % 3 {
        0 => format!("exit {status}"),
        1 => format!("echo out; echo err >&2; exit {status}"),
        _ => format!("head -c 40000 /dev/zero; exit {status}"),
    };
    // Dropbear hangs on a pipe that is full at the close: it writes into a file.
    let out = std::fs::File::create(world.dir().join(format!("out-{}", number % 64))).unwrap();
    let mut run = Command::new("timeout");
    run.args(["-k", "1", "120"]).args(&client.words).arg(&command).current_dir(world.dir());
    let done = run.stdin(Stdio::null()).stdout(out).stderr(Stdio::piped()).output().unwrap();
    let expected = i32::try_from(status).unwrap();
    match done.status.code() {
        Some(code) if code == expected => Ok(()),
        other => {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            Err(format!("{}: {command:?} gave {other:?} at run {number}: {said}", client.name))
        }
    }
}

#[test]
fn no_exit_status_is_lost_by_any_client() {
    let world = world(&[]);
    let clients = clients(&world);
    let each = 30 * times();
    let lost: Vec<String> = std::thread::scope(|scope| {
        let run_all = |client: &Client| {
            let runs = (0..each).filter_map(|number| run(&world, client, number).err());
            runs.collect::<Vec<_>>()
        };
        let rows: Vec<_> = clients.iter().map(|c| scope.spawn(move || run_all(c))).collect();
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    println!("{each} runs of each of {} clients", clients.len());
    assert!(lost.is_empty(), "{}\n{}", lost.join("\n"), world.gateway_log());
    // A client hears its status before the last entry of its channel is written.
    let all = each * clients.len();
    until("every channel's last entry", 20, || world.log().events("channel.closed").len() == all);
    let log = world.log();
    let ends = log.events("channel.closed");
    let told = ends.iter().filter(|end| end["exit_status"].is_u64()).count();
    assert_eq!(told, ends.len(), "each end has its status");
}

/// A shell without a terminal, its commands on standard input: what once exited with 255 under
/// load.
#[test]
fn a_shell_without_a_terminal_keeps_its_status() {
    let world = world(&[]);
    let lost: Vec<String> = std::thread::scope(|scope| {
        let world = &world;
        let row = move || {
            let mut lost = Vec::new();
            for number in 0..10 * times() {
                let words = ["-l", "ops+pg-1.acme", "bastion"];
                let jump = ["ops@pg-1.acme"];
                let to: &[&str] = if number % 2 == 0 { &words } else { &jump };
                let answer = world.ssh_with(bastion_tests::world::Person::Olga, to, b"exit 5\n");
                if answer.exit != 5 {
                    lost.push(format!("{number}: {} {}", answer.exit, answer.err));
                }
            }
            lost
        };
        let rows: Vec<_> = (0..4).map(|_| scope.spawn(row)).collect();
        rows.into_iter().flat_map(|row| row.join().unwrap()).collect()
    });
    assert!(lost.is_empty(), "{}\n{}", lost.join("\n"), world.gateway_log());
}
