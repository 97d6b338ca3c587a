//! The database below the log: SQLite by default, PostgreSQL with another URL.
//!
//! One SQL text serves both (`$1` placeholders, integer times, text ids), so that whoever reads a
//! statement knows what either store does. What differs stays here: how a store is opened and made
//! to prove that it keeps what it was told ([`sqlite`], [`postgres`]), and how its schema comes to
//! be ([`migrate`]). There is no way to write here but [`Tx`], and the only place that hands out a
//! writing one is the ledger's single writer: facts and the entries that record them change in
//! one transaction, or not at all.

pub mod arg;
pub mod asked;
pub mod db;
pub mod error;
pub mod migrate;
pub mod postgres;
pub mod query;
pub mod row;
pub mod sqlite;
pub mod tx;

pub use arg::Arg;
pub use asked::{Answer, AskError, Asked};
pub use db::{Db, Options};
pub use error::StoreError;
pub use query::Query;
pub use row::Row;
pub use tx::Tx;

/// What a look at a connection's settings found is not a failure to connect.
fn unfit(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Configuration(fault) => StoreError::Unfit(fault.to_string()),
        other => other.into(),
    }
}
