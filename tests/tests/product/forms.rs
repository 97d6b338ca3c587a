//! Both forms behave as a plain ssh would: streams, exit statuses, signals, terminals, files.

use bastion_tests::world::{Person::*, World, finish, until};
use sha2::{Digest as _, Sha256};
use std::{fs, io::Write as _, process::Stdio};

crate::on_both_stores!(a_channel_is_like_ssh);

#[test]
fn files_go_both_ways() {
    files_of_every_kind(&crate::sqlite());
}

#[test]
fn a_terminal_is_a_terminal() {
    terminals(&crate::sqlite());
}

#[test]
fn a_slow_reader_holds_up_nobody() {
    slow_reader(&crate::sqlite());
}

/// The two ways to name a VM.
const FORMS: [&str; 2] = ["ops@pg-1.acme", "ops+pg-1.acme@bastion"];

fn a_channel_is_like_ssh(world: &mut World) {
    for form in FORMS {
        for exit in [0, 1, 7, 255] {
            world.ssh(Olga, &[form, &format!("exit {exit}")]).exits(exit);
        }
        let both = world.ssh(Olga, &[form, "echo out; echo err >&2"]).exits(0);
        assert_eq!((both.text().as_str(), both.err.as_str()), ("out\n", "err\n"), "{form}");
        // A signal on the far side ends ssh with 255.
        assert_eq!(world.ssh(Olga, &[form, "kill -TERM $$"]).exit, 255, "{form}");
        let echoed = world.ssh_with(Olga, &[form, "cat; echo done"], b"to the VM\n").exits(0);
        assert_eq!(echoed.text(), "to the VM\ndone\n", "{form}");
        // Input that nobody reads, and output that is there at the very end.
        let input = vec![b'x'; 300_000];
        world.ssh_with(Olga, &[form, "true"], &input).exits(0);
        let long = world.ssh(Olga, &[form, "head -c 3000000 /dev/zero; exit 9"]).exits(9);
        assert_eq!(long.out.len(), 3_000_000, "{form}");
        let input: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        let summed = world.ssh_with(Olga, &[form, "sha256sum"], &input).exits(0);
        summed.says(&hex(&Sha256::digest(&input)));
        // A shell without a terminal takes commands from its input.
        let shell = world.ssh_with(Olga, &[form], b"echo from a shell\nexit 4\n").exits(4);
        assert_eq!(shell.text(), "from a shell\n", "{form}");
    }
    // By allow list only.
    let mut command =
        world.ssh_command(Olga, &["-o", "SendEnv=LC_TEST EVIL", "ops@pg-1.acme", "env"]);
    command.env("LC_TEST", "through").env("EVIL", "kept out");
    let env = finish(command, &[]).exits(0).text();
    assert!(env.contains("LC_TEST=through"), "{env}");
    assert!(!env.contains("EVIL"), "{env}");
    // Many channels at once, each with its own status.
    let children: Vec<_> = (0..12)
        .map(|n| {
            let command = format!("sleep 0.2; exit {n}");
            (n, world.ssh_command(Olga, &[FORMS[n % 2], &command]).spawn().unwrap())
        })
        .collect();
    for (n, mut child) in children {
        assert_eq!(child.wait().unwrap().code(), Some(i32::try_from(n).unwrap()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn terminals(world: &World) {
    for form in FORMS {
        let seen = world.ssh(Olga, &["-tt", form, "tty; stty size; exit 5"]).exits(5).text();
        assert!(seen.contains("/dev/pts/"), "{seen}");
        // Before the first byte of the VM: what was granted, and that it is recorded.
        let told = seen.lines().next().unwrap_or_default();
        for word in ["pg-1.acme", "ops", "troubleshoot", "recorded"] {
            assert!(told.contains(word), "no {word:?} in: {told}");
        }
        let plain = world.ssh(Olga, &[form, "echo only this"]).exits(0);
        assert_eq!((plain.text().as_str(), plain.err.as_str()), ("only this\n", ""));
    }
    // What is typed arrives, and Ctrl-C reaches the program.
    let mut command = world.ssh_command(Olga, &["-tt", "ops@pg-1.acme"]);
    command.stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"sleep 60\n").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1500));
    stdin.write_all(b"\x03").unwrap();
    stdin.write_all(b"echo still h''ere; exit 6\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("still here"), "{text}");
}

fn files_of_every_kind(world: &World) {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(n) % 253) as u8).collect();
    let digest = hex(&Sha256::digest(&bytes));
    fs::write(world.dir().join("up.bin"), &bytes).unwrap();
    let vm = "ops@pg-1.acme";
    let jump = ["-F", "ssh_config"];
    let copy = |program: &str, words: &[&str]| {
        world.run(program, &[&jump[..], words].concat()).exits(0);
    };
    copy("scp", &["-q", "up.bin", &format!("{vm}:scp.bin")]);
    copy("scp", &["-q", &format!("{vm}:scp.bin"), "down.bin"]);
    assert_eq!(hex(&Sha256::digest(fs::read(world.dir().join("down.bin")).unwrap())), digest);
    copy("scp", &["-q", "-O", "up.bin", &format!("{vm}:old.bin")]);
    // scp's own spelling of the other form.
    copy("scp", &["-q", "ops+pg-1.acme@bastion:scp.bin", "down2.bin"]);
    assert_eq!(fs::read(world.dir().join("down2.bin")).unwrap(), bytes);

    fs::write(world.dir().join("batch"), "put up.bin sftp.bin\nrename sftp.bin moved.bin\nls\n")
        .unwrap();
    let listed = world.run("sftp", &["-F", "ssh_config", "-b", "batch", vm]).exits(0);
    listed.says("moved.bin");
    let sums = world.ssh(Olga, &[vm, "sha256sum scp.bin old.bin moved.bin"]).exits(0).text();
    assert_eq!(sums.matches(&digest).count(), 3, "{sums}");

    let rsync = ["-a", "-e", "ssh -F ssh_config", "up.bin", &format!("{vm}:rsync.bin")];
    world.run("rsync", &rsync).exits(0);
    world.ssh(Olga, &[vm, "sha256sum rsync.bin"]).exits(0).says(&digest);

    let log = world.log();
    let files = log.events("file.transferred");
    let whole = |way: &str| {
        let is = |e: &&&serde_json::Value| e["direction"] == way && e["sha256"] == digest.as_str();
        files.iter().filter(is).filter(|e| e["complete"] == true).count()
    };
    assert!(whole("upload") >= 2, "{files:#?}");
    assert!(whole("download") >= 2, "{files:#?}");
    assert!(!log.events("file.changed").is_empty());
}

fn slow_reader(world: &World) {
    let mut slow = world.ssh_command(Olga, &["ops@pg-1.acme", "head -c 200000000 /dev/zero"]);
    let mut slow = slow.spawn().unwrap();
    for _ in 0..5 {
        world.ssh(Olga, &["ops@pg-1.acme", "true"]).exits(0);
    }
    assert!(slow.try_wait().unwrap().is_none(), "200 MB fit into buffers");
    let output = slow.stdout.take().unwrap();
    let counted = std::io::copy(&mut { output }, &mut std::io::sink()).unwrap();
    assert_eq!(counted, 200_000_000);
    until("the slow channel to end", 10, || slow.try_wait().unwrap().is_some());
    assert_eq!(slow.wait().unwrap().code(), Some(0));
}
