//! Dropbear's dbclient. It knows no host certificates; `-y -y` leaves the key unchecked here.

use crate::{
    desk::{self, Desk, Form, Trial},
    table::{Cell, Cell::Cannot, Cell::Tried, Feature, Feature as F},
    transfer::some_bytes,
};
use bastion_tests::world::{Answer, finish};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt as _, process::Command};

const NOT_SENT: &str = "The client does not send this.";

/// What is tried, beside what is [`crate::plain`].
pub const CELLS: &[(Feature, Cell<Trial>)] = &[
    (F::Exec, Tried(exec)),
    (F::Shell, Tried(shell)),
    (F::Terminal, Tried(terminal)),
    (F::Subsystem, Tried(subsystem)),
    (F::Env, Cannot(NOT_SENT)),
    (F::ExitSignal, Cannot("The client takes no notice of it.")),
    (F::Stderr, Tried(stderr)),
    (F::HalfClose, Tried(half_close)),
    (F::EarlyData, Tried(early_data)),
    (F::Bytes, Tried(bytes)),
    (F::LongCommand, Cannot("Its packets end at 32 KiB.")),
    (F::Sharing, Cannot("One channel on each connection is what its command line does here.")),
    (F::Rekey, Cannot("It renews keys after a gibibyte; there is no setting.")),
    (F::OurRekey, Tried(our_rekey)),
    (F::Keepalive, Tried(keepalive)),
    (F::Sftp, Tried(sftp)),
    (F::Scp, Tried(scp)),
    (F::ScpOld, Tried(scp_old)),
    (F::Empty, Tried(empty)),
    (F::Rsync, Tried(rsync)),
];

#[test]
fn dropbear() {
    let world = desk::world();
    world.run("dropbearconvert", &["openssh", "dropbear", "keys/olga", "olga.db"]).exits(0);
    let dir = world.dir().display().to_string();
    let port = desk::port(&world);
    // The jump is a program of its own, as it is with ssh; both run with what they find in `db`.
    let key = format!("-y -y -q -i {dir}/olga.db");
    let (plus, jump) = (Form::Plus.vm(), Form::Jump.vm());
    let proxy = format!("dbclient {key} -p {port} -B {jump}:22 olga@127.0.0.1");
    for (form, line) in [
        (Form::Plus, format!("-p {port} -l ops+{plus}")),
        (Form::Jump, format!("-J '{proxy}' -l ops")),
    ] {
        // sftp, scp and rsync call it as `PROGRAM [options] HOST COMMAND`, with options of OpenSSH.
        let script = format!(
            "#!/bin/sh\nwhile :; do case $1 in\n-o|-l) shift 2 ;;\n-s|-t|-T) o=$1; shift ;;\n\
             -*) shift ;;\n*) break ;; esac; done\nshift\n\
             [ \"$1\" = -- ] && shift\nexec dbclient {key} {line} $o 127.0.0.1 \"$@\"\n"
        );
        let file = world.dir().join(format!("db.{}", form.word()));
        fs::write(&file, script).unwrap();
        world.run("chmod", &["755", &file.display().to_string()]).exits(0);
    }
    desk::try_all(&world, "", CELLS);
    desk::every_channel_is_on_record(&world);
}

fn program(desk: Desk<'_>) -> String {
    desk.path("db").display().to_string()
}

fn dbclient(desk: Desk<'_>, options: &[&str], words: &[&str]) -> Command {
    desk.world.program(&program(desk), &[options, &["vm"], words].concat())
}

/// Its output goes into a file: this client hangs on a pipe that is full when the channel closes.
fn ran(desk: Desk<'_>, words: &[&str], input: &[u8]) -> Answer {
    let mut command = dbclient(desk, &[], words);
    command.stdout(fs::File::create(desk.path("db-out")).unwrap());
    let answer = finish(command, input);
    Answer { out: desk.read("db-out"), ..answer }
}

fn exec(desk: Desk<'_>) {
    for status in [0, 7, 200] {
        let said = ran(desk, &[&format!("echo here; exit {status}")], &[]).exits(status);
        assert_eq!(said.out, b"here\n");
    }
}

