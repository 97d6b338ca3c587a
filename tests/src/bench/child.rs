//! Long-lived processes of the bench, and what the kernel says of their CPU time and memory.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A process that ends with this value.
pub struct Running {
    child: Child,
    name: &'static str,
    account: Option<Account>,
}

impl Running {
    /// Starts it with its words going to a file.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|why| panic!("{name}: {why}"));
        let account = Account::open(child.id());
        Self { child, name, account }
    }

    /// Milliseconds of CPU that it and all that it ever started have used.
    pub fn cpu_millis(&self) -> f64 {
        match &self.account {
            Some(account) => account.millis(),
            None => family(self.pid()).into_iter().map(cpu_millis).sum(),
        }
    }

    /// KiB of memory that it and all that it started have.
    pub fn memory_kib(&self) -> f64 {
        family(self.pid()).into_iter().map(memory_kib).sum()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs; a gateway that ended makes every figure after it worthless.
    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).ok();
        let give_up = Instant::now() + Duration::from_secs(20);
        while self.lives() {
            if Instant::now() > give_up {
                eprintln!("{} does not end, and is killed", self.name);
                self.child.kill().ok();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let Some(account) = &self.account {
            account.close();
        }
    }
}

/// The fields of `/proc/PID/stat` after the name; nothing if it is gone.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

/// Milliseconds of CPU that a process and those of its children that it waited for have used.
fn cpu_millis(pid: u32) -> f64 {
    let stat = stat(pid).unwrap_or_default();
    let ticks = |index: usize| stat.get(index).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    // utime, stime, cutime, cstime; a tick is 10 ms everywhere on Linux.
    (ticks(11) + ticks(12) + ticks(13) + ticks(14)) * 10.0
}

/// A process and its descendants.
fn family(pid: u32) -> Vec<u32> {
    let parents: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|item| item.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| Some((pid, stat(pid)?.get(1)?.parse().ok()?)))
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// KiB that a process has to itself in memory.
fn memory_kib(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()
    };
    field("Pss:").unwrap_or(0.0)
}

/// A control group of its own: sshd's processes end without their parents waiting for them, and
/// what they used would be lost in the accounts of processes.
struct Account(PathBuf);

impl Account {
    fn open(pid: u32) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/mounts").ok()?;
        let mount =
            mounts.lines().find_map(|line| line.strip_prefix("cgroup2 ")?.split(' ').next());
        let group = Path::new(mount?).join(format!("relay-bench-{pid}"));
        fs::create_dir(&group).ok()?;
        let account = Self(group);
        fs::write(account.0.join("cgroup.procs"), pid.to_string()).ok()?;
        fs::read_to_string(account.0.join("cpu.stat")).ok()?;
        Some(account)
    }

    fn millis(&self) -> f64 {
        let text = fs::read_to_string(self.0.join("cpu.stat")).unwrap_or_default();
        let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
        micros.and_then(|micros| micros.trim().parse::<f64>().ok()).unwrap_or(0.0) / 1e3
    }

    /// Nothing is left in it, or soon will be.
    fn close(&self) {
        let give_up = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.0).is_err() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
