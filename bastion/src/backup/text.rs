//! How rows are written down: plain SQL, in the words of the database that they came from.
//!
//! Each row is one line, so that whoever reads it back need not understand SQL but these forms:
//!
//! ```text
//! INSERT INTO settings VALUES('key_store','k-4f…');                        (sqlite3 reads it)
//! COPY settings FROM stdin;                                                (psql reads it)
//! key_store<TAB>k-4f…
//! \.
//! ```
//!
//! Bytes that are text (entries are) stand as text, so that a backup is hardly larger than what it
//! holds. Nothing of a backup is ever executed: a restore reads these forms back into values, and
//! writes them down again itself.

use super::BackupError;
use crate::store::{Arg, migrate};
use std::fmt::Write as _;

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// What `sqlite3` reads.
    Sqlite,
    /// What `psql` reads.
    Postgres,
}

/// The line before the first row.
pub(super) const ROWS: &str = "-- rows";
/// The line after the last row, and the one that follows it.
pub(super) const END: [&str; 2] = ["-- end", "COMMIT;"];
/// The line after the last row of a table.
pub(super) const COPIED: &str = "\\.";

impl Dialect {
    pub fn of(postgres: bool) -> Self {
        if postgres { Self::Postgres } else { Self::Sqlite }
    }

    /// The one that a backup's first line names.
    pub fn named(name: &str) -> Result<Self, BackupError> {
        let known = [Self::Sqlite, Self::Postgres].into_iter().find(|known| known.name() == name);
        known.ok_or_else(|| BackupError::Bad(format!("it is of a store `{name}`")))
    }

    /// As a backup's first line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }

    /// What stands before the rows: the schema of this build.
    pub fn preface(self) -> String {
        let settings = match self {
            Self::Sqlite => "",
            Self::Postgres => {
                "SET client_encoding = 'UTF8';\nSET standard_conforming_strings = on;\n"
            }
        };
        let schema = migrate::script(self == Self::Postgres);
        format!("-- bastion-backup-sql/1 {}\n{settings}BEGIN;\n{schema}", self.name())
    }

    /// The tables of the schema.
    pub fn tables(self) -> Vec<&'static str> {
        migrate::tables(self == Self::Postgres)
    }

    /// What stands before the rows of a table, if anything does.
    pub fn begin_table(self, table: &str, out: &mut String) {
        if self == Self::Postgres {
            out.push_str("COPY ");
            out.push_str(table);
            out.push_str(" FROM stdin;\n");
        }
    }

    /// What stands after them.
    pub fn end_table(self, out: &mut String) {
        if self == Self::Postgres {
            out.push_str(COPIED);
            out.push('\n');
        }
    }

    /// A row, with its line break.
    pub fn row(self, table: &str, values: &[Arg], out: &mut String) {
        match self {
            Self::Sqlite => {
                out.push_str("INSERT INTO ");
                out.push_str(table);
                out.push_str(" VALUES(");
                joined(values, ",", sqlite_value, out);
                out.push_str(");\n");
            }
            Self::Postgres => {
                joined(values, "\t", postgres_value, out);
                out.push('\n');
            }
        }
    }

    /// The values of a row's line, without its line break; none where it is not of our form.
    pub fn values(self, table: &str, line: &str) -> Option<Vec<Arg>> {
        match self {
            Self::Sqlite => {
                let rest = line.strip_prefix("INSERT INTO ")?.strip_prefix(table)?;
                sqlite_values(rest.strip_prefix(" VALUES(")?)
            }
            Self::Postgres => line.split('\t').map(postgres_parsed).collect(),
        }
    }

    /// The table that a line belongs to (SQLite), or whose rows it begins (PostgreSQL).
    pub fn table_of(self, line: &str) -> Option<&str> {
        match self {
            Self::Sqlite => line.strip_prefix("INSERT INTO ")?.split(' ').next(),
            Self::Postgres => line.strip_prefix("COPY ")?.strip_suffix(" FROM stdin;"),
        }
    }
}

