//! What a chunk of the log adds to the index: rows, words and counts, in one transaction.

use super::fold::{BETWEEN, Contexts, Folded, Said};
use crate::{
    args,
    store::{StoreError, Tx},
};
use audit_schema::{entry::Entry, time::Timestamp};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Write as _};

/// The rows of entries that follow each other.
pub(super) struct Chunk {
    is_postgres: bool,
    rows: Vec<Value>,
    words: Vec<Value>,
    counts: BTreeMap<Counted, u64>,
}

/// What entries are counted together by: week, type, operator, customer.
type Counted = (Timestamp, String, String, String);

impl Chunk {
    pub fn new(is_postgres: bool) -> Self {
        Self { is_postgres, rows: Vec::new(), words: Vec::new(), counts: BTreeMap::new() }
    }

    /// How many entries it has.
    pub fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    pub fn push(&mut self, entry: &Entry, folded: Folded) {
        if let Some(words) = self.words_of(entry.seq, &folded.said) {
            self.words.push(words);
        }
        let customer = entry.customer.as_ref().map(|link| link.id.clone());
        let counted = (
            week(entry.time),
            folded.kind.clone(),
            folded.columns.operator.clone().unwrap_or_default(),
            customer.unwrap_or_default(),
        );
        *self.counts.entry(counted).or_default() += 1;
        self.rows.push(row(entry, folded));
    }

    /// The arguments of a row of `words`; none for an entry that says nothing.
    fn words_of(&self, seq: u64, said: &Said) -> Option<Value> {
        let (told, withheld) = (&said.told, &said.withheld);
        if told.is_empty() && withheld.is_empty() {
            return None;
        }
        Some(match self.is_postgres {
            true => serde_json::json!([seq, vector(said)]),
            false => serde_json::json!([seq, told.join(" "), withheld.join(" ")]),
        })
    }

    /// Writes everything, and how far the index is then.
    pub async fn write(
        self,
        tx: &mut Tx,
        contexts: &mut Contexts,
        seen: u64,
    ) -> Result<(), StoreError> {
        let (events, words, counts) = match self.is_postgres {
            true => (EVENTS_POSTGRES, WORDS_POSTGRES, COUNTS_POSTGRES),
            false => (EVENTS_SQLITE, WORDS_SQLITE, COUNTS_SQLITE),
        };
        let counted: Vec<Value> = self
            .counts
            .into_iter()
            .map(|((week, kind, operator, customer), entries)| {
                serde_json::json!([week.micros(), kind, operator, customer, entries])
            })
            .collect();
        for (sql, rows) in [(events, &self.rows), (words, &self.words), (counts, &counted)] {
            if !rows.is_empty() {
                tx.run(sql, &args![json(rows)?]).await?;
            }
        }
        for (name, columns) in contexts.take_fresh() {
            tx.run(
                "INSERT INTO contexts (name, columns_json) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET columns_json = excluded.columns_json",
                &args![name, json(&columns)?],
            )
            .await?;
        }
        tx.run("UPDATE projection_state SET cursor = $1 WHERE id = 1", &args![seen]).await.map(drop)
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::failed(error.to_string()))
}

/// The beginning of the week, which is a Monday's.
pub(super) fn week(at: Timestamp) -> Timestamp {
    /// 1970-01-01 was a Thursday.
    const MONDAY: i64 = 3;
    let week = (at.seconds().div_euclid(86_400) + MONDAY).div_euclid(7);
    // The first week of all began before there were times.
    Timestamp::from_seconds(((week * 7 - MONDAY) * 86_400).max(0))
}

/// The words as PostgreSQL's own type spells them, each with its places: `A` is told to customers,
/// `B` is not.
fn vector(said: &Said) -> String {
    let mut text = String::new();
    let weighted = said.told.iter().map(|word| (word, 'A'));
    let weighted = weighted.chain(said.withheld.iter().map(|word| (word, 'B')));
    for (at, (word, weight)) in weighted.enumerate().filter(|(_, (word, _))| *word != BETWEEN) {
        // Words are letters and digits, so there is nothing to escape. Writing to a text is total.
        write!(text, "'{word}':{}{weight} ", at + 1).unwrap_or_default();
    }
    text
}

/// The columns in the order of [`EVENTS_SQLITE`].
fn row(entry: &Entry, folded: Folded) -> Value {
    let Folded { kind, actor_kind, columns, outcome, reason, said: _ } = folded;
    let customer = entry.customer.as_ref().map(|link| &link.id);
    serde_json::json!([
        entry.seq,
        entry.time.micros(),
        kind,
        actor_kind,
        entry.actor.id,
        columns.operator,
        customer,
        columns.service,
        columns.vm,
        columns.instance,
        columns.account,
        columns.level,
        columns.lease,
        columns.session,
        columns.ticket,
        outcome,
        reason,
    ])
}

/// One statement for all rows; the two databases differ only in the name of a function.
macro_rules! insert_events {
    ($each:literal) => {
        concat!(
            "INSERT INTO events (seq, time, type, actor_kind, actor, operator, customer, service,
               vm, instance, account, level, lease, session, ticket, outcome, reason)
             SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), value ->> 2,
               value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8,
               value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 13, value ->> 14,
               value ->> 15, value ->> 16 FROM ",
            $each
        )
    };
}
macro_rules! insert_counts {
    ($each:literal) => {
        concat!(
            "INSERT INTO counts (week, type, operator, customer, entries)
             SELECT CAST(value ->> 0 AS BIGINT), value ->> 1, value ->> 2, value ->> 3,
               CAST(value ->> 4 AS BIGINT) FROM ",
            $each,
            " WHERE true ON CONFLICT (week, type, operator, customer)
             DO UPDATE SET entries = counts.entries + excluded.entries"
        )
    };
}
const EVENTS_SQLITE: &str = insert_events!("json_each($1)");
const EVENTS_POSTGRES: &str = insert_events!("json_array_elements($1::text::json) AS each (value)");
const COUNTS_SQLITE: &str = insert_counts!("json_each($1)");
const COUNTS_POSTGRES: &str = insert_counts!("json_array_elements($1::text::json) AS each (value)");
const WORDS_SQLITE: &str = "INSERT INTO words (rowid, told, withheld)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($1)";
const WORDS_POSTGRES: &str = "INSERT INTO words (seq, words)
    SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS TSVECTOR)
    FROM json_array_elements($1::text::json) AS each (value)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_begins_on_a_monday() {
        for (at, monday) in [
            ("1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000000Z"),
            ("1970-01-04T23:59:59.999999Z", "1970-01-01T00:00:00.000000Z"),
            ("1970-01-05T00:00:00.000000Z", "1970-01-05T00:00:00.000000Z"),
            ("2026-11-24T18:00:00.000000Z", "2026-11-23T00:00:00.000000Z"),
            ("2026-11-29T23:59:59.999999Z", "2026-11-23T00:00:00.000000Z"),
            ("2026-11-30T00:00:00.000000Z", "2026-11-30T00:00:00.000000Z"),
        ] {
            let at: Timestamp = at.parse().expect("a time");
            assert_eq!(week(at).to_string(), monday, "{at}");
        }
    }
}
