//! Lines of text for what has no screen.

use bastion_core::{
    escape,
    playback::Happened::{self, Began, Note, Operation},
};
use serde_json::Value;
use std::fmt::Write as _;

/// A moment in a line, if it is worth one; without a line break.
pub(super) fn of(at_micros: u64, what: &Happened) -> Option<String> {
    match what {
        Began(value) => {
            let said = |field: &str| value[field].as_str().map(escape::terminal);
            let command = said("command").map(|command| format!("$ {command}"));
            command.or_else(|| said("destination").map(|to| format!("to {to}")))
        }
        Note(note) => Some(format!("[{}]", escape::terminal(note))),
        Operation(value) => Some(operation(at_micros, value)),
        _ => None,
    }
}

/// `0:01:01.500 upload /etc/motd bytes=3 status=0`
fn operation(at_micros: u64, value: &Value) -> String {
    const FIRST: [&str; 3] = ["operation", "path", "target"];
    let mut line = clock(at_micros);
    let spelled = |value: &Value| match value {
        Value::String(text) => escape::terminal(text),
        other => escape::terminal(&other.to_string()),
    };
    for value in FIRST.iter().filter_map(|field| value.get(field)).filter(|v| !v.is_null()) {
        // Writing to a String cannot fail.
        write!(line, " {}", spelled(value)).unwrap_or_default();
    }
    let mut rest: Vec<_> = value.as_object().into_iter().flatten().collect();
    rest.sort_unstable_by_key(|(field, _)| *field);
    for (field, value) in rest {
        if !FIRST.contains(&field.as_str()) && field != "at_micros" && !value.is_null() {
            let field = escape::terminal(field);
            write!(line, " {field}={}", spelled(value)).unwrap_or_default();
        }
    }
    line
}

/// `1:02:03.250`
pub fn clock(micros: u64) -> String {
    let (millis, seconds) = (micros / 1000 % 1000, micros / 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours}:{minutes:02}:{seconds:02}.{millis:03}")
}
