//! An exported log, as the tests look at it.

use serde_json::Value;

/// Every entry, parsed; each line as it stands in the export.
#[derive(Clone, Debug)]
pub struct Log {
    /// The entries, in order.
    pub entries: Vec<Value>,
    /// The export, line by line, without line breaks.
    pub lines: Vec<String>,
}

impl Log {
    /// Reads an export.
    pub fn parse(text: &str) -> Self {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let entries = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { entries, lines }
    }

    /// The events of a type, in order.
    pub fn events(&self, kind: &str) -> Vec<&Value> {
        let is_kind = |entry: &&Value| entry["event"]["type"] == kind;
        self.entries.iter().filter(is_kind).map(|entry| &entry["event"]).collect()
    }

    /// The only event of a type.
    #[track_caller]
    pub fn only(&self, kind: &str) -> &Value {
        let found = self.events(kind);
        assert_eq!(found.len(), 1, "{kind} in {:#?}", self.kinds());
        found[0]
    }

    /// The last event of a type.
    #[track_caller]
    pub fn last(&self, kind: &str) -> &Value {
        self.events(kind).pop().unwrap_or_else(|| panic!("no {kind} in {:#?}", self.kinds()))
    }

    /// The types of all events, in order.
    pub fn kinds(&self) -> Vec<&str> {
        self.entries.iter().filter_map(|entry| entry["event"]["type"].as_str()).collect()
    }

    /// The types of the events that name this lease, in order.
    pub fn story_of(&self, lease: &str) -> Vec<&str> {
        let names = |entry: &&Value| entry["event"]["lease"] == lease;
        self.entries.iter().filter(names).filter_map(|e| e["event"]["type"].as_str()).collect()
    }
}
