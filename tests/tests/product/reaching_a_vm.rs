//! Reaching a VM with a stock client, in both forms, and what is answered to everything else.

use bastion_tests::world::{Answer, Person, Person::*, World, finish, until};
use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

crate::on_both_stores!(both_forms_are_one_engine);

/// The options that make `ssh ops+VM@bastion` of a person's configuration.
fn first_form(world: &World, person: Person, words: &[&str]) -> Answer {
    let login = ["-l", "ops+pg-1.acme", "bastion"];
    world.ssh(person, &[&login[..], words].concat())
}

fn both_forms_are_one_engine(world: &mut World) {
    let inner = |words: &[&str]| world.ssh(Olga, &[&["ops@pg-1.acme"], words].concat());
    let outer = |words: &[&str]| first_form(world, Olga, words);
    for form in [&inner as &dyn Fn(&[&str]) -> Answer, &outer] {
        form(&["true"]).exits(0);
        form(&["exit 7"]).exits(7);
        let said = form(&["echo out; echo err >&2; exit 3"]).exits(3);
        assert_eq!((said.text().as_str(), said.err.as_str()), ("out\n", "err\n"));
        // Nothing is added to a stream without a terminal.
        form(&["printf '\\000\\377'"]).exits(0).out.eq(&[0, 255]).then_some(()).expect("bytes");
        assert_eq!(form(&["kill -TERM $$"]).exit, 255, "an exit signal is passed on");
    }
    // A client is let go as soon as it knows how its program ended; the last entry may follow.
    until("every channel is closed in the log", 10, || {
        world.log().events("channel.closed").len() == 10
    });
    let log = world.log();
    let granted = log.events("access.granted");
    assert_eq!(granted.len(), 10);
    for grant in granted {
        let story = log.story_of(grant["lease"].as_str().unwrap());
        assert_eq!(story, ["access.granted", "certificate.issued", "channel.closed"]);
    }
    // Each certificate names the recording that its channel's last entry seals.
    let closed = log.events("channel.closed");
    for issued in log.events("certificate.issued") {
        let end = closed.iter().find(|end| end["lease"] == issued["lease"]).unwrap();
        assert_eq!(end["recording"], issued["recording"]);
        assert_eq!(end["recording_digest"].as_str().unwrap().len(), 64, "{end}");
    }
}

/// One world for what needs no second store.
#[test]
fn what_clients_do_works() {
    let world = crate::sqlite();
    end_of_input_is_passed_on(&world);
    the_environment_passes_by_list(&world);
    a_terminal_gets_one_line_first(&world);
    many_channels_share_a_connection(&world);
    files_go_both_ways(&world);
    everything_else_is_refused(&world);
    other_clients_work(&world);
    only_operators_reach_vms(&world);
    the_command_form_answers(&world);
    an_officer_ends_a_session(&world);
    a_session_ends_with_its_entries(&world);
}

fn end_of_input_is_passed_on(world: &World) {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    let echoed = world.ssh_with(Olga, &["ops@pg-1.acme", "cat"], &bytes).exits(0);
    assert!(echoed.out == bytes, "{} bytes came back", echoed.out.len());
    // The program goes on to speak after its input has ended.
    world.ssh_with(Olga, &["ops@pg-1.acme", "wc -c; echo done"], b"12345").exits(0).says("done");
}

fn the_environment_passes_by_list(world: &World) {
    let mut command = world.ssh_command(
        Olga,
        &["-o", "SendEnv=LC_TEST LD_PRELOAD", "ops@pg-1.acme", "echo [$LC_TEST] [$LD_PRELOAD]"],
    );
    command.env("LC_TEST", "yes").env("LD_PRELOAD", "");
    let said = finish(command, &[]).exits(0).text();
    assert!(said.ends_with("[]\n"), "{said}");
}

fn a_terminal_gets_one_line_first(world: &World) {
    let said = world.ssh(Olga, &["-tt", "ops@pg-1.acme", "tty; stty size"]).exits(0).text();
    let first = said.lines().next().unwrap_or_default().to_owned();
    for part in ["pg-1.acme", "ops", "troubleshoot", "recorded"] {
        assert!(first.contains(part), "no {part} in {first:?}");
    }
    assert!(said.contains("/dev/pts/"), "{said}");
}

