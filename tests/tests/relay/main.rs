//! The relay against a real sshd and real clients: nothing hangs, nothing is lost, nothing grows.
//!
//! `RELAY_LONG=1` runs the long cases (2 GiB behind a sleeping reader) as well.

// A panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod far;
mod gateway;
mod spools;
mod vm;

use bastion::relay::{Evidence, recording};
use gateway::{Ended, Gateway};
use std::{
    process::{Output, Stdio},
    time::{Duration, Instant},
};
use tokio::{process::Command, time::timeout};
use vm::Vm;

const INSTANCE: &str = "i-relaytest";

struct World {
    gateway: Gateway,
    vm: Vm,
}

async fn world(name: &str) -> World {
    let vm = Vm::start(name, INSTANCE, "MaxSessions 64");
    let gateway = Gateway::start(&vm, INSTANCE).await;
    World { gateway, vm }
}

impl World {
    /// What every OpenSSH client here is told.
    fn options(&self) -> Vec<String> {
        let key = self.vm.folder.join("operator");
        let control = self.vm.folder.join("control");
        ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
            .iter()
            .map(ToString::to_string)
            .chain(["-o".into(), "LogLevel=ERROR".into(), "-i".into(), key.display().to_string()])
            .chain(["-o".into(), format!("ControlPath={}", control.display())])
            .collect()
    }

    fn ssh(&self, more: &[&str]) -> String {
        let quoted = self.options().join(" ");
        format!("ssh {quoted} -p {} {} x@127.0.0.1", self.gateway.port, more.join(" "))
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.args(self.options()).kill_on_drop(true);
        command
    }

