//! New sessions per second, eight clients at a time, and what one costs in the middle.

use super::timed;
use crate::bench::{
    child::Running,
    form::{Distance, Form, Way},
    options::Plan,
    row::{Figure, Limit, Row},
    stage::Stage,
};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

const CLIENTS: usize = 8;

/// Sessions per second, and CPU per session in the middle.
pub fn rate(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    let stage = &*stage;
    let mut rows = Vec::new();
    for distance in plan.distances(&[Distance::Near, Distance::FarOperator]) {
        let way = Way::over(distance);
        let sessions = match distance {
            Distance::Near => plan.count(160, 8),
            _ => plan.count(32, 8),
        };
        let mut rates: BTreeMap<Form, Figure> = BTreeMap::new();
        let mut costs: BTreeMap<Form, Figure> = BTreeMap::new();
        for round in 0..plan.rounds_over(distance) {
            for index in 0..Form::ALL.len() {
                let form = Form::ALL[(round + index) % Form::ALL.len()];
                let (rate, cost) = match batch(stage, form, way, sessions) {
                    Ok((rate, cost)) => (Ok(rate), Ok(cost)),
                    Err(why) => (Err(why.clone()), Err(why)),
                };
                rates.entry(form).or_default().add(rate);
                if form != Form::Direct {
                    costs.entry(form).or_default().add(cost);
                }
            }
        }
        let faster = Limit::at_least_times(Form::Ours, 1.0, Form::Direct);
        let row = Row::new("sessions_per_second", "new sessions, 8 clients", way, "/s");
        rows.push(row.with(rates).limited([faster]));
        let row = Row::new("cpu_per_session", "gateway CPU a session", way, "ms").with(costs);
        rows.push(row.limited([Limit::at_most(Form::Ours, 8.0)]));
    }
    rows
}

/// Sessions per second, and milliseconds of CPU of each.
fn batch(stage: &Stage, form: Form, way: Way, sessions: usize) -> Result<(f64, f64), String> {
    let cpu = || stage.middle(form).map_or(0.0, Running::cpu_millis);
    let (left, before, began) = (AtomicUsize::new(sessions), cpu(), Instant::now());
    let client = || {
        let take = |left: usize| left.checked_sub(1);
        while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            timed(&mut stage.ssh(form, way, &["true"]))?;
        }
        Ok::<_, String>(())
    };
    stage.at(way, || {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().try_for_each(|client| client.join().unwrap())
        })
    })?;
    // A count of sessions is exact in a float.
    let count = sessions as f64;
    let rate = count / began.elapsed().as_secs_f64();
    // What a session leaves to do (its last entries, its processes) belongs to it.
    thread::sleep(Duration::from_millis(500));
    Ok((rate, (cpu() - before) / count))
}