fn many_channels_share_a_connection(world: &World) {
    let socket = world.dir().join("mux").display().to_string();
    let share = ["-o", "ControlMaster=auto", "-o", "ControlPersist=20", "-S", &socket];
    let mut runs = Vec::new();
    world.ssh(Olga, &[&share[..], &["ops@pg-1.acme", "true"]].concat()).exits(0);
    for i in 0..8 {
        let words = [&share[..], &["ops@pg-1.acme", "sleep 0.2; exit"]].concat();
        let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
        let last = words.len() - 1;
        words[last] = format!("sleep 0.2; exit {i}");
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        runs.push((i, world.ssh_command(Olga, &words).spawn().unwrap()));
    }
    for (i, mut run) in runs {
        assert_eq!(run.wait().unwrap().code(), Some(i));
    }
    world.ssh(Olga, &["-O", "exit", "-S", &socket, "ops@pg-1.acme"]).exits(0);
}

fn files_go_both_ways(world: &World) {
    let text = "0123456789".repeat(50_000);
    std::fs::write(world.dir().join("up"), &text).unwrap();
    let options = ["-F", "ssh_config", "-q"];
    let scp = |from: &str, to: &str| world.run("scp", &[&options[..], &[from, to]].concat());
    scp("up", "ops@pg-1.acme:/tmp/ingress-up").exits(0);
    scp("ops@pg-1.acme:/tmp/ingress-up", "down").exits(0);
    assert!(std::fs::read_to_string(world.dir().join("down")).unwrap() == text);
    let old = |from: &str, to: &str| world.run("scp", &[&options[..], &["-O", from, to]].concat());
    old("ops@pg-1.acme:/tmp/ingress-up", "old").exits(0);
    assert!(std::fs::read_to_string(world.dir().join("old")).unwrap() == text);
    let shell = "ssh -F ssh_config";
    let sync = ["-a", "-e", shell, "up", "ops@pg-1.acme:/tmp/ingress-up"];
    world.run("rsync", &sync).exits(0);
    world.ssh(Olga, &["ops@pg-1.acme", "rm /tmp/ingress-up"]).exits(0);
    // Both transfers over sftp stand in the log, with what went through.
    let digest = world.run("sha256sum", &["up"]).exits(0).text();
    let digest = digest.split_whitespace().next().expect("a digest");
    let log = world.log();
    for direction in ["upload", "download"] {
        let went = |file: &&&serde_json::Value| file["direction"] == direction;
        let files = log.events("file.transferred");
        let file = files.iter().find(went).unwrap_or_else(|| panic!("no {direction}"));
        assert_eq!((&file["sha256"], &file["complete"]), (&digest.into(), &true.into()));
    }
}

fn everything_else_is_refused(world: &World) {
    let denied = |world: &World| world.log().events("access.denied").len();
    let before = denied(world);
    // Unknown and not offered are one answer.
    let wanted = |to: &str| world.ssh(Olga, &["-o", "LogLevel=INFO", "-W", to, "bastion"]);
    let (unknown, port) = (wanted("nowhere.acme:22"), wanted("pg-1.acme:5432"));
    let outside = wanted("192.0.2.1:22");
    let last = |answer: &Answer| {
        let said = answer.err.split("open failed: ").nth(1).unwrap_or(&answer.err);
        said.lines().next().unwrap_or_default().to_owned()
    };
    assert!(last(&port).contains("administratively prohibited: "), "{}", port.err);
    assert_eq!(last(&unknown), last(&port), "{}", unknown.err);
    assert_eq!(last(&outside), last(&port));
    // One hop, one VM: nothing goes on from inside the connection to a VM.
    let on = ["-o", "LogLevel=INFO", "-W", "pg-2.acme:22", "ops@pg-1.acme"];
    let on = last(&world.ssh(Olga, &on));
    assert!(on.contains("no policy permits forward_local on account ops"), "{on}");
    let reverse = world
        .ssh(Olga, &["-o", "ExitOnForwardFailure=yes", "-R", "0:localhost:1", "ops@pg-1.acme"]);
    assert_ne!(reverse.exit, 0);
    assert_eq!(denied(world), before + 5);
    for (login, says) in [("ops+", "no VM name"), ("OPS+pg-1.acme", "no account")] {
        world.ssh(Olga, &["-l", login, "bastion", "true"]).exits(254).complains(says);
    }
    world.ssh(Olga, &["-l", "ops+nowhere.acme", "bastion", "true"]).exits(254).complains("no VM");
    // A subsystem that does not exist, an agent and X11: answered, not hung.
    assert_ne!(world.ssh(Olga, &["-s", "ops@pg-1.acme", "netconf"]).exit, 0);
    world.ssh(Olga, &["-A", "-X", "ops@pg-1.acme", "true"]).exits(0);
}

