//! PuTTY's command line programs: plink, psftp and pscp. They know no host certificates, so each is
//! told the fingerprint of the key that it will see.

use crate::{
    desk::{self, Desk, Form, Trial},
    table::{Cell, Cell::Cannot, Cell::Tried, Feature, Feature as F},
    transfer::some_bytes,
};
use bastion_tests::world::{World, finish};
use std::{
    ffi::OsStr,
    fs,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    process::{Command, Stdio},
};

/// What is tried, beside what is [`crate::plain`].
pub const CELLS: &[(Feature, Cell<Trial>)] = &[
    (F::Exec, Tried(exec)),
    (F::Shell, Tried(shell)),
    (F::Terminal, Tried(terminal)),
    (F::Subsystem, Tried(subsystem)),
    (F::Env, Tried(env)),
    (F::ExitSignal, Tried(exit_signal)),
    (F::Stderr, Tried(stderr)),
    (F::HalfClose, Tried(half_close)),
    (F::EarlyData, Cannot("The client waits for the reply.")),
    (F::Bytes, Tried(bytes)),
    (F::LongCommand, Tried(long_command)),
    (F::Sharing, Tried(sharing)),
    (F::Rekey, Tried(rekey)),
    (F::OurRekey, Tried(our_rekey)),
    (F::Keepalive, Tried(keepalive)),
    (F::Sftp, Tried(sftp)),
    (F::Scp, Tried(scp)),
    (F::ScpOld, Tried(scp_old)),
    (F::Empty, Tried(empty)),
    (F::Rsync, Tried(rsync)),
];

#[test]
fn putty() {
    let world = desk::world();
    world.run("puttygen", &["keys/olga", "-o", "olga.ppk"]).exits(0);
    // The keys as clients without certificates see them: the gateway's, and that of the VM's door.
    let port = desk::port(&world);
    for (name, ssh) in [
        ("gateway.known", format!("-p {port} olga@127.0.0.1 whoami")),
        ("vm.known", format!("-J bastion ops@{} true", Form::Jump.vm())),
    ] {
        let options =
            "-o StrictHostKeyChecking=no -o HostKeyAlgorithms=ssh-ed25519 -o LogLevel=ERROR";
        let line = format!("ssh -F ssh_config -o UserKnownHostsFile={name} {options} {ssh}");
        world.run("sh", &["-c", &line]).exits(0);
    }
    // New keys every 16 MiB are a setting of a saved session, and so is the environment.
    let sessions = world.dir().join("putty/sessions");
    fs::create_dir_all(&sessions).unwrap();
    let saved = |name, text| fs::write(sessions.join(name), text).unwrap();
    saved("rekey", "Protocol=ssh\nRekeyBytes=16M\n");
    saved("env", "Protocol=ssh\nEnvironment=LC_BASTION=sent,SECRET=kept\n");
    saved("alive", "Protocol=ssh\nPingInterval=0\nPingIntervalSecs=1\n");
    desk::try_all(&world, "", CELLS);
    desk::every_channel_is_on_record(&world);
}

fn print(world: &World, file: &str) -> String {
    let seen = world.run("ssh-keygen", &["-lf", file]).exits(0).text();
    seen.split_whitespace().nth(1).unwrap().to_owned()
}

/// The words that take one of PuTTY's programs to the VM, and the name of the host.
fn to(desk: Desk<'_>) -> (Vec<String>, String) {
    let (world, port) = (desk.world, desk::port(desk.world));
    let mut words = vec!["-batch".to_owned(), "-i".into(), "olga.ppk".into()];
    let gateway = print(world, "gateway.known");
    if desk.form == Form::Plus {
        words.extend(["-hostkey".into(), gateway, "-P".into(), port]);
        return (words, format!("ops+{}@127.0.0.1", desk.form.vm()));
    }
    let proxy = format!(
        "plink -batch -i olga.ppk -hostkey {gateway} -P {port} -nc %host:%port olga@127.0.0.1"
    );
    words.extend(["-hostkey".into(), print(world, "vm.known"), "-proxycmd".into(), proxy]);
    (words, format!("ops@{}", desk.form.vm()))
}

