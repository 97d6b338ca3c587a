//! A session that runs beside whatever else happens: an operator's terminal, in which each line is
//! answered before the next one is typed.

use bastion_tests::world::{Person, World};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long the next answer may take on a machine that is flooded: a bound, not a measure.
const ANSWER_SECONDS_MAX: u64 = 30;

/// A terminal that is being used.
pub struct Steady {
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    typist: Option<JoinHandle<()>>,
    ssh: Child,
}

impl Steady {
    /// Opens one, from this address of loopback.
    pub fn begin(world: &World, from: &str) -> Self {
        let mut ssh = Command::new("ssh")
            .args(["-F", Person::Olga.config(), "-tt", "-o", &format!("BindAddress={from}")])
            .args(["-l", "ops+pg-1.acme", "bastion", "stty -echo; echo ready; exec cat"])
            .current_dir(world.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut keys = ssh.stdin.take().unwrap();
        let mut screen = BufReader::new(ssh.stdout.take().unwrap()).lines();
        let mut next = move || screen.next().expect("the session ended").unwrap();
        while next().trim() != "ready" {}
        let (answers, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (counted, told) = (answers.clone(), stop.clone());
        let typist = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let typed = counted.load(Ordering::Relaxed).to_string();
                writeln!(keys, "{typed}").unwrap();
                assert_eq!(next().trim(), typed, "answers come in order");
                counted.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { answers, stop, typist: Some(typist), ssh }
    }

    /// Fails the test unless so many more answers come.
    #[track_caller]
    pub fn goes_on(&self, more: u64) {
        let mut seen = self.answers.load(Ordering::Relaxed);
        let wanted = seen + more;
        let mut since = Instant::now();
        while seen < wanted {
            let now = self.answers.load(Ordering::Relaxed);
            if now > seen {
                (seen, since) = (now, Instant::now());
            }
            let typing = self.typist.as_ref().is_some_and(|typist| !typist.is_finished());
            assert!(typing, "the session ended after {seen} answers");
            let waited = since.elapsed().as_secs();
            assert!(waited < ANSWER_SECONDS_MAX, "no answer for {waited} s after {seen}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it; every answer was right.
    pub fn end(mut self) -> u64 {
        self.goes_on(10);
        self.stop.store(true, Ordering::Relaxed);
        self.typist.take().expect("it types").join().expect("every answer was right");
        self.answers.load(Ordering::Relaxed)
    }
}

impl Drop for Steady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It may have ended with its session.
        self.ssh.kill().ok();
        self.ssh.wait().unwrap();
    }
}