/// An integer of a row, in either dialect: PostgreSQL's text does not tell a number from a text.
pub(super) fn integer(value: &Arg) -> Option<i64> {
    match value {
        Arg::I64(number) => Some(*number),
        Arg::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// A text of a row.
pub(super) fn text(value: &Arg) -> Option<&str> {
    match value {
        Arg::Text(text) => Some(text),
        _ => None,
    }
}

/// Bytes of a row.
pub(super) fn bytes(value: &Arg) -> Option<Vec<u8>> {
    match value {
        Arg::Bytes(bytes) => Some(bytes.clone()),
        Arg::Text(text) => match text.strip_prefix("\\x") {
            Some(hex) => unhex(hex),
            None => unescaped(text),
        },
        _ => None,
    }
}

fn joined(values: &[Arg], by: &str, write: fn(&Arg, &mut String), out: &mut String) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push_str(by);
        }
        write(value, out);
    }
}

/// Text that can stand as it is: no control characters, so no line break either.
fn plain(text: &str) -> bool {
    !text.chars().any(|c| c.is_ascii_control())
}

/// Bytes that are such a text.
fn plain_bytes(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty() && plain(text))
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").unwrap_or_default();
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}

fn quoted(text: &str, out: &mut String) {
    out.push('\'');
    out.push_str(&text.replace('\'', "''"));
    out.push('\'');
}

fn sqlite_value(value: &Arg, out: &mut String) {
    match value {
        Arg::I64(number) => out.push_str(&number.to_string()),
        Arg::Text(text) if plain(text) => quoted(text, out),
        Arg::Text(text) => {
            out.push_str("CAST(X'");
            hex(text.as_bytes(), out);
            out.push_str("' AS TEXT)");
        }
        Arg::Bytes(bytes) => match plain_bytes(bytes) {
            Some(text) => {
                out.push_str("CAST(");
                quoted(text, out);
                out.push_str(" AS BLOB)");
            }
            None => {
                out.push_str("X'");
                hex(bytes, out);
                out.push('\'');
            }
        },
        // Arrays are arguments of statements, never what stands in a row.
        Arg::Null | Arg::I64s(_) | Arg::Blobs(_) | Arg::Texts(_) => out.push_str("NULL"),
    }
}

fn sqlite_values(mut rest: &str) -> Option<Vec<Arg>> {
    let mut values = Vec::new();
    loop {
        let (value, after) = sqlite_parsed(rest)?;
        values.push(value);
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (after == ");").then_some(values),
        }
    }
}

fn sqlite_parsed(text: &str) -> Option<(Arg, &str)> {
    if let Some(rest) = text.strip_prefix("NULL") {
        return Some((Arg::Null, rest));
    }
    if let Some(rest) = text.strip_prefix("CAST(X'") {
        let (digits, rest) = rest.split_once("' AS TEXT)")?;
        return Some((Arg::Text(String::from_utf8(unhex(digits)?).ok()?), rest));
    }
    if let Some(rest) = text.strip_prefix("CAST('") {
        let (text, rest) = unquoted(rest)?;
        return Some((Arg::Bytes(text.into_bytes()), rest.strip_prefix(" AS BLOB)")?));
    }
    if let Some(rest) = text.strip_prefix("X'") {
        let (digits, rest) = rest.split_once('\'')?;
        return Some((Arg::Bytes(unhex(digits)?), rest));
    }
    if let Some(rest) = text.strip_prefix('\'') {
        let (text, rest) = unquoted(rest)?;
        return Some((Arg::Text(text), rest));
    }
    let end = text.find([',', ')'])?;
    let (number, rest) = text.split_at(end);
    Some((Arg::I64(number.parse().ok()?), rest))
}

