//! VMs that do not do what they should: for each fault what the operator reads, what the log says,
//! and within which time.

use crate::{
    output, signal,
    vm::{self, How},
    world,
};
use bastion_tests::{
    own_vm::Sshd,
    world::{Answer, Person::Olga, World, until},
};
use nix::sys::signal::Signal;
use std::{
    io::{Read as _, Write as _},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// How long dialling and key exchange may take here, and how often a silent VM is asked.
const CONNECT: u64 = 5;
const KEEPALIVE: u64 = 2;
/// A silent VM is asked so often, and noticed the next time.
const SILENCE: u64 = KEEPALIVE * 4;
/// What a loaded machine may add.
const SLACK: u64 = 20;

/// A fault, how ssh exits, what it says, the reason in the log, and the bound in seconds.
type Case = (How, i32, &'static str, &'static str, u64);

const CASES: [Case; 20] = [
    (How::NobodyListens, 254, "the VM cannot be reached", "vm_unreachable", 2),
    (How::TakesNoConnection, 254, "for the key exchange", "vm_timeout", CONNECT),
    (How::Silent, 254, "for the key exchange", "vm_timeout", CONNECT),
    (How::Web, 254, "did not complete the key exchange", "vm_handshake_failed", CONNECT),
    (How::EndlessLines, 254, "did not complete the key exchange", "vm_handshake_failed", CONNECT),
    (How::LongLine, 254, "did not complete the key exchange", "vm_handshake_failed", CONNECT),
    (How::PlainKey, 254, "did not prove which instance", "vm_host_certificate_refused", CONNECT),
    (
        How::AnotherInstance,
        254,
        "did not prove which instance",
        "vm_host_certificate_refused",
        CONNECT,
    ),
    (How::RefusesLogin, 254, "the VM refused the certificate", "vm_refused_certificate", CONNECT),
    (How::SilentLogin, 254, "stopped answering", "vm_connection_lost", CONNECT + SILENCE),
    (How::DiesAtLogin, 254, "during the login", "vm_connection_lost", CONNECT),
    (How::RefusesChannel, 254, "may be at MaxSessions", "vm_refused_channel", CONNECT),
    (How::SilentChannel, 254, "for opening the channel", "vm_timeout", CONNECT + 15),
    (How::DiesAtChannel, 254, "the connection to the VM was lost", "vm_connection_lost", CONNECT),
    (How::RefusesProgram, 254, "the VM refused the request", "vm_refused_request", CONNECT),
    (How::SilentProgram, 254, "for starting the program", "vm_timeout", CONNECT + 30),
    (How::ClosesAtOnce, 254, "before anything ran", "vm_connection_lost", CONNECT),
    // As with a direct connection: nobody knows how it ended.
    (How::EndsWithoutStatus, 255, "", "program_ended", CONNECT),
    (How::DiesRunning, 254, "the connection to the VM was lost", "vm_connection_lost", CONNECT),
    (
        How::FreezesRunning,
        254,
        "the connection to the VM was lost",
        "vm_connection_lost",
        CONNECT + SILENCE,
    ),
];

fn faulty_world() -> World {
    let connect = format!("connect_seconds = {CONNECT}\nkeepalive_seconds = {KEEPALIVE}");
    world(&[("[egress]", &connect)])
}

/// The reason in the last entry of the only channel to a VM.
#[track_caller]
fn reason(world: &World, vm: &str) -> String {
    let log = world.log();
    let grants = log.events("access.granted");
    let grant = grants.iter().find(|grant| grant["place"]["vm"] == vm).expect("it was granted");
    let closed = log.events("channel.closed");
    let end = closed.iter().find(|end| end["lease"] == grant["lease"]).expect("it has ended");
    end["reason"].as_str().unwrap().to_owned()
}

fn run(world: &World, how: How) -> (Answer, Duration) {
    let began = Instant::now();
    let login = format!("ops+{}", vm::name(how));
    // More than fits into all windows and buffers on the way.
    let input = vec![b'x'; if how == How::FreezesRunning { 16 << 20 } else { 0 }];
    let answer = world.ssh_with(Olga, &["-l", &login, "bastion", "anything"], &input);
    (answer, began.elapsed())
}

#[test]
fn each_fault_of_a_vm_ends_in_time_with_its_words_and_its_entry() {
    let world = faulty_world();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let kept: Vec<_> = CASES.iter().map(|(how, ..)| vm::start(&world, &runtime, *how)).collect();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let world = &world;
        let rows: Vec<_> =
            CASES.iter().map(|(how, ..)| scope.spawn(move || run(world, *how))).collect();
        rows.into_iter().map(|row| row.join().unwrap()).collect()
    });
    let mut wrong = Vec::new();
    for ((how, exit, words, in_log, bound), (answer, took)) in CASES.iter().zip(answers) {
        let found = reason(&world, &vm::name(*how));
        let is_right = answer.exit == *exit && answer.err.contains(words) && found == *in_log;
        let in_time = took.as_secs() <= bound + SLACK;
        println!("{how:?}: {} {found} in {took:.1?}: {}", answer.exit, answer.err.trim());
        if !is_right || !in_time {
            wrong.push(format!("{how:?}: {} {found} {took:?} {}", answer.exit, answer.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    drop(kept);
}

/// What stock sshd does that the gateway has to put in words.
#[test]
fn a_real_sshd_that_refuses_is_told_apart() {
    let world = faulty_world();
    let user = output("id", &["-un"]).trim().to_owned();
    let strange = world.dir().join("keys/vm-host-ca.pub").display().to_string();
    let cases = [
        ("full.acme", &*user, "MaxSessions 0".to_owned(), "vm_refused_channel"),
        ("ghost.acme", "nobody-is-here", String::new(), "vm_refused_certificate"),
        ("trust.acme", &user, format!("TrustedUserCAKeys {strange}"), "vm_refused_certificate"),
        ("forced.acme", &user, "MaxStartups 1:100:1".to_owned(), "vm_handshake_failed"),
    ];
    for (name, unix_user, more, expected) in cases {
        let sshd = Sshd::start(&world, name, unix_user, &more);
        // With MaxStartups 1 whoever comes second is sent away.
        let mut first = None;
        until("a place at sshd", 20, || {
            let mut stream = std::net::TcpStream::connect(("127.0.0.1", sshd.port)).unwrap();
            let mut begin = [0; 4];
            let served = stream.read_exact(&mut begin).is_ok() && &begin == b"SSH-";
            first = Some(stream);
            served
        });
        let login = format!("ops+{name}");
        let answer = world.ssh(Olga, &["-l", &login, "bastion", "true"]).exits(254);
        assert_eq!(reason(&world, name), expected, "{}", answer.err);
        println!("{name}: {}", answer.err.trim());
    }
}

fn begin(world: &World, name: &str, command: &str) -> Child {
    let login = format!("ops+{name}");
    let mut work = world.ssh_command(Olga, &["-l", &login, "bastion", command]);
    let mut work = work.stdin(Stdio::piped()).spawn().unwrap();
    work.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
    work
}

#[track_caller]
fn ends(mut work: Child, seconds: u64) -> (Option<i32>, String) {
    until("the operator's ssh to end", seconds + SLACK, || work.try_wait().unwrap().is_some());
    let mut said = String::new();
    work.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (work.wait().unwrap().code(), said)
}

/// The VM's processes are killed, or frozen so that only its kernel still answers; idle, while it
/// speaks, and while it is being sent more than anybody reads.
#[test]
fn a_vm_that_vanishes_or_freezes_is_noticed() {
    let world = faulty_world();
    let user = output("id", &["-un"]).trim().to_owned();
    let idle = "echo in; sleep 600";
    let deaf = "echo in; sleep 600 <&0";
    let cases = [
        ("killed.acme", Signal::SIGKILL, idle, 0, 0),
        ("frozen.acme", Signal::SIGSTOP, idle, 0, SILENCE),
        ("spoken.acme", Signal::SIGSTOP, "echo in; while :; do echo x; done", 0, SILENCE),
        ("sent.acme", Signal::SIGSTOP, deaf, 32 << 20, SILENCE),
    ];
    for (name, blow, command, bytes, bound) in cases {
        let sshd = Sshd::start(&world, name, &user, "");
        let mut work = begin(&world, name, command);
        let mut input = work.stdin.take().unwrap();
        let sending = std::thread::spawn(move || {
            // It ends with the program.
            input.write_all(&vec![0; bytes]).ok();
            std::thread::sleep(Duration::from_secs(120 * u64::from(bytes == 0)));
        });
        let reading = work.stdout.take().map(|mut out| {
            std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()))
        });
        std::thread::sleep(Duration::from_millis(500));
        let struck = Instant::now();
        sshd.sessions().into_iter().for_each(|pid| signal(pid, blow));
        let (code, said) = ends(work, bound);
        println!("{name}: {code:?} after {:.1?}: {}", struck.elapsed(), said.trim());
        assert_eq!(code, Some(254), "{name}: {said}");
        assert!(said.contains("the connection to the VM was lost"), "{name}: {said}");
        assert_eq!(reason(&world, name), "vm_connection_lost");
        drop((sshd, sending, reading));
    }
}
