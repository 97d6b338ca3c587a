//! Erasing what the commitments of entries open to: what there is of a person, and that it goes.
//!
//! Openings have no index but their place (that is what limits inserts), so an erasure reads all of
//! them once, outside the writer; the transaction then deletes what was found by its place. Found
//! are the texts under the person's own keys, and command lines of others that hold the person's
//! name as a word. What else names the person is shown to the officers, who may name its entry.
//!
//! The transaction writes the keys' numbers into `erasures` before the keys are destroyed. If we
//! crash between, the next start destroys them ([`finish`]); the rows are gone by then.

use super::{Batch, Ledger, reading::ReadError, reading::sealed};
use crate::{
    args,
    store::{Arg, StoreError},
};
use audit_schema::{commit::Opening, hash::Hash, time::Timestamp};
use bastion_core::{
    id::CustomerId,
    limits::{
        ERASURE_ENTRIES_AT_ONCE, ERASURE_MENTIONS_MAX, ERASURE_OPENINGS_AT_ONCE,
        ERASURE_OPENINGS_MAX,
    },
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Whose texts are sought.
#[derive(Clone, Debug)]
pub struct Sought {
    /// The keys that seal them.
    pub keys: Vec<i64>,
    /// What the person is called.
    pub name: Option<String>,
    /// Entries whose every text goes, whoever wrote it.
    pub entries: BTreeSet<u64>,
}

/// Where a text stands: its entry and its field.
pub type Place = (u64, String);

/// What there is.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The places of the texts, by customer in whose chain they stand.
    pub places: BTreeMap<Option<CustomerId>, Vec<Place>>,
    /// When the newest text under the person's own keys was written.
    pub newest: Option<Timestamp>,
    /// Entries with texts of others that hold the person's name: not erased.
    pub mentions: Vec<u64>,
}

/// Fields that hold command lines or names, where a person's name is nothing else.
const NAMING: [&str; 3] = ["arguments", "handle", "login"];

/// Reads the whole log for what there is of a person.
pub async fn find(ledger: &Ledger, sought: &Sought) -> Result<Found, ReadError> {
    let size = *ledger.size().borrow();
    let mut found = Found::default();
    let mut from = 0;
    while from < size {
        let to = size.min(from + ERASURE_ENTRIES_AT_ONCE);
        let rows = sealed(ledger.db(), from..to).await?;
        let own: HashSet<Place> = rows
            .iter()
            .filter(|row| sought.keys.contains(&row.key))
            .map(|row| (row.seq, row.field.clone()))
            .collect();
        let mut going: BTreeSet<Place> = own.iter().cloned().collect();
        for opening in ledger.openings_between(from..to).await? {
            let place = (opening.seq, opening.field.clone());
            if sought.entries.contains(&opening.seq) {
                going.insert(place);
            } else if !own.contains(&place) && sought.is_named_in(&opening) {
                match NAMING.contains(&opening.field.as_str()) {
                    true => drop(going.insert(place)),
                    false => found.mention(opening.seq),
                }
            }
        }
        if !going.is_empty() {
            found.take(ledger, from..to, (going, &own)).await?;
        }
        from = to;
    }
    Ok(found)
}

impl Sought {
    /// Whether a text holds the name as a word, in any case.
    fn is_named_in(&self, opening: &Opening) -> bool {
        let Some(name) = &self.name else { return false };
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let text = opening.value.to_ascii_lowercase();
        text.match_indices(name.as_str()).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + name.len()..].chars().next();
            !before.is_some_and(inside) && !after.is_some_and(inside)
        })
    }
}

impl Found {
    fn mention(&mut self, seq: u64) {
        if self.mentions.last() != Some(&seq) && self.mentions.len() < ERASURE_MENTIONS_MAX {
            self.mentions.push(seq);
        }
    }

    /// Whose chains the places stand in, and when they were written.
    async fn take(
        &mut self,
        ledger: &Ledger,
        range: std::ops::Range<u64>,
        (going, own): (BTreeSet<Place>, &HashSet<Place>),
    ) -> Result<(), ReadError> {
        let mut lines = ledger.lines(range.start, range.end).await?;
        let mut going = going.into_iter().peekable();
        while let Some(line) = lines.next().await? {
            let entry = line.entry;
            while let Some(place) = going.next_if(|(seq, _)| *seq == entry.seq) {
                if own.contains(&place) {
                    self.newest = Some(entry.time);
                }
                let customer = entry.customer.as_ref().map(|link| link.id.parse());
                let customer = customer.transpose().map_err(|_| ReadError::Broken {
                    seq: entry.seq,
                    fault: "its customer has no id".into(),
                })?;
                self.places.entry(customer).or_default().push(place);
            }
        }
        Ok(())
    }
}

/// What an entry says of the places that it erased: SHA-256 of `SEQ FIELD`, one a line, in order.
pub fn digest(places: &[Place]) -> Hash {
    let lines = places.iter().map(|(seq, field)| format!("{seq} {field}\n"));
    Hash::of(lines.collect::<String>().as_bytes())
}

const DELETE_SQLITE: &str = "DELETE FROM openings WHERE (seq, field) IN
    (SELECT value ->> 0, value ->> 1 FROM json_each($1))";
const DELETE_POSTGRES: &str = "DELETE FROM openings USING
    UNNEST($1::bigint[], $2::text[]) AS gone (seq, field)
    WHERE openings.seq = gone.seq AND openings.field = gone.field";

/// Deletes the rows, up to a bound that everybody can wait for; answers how many are left. Those
/// are sealed under keys that are about to be destroyed.
pub async fn delete(batch: &mut Batch, found: &Found) -> Result<usize, StoreError> {
    let all: Vec<&Place> = found.places.values().flatten().collect();
    let (now, left) = all.split_at(all.len().min(ERASURE_OPENINGS_MAX));
    for places in now.chunks(ERASURE_OPENINGS_AT_ONCE) {
        if batch.tx().is_postgres() {
            let seqs = places.iter().map(|(seq, _)| *seq as i64).collect();
            let fields = places.iter().map(|(_, field)| Some(field.clone())).collect();
            batch.tx().run(DELETE_POSTGRES, &[Arg::I64s(seqs), Arg::Texts(fields)]).await?;
        } else {
            let json = serde_json::to_string(places)
                .map_err(|error| StoreError::failed(error.to_string()))?;
            batch.tx().run(DELETE_SQLITE, &args![json]).await?;
        }
    }
    Ok(left.len())
}

/// Writes down which keys are about to be destroyed.
pub async fn note(batch: &mut Batch, subject: &str, keys: &[i64]) -> Result<(), StoreError> {
    let json =
        serde_json::to_string(keys).map_err(|error| StoreError::failed(error.to_string()))?;
    let sql = "INSERT INTO erasures (seq, subject, keys_json, erased_at) VALUES ($1, $2, $3, $4)";
    let row = args![batch.next_seq(), subject, json, batch.now()];
    batch.tx().run(sql, &row).await.map(drop)
}

/// Destroys the keys of every erasure that the log has, where a crash left one; harmless where
/// they are gone.
pub async fn finish(ledger: &Ledger) -> Result<(), StoreError> {
    for row in ledger.db().rows("SELECT keys_json FROM erasures ORDER BY seq", &[]).await? {
        let keys: Vec<i64> = serde_json::from_str(&row.text(0)?)
            .map_err(|error| StoreError::Shape(format!("the keys of an erasure: {error}")))?;
        ledger.keys().destroy(&keys).await?;
    }
    Ok(())
}
