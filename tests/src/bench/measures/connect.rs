//! Connect and run `true`: what an operator or a tool waits for each time.

use super::{millis, timed};
use crate::bench::{
    form::{Distance, Form, Kex, Way},
    options::Plan,
    row::{Limit, Row, interleaved},
    stage::Stage,
};

/// The median time of `ssh HOST true`, everywhere, with both key exchanges.
pub fn connect(stage: &mut Stage, plan: &Plan) -> Vec<Row> {
    let stage = &*stage;
    let everywhere = [Distance::Near, Distance::FarOperator, Distance::FarVm];
    let mut rows = Vec::new();
    for distance in plan.distances(&everywhere) {
        let rounds = match distance {
            Distance::Near => plan.count(4 * plan.rounds, 2),
            _ => plan.rounds,
        };
        for kex in [Kex::X25519, Kex::Default] {
            let way = Way { distance, kex };
            let figures = interleaved(rounds, &Form::ALL, |form| {
                stage.at(way, || timed(&mut stage.ssh(form, way, &["true"])).map(millis))
            });
            let row = Row::new("connect", "connect + exec `true`", way, "ms").with(figures);
            rows.push(match (kex, distance) {
                (Kex::X25519, Distance::Near) => row.limited([
                    Limit::at_most_times(Form::Ours, 0.4, Form::Direct),
                    Limit::at_most_times(Form::OursJump, 0.35, Form::Jump),
                ]),
                // Round trips are the same for all: what can be asked is not to be slower.
                _ => row.limited([
                    Limit::at_most_times(Form::Ours, 1.0, Form::Direct),
                    Limit::at_most_times(Form::OursJump, 1.0, Form::Jump),
                ]),
            });
        }
    }
    rows
}