/// A quoted text behind its first quote, and what follows its last one.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut found = String::new();
    let mut rest = text;
    loop {
        let (piece, after) = rest.split_once('\'')?;
        found.push_str(piece);
        match after.strip_prefix('\'') {
            Some(more) => {
                found.push('\'');
                rest = more;
            }
            None => return Some((found, after)),
        }
    }
}

fn postgres_value(value: &Arg, out: &mut String) {
    match value {
        Arg::I64(number) => out.push_str(&number.to_string()),
        Arg::Text(text) => copied(text, out),
        Arg::Bytes(bytes) => match plain_bytes(bytes) {
            // A backslash is escaped once for bytes and once for COPY.
            Some(text) => copied(&text.replace('\\', "\\\\"), out),
            None => {
                out.push_str("\\\\x");
                hex(bytes, out);
            }
        },
        Arg::Null | Arg::I64s(_) | Arg::Blobs(_) | Arg::Texts(_) => out.push_str("\\N"),
    }
}

fn copied(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
}

fn postgres_parsed(field: &str) -> Option<Arg> {
    if field == "\\N" {
        return Some(Arg::Null);
    }
    let mut text = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                _ => return None,
            },
            other => other,
        });
    }
    Some(Arg::Text(text))
}

/// Bytes in PostgreSQL's older form, of which we write doubled backslashes alone.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split("\\\\");
    let mut found = pieces.next()?.to_owned();
    for piece in pieces {
        found.push('\\');
        found.push_str(piece);
    }
    (text.matches('\\').count() == 2 * found.matches('\\').count()).then(|| found.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_in_either_dialect() {
        let odd =
            ["", "it's", "a,b);", "tab\there", "line\nbreak", "\\N", "\\.", "\\x41", "ü\u{0}"];
        let mut values = vec![Arg::I64(-7), Arg::I64(i64::MAX), Arg::Null];
        values.extend(odd.iter().map(|text| Arg::Text((*text).to_owned())));
        values.extend(odd.iter().map(|text| Arg::Bytes(text.as_bytes().to_vec())));
        values.push(Arg::Bytes(vec![0, 255, 10, 39]));
        values.push(Arg::Bytes(br#"{"a":"it's \\ \"b\""}"#.to_vec()));
        for dialect in [Dialect::Sqlite, Dialect::Postgres] {
            let mut line = String::new();
            dialect.row("notes", &values, &mut line);
            let line = line.strip_suffix('\n').unwrap();
            assert!(!line.contains('\n'), "{line}");
            let found = dialect.values("notes", line).unwrap();
            assert_eq!(found.len(), values.len());
            for (found, value) in found.iter().zip(&values) {
                match value {
                    Arg::I64(number) => assert_eq!(integer(found), Some(*number)),
                    Arg::Text(wanted) => assert_eq!(text(found), Some(wanted.as_str())),
                    Arg::Bytes(wanted) => assert_eq!(bytes(found).as_ref(), Some(wanted)),
                    _ => assert_eq!(found, &Arg::Null),
                }
            }
            // And what was read is written as it was.
            let mut again = String::new();
            dialect.row("notes", &found, &mut again);
            assert_eq!(again.strip_suffix('\n').unwrap(), line);
        }
    }

    #[test]
    fn what_is_not_a_row_of_ours_is_none() {
        for line in [
            "INSERT INTO notes VALUES(1); DROP TABLE entries;",
            "INSERT INTO notes VALUES(1)",
            "INSERT INTO notes VALUES(load_extension('x'));",
            "INSERT INTO notes VALUES('a);",
            "INSERT INTO other VALUES(1);",
            "INSERT INTO notes VALUES(X'4');",
            "INSERT INTO notes VALUES(1,);",
            "ATTACH 'x' AS y;",
        ] {
            assert_eq!(Dialect::Sqlite.values("notes", line), None, "{line}");
        }
        assert_eq!(Dialect::Postgres.values("notes", "a\\"), None);
        assert_eq!(Dialect::Postgres.values("notes", "\\g"), None);
    }
}
