//! What the measures come to: a table for people, and JSON for programs.

use super::options::Options;
use crate::bench::{machine::Host, table::number};
use serde::Serialize;
use serde_json::json;
use std::{fmt::Write as _, fs};

/// One figure.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Its stable name.
    pub measure: &'static str,
    /// What the figure is.
    pub title: String,
    /// Its unit.
    pub unit: &'static str,
    /// The disk's own limit, measured in between, in the same unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<f64>,
    /// The figure; absent if the measure came to nothing.
    pub value: Option<f64>,
    /// What it must show.
    pub limit: Option<Limit>,
    /// What a reader must know to read it right.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a figure must show.
#[derive(Clone, Debug, Serialize)]
pub struct Limit {
    text: String,
    #[serde(flatten)]
    bound: Bound,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Bound {
    Most(f64),
    Least(f64),
    Exactly(f64),
}

impl Limit {
    /// At most so much.
    pub fn at_most(most: f64) -> Self {
        Self { text: format!("≤ {}", number(most)), bound: Bound::Most(most) }
    }
    /// At least so much.
    pub fn at_least(least: f64) -> Self {
        Self { text: format!("≥ {}", number(least)), bound: Bound::Least(least) }
    }
    /// Neither more nor less.
    pub fn exactly(value: f64) -> Self {
        Self { text: format!("= {}", number(value)), bound: Bound::Exactly(value) }
    }

    fn met(&self, value: f64) -> bool {
        match self.bound {
            Bound::Most(most) => value <= most,
            Bound::Least(least) => value >= least,
            Bound::Exactly(exact) => value == exact,
        }
    }
}

impl Row {
    /// A figure without a limit.
    pub fn new(
        measure: &'static str,
        title: impl Into<String>,
        unit: &'static str,
        value: impl Into<Option<f64>>,
    ) -> Self {
        Self {
            measure,
            title: title.into(),
            unit,
            base: None,
            value: value.into().filter(|value| value.is_finite()),
            limit: None,
            notes: Vec::new(),
        }
    }

    /// With what it must show.
    pub fn limited(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// With the disk's own limit.
    pub fn beside(self, base: f64) -> Self {
        Self { base: Some(base), ..self }
    }

    /// With something to know.
    pub fn noted(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Whether it shows what it must.
    pub fn met(&self) -> Option<bool> {
        Some(self.limit.as_ref()?.met(self.value?))
    }
}

/// The whole report as Markdown.
pub fn markdown(host: &Host, rows: &[Row]) -> String {
    let mut text = host.sentence();
    text += "\n\n| measure | unit | base | here | must show | |\n|---|---|---|---|---|---|\n";
    for row in rows {
        let base = row.base.map_or("-".into(), number);
        let value = row.value.map_or("failed".into(), number);
        let limit = row.limit.as_ref().map_or("-", |limit| limit.text.as_str());
        let verdict = match row.met() {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "",
        };
        // Writing into a String cannot fail.
        let (title, unit) = (&row.title, row.unit);
        writeln!(text, "| {title} | {unit} | {base} | {value} | {limit} | {verdict} |").unwrap();
    }
    let notes = rows.iter().flat_map(|row| row.notes.iter().map(|note| (&row.title, note)));
    let notes: Vec<String> = notes.map(|(title, note)| format!("- {title}: {note}")).collect();
    if notes.is_empty() { text } else { text + "\n" + &notes.join("\n") + "\n" }
}

/// What was measured, in short, while it runs.
pub fn progress(row: &Row) -> String {
    let value = row.value.map_or("failed".into(), number);
    let base = row.base.map_or(String::new(), |base| format!(" (base {})", number(base)));
    let notes: String = row.notes.iter().map(|note| format!("; {note}")).collect();
    format!("{}: {value} {}{base}{notes}", row.title, row.unit)
}

/// Writes the reports that were asked for.
pub fn keep(options: &Options, host: &Host, rows: &[Row]) {
    if let Some(file) = &options.json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                // Names, numbers and text: a row serialises.
                let mut value = serde_json::to_value(row).unwrap();
                value["met"] = json!(row.met());
                value
            })
            .collect();
        let report = json!({ "machine": host, "entries": options.entries, "rows": rows });
        fs::write(file, serde_json::to_string_pretty(&report).unwrap() + "\n").unwrap();
    }
    if let Some(file) = &options.table {
        fs::write(file, markdown(host, rows)).unwrap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_met_or_not_or_unknown() {
        let row = |value: Option<f64>| Row::new("m", "m", "ms", value);
        for (limit, met) in [
            (Limit::at_most(40.0), true),
            (Limit::at_most(39.0), false),
            (Limit::at_least(40.0), true),
            (Limit::at_least(41.0), false),
            (Limit::exactly(40.0), true),
            (Limit::exactly(41.0), false),
        ] {
            assert_eq!(row(Some(40.0)).limited(limit.clone()).met(), Some(met), "{limit:?}");
            assert_eq!(row(None).limited(limit).met(), None);
        }
        assert_eq!(row(Some(40.0)).met(), None);
        assert_eq!(row(Some(f64::NAN)).value, None, "what is no number is no figure");
    }
}
