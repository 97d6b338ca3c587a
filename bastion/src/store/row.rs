//! A row of an answer, read by column index.

use super::{Arg, StoreError};
use audit_schema::time::Timestamp;
use sqlx::{
    Column as _, Row as _, TypeInfo as _, ValueRef as _, postgres::PgRow, sqlite::SqliteRow,
};

/// One row; columns are counted from 0.
#[derive(Debug)]
pub enum Row {
    /// Of SQLite.
    Sqlite(SqliteRow),
    /// Of PostgreSQL.
    Postgres(PgRow),
}

fn shape(index: usize, error: impl std::fmt::Display) -> StoreError {
    StoreError::Shape(format!("column {index}: {error}"))
}

/// Reads a column as the Rust type that both databases know.
macro_rules! column {
    ($row:expr, $index:expr, $type:ty) => {
        match $row {
            Row::Sqlite(row) => row.try_get::<$type, _>($index),
            Row::Postgres(row) => row.try_get::<$type, _>($index),
        }
        .map_err(|error| shape($index, error))
    };
}

impl Row {
    /// A text that is there.
    pub fn text(&self, index: usize) -> Result<String, StoreError> {
        column!(self, index, String)
    }
    /// A text that may be null.
    pub fn opt_text(&self, index: usize) -> Result<Option<String>, StoreError> {
        column!(self, index, Option<String>)
    }
    /// Bytes that are there.
    pub fn bytes(&self, index: usize) -> Result<Vec<u8>, StoreError> {
        column!(self, index, Vec<u8>)
    }
    /// An integer that is there.
    pub fn i64(&self, index: usize) -> Result<i64, StoreError> {
        self.opt_i64(index)?.ok_or_else(|| shape(index, "null where an integer was expected"))
    }
    /// An integer that may be null. PostgreSQL's narrower integers and truth values count too:
    /// `SELECT 1` and `EXISTS (…)` are not BIGINT there.
    pub fn opt_i64(&self, index: usize) -> Result<Option<i64>, StoreError> {
        let Self::Postgres(row) = self else {
            return column!(self, index, Option<i64>);
        };
        let kind = {
            let value = row.try_get_raw(index).map_err(|e| shape(index, e))?;
            value.type_info().name().to_owned()
        };
        let read = match kind.as_str() {
            "BOOL" => row.try_get::<Option<bool>, _>(index).map(|v| v.map(i64::from)),
            "INT2" => row.try_get::<Option<i16>, _>(index).map(|v| v.map(i64::from)),
            "INT4" => row.try_get::<Option<i32>, _>(index).map(|v| v.map(i64::from)),
            _ => row.try_get::<Option<i64>, _>(index),
        };
        read.map_err(|error| shape(index, error))
    }
    /// A count that is there and not negative.
    pub fn u64(&self, index: usize) -> Result<u64, StoreError> {
        u64::try_from(self.i64(index)?).map_err(|error| shape(index, error))
    }
    /// A count that may be null.
    pub fn opt_u64(&self, index: usize) -> Result<Option<u64>, StoreError> {
        let value = self.opt_i64(index)?;
        value.map(|number| u64::try_from(number).map_err(|error| shape(index, error))).transpose()
    }
    /// A moment that is there.
    pub fn time(&self, index: usize) -> Result<Timestamp, StoreError> {
        self.i64(index).map(Timestamp::from_micros)
    }
    /// A moment that may be null.
    pub fn opt_time(&self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_i64(index)?.map(Timestamp::from_micros))
    }
    /// Whether an integer that is there is not 0.
    pub fn bool(&self, index: usize) -> Result<bool, StoreError> {
        self.i64(index).map(|number| number != 0)
    }
    /// A text parsed into an id or another type.
    pub fn parsed<T: std::str::FromStr>(&self, index: usize) -> Result<T, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        self.text(index)?.parse().map_err(|error| shape(index, error))
    }
    /// A text that may be null, parsed.
    pub fn opt_parsed<T: std::str::FromStr>(&self, index: usize) -> Result<Option<T>, StoreError>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.opt_text(index)?;
        text.map(|text| text.parse().map_err(|error| shape(index, error))).transpose()
    }
    /// What stands in a column, whatever it is: an integer, a text, bytes or nothing.
    pub fn any(&self, index: usize) -> Result<Arg, StoreError> {
        let kind = match self {
            Self::Sqlite(row) => {
                let value = row.try_get_raw(index).map_err(|e| shape(index, e))?;
                if value.is_null() { "NULL".into() } else { value.type_info().name().to_owned() }
            }
            Self::Postgres(row) => {
                let value = row.try_get_raw(index).map_err(|e| shape(index, e))?;
                if value.is_null() { "NULL".into() } else { value.type_info().name().to_owned() }
            }
        };
        match kind.as_str() {
            "NULL" => Ok(Arg::Null),
            "TEXT" | "VARCHAR" => self.text(index).map(Arg::Text),
            "BLOB" | "BYTEA" => self.bytes(index).map(Arg::Bytes),
            _ => self.i64(index).map(Arg::I64),
        }
    }
    /// How many columns there are.
    pub fn width(&self) -> usize {
        match self {
            Self::Sqlite(row) => row.len(),
            Self::Postgres(row) => row.len(),
        }
    }
    /// How many columns there are, for messages.
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Sqlite(row) => row.columns().iter().map(|c| c.name().to_owned()).collect(),
            Self::Postgres(row) => row.columns().iter().map(|c| c.name().to_owned()).collect(),
        }
    }
}
