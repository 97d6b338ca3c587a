//! A statement put together at run time from fixed pieces.
//!
//! Only `&'static str` can be pushed, so nothing that somebody typed can become SQL: values go in
//! as arguments, or not at all.

use super::Arg;

/// SQL text under construction, with its arguments.
#[derive(Clone, Debug, Default)]
pub struct Query {
    pub(super) sql: String,
    pub(super) args: Vec<Arg>,
}

impl Query {
    /// A statement that begins with this text.
    pub fn new(sql: &'static str) -> Self {
        Self { sql: sql.to_owned(), args: Vec::new() }
    }
    /// The same with text before it.
    pub fn before(mut self, sql: &'static str) -> Self {
        self.sql.insert_str(0, sql);
        self
    }
    /// Appends text.
    pub fn push(&mut self, sql: &'static str) -> &mut Self {
        self.sql.push_str(sql);
        self
    }
    /// Appends a placeholder for a value.
    pub fn bind(&mut self, value: impl Into<Arg>) -> &mut Self {
        self.args.push(value.into());
        self.sql.push('$');
        self.sql.push_str(&self.args.len().to_string());
        self
    }
}
