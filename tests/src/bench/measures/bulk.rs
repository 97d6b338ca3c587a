//! Bytes in bulk, both ways, with default ciphers, and what a gigabyte costs in the middle.

use crate::bench::{
    child::Running,
    form::{Distance, Form, Kex, Way},
    gateway::Recording,
    options::Plan,
    row::{Figure, Limit, Row},
    stage::Stage,
};
use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    process::Stdio,
    time::Instant,
};

const PIECE: usize = 256 << 10;

/// Which way the bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// Megabytes per second both ways, and seconds of CPU for each 10^9 bytes; with whole recordings,
/// then with digests only.
pub fn bulk(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    let everywhere = [Distance::Near, Distance::FarOperator, Distance::FarVm];
    let mut rows = Vec::new();
    for distance in plan.distances(&everywhere) {
        rows.extend(over(stage, plan, (distance, plan.recording), &Form::ALL));
    }
    if plan.recording == Recording::Full && plan.over.contains(&Distance::Near) {
        stage.gateway.restart(Recording::Digests);
        let how = (Distance::Near, Recording::Digests);
        rows.extend(over(stage, plan, how, &Form::ALL));
        stage.gateway.restart(plan.recording);
    }
    rows
}

fn over(
    stage: &Stage,
    plan: &Plan,
    (distance, recording): (Distance, Recording),
    forms: &[Form],
) -> Vec<Row> {
    let way = Way { distance, kex: Kex::Default };
    let mib = match distance {
        Distance::Near => plan.count(1024, 8),
        _ => plan.count(96, 4),
    };
    let rounds = plan.rounds_over(distance);
    let mut rows = Vec::new();
    for direction in [Direction::Up, Direction::Down] {
        let mut speeds: BTreeMap<Form, Figure> = BTreeMap::new();
        let mut costs: BTreeMap<Form, Figure> = BTreeMap::new();
        for round in 0..rounds {
            for index in 0..forms.len() {
                let form = forms[(round + index) % forms.len()];
                let (speed, cost) = match one(stage, (form, way), direction, mib << 20) {
                    Ok((speed, cost)) => (Ok(speed), Ok(cost)),
                    Err(why) => (Err(why.clone()), Err(why)),
                };
                speeds.entry(form).or_default().add(speed);
                if form != Form::Direct {
                    costs.entry(form).or_default().add(cost);
                }
                super::forget_recordings(stage);
            }
        }
        rows.extend(told((way, recording), direction, speeds, costs));
    }
    rows
}

fn told(
    (way, recording): (Way, Recording),
    direction: Direction,
    speeds: BTreeMap<Form, Figure>,
    costs: BTreeMap<Form, Figure>,
) -> Vec<Row> {
    let up = direction == Direction::Up;
    let (name, word) = match recording {
        Recording::Full => (if up { "up" } else { "down" }, "full recording"),
        Recording::Digests => (if up { "up_digests" } else { "down_digests" }, "digests only"),
    };
    let direction = if up { "up" } else { "down" };
    let ours = [Form::Ours, Form::OursJump];
    let title = format!("bulk {direction}, {word}");
    let row = Row::new(&format!("bulk_{name}"), &title, way, "MB/s").with(speeds);
    if way.distance != Distance::Near {
        return vec![row.limited(ours.map(|f| Limit::at_least_times(f, 0.95, Form::Direct)))];
    }
    let (times, seconds) = match recording {
        Recording::Full => (1.2, 2.0),
        Recording::Digests => (1.5, 1.2),
    };
    let fast = row.limited(ours.map(|form| Limit::at_least_times(form, times, Form::Jump)));
    let title = format!("gateway CPU for each GB {direction}, {word}");
    let row = Row::new(&format!("cpu_per_gb_{name}"), &title, way, "s").with(costs);
    vec![fast, row.limited(ours.map(|form| Limit::at_most(form, seconds)))]
}

/// Megabytes per second, and seconds of CPU for each gigabyte.
fn one(
    stage: &Stage,
    (form, way): (Form, Way),
    direction: Direction,
    bytes: usize,
) -> Result<(f64, f64), String> {
    let cpu = || stage.middle(form).map_or(0.0, Running::cpu_millis);
    let (before, began) = (cpu(), Instant::now());
    stage.at(way, || match direction {
        Direction::Up => up(stage, form, way, bytes),
        Direction::Down => down(stage, form, way, bytes),
    })?;
    // Gigabytes are exact in a float.
    let (took, gigabytes) = (began.elapsed().as_secs_f64(), bytes as f64 / 1e9);
    std::thread::sleep(std::time::Duration::from_millis(300));
    Ok((gigabytes * 1e3 / took, (cpu() - before) / 1e3 / gigabytes))
}

fn up(stage: &Stage, form: Form, way: Way, bytes: usize) -> Result<(), String> {
    let mut ssh = stage.ssh(form, way, &["wc -c"]);
    ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().map_err(|why| why.to_string())?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    super::widen(&stdin);
    let zeros = [0; PIECE];
    let mut left = bytes;
    while left > 0 {
        let piece = left.min(PIECE);
        if let Err(why) = stdin.write_all(&zeros[..piece]) {
            drop(stdin);
            let said = child.wait_with_output().map_err(|why| why.to_string())?;
            return Err(format!("{why}: {}", String::from_utf8_lossy(&said.stderr).trim()));
        }
        left -= piece;
    }
    drop(stdin);
    let said = child.wait_with_output().map_err(|why| why.to_string())?;
    let counted = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    match counted == bytes.to_string() {
        true => Ok(()),
        false => Err(format!(
            "{counted} bytes arrived: {}",
            String::from_utf8_lossy(&said.stderr).trim()
        )),
    }
}

fn down(stage: &Stage, form: Form, way: Way, bytes: usize) -> Result<(), String> {
    let mut ssh = stage.ssh(form, way, &[&format!("head -c {bytes} /dev/zero")]);
    ssh.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ssh.spawn().map_err(|why| why.to_string())?;
    let mut stdout = child.stdout.take().ok_or("no standard output")?;
    super::widen(&stdout);
    let (mut piece, mut arrived) = (vec![0; PIECE], 0);
    while let Ok(length @ 1..) = stdout.read(&mut piece) {
        arrived += length;
    }
    let said = child.wait_with_output().map_err(|why| why.to_string())?;
    match arrived == bytes && said.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{arrived} bytes arrived, {}: {}",
            said.status,
            String::from_utf8_lossy(&said.stderr).trim()
        )),
    }
}
