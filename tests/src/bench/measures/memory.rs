//! Memory of a fast sender and a stalled receiver: what grows in the middle in ten seconds.

use super::echo::{Busy, Master};
use crate::bench::{
    form::{Distance, Form, Way},
    options::Plan,
    row::{Limit, Row, interleaved},
    stage::Stage,
};
use std::{
    fs::File,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// MiB that the middle grows by in ten seconds, stalled in either direction.
pub fn growth(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    // What earlier measures left to the allocator would hide what grows.
    stage.gateway.restart(plan.recording);
    let stage = &*stage;
    let mut rows = Vec::new();
    for distance in plan.distances(&[Distance::Near, Distance::FarOperator]) {
        let way = Way::over(distance);
        for (measure, sends) in [("down", false), ("up", true)] {
            let figures = interleaved(plan.rounds_over(distance).min(2), &Form::THROUGH, |form| {
                let seconds = u64::try_from(plan.count(10, 2)).unwrap_or(10);
                let grown = stage.at(way, || stalled(stage, (form, way), sends, seconds));
                super::forget_recordings(stage);
                grown
            });
            let title = format!("memory grown in 10 s, stalled {measure}load");
            let row = Row::new(&format!("growth_{measure}"), &title, way, "MiB").with(figures);
            let ours = [Form::Ours, Form::OursJump];
            rows.push(row.limited(ours.map(|form| Limit::at_most(form, 16.0))));
        }
    }
    rows
}

/// The connection is there before; what grows is due to the channel alone.
fn stalled(
    stage: &Stage,
    (form, way): (Form, Way),
    sends: bool,
    seconds: u64,
) -> Result<f64, String> {
    let Some(middle) = stage.middle(form) else { return Err("nothing in the middle".into()) };
    let master = Master::open(stage, form, way)?;
    let before = middle.memory_kib();
    let mut command = master.command(&[if sends { "exec sleep 600" } else { "cat /dev/zero" }]);
    if sends {
        command.stdin(File::open("/dev/zero").map_err(|why| why.to_string())?);
    } else {
        command.stdout(Stdio::piped());
    }
    let _busy = Busy(command.spawn().map_err(|why| why.to_string())?);
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut most = before;
    while Instant::now() < until {
        most = most.max(middle.memory_kib());
        thread::sleep(Duration::from_millis(200));
    }
    Ok((most - before) / 1024.0)
}