fn command(desk: Desk<'_>, program: &str, options: &[&str], words: &[&str]) -> Command {
    let (mut all, host) = to(desk);
    // A saved session would bring a host of its own; ours goes after it.
    all.splice(0..0, options.iter().map(|&word| word.to_owned()));
    all.push(host);
    all.extend(words.iter().map(|&word| word.to_owned()));
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut command = desk.world.program(program, &all);
    command.env("PUTTYDIR", desk.world.dir().join("putty"));
    command
}

fn plink(desk: Desk<'_>, words: &[&str]) -> Command {
    command(desk, "plink", &[], words)
}

fn exec(desk: Desk<'_>) {
    for status in [0, 7, 200] {
        let said = finish(plink(desk, &[&format!("echo here; exit {status}")]), &[]).exits(status);
        assert_eq!(said.out, b"here\n");
    }
}

fn shell(desk: Desk<'_>) {
    let command = command(desk, "plink", &["-T"], &[]);
    assert_eq!(finish(command, b"echo $((6 * 7))\nexit 5\n").exits(5).text(), "42\n");
}

fn terminal(desk: Desk<'_>) {
    let mut command = command(desk, "plink", &["-t"], &[]);
    command.env("TERM", "xterm");
    crate::terminal::converse(desk.world, &command).exits(5);
}

fn subsystem(desk: Desk<'_>) {
    // psftp asks for it; one that does not exist is refused, and nothing hangs.
    let none = finish(command(desk, "plink", &["-s"], &["netconf"]), &[]);
    assert_ne!(none.exit, 0);
    sftp(desk);
}

fn env(desk: Desk<'_>) {
    let words = ["echo [$LC_BASTION] [$SECRET]"];
    let said = finish(command(desk, "plink", &["-load", "env"], &words), &[]).exits(0);
    assert_eq!(said.text(), "[sent] []\n");
}

fn exit_signal(desk: Desk<'_>) {
    let said = finish(plink(desk, &["kill -TERM $$"]), &[]);
    assert_ne!(said.exit, 0, "{}", said.err);
}

fn stderr(desk: Desk<'_>) {
    let said = finish(plink(desk, &["echo out; echo err >&2; exit 2"]), &[]).exits(2);
    assert_eq!((said.text().as_str(), said.err.as_str()), ("out\n", "err\n"));
}

fn half_close(desk: Desk<'_>) {
    let words = ["wc -c; sleep 0.3; echo done; exit 4"];
    let said = finish(plink(desk, &words), &[7; 100_000]).exits(4);
    assert_eq!(said.text(), "100000\ndone\n");
}

fn bytes(desk: Desk<'_>) {
    let word = OsStr::from_bytes(b"printf %s 'caf\xe9 \xff' > 'p\xe9\xff'; ls -N; cat p*; rm p*");
    let mut command = plink(desk, &[]);
    command.arg(word);
    let said = finish(command, &[]).exits(0).out;
    let holds = |part: &[u8]| said.windows(part.len()).any(|window| window == part);
    assert!(holds(b"p\xe9\xff\n") && holds(b"caf\xe9 \xff"), "{said:?}");
}

fn long_command(desk: Desk<'_>) {
    let (head, tail) = ("x='", "'; echo ${#x}");
    let room = 128 * 1024 - 1 - head.len() - tail.len();
    let line = format!("{head}{}{tail}", "y".repeat(room));
    assert_eq!(finish(plink(desk, &[&line]), &[]).exits(0).text(), format!("{room}\n"));
}

