//! Text for people on a terminal: aligned columns, and nothing that a terminal would obey.
//!
//! Everything that came from outside passes through [`shown`] or [`quoted`] on its way to a
//! terminal, whoever wrote it and however it was checked on the way in.

pub use bastion_core::escape::terminal as shown;

/// Free text as it is shown: in double quotes, escaped.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text).replace('"', "\\\""))
}

/// Many lines made safe, with their line breaks kept: what clap says about a command line.
pub fn shown_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(shown).collect();
    lines.join("\n")
}

/// A table with a head, aligned for people.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column heads.
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|h| h.to_uppercase()).collect()] }
    }

    /// One more row; every cell is made safe here.
    pub fn row(&mut self, cells: &[&str]) {
        self.rows.push(cells.iter().map(|cell| shown(cell)).collect());
    }

    /// Whether there is nothing below the head.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// The table, or the sentence when it has no row.
    pub fn or(&self, empty: &str) -> String {
        if self.is_empty() { format!("{empty}\n") } else { self.to_string() }
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let cells: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Named values, one a line, aligned: what `show` commands print.
pub fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    pairs.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastion_core::text::is_plain;

    #[test]
    fn nothing_reaches_a_terminal_that_it_would_obey() {
        for hostile in [
            "\u{1b}[2J",
            "\u{9b}2J",
            "a\rb",
            "a\nb",
            "a\u{8}b",
            "\u{202e}gpj.exe",
            "\u{2066}x",
            "\u{200b}",
            "\u{feff}",
            "\u{7f}",
            "\0",
            "\u{2028}",
            "\u{e0041}",
            "\u{1b}]8;;http://x\u{7}",
        ] {
            for safe in [shown(hostile), quoted(hostile)] {
                assert!(safe.chars().all(is_plain), "{hostile:?} became {safe:?}");
            }
            assert!(shown_lines(hostile).chars().all(|c| c == '\n' || is_plain(c)));
        }
        assert_eq!(shown(r"a\u{1b}"), r"a\\u{1b}");
        assert_eq!(quoted("say \"hi\" gr\u{fc}n"), "\"say \\\"hi\\\" gr\u{fc}n\"");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["vm", "level"]);
        assert_eq!(table.or("none"), "none\n");
        table.row(&["pg-1.acme", "data"]);
        table.row(&["x", "gr\u{fc}n"]);
        assert_eq!(table.to_string(), "VM         LEVEL\npg-1.acme  data\nx          gr\u{fc}n\n");
    }
}
