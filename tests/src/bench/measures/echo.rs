//! Keystrokes and their echo: what an operator's hands feel.
//!
//! One driver for all forms: `ssh -tt` to a `cat` behind a raw PTY, one byte there, one byte back,
//! back to back. Alone on its connection, beside a bulk channel, and beside a stalled one.

use crate::bench::{
    form::{Distance, Form, Way},
    options::Plan,
    row::{Figure, Limit, Row},
    stage::Stage,
};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long anything may take before it counts as hung.
const HUNG: Duration = Duration::from_secs(20);
/// How long a channel beside is left to reach its speed, or to stall.
const SETTLE: Duration = Duration::from_secs(1);

/// Echo alone on a connection, the four taking turns.
pub fn alone(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for distance in plan.distances(&[Distance::Near, Distance::FarOperator]) {
        let way = Way::over(distance);
        let keys = match distance {
            Distance::Near => plan.count(4000, 40),
            _ => plan.count(40, 4),
        };
        let mut typists = typists(stage, way, |form| stage.ssh(form, way, &[]));
        let samples = take_turns(&mut typists, keys);
        rows.extend([50.0, 99.0].map(|percent| {
            let title = format!("keystroke echo, p{percent}");
            let row = Row::new(&format!("echo_p{percent}"), &title, way, "µs");
            row.with(percentiles(&samples, percent)).limited(limits_of_echo(distance))
        }));
    }
    rows
}

fn limits_of_echo(distance: Distance) -> Vec<Limit> {
    let ours = [Form::Ours, Form::OursJump];
    let mut limits = Vec::from(ours.map(|f| Limit::at_most_times(f, 1.5, Form::Direct)));
    if distance == Distance::Near {
        // Over 100 ms nobody is below anybody but by chance.
        limits.extend(ours.map(|form| Limit::at_most_times(form, 1.0, Form::Jump)));
    }
    limits
}

/// What else is on the connection.
struct Beside {
    measure: &'static str,
    title: &'static str,
    command: &'static str,
    /// Whether the operator sends without end.
    sends: bool,
    /// Whether the operator takes what comes.
    takes: bool,
}

const BULK: [Beside; 2] = [
    Beside {
        measure: "echo_beside_download",
        title: "echo beside a bulk download, p50",
        command: "exec cat /dev/zero",
        sends: false,
        takes: true,
    },
    Beside {
        measure: "echo_beside_upload",
        title: "echo beside a bulk upload, p50",
        command: "exec cat > /dev/null",
        sends: true,
        takes: true,
    },
];

const STALLED: [Beside; 2] = [
    Beside {
        measure: "echo_beside_stalled_download",
        title: "echo beside a stalled download, p50",
        command: "exec cat /dev/zero",
        sends: false,
        takes: false,
    },
    Beside {
        measure: "echo_beside_stalled_upload",
        title: "echo beside a stalled upload, p50",
        command: "exec sleep 600",
        sends: true,
        takes: true,
    },
];

/// Echo beside a bulk channel of the same connection.
pub fn beside_bulk(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    beside(stage, plan, &BULK)
}

/// Echo beside a stalled channel of the same connection.
pub fn beside_stalled(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    beside(stage, plan, &STALLED)
}

fn beside(stage: &Stage, plan: &Plan, besides: &[Beside]) -> Vec<Row> {
    let mut rows = Vec::new();
    for distance in plan.distances(&[Distance::Near, Distance::FarOperator]) {
        let way = Way::over(distance);
        for beside in besides {
            let mut figures: BTreeMap<Form, Figure> = BTreeMap::new();
            for round in 0..plan.rounds_over(distance) {
                for index in 0..Form::ALL.len() {
                    let form = Form::ALL[(round + index) % Form::ALL.len()];
                    let keys = match distance {
                        Distance::Near => plan.count(300, 20),
                        _ => plan.count(20, 4),
                    };
                    let settle = if plan.quick { SETTLE / 2 } else { SETTLE };
                    let sample = beside_one(stage, (form, way), beside, (settle, keys));
                    figures.entry(form).or_default().add(sample);
                }
            }
            let limits = [Form::Ours, Form::OursJump]
                .map(|form| Limit::at_most_times(form, 1.0, Form::Jump));
            let row = Row::new(beside.measure, beside.title, way, "µs");
            rows.push(row.with(figures).limited(limits));
        }
    }
    rows
}

/// The median echo beside another channel, in microseconds.
fn beside_one(
    stage: &Stage,
    (form, way): (Form, Way),
    beside: &Beside,
    (settle, keys): (Duration, usize),
) -> Result<f64, String> {
    let master = stage.at(way, || Master::open(stage, form, way))?;
    stage.at(way, || {
        let _busy = master.busy(beside)?;
        thread::sleep(settle);
        let mut typist = Typist::sit_down(&mut master.command(&[]))?;
        let samples = typist.types(keys)?;
        Ok(Figure::percentile(&samples, 50.0).value.unwrap_or_default())
    })
}

/// A connection that many channels share.
pub struct Master<'a> {
    stage: &'a Stage,
    socket: PathBuf,
    form: Form,
    way: Way,
    child: Child,
}