/// Other clients, where they are installed: they know no host certificates, so they see the key.
fn other_clients_work(world: &World) {
    let config = std::fs::read_to_string(world.dir().join("ssh_config")).unwrap();
    let port = config.lines().find_map(|line| line.trim().strip_prefix("Port ")).unwrap();
    let installed = |program: &str| {
        let found = world.run("sh", &["-c", &format!("command -v {program}")]).exit == 0;
        if !found {
            eprintln!("SKIPPED: {program} is not installed");
        }
        found
    };
    let to = "ops+pg-1.acme@127.0.0.1";
    if installed("dbclient") && installed("dropbearconvert") {
        let convert = ["openssh", "dropbear", "keys/olga", "olga.dropbear"];
        world.run("dropbearconvert", &convert).exits(0);
        let words = ["-y", "-y", "-i", "olga.dropbear", "-p", port, to, "echo out; exit 5"];
        world.run("dbclient", &words).exits(5).says("out");
    }
    if installed("plink") && installed("puttygen") {
        world.run("puttygen", &["keys/olga", "-o", "olga.ppk"]).exits(0);
        let line = world.run("sh", &["-c", &format!("ssh-keyscan -p {port} 127.0.0.1 > scanned")]);
        line.exits(0);
        let seen = world.run("ssh-keygen", &["-lf", "scanned"]).exits(0).text();
        let print = seen.split_whitespace().nth(1).expect("a fingerprint").to_owned();
        let words = ["-batch", "-hostkey", &print, "-i", "olga.ppk", "-P", port, to, "exit 6"];
        world.run("plink", &words).exits(6);
    }
}

fn only_operators_reach_vms(world: &World) {
    for person in [Odile, Acme] {
        let to = ["-l", "ops+pg-1.acme", "bastion", "true"];
        world.ssh(person, &to).exits(254).complains("not an operator");
        assert_ne!(world.ssh(person, &["-W", "pg-1.acme:22", "bastion"]).exit, 0);
    }
    // The inner operator is the outer one.
    let jump = "ProxyCommand=ssh -F ssh_config -W %h:%p bastion";
    let key = ["-F", "ssh_config.otto", "-o", jump, "-o", "IdentitiesOnly=yes", "-i", "keys/otto"];
    let other = world.run("ssh", &[&key[..], &["ops@pg-1.acme", "true"]].concat());
    assert_eq!(other.exit, 255, "{}", other.err);
    let denied = world.log();
    assert_eq!(denied.last("access.denied")["reason"], "inner_identity_differs");
}

fn the_command_form_answers(world: &World) {
    world.ssh(Olga, &["bastion", "whoami"]).exits(0).says("olga");
    world.ssh(Olga, &["bastion"]).exits(0).says("ls");
    world.ssh(Olga, &["bastion", "no-such-command"]);
    world.ssh(Olga, &["bastion", "say 'it"]).exits(2).complains("quote");
    let terminal = world.ssh(Olga, &["-tt", "bastion", "whoami"]).exits(0).text();
    assert!(terminal.contains("\r\n"), "{terminal:?}");
}

fn an_officer_ends_a_session(world: &World) {
    let command = ["ops@pg-1.acme", "echo in; sleep 60"];
    let mut work = world.ssh_command(Olga, &command).spawn().unwrap();
    let mut first = [0; 3];
    work.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let log = world.log();
    let session = log.last("access.granted")["session"].as_str().unwrap().to_owned();
    world.order(Odile, &format!("session end {session} --reason it looks wrong"));
    until("the session to end", 2, || work.try_wait().unwrap().is_some());
    let mut said = String::new();
    work.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("a security officer ended this session"), "{said}");
    assert_eq!(world.log().last("channel.closed")["reason"], "officer");
}

fn a_session_ends_with_its_entries(world: &World) {
    let mut shell =
        world.ssh_command(Olga, &["ops@pg-1.acme"]).stdin(Stdio::piped()).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"exit 5\n").unwrap();
    let done = shell.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(5), "{}", String::from_utf8_lossy(&done.stderr));
    until("every session to be closed", 10, || {
        let log = world.log();
        log.events("session.opened").len() == log.events("session.closed").len()
    });
}
