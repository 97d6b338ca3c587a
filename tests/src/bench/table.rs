//! The table that people read, and the JSON that programs do.

use super::{
    form::Form,
    machine::Machine,
    row::{Figure, Row},
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The whole report as Markdown.
pub fn markdown(machine: &Machine, rows: &[Row]) -> String {
    let mut text = machine.sentence();
    text += "\n\nIn brackets: × direct / × `-J`.\n\n";
    text += "| measure | unit | direct | -J | user+vm | our -J | must show | |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    for row in rows {
        line(&mut text, row);
    }
    let notes: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("- {} ({}): {}", row.title, row.way, row.note.as_ref()?)))
        .collect();
    if !notes.is_empty() {
        text += &format!("\n{}\n", notes.join("\n"));
    }
    for row in rows {
        for (form, figure) in &row.figures {
            for why in &figure.failures {
                // Writing into a String cannot fail.
                writeln!(text, "- failed: {} ({}), {}: {why}", row.title, row.way, form.head())
                    .unwrap();
            }
        }
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let cells: Vec<String> = Form::ALL.into_iter().map(|form| cell(row, form)).collect();
    let mut limits = Vec::new();
    let mut verdicts = Vec::new();
    for limit in &row.limits {
        limits.push(format!("{} {}", limit.of().head(), limit.text()));
        verdicts.push(match limit.met(row) {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "?",
        });
    }
    // Several that all hold need no list.
    if verdicts.iter().all(|verdict| *verdict == "met") {
        verdicts.truncate(1);
    }
    writeln!(
        text,
        "| {}, {} | {} | {} | {} | {} |",
        row.title,
        row.way,
        row.unit,
        cells.join(" | "),
        limits.join("; "),
        verdicts.join("; ")
    )
    // Writing into a String cannot fail.
    .unwrap();
}

fn cell(row: &Row, form: Form) -> String {
    let Some(value) = row.value(form) else {
        return if row.figures.contains_key(&form) { "failed".into() } else { "-".into() };
    };
    let mut text = number(value);
    if matches!(form, Form::Ours | Form::OursJump) {
        let ratio = |other| match row.value(other) {
            Some(other) if other != 0.0 => format!("{:.2}", value / other),
            _ => "-".into(),
        };
        let (direct, jump) = (ratio(Form::Direct), ratio(Form::Jump));
        if direct != "-" || jump != "-" {
            write!(text, " ({direct} / {jump})").unwrap();
        }
    }
    text
}

/// Three figures, or all of a whole number.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The whole report as JSON.
pub fn json(machine: &Machine, rows: &[Row]) -> Value {
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            // Every part of a row serialises: maps with names for keys, numbers and text.
            let mut value = serde_json::to_value(row).unwrap();
            let verdicts = row.limits.iter().map(|limit| json!(limit.met(row)));
            value["met"] = verdicts.collect();
            value
        })
        .collect();
    json!({ "machine": machine, "rows": rows })
}

/// What was measured, in short, while it runs.
pub fn progress(row: &Row) -> String {
    let mut text = format!("{}, {}:", row.title, row.way);
    for (form, figure) in &row.figures {
        let value = figure.value.map_or("failed".to_owned(), number);
        write!(text, "  {} {value}", form.head()).unwrap();
        if let Some(why) = last_failure(figure) {
            write!(text, " ({why})").unwrap();
        }
    }
    text + " " + row.unit
}

fn last_failure(figure: &Figure) -> Option<&str> {
    figure.failures.last().map(String::as_str)
}
