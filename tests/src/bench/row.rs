//! What a measure comes to: a row of the table, with the limit and whether it is met.

use super::form::{Form, Way};
use serde::Serialize;
use std::collections::BTreeMap;

/// One row: one figure of one measure, in each form.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its stable name, for JSON.
    pub measure: String,
    /// What the figure is.
    pub title: String,
    /// Over which distance and with which key exchange.
    pub way: String,
    /// Its unit.
    pub unit: &'static str,
    /// The figures.
    pub figures: BTreeMap<Form, Figure>,
    /// What ours must show.
    pub limits: Vec<Limit>,
    /// What a reader must know to read it right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A figure in one form.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figure {
    /// The median of its samples, or the percentile that the row is about; absent if all failed.
    pub value: Option<f64>,
    /// What was measured, in the order of the rounds; absent where they are thousands.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<f64>,
    /// Samples that came to nothing, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// What the issue asks of a form.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    of: Form,
    bound: Bound,
    text: String,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    Most(f64),
    Least(f64),
    MostTimes(f64, Form),
    LeastTimes(f64, Form),
}

impl Limit {
    /// At most so many.
    pub fn at_most(of: Form, most: f64) -> Self {
        Self { of, bound: Bound::Most(most), text: format!("≤ {most}") }
    }
    /// At least so many.
    pub fn at_least(of: Form, least: f64) -> Self {
        Self { of, bound: Bound::Least(least), text: format!("≥ {least}") }
    }
    /// At most so many times what another form shows.
    pub fn at_most_times(of: Form, times: f64, other: Form) -> Self {
        let text = format!("≤ {times} × {}", other.head());
        Self { of, bound: Bound::MostTimes(times, other), text }
    }
    /// At least so many times what another form shows.
    pub fn at_least_times(of: Form, times: f64, other: Form) -> Self {
        let text = format!("≥ {times} × {}", other.head());
        Self { of, bound: Bound::LeastTimes(times, other), text }
    }
    /// The form that it is about.
    pub fn of(&self) -> Form {
        self.of
    }
    /// As the table says it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is met; nothing if there is a figure missing.
    pub fn met(&self, row: &Row) -> Option<bool> {
        let own = row.value(self.of)?;
        Some(match self.bound {
            Bound::Most(most) => own <= most,
            Bound::Least(least) => own >= least,
            Bound::MostTimes(times, other) => own <= times * row.value(other)?,
            Bound::LeastTimes(times, other) => own >= times * row.value(other)?,
        })
    }
}

impl Row {
    /// A row without limits.
    pub fn new(measure: &str, title: &str, way: Way, unit: &'static str) -> Self {
        Self {
            measure: measure.to_owned(),
            title: title.to_owned(),
            way: format!("{}, {}", way.distance.says(), way.kex.says()),
            unit,
            figures: BTreeMap::new(),
            limits: Vec::new(),
            note: None,
        }
    }

    /// With these figures.
    pub fn with(mut self, figures: BTreeMap<Form, Figure>) -> Self {
        self.figures = figures;
        self
    }

    /// With these limits.
    pub fn limited(mut self, limits: impl IntoIterator<Item = Limit>) -> Self {
        self.limits.extend(limits);
        self
    }

    /// With this to know.
    pub fn noted(mut self, note: &str) -> Self {
        self.note = Some(note.to_owned());
        self
    }

    /// The figure of a form.
    pub fn value(&self, form: Form) -> Option<f64> {
        self.figures.get(&form)?.value
    }
}

impl Figure {
    /// Of samples, by their median.
    pub fn median(samples: Vec<f64>) -> Self {
        Self { value: percentile(&samples, 50.0), samples, failures: Vec::new() }
    }

    /// A percentile of so many samples that nobody wants to see them.
    pub fn percentile(samples: &[f64], percent: f64) -> Self {
        Self { value: percentile(samples, percent), ..Self::default() }
    }

    /// Takes in one more sample.
    pub fn add(&mut self, sample: Result<f64, String>) {
        match sample {
            Ok(sample) => self.samples.push(sample),
            Err(why) => self.failures.push(why),
        }
        self.value = percentile(&self.samples, 50.0);
    }
}

/// A percentile by the nearest rank.
pub fn percentile(samples: &[f64], percent: f64) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    // A percentile of a length is far from the ends of a usize.
    let rank = (percent / 100.0 * last as f64).round() as usize;
    sorted.get(rank).copied()
}

/// Samples each form in each round, a different one first each time, and sums up.
pub fn interleaved(
    rounds: usize,
    forms: &[Form],
    mut sample: impl FnMut(Form) -> Result<f64, String>,
) -> BTreeMap<Form, Figure> {
    let mut figures: BTreeMap<Form, Figure> = BTreeMap::new();
    for round in 0..rounds {
        for index in 0..forms.len() {
            let form = forms[(round + index) % forms.len()];
            figures.entry(form).or_default().add(sample(form));
        }
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::form::Distance;

    #[test]
    fn a_limit_is_met_or_not_or_unknown() {
        let figure = |value| Figure::median(vec![value]);
        let figures = [(Form::Direct, figure(100.0)), (Form::Ours, figure(40.0))];
        let row = Row::new("m", "m", Way::over(Distance::Near), "ms").with(figures.into());
        for (limit, met) in [
            (Limit::at_most_times(Form::Ours, 0.4, Form::Direct), Some(true)),
            (Limit::at_most_times(Form::Ours, 0.39, Form::Direct), Some(false)),
            (Limit::at_least_times(Form::Ours, 0.4, Form::Direct), Some(true)),
            (Limit::at_most(Form::Ours, 39.0), Some(false)),
            (Limit::at_least(Form::Ours, 39.0), Some(true)),
            (Limit::at_most_times(Form::Ours, 1.0, Form::Jump), None),
            (Limit::at_most(Form::OursJump, 1.0), None),
        ] {
            assert_eq!(limit.met(&row), met, "{limit:?}");
        }
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let samples: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 50.0), Some(50.0));
        assert_eq!(percentile(&samples, 99.0), Some(99.0));
        assert_eq!(percentile(&[], 50.0), None);
    }
}