impl<'a> Master<'a> {
    /// Connects.
    pub fn open(stage: &'a Stage, form: Form, way: Way) -> Result<Self, String> {
        let socket = stage.dir().join(format!("master-{form:?}"));
        let mut command = stage.program("ssh", way);
        command.args(["-M", "-N", "-S"]).arg(&socket);
        command.arg(crate::bench::stage::host(form, way.distance)).stderr(Stdio::null());
        let child = command.spawn().map_err(|why| why.to_string())?;
        let mut master = Self { stage, socket, form, way, child };
        let give_up = Instant::now() + HUNG;
        while !master.socket.exists() {
            if let Ok(Some(status)) = master.child.try_wait() {
                return Err(format!("the connection ended: {status}"));
            }
            if Instant::now() > give_up {
                return Err("the connection is not there after 20 s".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(master)
    }

    /// `ssh HOST WORDS…` over it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.stage.program("ssh", self.way);
        command.arg("-S").arg(&self.socket);
        command.arg(crate::bench::stage::host(self.form, self.way.distance)).args(words);
        command
    }

    fn busy(&self, beside: &Beside) -> Result<Busy, String> {
        let mut command = self.command(&[beside.command]);
        if beside.sends {
            command.stdin(std::fs::File::open("/dev/zero").map_err(|why| why.to_string())?);
        }
        if !beside.takes {
            command.stdout(Stdio::piped());
        }
        let child = command.stderr(Stdio::null()).spawn().map_err(|why| why.to_string())?;
        Ok(Busy(child))
    }
}

impl Drop for Master<'_> {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        std::fs::remove_file(&self.socket).ok();
    }
}

/// A channel that is busy, or stuck: nobody reads the pipe in this value.
pub struct Busy(pub Child);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Somebody at a raw terminal whose keys come back.
pub struct Typist {
    child: Child,
    keys: ChildStdin,
    screen: std::sync::mpsc::Receiver<u8>,
}

fn typists(
    stage: &Stage,
    way: Way,
    command: impl Fn(Form) -> Command + Sync,
) -> BTreeMap<Form, Result<Typist, String>> {
    let sit_down = |form| (form, stage.at(way, || Typist::sit_down(&mut command(form))));
    Form::ALL.into_iter().map(sit_down).collect()
}

fn take_turns(
    typists: &mut BTreeMap<Form, Result<Typist, String>>,
    keys: usize,
) -> BTreeMap<Form, Result<Vec<f64>, String>> {
    let mut samples: BTreeMap<Form, Result<Vec<f64>, String>> = BTreeMap::new();
    let turns = 20.min(keys);
    for _ in 0..turns {
        for (form, typist) in typists.iter_mut() {
            let typed = match typist {
                Ok(typist) => typist.types(keys / turns),
                Err(why) => Err(why.clone()),
            };
            let all = samples.entry(*form).or_insert_with(|| Ok(Vec::new()));
            match (all, typed) {
                (Ok(all), Ok(typed)) => all.extend(typed),
                (all, Err(why)) => *all = Err(why),
                (Err(_), _) => {}
            }
        }
    }
    samples
}

fn percentiles(
    samples: &BTreeMap<Form, Result<Vec<f64>, String>>,
    percent: f64,
) -> BTreeMap<Form, Figure> {
    let figure = |samples: &Result<Vec<f64>, String>| match samples {
        Ok(samples) => Figure::percentile(samples, percent),
        Err(why) => Figure { failures: vec![why.clone()], ..Figure::default() },
    };
    samples.iter().map(|(form, samples)| (*form, figure(samples))).collect()
}

impl Typist {
    /// Opens a terminal with this ssh command, to which the words are added.
    pub fn sit_down(ssh: &mut Command) -> Result<Self, String> {
        ssh.args(["-tt", "stty raw -echo; echo ready; exec cat"]);
        ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = ssh.spawn().map_err(|why| why.to_string())?;
        let (keys, screen) = (child.stdin.take(), child.stdout.take());
        let keys = keys.ok_or("no standard input")?;
        let screen = watch(screen.ok_or("no standard output")?);
        let mut typist = Self { child, keys, screen };
        let mut seen = Vec::new();
        while !seen.ends_with(b"ready\n") {
            seen.push(typist.sees()?);
        }
        typist.types(3)?;
        Ok(typist)
    }

    fn sees(&mut self) -> Result<u8, String> {
        let seen = self.screen.recv_timeout(HUNG);
        seen.map_err(|_| "no echo after 20 s, or the channel ended".to_owned())
    }

    /// Types so many keys, each after the echo of the one before; how long each took, in
    /// microseconds.
    pub fn types(&mut self, keys: usize) -> Result<Vec<f64>, String> {
        let mut took = Vec::with_capacity(keys);
        for _ in 0..keys {
            let began = Instant::now();
            self.keys.write_all(b"k").map_err(|why| why.to_string())?;
            if self.sees()? != b'k' {
                return Err("another key came back".into());
            }
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
        Ok(took)
    }
}

/// Reads on a thread of its own, so that a hang can be told from a slow answer.
fn watch(mut screen: ChildStdout) -> std::sync::mpsc::Receiver<u8> {
    let (seen, screen_bytes) = std::sync::mpsc::sync_channel(4096);
    thread::spawn(move || {
        let mut bytes = [0; 256];
        while let Ok(length @ 1..) = screen.read(&mut bytes) {
            for byte in &bytes[..length] {
                if seen.send(*byte).is_err() {
                    return;
                }
            }
        }
    });
    screen_bytes
}

impl Drop for Typist {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
