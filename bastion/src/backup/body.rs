//! The plaintext of a backup read back, line by line: preface, rows, end, and nothing else.
//!
//! The preface must be the schema of this build, byte for byte; a row must be one of its tables';
//! the two lines at the end must be there. So a text that got through is whole, and nothing in it
//! is anything but values.

use super::{
    BackupError,
    text::{COPIED, Dialect, END, ROWS},
};
use crate::store::Arg;
use bastion_core::limits::BACKUP_ROW_BYTES_MAX;
use std::io::{self, Write};

/// A row of a table.
pub(super) struct Row {
    pub table: &'static str,
    pub values: Vec<Arg>,
}

/// Reads the lines of a body.
pub(super) struct Body {
    dialect: Dialect,
    preface: String,
    tables: Vec<&'static str>,
    state: State,
}

enum State {
    /// Bytes of the preface that were there.
    Preface(usize),
    /// Between rows; on PostgreSQL, the table whose rows come.
    Rows(Option<&'static str>),
    /// After the first of the two last lines.
    Ending,
    Ended,
}

impl Body {
    pub fn new(dialect: Dialect) -> Self {
        let (preface, tables) = (dialect.preface(), dialect.tables());
        Self { dialect, preface, tables, state: State::Preface(0) }
    }

    /// The same for a text of another schema.
    pub fn with_schema(self, preface: String, tables: Vec<&'static str>) -> Self {
        Self { preface, tables, ..self }
    }

    /// The next line, without its line break; a row, if it is one.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<Row>, BackupError> {
        let line = std::str::from_utf8(line).map_err(|_| bad("a line is no text"))?;
        match self.state {
            State::Preface(at) => self.preface(at, line).map(|()| None),
            State::Rows(table) => self.row(table, line),
            State::Ending if line == END[1] => {
                self.state = State::Ended;
                Ok(None)
            }
            State::Ending | State::Ended => Err(bad("something follows its end")),
        }
    }

    fn preface(&mut self, at: usize, line: &str) -> Result<(), BackupError> {
        let rest = self.preface.get(at..).unwrap_or_default();
        if rest.is_empty() && line == ROWS {
            self.state = State::Rows(None);
            return Ok(());
        }
        match rest.strip_prefix(line).and_then(|rest| rest.strip_prefix('\n')) {
            Some(rest) => self.state = State::Preface(self.preface.len() - rest.len()),
            None => return Err(BackupError::OtherBuild),
        }
        Ok(())
    }

    fn row(&mut self, of: Option<&'static str>, line: &str) -> Result<Option<Row>, BackupError> {
        let odd = || bad("a line is no row of ours");
        if of.is_none() && line == END[0] {
            self.state = State::Ending;
            return Ok(None);
        }
        let table = match (of, self.dialect) {
            (Some(_), _) if line == COPIED => {
                self.state = State::Rows(None);
                return Ok(None);
            }
            (Some(table), _) => table,
            (None, dialect) => {
                let named = dialect.table_of(line).ok_or_else(odd)?;
                let known = self.tables.iter().find(|table| **table == named);
                let table = *known.ok_or_else(|| bad("a row is of a table that is not ours"))?;
                if dialect == Dialect::Postgres {
                    self.state = State::Rows(Some(table));
                    return Ok(None);
                }
                table
            }
        };
        let values = self.dialect.values(table, line).ok_or_else(odd)?;
        Ok(Some(Row { table, values }))
    }

    /// Whether all of it was there.
    pub fn ended(&self) -> Result<(), BackupError> {
        match self.state {
            State::Ended => Ok(()),
            _ => Err(bad("it has no end")),
        }
    }
}

pub(super) fn bad(what: &str) -> BackupError {
    BackupError::Bad(what.to_owned())
}

/// Takes bytes as they come, and hands on whole lines.
pub(super) struct Lines<F> {
    rest: Vec<u8>,
    each: F,
    /// Why it stopped; the writer above hears of an error of its own kind only.
    pub stopped: Option<BackupError>,
}

impl<F: FnMut(&[u8]) -> Result<(), BackupError>> Lines<F> {
    pub fn new(each: F) -> Self {
        Self { rest: Vec::new(), each, stopped: None }
    }

    fn take(&mut self, mut bytes: &[u8]) -> Result<(), BackupError> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(end);
            if self.rest.is_empty() {
                (self.each)(line)?;
            } else {
                self.rest.extend_from_slice(line);
                (self.each)(&self.rest)?;
                self.rest.clear();
            }
            bytes = &after[1..];
        }
        self.rest.extend_from_slice(bytes);
        match self.rest.len() > BACKUP_ROW_BYTES_MAX {
            true => Err(bad("a line is too long")),
            false => Ok(()),
        }
    }

    /// Whether nothing is left over.
    pub fn finish(self) -> Result<(), BackupError> {
        match (self.stopped, self.rest.is_empty()) {
            (Some(why), _) => Err(why),
            (None, true) => Ok(()),
            (None, false) => Err(bad("its last line has no end")),
        }
    }
}

impl<F: FnMut(&[u8]) -> Result<(), BackupError>> Write for Lines<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.take(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(why) => {
                self.stopped = Some(why);
                Err(io::Error::other("not as a backup is"))
            }
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