/// Both ways at once: what `plink` as the jump of `plink` gets on with only as long as the windows
/// of the inner connection fit into that of the outer one (`Flow::narrow`).
fn load(desk: Desk<'_>, options: &[&str]) {
    let sent = some_bytes(40 << 20);
    let back = finish(command(desk, "plink", options, &["cat"]), &sent);
    assert_eq!((back.exit, back.err.as_str()), (0, ""));
    assert!(back.out == sent, "{} of {} bytes came back", back.out.len(), sent.len());
}

/// A second command and psftp over the connection of a first one.
fn sharing(desk: Desk<'_>) {
    // Who shares is looked up by this name: other worlds on this machine have their own.
    let world = desk.world.dir().file_name().unwrap().to_str().unwrap();
    let name = format!("{world}-{}", desk.form.word());
    let options = ["-share", "-loghost", &name];
    let mut first = command(desk, "plink", &options, &["echo up; cat"]);
    let mut first = first.stdin(Stdio::piped()).spawn().unwrap();
    let mut up = [0; 3];
    first.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
    let exists = ["-shareexists", "-loghost", &name];
    finish(command(desk, "plink", &exists, &[]), &[]).exits(0);
    finish(command(desk, "plink", &options, &["exit 7"]), &[]).exits(7);
    let file = desk.write("share-batch", b"pwd\n");
    let words = [&options[..], &["-b", &file]].concat();
    finish(command(desk, "psftp", &words, &[]), &[]).exits(0).says("Remote directory");
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    let list = format!("session list --vm {} --json", desk.form.vm());
    let leases = desk.world.bastion(&list.split(' ').collect::<Vec<_>>()).exits(0).json();
    let newest = &leases.as_array().unwrap()[..3];
    assert!(newest.iter().all(|lease| lease["session"] == newest[0]["session"]), "{leases}");
}

fn rsync(desk: Desk<'_>) {
    let (words, host) = to(desk);
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let plink = format!("plink {}", quoted.join(" "));
    crate::transfer::rsync_by(desk, &plink, &host);
}

fn rekey(desk: Desk<'_>) {
    load(desk, &["-load", "rekey"]);
}

fn our_rekey(desk: Desk<'_>) {
    load(desk, &[]);
}

fn keepalive(desk: Desk<'_>) {
    finish(command(desk, "plink", &["-load", "alive"], &["sleep 7; exit 3"]), &[]).exits(3);
}

fn sftp(desk: Desk<'_>) {
    let bytes = some_bytes(2_000_000);
    let (up, down) = (desk.write("psftp-up", &bytes), desk.file("psftp-down"));
    let batch =
        format!("put {up} psftp.bin\nget psftp.bin {down}\nmkdir d\nmv psftp.bin d\nls d\n");
    let file = desk.write("psftp-batch", batch.as_bytes());
    let said = finish(command(desk, "psftp", &["-b", &file], &[]), &[]).exits(0);
    said.says("psftp.bin");
    assert!(desk.read("psftp-down") == bytes, "not the same bytes");
    desk.ssh("rm -r d").exits(0);
}

fn copied(desk: Desk<'_>, way: &str, bytes: &[u8]) {
    let (up, down) = (desk.write("pscp-up", bytes), desk.file("pscp-down"));
    let (mut words, host) = to(desk);
    words.extend(["-q".to_owned(), way.to_owned()]);
    let far = format!("{host}:pscp.bin");
    for (from, to) in [(&up, &far), (&far, &down)] {
        let all: Vec<&str> = words.iter().chain([from, to]).map(String::as_str).collect();
        finish(desk.world.program("pscp", &all), &[]).exits(0);
    }
    assert!(desk.read("pscp-down") == bytes, "not the same bytes");
}

fn scp(desk: Desk<'_>) {
    copied(desk, "-sftp", &some_bytes(1_000_000));
}

fn scp_old(desk: Desk<'_>) {
    copied(desk, "-scp", &some_bytes(1_000_000));
}

fn empty(desk: Desk<'_>) {
    copied(desk, "-sftp", b"");
    copied(desk, "-scp", b"");
    assert_eq!(finish(plink(desk, &["cat"]), &[]).exits(0).out, b"");
}
