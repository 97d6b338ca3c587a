//! The bench's own network: a namespace for everything, a second one far away.
//!
//! Nothing here touches the machine's network. The process moves into a fresh namespace with a
//! loopback of its own. The far namespace hangs on it by two tun devices, and a forwarder holds
//! each packet 50 ms on its way, in both directions: real TCP, no loss, and no netem needed.

use nix::sched::{CloneFlags, setns, unshare};
use std::{
    fs::File,
    process::Command,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};
use tun_tap::{Iface, Mode};

/// The near end of the long way: the gateway, the jump host and the near VM listen here too.
pub const NEAR: &str = "10.77.0.1";
/// The far end: a far operator comes from here, the far VM listens here.
pub const FAR: &str = "10.77.0.2";
/// One way of the long way.
const DELAY: Duration = Duration::from_millis(50);
/// Packets on their way: a hundred times what an SSH window fills.
const PACKETS_MAX: usize = 64 * 1024;
const PACKET_BYTES_MAX: usize = 2048;

/// The namespaces.
pub struct Net {
    far: File,
}

impl Net {
    /// Moves this process into a namespace of its own and lays the long way. To be called before
    /// there is another thread.
    pub fn enter() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root, for a network of its own");
        run("ip link set lo up");
        let near = tun("near", NEAR);
        let (far, tun) = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip link set lo up");
            (File::open("/proc/thread-self/ns/net").unwrap(), tun("far", FAR))
        })
        .join()
        .unwrap();
        let (near, tun) = (std::sync::Arc::new(near), std::sync::Arc::new(tun));
        carry(near.clone(), tun.clone());
        carry(tun, near);
        Self { far }
    }

    /// Does something on a thread that lives in the far namespace, or in the near one. Processes
    /// that it starts live where it does.
    pub fn within<T: Send>(&self, far: bool, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                if far {
                    setns(&self.far, CloneFlags::CLONE_NEWNET).unwrap();
                }
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A tun device in the namespace of this thread.
fn tun(name: &str, address: &str) -> Iface {
    let tun = Iface::without_packet_info(name, Mode::Tun).expect("needs /dev/net/tun");
    run(&format!("ip address add {address}/30 dev {name}"));
    run(&format!("ip link set {name} mtu 1500 txqueuelen 10000 up"));
    tun
}

fn run(line: &str) {
    let mut words = line.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).status();
    assert!(done.is_ok_and(|status| status.success()), "{line}");
}

/// Carries packets one way. Both threads end with the process.
fn carry(from: std::sync::Arc<Iface>, to: std::sync::Arc<Iface>) {
    let (enter, leave) = sync_channel(PACKETS_MAX);
    thread::spawn(move || take_in(&from, &enter));
    thread::spawn(move || give_out(&to, &leave));
}

fn take_in(from: &Iface, enter: &SyncSender<(Instant, Vec<u8>)>) {
    let mut packet = [0; PACKET_BYTES_MAX];
    while let Ok(length) = from.recv(&mut packet) {
        let due = Instant::now() + DELAY;
        if enter.send((due, packet[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn give_out(to: &Iface, leave: &Receiver<(Instant, Vec<u8>)>) {
    while let Ok((due, packet)) = leave.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A packet that the device refuses is lost, as packets are.
        to.send(&packet).ok();
    }
}
