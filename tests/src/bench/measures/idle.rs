//! Sessions that just stand there: what each takes in memory, and how a new login fares among
//! ten thousand.

use super::{millis, timed};
use crate::bench::{
    child::Running,
    form::{Distance, Form, Way},
    gateway::{PORT, lay_stand_in},
    options::Plan,
    row::{Figure, Limit, Row},
    stage::{JUMP_PORT, Stage},
    standin::Standing,
};
use bastion_core::limits::RECORDING_DESCRIPTORS_SHARE;
use std::{collections::BTreeMap, fs, thread, time::Duration};

const VM: &str = "idle.acme";
const VM_ADDRESS: &str = "127.0.0.1:2204";

/// Memory of idle sessions, and the login of a new one among all of them.
pub fn idle(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    // What earlier measures left to the allocator would hide what sessions take.
    stage.gateway.restart(plan.recording);
    let stage = &*stage;
    let way = Way::over(Distance::Near);
    let key = stage.officer(|odile| lay_stand_in(stage.dir(), odile, VM, VM_ADDRESS));
    let key = key.display().to_string();
    let vm = Standing::start("vm", &["--listen", VM_ADDRESS, "--key", &key]);
    let (mut memory, mut login) = (BTreeMap::new(), BTreeMap::new());
    let before = logins(stage, way, plan);
    let (there, held) = match &vm {
        Ok(_) => sit_idle(stage, plan, &mut memory),
        Err(why) => (There::default(), vec![Err(why.clone())]),
    };
    for form in [Form::Ours, Form::OursJump] {
        let (idle, among) = (&before[&form], &logins(stage, way, plan)[&form]);
        let mut figure = Figure::default();
        for held in &held {
            if let Err(why) = held {
                figure.failures.push(why.clone());
            }
        }
        figure.value = among.value.zip(idle.value).map(|(among, idle)| among / idle);
        figure.failures.extend(among.failures.iter().chain(&idle.failures).cloned());
        login.insert(form, figure);
    }
    let sessions = format!("{} idle sessions", there.all());
    let row = Row::new("idle_memory", "memory of an idle PTY session", way, "KiB").with(memory);
    let ours = [Form::Ours, Form::OursJump];
    let row = row.limited(ours.map(|form| Limit::at_most(form, 150.0))).noted(&format!(
        "grown over {} sessions (`-J` {}, our -J {}); of `-J` the jump host's sshd processes",
        first(plan),
        few(plan),
        few(plan)
    ));
    let title = format!("login among {sessions}, against none");
    let login = Row::new("login_among_idle", &title, way, "×").with(login);
    let login = match there.without {
        0 => login,
        without => login.noted(&format!(
            "{} of them have a terminal, {without} are between two channels: a session with a \
             terminal takes two sockets, and this machine lets one process have {} descriptors",
            there.with_terminal,
            most_descriptors(stage.gateway.process())
        )),
    };
    vec![row, login.limited(ours.map(|form| Limit::at_most(form, 2.0)))]
}

/// How many sit there.
#[derive(Clone, Copy, Default)]
struct There {
    with_terminal: usize,
    /// Logged in, with no channel just now.
    without: usize,
}

impl There {
    fn all(self) -> usize {
        self.with_terminal + self.without
    }
}

/// Over how many the memory of one is told.
fn first(plan: &Plan) -> usize {
    plan.idle.min(2000)
}

fn few(plan: &Plan) -> usize {
    (first(plan) / 10).max(4)
}

/// Has all of them sit down, and tells what each takes.
fn sit_idle(
    stage: &Stage,
    plan: &Plan,
    memory: &mut BTreeMap<Form, Figure>,
) -> (There, Vec<Result<Standing, String>>) {
    let bare = descriptors(stage.gateway.process());
    let key = stage.dir().join("keys/olga");
    let (ours, jump) = (format!("127.0.0.1:{PORT}"), format!("127.0.0.1:{JUMP_PORT}"));
    let inventory = format!("ops+{VM}");
    let inside = format!("{VM}:22");
    let in_ours = ["--through", &ours, "--login", &inventory];
    let in_jump = ["--through", &jump, "--login", "ops", "--inside", VM_ADDRESS, "--forward-only"];
    let in_ours_jump = ["--through", &ours, "--login", "olga", "--inside", &inside];
    let mut held = Vec::new();
    for (form, count, way_in) in [
        (Form::Ours, first(plan), &in_ours[..]),
        (Form::OursJump, few(plan), &in_ours_jump[..]),
        (Form::Jump, few(plan), &in_jump[..]),
    ] {
        let Some(middle) = stage.middle(form) else { continue };
        let before = middle.memory_kib();
        let standing = Standing::operators(count, &key, way_in);
        // Buffers of the login are given back a moment later.
        thread::sleep(Duration::from_secs(2));
        let mut figure = Figure::default();
        figure.add(match &standing {
            // A count of sessions is exact in a float.
            Ok(_) => Ok((middle.memory_kib() - before) / count as f64),
            Err(why) => Err(why.clone()),
        });
        memory.insert(form, figure);
        if form != Form::Jump {
            held.push(standing);
        }
    }
    let there = all_of(plan.idle, most_descriptors(stage.gateway.process()) - bare);
    let rest = there.with_terminal.saturating_sub(first(plan) + few(plan));
    let in_bare = ["--through", &ours, "--login", &inventory, "--login-only"];
    for (count, way_in) in [(rest, &in_ours[..]), (there.without, &in_bare[..])] {
        if count > 0 {
            held.push(Standing::operators(count, &key, way_in));
        }
    }
    (there, held)
}

/// A session takes one socket, and one more where it has a terminal on a VM.
fn all_of(wanted: usize, descriptors: usize) -> There {
    let recordings = descriptors / RECORDING_DESCRIPTORS_SHARE as usize;
    let room = descriptors.saturating_sub(recordings + DESCRIPTORS_SPARE);
    let with_terminal = wanted.min(room.saturating_sub(wanted));
    There { with_terminal, without: wanted - with_terminal }
}

/// For whoever logs in now, and what the log opens now and then.
const DESCRIPTORS_SPARE: usize = 60;

/// The files and sockets that a process has open.
fn descriptors(process: &Running) -> usize {
    fs::read_dir(format!("/proc/{}/fd", process.pid())).map_or(0, Iterator::count)
}

/// How many it may have: on a machine that does not let root raise it, fewer sessions fit.
fn most_descriptors(process: &Running) -> usize {
    let text = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

/// What a login takes now.
fn logins(stage: &Stage, way: Way, plan: &Plan) -> BTreeMap<Form, Figure> {
    super::super::row::interleaved(plan.count(15, 2), &[Form::Ours, Form::OursJump], |form| {
        stage.at(way, || timed(&mut stage.ssh(form, way, &["true"])).map(millis))
    })
}