    /// The last channel's end, once there are `count`.
    async fn ended(&self, count: usize) -> Ended {
        for _ in 0..200 {
            if let Some(ended) = self.gateway.shared.ended.lock().unwrap().get(count - 1) {
                return ended.clone();
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("channel {count} did not end");
    }
}

async fn shell(script: &str, limit: u64) -> Output {
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).stdin(Stdio::null()).kill_on_drop(true);
    timeout(Duration::from_secs(limit), bash.output()).await.expect("it hangs").unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn output_errors_and_status_arrive_apart_and_are_recorded() {
    let world = world("basic").await;
    let done = shell(&format!("{} 'echo out; echo err >&2; exit 7'", world.ssh(&[])), 20).await;
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert_eq!(done.stdout, b"out\n");
    assert_eq!(done.stderr, b"err\n");
    let ended = world.ended(1).await;
    assert_eq!((ended.reason.as_str(), ended.bytes), ("program_ended", (0, 4, 4)));
    let key = recording::unwrap(&ended.wrapped, &world.gateway.private_key).unwrap();
    let file = std::fs::read(&ended.recording).unwrap();
    let (plain, found) = recording::open_container(&file, &key).unwrap();
    assert!(ended.whole && found.whole.is_some());
    let plain = String::from_utf8(plain).unwrap();
    for line in ["\nout\n", "\nerr\n", "\nexit 7\n", "\"command\":\"echo out"] {
        assert!(plain.contains(line), "{line:?} is missing in {plain}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_sleeps_neither_hangs_nor_loses_a_byte() {
    let world = world("sleep").await;
    let long = std::env::var_os("RELAY_LONG").is_some();
    let (size, sleep) = if long { (2_u64 << 30, 20) } else { (256 << 20, 5) };
    let ssh = world.ssh(&[]);
    let script = format!("head -c {size} /dev/zero | {ssh} cat | (sleep {sleep}; wc -c)");
    let done = shell(&script, if long { 300 } else { 90 }).await;
    assert_eq!(said(&done), size.to_string(), "{done:?}");
    let ended = world.ended(1).await;
    assert_eq!(ended.bytes, (size, size, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_keys_under_load_lose_nothing() {
    let world = world("rekey").await;
    let ssh = world.ssh(&["-o", "RekeyLimit=4M"]);
    let script = format!(
        "set -o pipefail; head -c 64M /dev/urandom > {0}/random; \
         {ssh} cat < {0}/random | (sleep 2; cmp - {0}/random) && echo same",
        world.vm.folder.display()
    );
    assert_eq!(said(&shell(&script, 90).await), "same");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_channels_on_one_connection_each_get_their_own_bytes() {
    let world = world("many").await;
    let (master, slave) = (world.ssh(&["-M", "-N", "-f"]), world.ssh(&[]));
    shell(&master, 20).await;
    let folder = world.vm.folder.display();
    // Each channel echoes a file of its own number, and ends with that number.
    let script = format!(
        "one() {{ yes $1 | head -c 2M > {folder}/m$1; \
         {slave} \"cat; exit $1\" < {folder}/m$1 > {folder}/n$1; s=$?; \
         cmp {folder}/m$1 {folder}/n$1 && echo $s; }}; \
         for n in $(seq 1 24); do one $n & done; wait"
    );
    let done = shell(&script, 120).await;
    let mut statuses: Vec<u32> = said(&done).lines().map(|line| line.parse().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, (1..=24).collect::<Vec<_>>(), "{done:?}");
    shell(&world.ssh(&["-O", "exit"]), 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_stalled_channel_another_answers_quickly() {
    let world = world("beside").await;
    let (master, slave) = (world.ssh(&["-M", "-N", "-f"]), world.ssh(&[]));
    shell(&master, 20).await;
    let once = async || {
        let started = Instant::now();
        let done = shell(&format!("{slave} echo here"), 20).await;
        assert_eq!(said(&done), "here");
        started.elapsed()
    };
    let mut idle = [once().await, once().await, once().await, once().await, once().await];
    let stalled = format!("head -c 64M /dev/zero | {slave} 'sleep 6; cat' | (sleep 8; wc -c)");
    let stalled = tokio::spawn(async move { shell(&stalled, 60).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut beside = [once().await, once().await, once().await, once().await, once().await];
    idle.sort();
    beside.sort();
    println!("idle {idle:?}, beside a stalled channel {beside:?}");
    let slack = Duration::from_millis(if cfg!(debug_assertions) { 400 } else { 100 });
    assert!(beside[2] < idle[2] + slack, "idle {idle:?}, beside a stalled channel {beside:?}");
    assert_eq!(said(&stalled.await.unwrap()), (64 << 20).to_string());
    shell(&world.ssh(&["-O", "exit"]), 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exit_status_is_lost() {
    let world = world("status").await;
    for _ in 0..50 {
        let done = shell(&format!("{} 'exit 5'", world.ssh(&[])), 20).await;
        assert_eq!(done.status.code(), Some(5), "{done:?}");
    }
    let dropbear = format!(
        "dbclient -y -y -i {} -p {} x@127.0.0.1",
        world.vm.folder.join("dropbear").display(),
        world.gateway.port
    );
    let convert = format!(
        "command -v dbclient dropbearconvert && dropbearconvert openssh dropbear {} {}",
        world.vm.folder.join("operator").display(),
        world.vm.folder.join("dropbear").display()
    );
    let converted = shell(&convert, 20).await.status.success();
    assert!(converted, "no dbclient: apt-get install dropbear-bin, or run ./check");
    // Into a file, which is never full: dropbear 2022.83 waits for ever for the close that it has
    // already read, if its own output was blocked when the close came. With sshd it does, too.
    let file = world.vm.folder.join("received");
    let into = file.display();
    for _ in 0..50 {
        let receive = format!("{dropbear} 'head -c 300000 /dev/zero; exit 5' > {into}");
        let done = shell(&receive, 20).await;
        let received = std::fs::metadata(&file).unwrap().len();
        assert_eq!((done.status.code(), received), (Some(5), 300_000));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eof_goes_both_ways_and_a_half_closed_channel_goes_on() {
    let world = world("eof").await;
    let ssh = world.ssh(&[]);
    let done = shell(&format!("printf abc | {ssh} 'cat; echo; sleep 1; echo later'"), 20).await;
    assert_eq!(said(&done), "abc\nlater");
    let script = format!("(sleep 1; printf abc) | {ssh} 'exec >&-; cat | wc -c >&2'");
    let done = shell(&script, 20).await;
    assert_eq!(String::from_utf8_lossy(&done.stderr).trim(), "3");
    let done = shell(&format!("{ssh} 'kill -TERM $$'"), 20).await;
    assert_eq!(done.status.code(), Some(255), "an exit signal is passed on: {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_its_size_and_its_resizes_are_recorded() {
    let world = world("pty").await;
    let ssh = world.ssh(&["-tt"]);
    let script = format!("script -qec \"stty cols 91 rows 31; {ssh} 'stty size'\" /dev/null");
    let done = shell(&script, 20).await;
    assert!(said(&done).contains("31 91"), "{done:?}");
    let ended = world.ended(1).await;
    let key = recording::unwrap(&ended.wrapped, &world.gateway.private_key).unwrap();
    let (plain, _) =
        recording::open_container(&std::fs::read(&ended.recording).unwrap(), &key).unwrap();
    let plain = String::from_utf8(plain).unwrap();
    assert!(plain.starts_with("{\"version\":3,\"term\":{\"cols\":91,\"rows\":31"), "{plain}");
    assert!(plain.contains("\"o\", \"31 91\\r\\n\"]"), "{plain}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_cuts_the_channel_with_a_reason() {
    let world = world("cut").await;
    let ssh = world.ssh(&[]);
    let running =
        tokio::spawn(async move { shell(&format!("{ssh} 'echo up; sleep 60'"), 30).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let cut = Instant::now();
    world.gateway.shared.end.send_replace(Some(bastion_core::lease::Cause::ConsentWithdrawn));
    let done = running.await.unwrap();
    assert!(cut.elapsed() < Duration::from_secs(1), "{:?}", cut.elapsed());
    assert!(String::from_utf8_lossy(&done.stderr).contains("consent was withdrawn"), "{done:?}");
    assert_eq!(world.ended(1).await.reason, "consent_withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_channels_end() {
    let world = world("idle").await;
    *world.gateway.shared.idle.lock().unwrap() = Duration::from_secs(2);
    let done = shell(&format!("{} 'echo up; sleep 60'", world.ssh(&[])), 20).await;
    assert!(String::from_utf8_lossy(&done.stderr).contains("nothing happened"), "{done:?}");
    assert_eq!(world.ended(1).await.reason, "idle");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_is_another_instance_gets_nothing() {
    let vm = Vm::start("other", "i-another", "");
    let gateway = Gateway::start(&vm, INSTANCE).await;
    let world = World { gateway, vm };
    let done = shell(&format!("{} true", world.ssh(&[])), 20).await;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("did not prove which instance it is"), "{text}");
    assert_eq!(done.status.code(), Some(254));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_host_key_is_refused() {
    let vm = Vm::start("plain", INSTANCE, "HostKeyAlgorithms ssh-ed25519");
    let gateway = Gateway::start(&vm, INSTANCE).await;
    let world = World { gateway, vm };
    let done = shell(&format!("{} true", world.ssh(&[])), 20).await;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("plain host key"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sftp_and_scp_leave_paths_and_digests() {
    let world = world("sftp").await;
    let file = world.vm.folder.join("file");
    std::fs::write(&file, vec![7; 3_000_001]).unwrap();
    let up = world.vm.folder.join("up").display().to_string();
    let back = world.vm.folder.join("back");
    let port = world.gateway.port.to_string();
    for (from, to) in [
        (file.display().to_string(), format!("x@127.0.0.1:{up}")),
        (format!("x@127.0.0.1:{up}"), back.display().to_string()),
    ] {
        let mut scp = world.tool("scp");
        let scp = scp.args(["-q", "-P", &port, &from, &to]).output();
        let done = timeout(Duration::from_secs(30), scp).await.expect("scp hangs").unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    assert!(std::fs::read(&back).unwrap() == std::fs::read(&file).unwrap());
    let batch = world.vm.folder.join("batch");
    std::fs::write(&batch, format!("rename {up} {up}2\n-get /nonexistent\nrm {up}2\n")).unwrap();
    let mut sftp = world.tool("sftp");
    let sftp = sftp.args(["-q", "-P", &port, "-b"]).arg(&batch).arg("x@127.0.0.1").output();
    let done = timeout(Duration::from_secs(30), sftp).await.expect("sftp hangs").unwrap();
    assert!(done.status.success(), "{done:?}");
    world.ended(3).await;
    let evidence = world.gateway.shared.evidence.lock().unwrap();
    let digest = audit_schema::hash::Hash::of(&vec![7; 3_000_001]);
    let transfers: Vec<_> = evidence
        .iter()
        .filter_map(|e| if let Evidence::Transferred(t) = e { Some(t) } else { None })
        .collect();
    assert_eq!(transfers.len(), 2, "{evidence:?}");
    for transfer in transfers {
        assert_eq!((transfer.path.as_str(), transfer.bytes), (up.as_str(), 3_000_001));
        assert!(transfer.complete && transfer.sha256 == digest, "{transfer:?}");
    }
    let changes: Vec<_> = evidence
        .iter()
        .filter_map(
            |e| if let Evidence::Changed(c) = e { Some((c.operation, c.status)) } else { None },
        )
        .collect();
    assert!(changes.contains(&("rename", 0)) && changes.contains(&("remove", 0)), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_scp_protocol_leaves_digests_too() {
    let world = world("oldscp").await;
    let folder = world.vm.folder.display().to_string();
    let port = world.gateway.port.to_string();
    std::fs::create_dir_all(world.vm.folder.join("tree/sub")).unwrap();
    std::fs::write(world.vm.folder.join("tree/sub/one"), b"one").unwrap();
    std::fs::write(world.vm.folder.join("tree/empty"), b"").unwrap();
    for (from, to) in [
        (format!("{folder}/tree"), format!("x@127.0.0.1:{folder}/up/")),
        (format!("x@127.0.0.1:{folder}/up"), format!("{folder}/back")),
    ] {
        let mut scp = world.tool("scp");
        let scp = scp.args(["-q", "-O", "-r", "-P", &port, &from, &to]).output();
        let done = timeout(Duration::from_secs(30), scp).await.expect("scp hangs").unwrap();
        assert!(done.status.success(), "{done:?}");
    }
    world.ended(2).await;
    let evidence = world.gateway.shared.evidence.lock().unwrap();
    let ones: Vec<_> = evidence
        .iter()
        .filter_map(|e| if let Evidence::Transferred(t) = e { Some(t) } else { None })
        .filter(|t| t.path.ends_with("sub/one") && t.complete)
        .collect();
    assert_eq!(ones.len(), 2, "{evidence:?}");
    assert!(ones.iter().all(|t| t.sha256 == audit_schema::hash::Hash::of(b"one")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_refuses_channels_or_is_not_there_is_told_apart() {
    let vm = Vm::start("max", INSTANCE, "MaxSessions 0");
    let gateway = Gateway::start(&vm, INSTANCE).await;
    let mut world = World { gateway, vm };
    let done = shell(&format!("{} true", world.ssh(&[])), 20).await;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("MaxSessions"), "{text}");
    world.vm.stop();
    let done = shell(&format!("{} true", world.ssh(&[])), 20).await;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("cannot be reached"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_vanishes_ends_the_channel_with_a_word() {
    let world = world("vanish").await;
    // The program kills the sshd process that serves it, as a crash of the VM would.
    let script = format!("{} 'echo up; sleep 1; kill -9 $PPID; sleep 1'", world.ssh(&[]));
    let done = shell(&script, 20).await;
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(text.contains("connection to the VM was lost"), "{done:?}");
    assert_eq!(said(&done), "up");
    assert_eq!(world.ended(1).await.reason, "vm_connection_lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_is_killed_leaves_nothing_running() {
    let world = world("killed").await;
    let mark = world.vm.folder.join("alive").display().to_string();
    let script = format!(
        "{} 'trap \"rm {mark}\" HUP TERM PIPE EXIT; touch {mark}; \
         while echo x; do sleep 0.1; done' > /dev/null & sleep 2; kill -9 $!; wait",
        world.ssh(&[])
    );
    shell(&script, 20).await;
    assert_eq!(world.ended(1).await.reason, "operator_left");
    for _ in 0..100 {
        if !std::path::Path::new(&mark).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the program on the VM still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_nobody_reads_is_held_back_not_kept() {
    let world = world("held").await;
    let ssh = world.ssh(&[]);
    let upload = tokio::spawn(async move {
        shell(&format!("head -c 2G /dev/zero | {ssh} 'sleep 5; exit 3'"), 30).await
    });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let spooled = world.gateway.shared.spools.bytes();
    assert!(spooled < 16 << 20, "{spooled} bytes on disk behind a program that reads nothing");
    assert_eq!(upload.await.unwrap().status.code(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_channel_beside_a_bulk_upload_stays_within_its_quota() {
    let world = world("bulk").await;
    let (master, slave) = (world.ssh(&["-M", "-N", "-f"]), world.ssh(&[]));
    shell(&master, 20).await;
    let stalled = format!("head -c 2G /dev/zero | {slave} 'sleep 12; exit 3'");
    let stalled = tokio::spawn(async move { shell(&stalled, 60).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let done = shell(&format!("head -c 128M /dev/zero | {slave} 'wc -c'"), 60).await;
    assert_eq!(said(&done), (128 << 20).to_string());
    println!("128 MiB beside a stalled channel: {:?}", started.elapsed());
    println!("spooled: {} MiB", world.gateway.shared.spools.bytes() >> 20);
    assert_eq!(stalled.await.unwrap().status.code(), Some(3));
    shell(&world.ssh(&["-O", "exit"]), 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_way_off_bulk_keeps_up_with_a_direct_connection() {
    let world = world("far").await;
    let delay = Duration::from_millis(50);
    let (ours, direct) =
        (far::away(world.gateway.port, delay).await, far::away(world.vm.port, delay).await);
    let certificate = world.vm.folder.join("operator-cert.pub").display().to_string();
    let user = &world.vm.user;
    let mut took = Vec::new();
    for (name, port) in [("direct", direct), ("ours", ours)] {
        let ssh = format!(
            "ssh {} -o CertificateFile={certificate} -p {port} {user}@127.0.0.1",
            world.options().join(" ")
        );
        let size = 64_u64 << 20;
        for script in [
            format!("head -c {size} /dev/zero | {ssh} 'wc -c'"),
            format!("{ssh} 'head -c {size} /dev/zero' | wc -c"),
        ] {
            let started = Instant::now();
            let done = shell(&script, 120).await;
            assert_eq!(said(&done), size.to_string(), "{name}: {done:?}");
            took.push(started.elapsed());
        }
    }
    println!("direct up, down; ours up, down: {took:?}");
    // A debug build on a busy machine; the product's figures are measured apart.
    assert!(took[2] < took[0] * 2 && took[3] < took[1] * 2, "{took:?}");
}
