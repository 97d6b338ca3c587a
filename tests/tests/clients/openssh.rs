//! OpenSSH: Debian's own, and that of its backports.

use crate::{
    desk::{self, Desk, Trial},
    table::{Cell, Cell::Tried, Feature, Feature as F},
};
use bastion_tests::world::finish;
use sha2::{Digest as _, Sha256};
use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    process::{Child, Stdio},
    time::Duration,
};

/// What is tried; the file transfers and tools on top of ssh stand in modules of their own.
pub const CELLS: &[(Feature, Cell<Trial>)] = &[
    (F::Exec, Tried(exec)),
    (F::Shell, Tried(shell)),
    (F::Terminal, Tried(terminal)),
    (F::Subsystem, Tried(subsystem)),
    (F::Env, Tried(env)),
    (F::Signal, Cell::Cannot("The client sends no signals; Ctrl-C in a terminal does.")),
    (F::ExitSignal, Tried(exit_signal)),
    (F::Stderr, Tried(stderr)),
    (F::HalfClose, Tried(half_close)),
    (F::EarlyData, Tried(early_data)),
    (F::Bytes, Tried(bytes)),
    (F::LongCommand, Tried(long_command)),
    (F::Channels, Tried(channels)),
    (F::Sharing, Tried(sharing)),
    (F::Rekey, Tried(rekey)),
    (F::OurRekey, Tried(our_rekey)),
    (F::Keepalive, Tried(keepalive)),
    (F::Sftp, Tried(crate::transfer::sftp)),
    (F::Scp, Tried(crate::transfer::scp)),
    (F::ScpOld, Tried(crate::transfer::scp_old)),
    (F::Empty, Tried(crate::transfer::empty)),
    (F::Rsync, Tried(crate::transfer::rsync)),
    (F::Sshfs, Tried(crate::transfer::sshfs)),
    (F::Git, Tried(crate::tools::git)),
    (F::Ansible, Tried(crate::tools::ansible)),
    (F::Forwarding, Cell::Elsewhere("tests/tests/forwards")),
];

#[test]
fn openssh_of_debian_12() {
    let world = desk::world();
    desk::try_all(&world, "", CELLS);
    desk::every_channel_is_on_record(&world);
}

#[test]
fn openssh_of_backports() {
    let programs = desk::tools().join("openssh/usr/bin").display().to_string();
    let world = desk::world();
    desk::try_all(&world, &programs, CELLS);
    desk::every_channel_is_on_record(&world);
}

fn exec(desk: Desk<'_>) {
    for status in [0, 7, 255] {
        let said = desk.ssh(&format!("echo here; exit {status}")).exits(status);
        assert_eq!(said.out, b"here\n");
    }
}

fn shell(desk: Desk<'_>) {
    let said = finish(desk.ssh_command(&[], &[]), b"echo $((6 * 7))\nexit 5\n").exits(5);
    assert_eq!(said.text(), "42\n", "{}", said.err);
}

/// A terminal of ours, which changes its size while the program runs.
fn terminal(desk: Desk<'_>) {
    let mut command = desk.ssh_command(&["-tt"], &[]);
    command.env("TERM", "xterm-256color");
    crate::terminal::converse(desk.world, &command).exits(5);
}

fn subsystem(desk: Desk<'_>) {
    // SSH_FXP_INIT of version 3; the answer is SSH_FXP_VERSION of version 3.
    let hello = [0, 0, 0, 5, 1, 0, 0, 0, 3];
    let mut sftp = desk.ssh_command(&["-s"], &["sftp"]).stdin(Stdio::piped()).spawn().unwrap();
    // It is answered before the end of input, which sftp-server would let overtake the answer.
    let (mut input, mut answer) = (sftp.stdin.take().unwrap(), [0; 9]);
    input.write_all(&hello).unwrap();
    sftp.stdout.as_mut().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(answer[4..], [2, 0, 0, 0, 3]);
    drop(input);
    assert_eq!(sftp.wait().unwrap().code(), Some(0));
    // One that does not exist is refused, and nothing hangs.
    let none = finish(desk.ssh_command(&["-s"], &["netconf"]), &[]);
    none.exits(255).complains("subsystem request failed");
}

fn env(desk: Desk<'_>) {
    let options = ["-o", "SendEnv=LC_BASTION LD_PRELOAD SECRET"];
    let words = ["echo [$LC_BASTION] [$LD_PRELOAD] [$SECRET]"];
    let mut command = desk.ssh_command(&options, &words);
    command.env("LC_BASTION", "sent").env("SECRET", "kept");
    assert_eq!(finish(command, &[]).exits(0).text(), "[sent] [] []\n");
}

fn exit_signal(desk: Desk<'_>) {
    // OpenSSH tells it as 255.
    desk.ssh("kill -TERM $$").exits(255);
    desk.ssh("kill -KILL $$").exits(255);
}

fn stderr(desk: Desk<'_>) {
    let said = desk.ssh("echo out; echo err >&2; echo out; echo err >&2").exits(0);
    assert_eq!((said.text().as_str(), said.err.as_str()), ("out\nout\n", "err\nerr\n"));
}

fn half_close(desk: Desk<'_>) {
    // We end first: the program goes on to speak.
    let said = desk.ssh_with("wc -c; sleep 0.3; echo done; exit 4", &[7; 100_000]).exits(4);
    assert_eq!(said.text(), "100000\ndone\n");
    // The program ends its output first, and goes on to listen.
    let mut child = desk
        .ssh_command(&[], &["exec >&- 2>&-; cat > late; exit 6"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"early ").unwrap();
    std::thread::sleep(Duration::from_millis(600));
    input.write_all(b"late").unwrap();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(6));
    assert_eq!(desk.ssh("cat late").exits(0).text(), "early late");
}

