//! What waits for a receiver that does not take it: held, then ended with a word; the connection
//! and its other channels go on.

use crate::{
    gateway::{Ended, Gateway},
    vm::Vm,
};
use bastion::relay::Quotas;
use std::{process::Stdio, time::Duration};
use tokio::{
    process::Command,
    time::{Instant, sleep, timeout},
};

const INSTANCE: &str = "i-spools";

struct World {
    gateway: Gateway,
    vm: Vm,
}

impl World {
    async fn start(name: &str, quotas: Quotas) -> Self {
        let vm = Vm::start(name, INSTANCE, "MaxSessions 64");
        let gateway = Gateway::within(&vm, INSTANCE, quotas).await;
        Self { gateway, vm }
    }

    /// A shell that knows `$ssh`: one more channel of one connection.
    fn shell(&self, script: &str) -> tokio::task::JoinHandle<std::process::Output> {
        let folder = self.vm.folder.display();
        let ssh = format!(
            "ssh -F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o LogLevel=ERROR -i {folder}/operator -o ControlPath={folder}/control \
             -o ControlMaster=auto -o ControlPersist=60 -p {} x@127.0.0.1",
            self.gateway.port
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).env("ssh", ssh).stdin(Stdio::null()).kill_on_drop(true);
        let run = async move { timeout(Duration::from_secs(120), bash.output()).await };
        tokio::spawn(async move { run.await.expect("it hangs").unwrap() })
    }

    /// A channel that ended, if one did that is wanted.
    fn find(&self, wanted: impl Fn(&Ended) -> bool) -> Option<Ended> {
        let ended = self.gateway.shared.ended.lock().unwrap();
        ended.iter().find(|ended| wanted(ended)).cloned()
    }

    /// How a channel ended whose reason is this.
    async fn ended(&self, reason: &str) -> Ended {
        for _ in 0..400 {
            if let Some(ended) = self.find(|ended| ended.reason == reason) {
                return ended;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("no channel ended as {reason}: {:?}", self.gateway.shared.ended.lock().unwrap());
    }

    fn spooled(&self) -> u64 {
        self.gateway.shared.spools.bytes()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_takes_nothing_is_held_then_told() {
    let hold = Duration::from_secs(3);
    let quotas = Quotas { hold_bytes: 2 << 20, hold, ..Quotas::default() };
    let world = World::start("spool-down", quotas).await;
    world.shell("$ssh true").await.unwrap();
    // `cat` waits to be rid of its output; what it does not read waits here.
    let stuck = world.shell("head -c 2G /dev/zero | $ssh cat | sleep 60 & wait $!; true");
    let began = Instant::now();
    let mut most = 0;
    let ended = loop {
        most = most.max(world.spooled());
        if let Some(ended) = world.find(|ended| ended.reason != "program_ended") {
            break ended;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "never ended; {most} bytes on disk");
        sleep(Duration::from_millis(20)).await;
    };
    println!("ended after {:?}, at most {} MiB on disk", began.elapsed(), most >> 20);
    assert_eq!(ended.reason, "spool_full");
    assert!(most > 2 << 20, "it was held first");
    assert!(most < 24 << 20, "held, not kept: {most}");
    // The connection never noticed.
    let beside = Instant::now();
    let done = world.shell("$ssh echo here").await.unwrap();
    assert_eq!(text(&done.stdout), "here");
    assert!(beside.elapsed() < Duration::from_secs(2), "{:?}", beside.elapsed());
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_that_takes_nothing_beside_a_bulk_upload_stays_within_the_quota() {
    let quotas = Quotas {
        hold_bytes: 32 << 20,
        hold: Duration::from_secs(5),
        bytes_max: 64 << 20,
        ..Quotas::default()
    };
    let world = World::start("spool-up", quotas).await;
    world.shell("$ssh true").await.unwrap();
    let stalled = world.shell("head -c 2G /dev/zero | $ssh 'sleep 40; exit 3'");
    sleep(Duration::from_secs(1)).await;
    let bulk = world.shell("head -c 512M /dev/zero | $ssh 'wc -c'");
    let mut most = 0;
    let began = Instant::now();
    while !bulk.is_finished() {
        most = most.max(world.spooled());
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(text(&bulk.await.unwrap().stdout), (512_u64 << 20).to_string());
    println!("512 MiB beside it in {:?}; at most {} MiB on disk", began.elapsed(), most >> 20);
    assert!(most <= 66 << 20, "{most} bytes on disk");
    if most > 32 << 20 {
        let done = stalled.await.unwrap();
        assert!(text(&done.stderr).contains("this channel ends now"), "{done:?}");
        world.ended("spool_full").await;
    } else {
        stalled.abort();
    }
}