fn shell(desk: Desk<'_>) {
    let mut command = dbclient(desk, &["-T"], &[]);
    command.stdout(fs::File::create(desk.path("db-out")).unwrap());
    finish(command, b"echo $((6 * 7))\nexit 5\n").exits(5);
    assert_eq!(desk.read("db-out"), b"42\n");
}

fn terminal(desk: Desk<'_>) {
    let mut command = dbclient(desk, &["-t"], &[]);
    command.env("TERM", "xterm");
    crate::terminal::converse(desk.world, &command).exits(5);
}

/// One that is refused leaves this client waiting for what its server does not say.
fn subsystem(desk: Desk<'_>) {
    sftp(desk);
}

fn stderr(desk: Desk<'_>) {
    let said = ran(desk, &["echo out; echo err >&2; exit 2"], &[]).exits(2);
    // What it says itself about the unchecked key stands before.
    assert!(said.text() == "out\n" && said.err.ends_with("\nerr\n"), "{}", said.err);
}

fn half_close(desk: Desk<'_>) {
    let said = ran(desk, &["wc -c; sleep 0.3; echo done; exit 4"], &[7; 100_000]).exits(4);
    assert_eq!(said.text(), "100000\ndone\n");
}

fn early_data(desk: Desk<'_>) {
    let sent = some_bytes(60_000);
    assert!(ran(desk, &["cat"], &sent).exits(0).out == sent, "not the same bytes");
}

fn bytes(desk: Desk<'_>) {
    let word = OsStr::from_bytes(b"printf %s 'caf\xe9 \xff' > 'p\xe9\xff'; ls -N; cat p*; rm p*");
    let mut command = dbclient(desk, &[], &[]);
    command.arg(word);
    let said = finish(command, &[]).exits(0).out;
    let holds = |part: &[u8]| said.windows(part.len()).any(|window| window == part);
    assert!(holds(b"p\xe9\xff\n") && holds(b"caf\xe9 \xff"), "{said:?}");
}

fn our_rekey(desk: Desk<'_>) {
    let sent = some_bytes(20 << 20);
    assert!(ran(desk, &["cat"], &sent).exits(0).out == sent, "not the same bytes");
}

/// It is asked by the gateway, and answers.
fn keepalive(desk: Desk<'_>) {
    ran(desk, &["sleep 7; exit 3"], &[]).exits(3);
}

fn sftp(desk: Desk<'_>) {
    let bytes = some_bytes(1_000_000);
    let (up, down) = (desk.write("db-up", &bytes), desk.file("db-down"));
    let batch = format!("put {up} db.bin\nget db.bin {down}\nrm db.bin\n");
    let file = desk.write("db-batch", batch.as_bytes());
    let words = ["-q", "-S", &program(desk), "-b", &file, "vm"];
    desk.world.run("sftp", &words).exits(0);
    assert!(desk.read("db-down") == bytes, "not the same bytes");
}

fn copied(desk: Desk<'_>, options: &[&str], bytes: &[u8]) {
    let (up, down) = (desk.write("db-up", bytes), desk.file("db-down"));
    let program = program(desk);
    for (from, to) in [(up.as_str(), "vm:db.scp"), ("vm:db.scp", down.as_str())] {
        let words = [&["-q", "-S", program.as_str()], options, &[from, to]].concat();
        desk.world.run("scp", &words).exits(0);
    }
    assert!(desk.read("db-down") == bytes, "not the same bytes");
}

fn scp(desk: Desk<'_>) {
    copied(desk, &[], &some_bytes(1_000_000));
}

fn scp_old(desk: Desk<'_>) {
    copied(desk, &["-O"], &some_bytes(1_000_000));
}

fn empty(desk: Desk<'_>) {
    copied(desk, &[], b"");
    copied(desk, &["-O"], b"");
    assert_eq!(ran(desk, &["cat"], &[]).exits(0).out, b"");
}

fn rsync(desk: Desk<'_>) {
    crate::transfer::rsync_by(desk, &program(desk), "vm");
}