/// OpenSSH sends what it has on standard input without waiting for the reply to its request.
fn early_data(desk: Desk<'_>) {
    for _ in 0..5 {
        let sent: Vec<u8> = (0..=255).cycle().take(60_000).collect();
        let back = desk.ssh_with("cat", &sent).exits(0).out;
        assert!(back == sent, "{} of {} bytes came back", back.len(), sent.len());
    }
}

fn bytes(desk: Desk<'_>) {
    let word = OsStr::from_bytes(b"printf %s 'caf\xe9 \xff' > 'f\xe9\xff'; ls -N; cat f*; rm f*");
    let mut command = desk.ssh_command(&[], &[]);
    command.arg(word);
    let said = finish(command, &[]).exits(0).out;
    let holds = |part: &[u8]| said.windows(part.len()).any(|window| window == part);
    assert!(holds(b"f\xe9\xff\n") && holds(b"caf\xe9 \xff"), "{said:?}");
}

/// The kernel takes no longer word than this, here and on the VM.
fn long_command(desk: Desk<'_>) {
    let (head, tail) = ("x='", "'; echo ${#x}");
    let room = 128 * 1024 - 1 - head.len() - tail.len();
    let command = format!("{head}{}{tail}", "y".repeat(room));
    assert_eq!(desk.ssh(&command).exits(0).text(), format!("{room}\n"));
}

struct Master<'a> {
    desk: Desk<'a>,
    socket: String,
}

impl<'a> Master<'a> {
    fn start(desk: Desk<'a>, name: &str) -> Self {
        let socket = desk.path(name).display().to_string();
        let options = ["-M", "-S", &socket, "-N", "-f"];
        let mut command = desk.ssh_command(&options, &[]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(command.status().unwrap().success(), "no master connection");
        Self { desk, socket }
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        finish(self.desk.ssh_command(&["-S", &self.socket, "-O", "exit"], &[]), &[]);
    }
}

fn channels(desk: Desk<'_>) {
    let master = Master::start(desk, "cm64");
    let mut runs = Vec::new();
    for number in 0..64 {
        let line = format!("echo up; read line; echo $line; exit {number}");
        let mut command = desk.ssh_command(&["-S", &master.socket], &[&line]);
        runs.push((number, command.stdin(Stdio::piped()).spawn().unwrap()));
    }
    // All of them are there at the same time.
    for (_, run) in &mut runs {
        let mut up = [0; 3];
        run.stdout.as_mut().unwrap().read_exact(&mut up).unwrap();
        assert_eq!(&up, b"up\n");
    }
    for (number, mut run) in runs {
        writeln!(run.stdin.take().unwrap(), "line {number}").unwrap();
        let done = run.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(number));
        assert_eq!(done.stdout, format!("line {number}\n").into_bytes());
    }
}

fn sharing(desk: Desk<'_>) {
    let socket = desk.path("auto").display().to_string();
    let options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=10", "-S", &socket];
    let sessions = || desk.world.log().events("session.opened").len();
    let run = |line: &str| {
        let mut command = desk.ssh_command(&options, &[line]);
        // The master stays in the background with what it inherits.
        command.stderr(Stdio::null());
        finish(command, &[])
    };
    run("true").exits(0);
    let before = sessions();
    for status in 0..5 {
        run(&format!("exit {status}")).exits(status);
    }
    // The other form runs beside this one and opens sessions of its own; a shared connection
    // answers `check`.
    assert!(sessions() >= before);
    finish(desk.ssh_command(&["-S", &socket, "-O", "check"], &[]), &[]).exits(0);
    finish(desk.ssh_command(&["-S", &socket, "-O", "exit"], &[]), &[]).exits(0);
}

/// Bytes up and down again, with these options.
fn load(desk: Desk<'_>, options: &[&str]) {
    let sent: Vec<u8> = (0..40_u32 << 20).map(|n| (n % 253) as u8).collect();
    let digest = Sha256::digest(&sent);
    let back = finish(desk.ssh_command(options, &["cat"]), &sent).exits(0);
    assert_eq!(back.out.len(), sent.len());
    assert!(Sha256::digest(&back.out) == digest, "bytes were changed on the way");
}

fn rekey(desk: Desk<'_>) {
    load(desk, &["-o", "RekeyLimit=16M"]);
}

/// This world's gateway renews its keys every 16 MiB, on both legs.
fn our_rekey(desk: Desk<'_>) {
    load(desk, &["-o", "RekeyLimit=1G"]);
    let mut debug = desk.ssh_command(&["-v"], &["head -c 40000000 /dev/zero"]);
    debug.stdout(Stdio::null());
    let said = finish(debug, &[]).exits(0).err;
    let rekeys = said.matches("SSH2_MSG_KEXINIT received").count();
    assert!(rekeys >= 3, "{rekeys} key exchanges in 40 MB: {said}");
}

/// Quiet for longer than either side puts up with silence.
fn keepalive(desk: Desk<'_>) {
    let alive = ["-vvv", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2"];
    let quiet = |options| desk.ssh_command(options, &["sleep 7; exit 3"]).spawn().unwrap();
    let (theirs, ours) = (quiet(&alive), quiet(&["-v"]));
    let said = |child: Child| {
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(3));
        String::from_utf8_lossy(&done.stderr).into_owned()
    };
    // The client asked every second, and was answered.
    let theirs = said(theirs);
    let answers = theirs.matches("receive packet: type 82").count();
    assert!(answers >= 5, "{answers} answers in 7 s: {theirs}");
    // One that does not ask is asked.
    let ours = said(ours);
    assert!(ours.contains("rtype keepalive@openssh.com"), "the gateway did not ask: {ours}");
}
