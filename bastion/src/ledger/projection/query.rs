//! Asking the index.

use crate::store::{self, Arg, Db, Query, StoreError};
use audit_schema::time::Timestamp;
use bastion_core::{
    limits::QUERY_ROWS_MAX,
    words::{Phrase, Wanted},
};
use std::{fmt, str::FromStr};

/// What is asked for; every field that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The customer's id.
    pub customer: Option<String>,
    /// The service's id.
    pub service: Option<String>,
    /// The VM's name, or the id of one of its instances.
    pub vm: Option<String>,
    /// The operator's id or handle.
    pub operator: Option<String>,
    /// The event's type, or the beginning of it (`consent.`).
    pub event: Option<String>,
    /// The lease's id.
    pub lease: Option<String>,
    /// The session's id.
    pub session: Option<String>,
    /// The ticket's id.
    pub ticket: Option<String>,
    /// How it ended: `granted`, `denied`, `completed`, `cut`, …
    pub outcome: Option<String>,
    /// Words of what was written (justification, command, …).
    pub text: Option<Wanted>,
    /// Only words that a customer is told count.
    pub only_told: bool,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Which end first.
    pub order: Order,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Rows of one page; at most [`QUERY_ROWS_MAX`], which 0 stands for.
    pub limit: usize,
}

/// Which end of the log comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The newest entry.
    #[default]
    Newest,
    /// The oldest entry.
    Oldest,
}

/// Where a page ended: the next begins beyond this entry, in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor(u64);

/// A text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor: use the one that the page before printed")]
pub struct BadCursor;

impl Cursor {
    /// Beyond an entry.
    pub fn beyond(seq: u64) -> Self {
        Self(seq)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl FromStr for Cursor {
    type Err = BadCursor;
    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let digits = text.strip_prefix('c').ok_or(BadCursor)?;
        let seq = digits.parse().map_err(|_| BadCursor)?;
        // One spelling only.
        if Self(seq).to_string() == text { Ok(Self(seq)) } else { Err(BadCursor) }
    }
}

/// One page of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the order that was asked for.
    pub rows: Vec<Row>,
    /// Where the next page begins; none if this is the last.
    pub next: Option<Cursor>,
}

/// An entry as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each field is the column of its name
pub struct Row {
    pub seq: u64,
    pub time: Timestamp,
    pub event: String,
    pub actor_kind: String,
    pub actor: String,
    pub operator: Option<String>,
    pub customer: Option<String>,
    pub service: Option<String>,
    pub vm: Option<String>,
    pub instance: Option<String>,
    pub account: Option<String>,
    pub level: Option<String>,
    pub lease: Option<String>,
    pub session: Option<String>,
    pub ticket: Option<String>,
    pub outcome: Option<String>,
    pub reason: Option<String>,
}

/// The columns of a row; what follows says where they are read from.
macro_rules! columns {
    ($from:literal) => {
        concat!(
            "SELECT events.seq, time, type, actor_kind, actor, operator, customer, service, vm,
                instance, account, level, lease, session, ticket, outcome, reason FROM ",
            $from
        )
    };
}

/// Where the rows are read from, and the column that says which entry they are: where words are
/// asked for, the full-text index gives the entries in their order.
struct From {
    select: &'static str,
    first: &'static str,
    end: &'static str,
    beyond: [&'static str; 2],
    order: [&'static str; 2],
}

macro_rules! from {
    ($from:literal, $seq:literal) => {
        From {
            select: columns!($from),
            first: concat!(" AND ", $seq, " >= "),
            end: concat!(" AND ", $seq, " < "),
            beyond: [concat!(" AND ", $seq, " < "), concat!(" AND ", $seq, " > ")],
            order: [
                concat!(" ORDER BY ", $seq, " DESC LIMIT "),
                concat!(" ORDER BY ", $seq, " ASC LIMIT "),
            ],
        }
    };
}

const EVENTS: From = from!("events WHERE true", "events.seq");
/// The cross join keeps SQLite to this order.
const WORDS_SQLITE: From =
    from!("words CROSS JOIN events ON events.seq = words.rowid WHERE words MATCH ", "words.rowid");
const WORDS_POSTGRES: From =
    from!("words JOIN events ON events.seq = words.seq WHERE words.words @@ ", "words.seq");

/// One page.
pub(super) async fn run(index: &Db, log: &Db, filter: &Filter) -> Result<Page, StoreError> {
    let limit = match filter.limit {
        0 => QUERY_ROWS_MAX,
        limit => limit.min(QUERY_ROWS_MAX),
    };
    // One more than a page shows whether there is another.
    let meant = meant(index, log, filter).await?;
    let query = compose(filter, &meant, (index.is_postgres(), limit + 1));
    let found = index.query(&query).await?;
    let more = found.len() > limit;
    let rows = found.iter().take(limit).map(row).collect::<Result<Vec<_>, _>>()?;
    let last = rows.last().map(|row| Cursor(row.seq));
    Ok(Page { next: last.filter(|_| more), rows })
}

/// How the database would find a page: for whoever asks why a query is slow.
pub(super) async fn plan(index: &Db, log: &Db, filter: &Filter) -> Result<Vec<String>, StoreError> {
    let meant = meant(index, log, filter).await?;
    let query = compose(filter, &meant, (index.is_postgres(), QUERY_ROWS_MAX));
    let (explain, column) = match index.is_postgres() {
        true => ("EXPLAIN ", 0),
        false => ("EXPLAIN QUERY PLAN ", 3),
    };
    index.query(&query.before(explain)).await?.iter().map(|row| row.text(column)).collect()
}

/// What a filter means in columns: each condition is then one that an index answers in the order
/// of the entries, whatever else the index holds.
#[derive(Debug, Default)]
struct Meant {
    operators: Vec<String>,
    /// The instance that was meant instead of a VM.
    by_instance: bool,
    by_vm: bool,
    /// The type is a whole one, not a beginning.
    whole_type: bool,
    /// Times never go back, so a span of time is a range of entries.
    first: Option<u64>,
    last: Option<u64>,
}

async fn meant(index: &Db, log: &Db, filter: &Filter) -> Result<Meant, StoreError> {
    let mut meant = Meant::default();
    if let Some(operator) = &filter.operator {
        for id in operators(log, operator).await? {
            let sql = "SELECT seq FROM events WHERE operator = $1 LIMIT 1";
            if index.row_opt(sql, &crate::args![id.as_str()]).await?.is_some() {
                meant.operators.push(id);
            }
        }
        if meant.operators.is_empty() {
            meant.operators.push(operator.clone());
        }
    }
    if let Some(vm) = &filter.vm {
        let sql = "SELECT seq FROM events WHERE instance = $1 LIMIT 1";
        meant.by_instance = index.row_opt(sql, &crate::args![vm]).await?.is_some();
        let sql = "SELECT seq FROM events WHERE vm = $1 LIMIT 1";
        meant.by_vm = !meant.by_instance || index.row_opt(sql, &crate::args![vm]).await?.is_some();
    }
    if let Some(event) = &filter.event {
        let sql = "SELECT seq FROM events WHERE type = $1 LIMIT 1";
        meant.whole_type = index.row_opt(sql, &crate::args![event]).await?.is_some();
    }
    if let Some(since) = filter.since {
        let sql = "SELECT seq FROM events WHERE time >= $1 ORDER BY time, seq LIMIT 1";
        let row = index.row_opt(sql, &crate::args![since]).await?;
        meant.first = Some(row.map_or(Ok(u64::MAX), |row| row.u64(0))?);
    }
    if let Some(until) = filter.until {
        let sql = "SELECT seq FROM events WHERE time < $1 ORDER BY time DESC, seq DESC LIMIT 1";
        let row = index.row_opt(sql, &crate::args![until]).await?;
        // No entry stands before the first.
        meant.last = Some(row.map_or(Ok(0), |row| row.u64(0).map(|seq| seq + 1))?);
    }
    Ok(meant)
}

/// The ids that a person may have meant: what was typed, and whoever bears it as a handle.
pub(super) async fn operators(log: &Db, typed: &str) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT id FROM operators WHERE handle = $1";
    let rows = log.rows(sql, &crate::args![typed]).await?;
    let mut ids = vec![typed.to_owned()];
    for row in rows {
        ids.push(row.text(0)?);
    }
    Ok(ids)
}

fn compose(filter: &Filter, meant: &Meant, (is_postgres, limit): (bool, usize)) -> Query {
    let (from, mut query) = begin(filter, is_postgres);
    let equal: [(&'static str, &Option<String>); 6] = [
        (" AND customer = ", &filter.customer),
        (" AND service = ", &filter.service),
        (" AND lease = ", &filter.lease),
        (" AND session = ", &filter.session),
        (" AND ticket = ", &filter.ticket),
        (" AND outcome = ", &filter.outcome),
    ];
    for (clause, value) in equal {
        if let Some(value) = value {
            query.push(clause).bind(value);
        }
    }
    if let Some(vm) = &filter.vm {
        match (meant.by_vm, meant.by_instance) {
            (true, true) => {
                query.push(" AND (vm = ").bind(vm).push(" OR instance = ").bind(vm).push(")")
            }
            (false, _) => query.push(" AND instance = ").bind(vm),
            (true, false) => query.push(" AND vm = ").bind(vm),
        };
    }
    for (index, operator) in meant.operators.iter().enumerate() {
        query.push(if index == 0 { " AND operator IN (" } else { ", " }).bind(operator);
    }
    if !meant.operators.is_empty() {
        query.push(")");
    }
    if let Some(event) = filter.event.as_ref().filter(|_| meant.whole_type) {
        query.push(" AND type = ").bind(event);
    } else if let Some(event) = &filter.event {
        // Names of types are lower-case letters, dots and underscores: all sort before the tilde.
        query.push(" AND type >= ").bind(event).push(" AND type < ").bind(format!("{event}~"));
    }
    if let Some(first) = meant.first {
        query.push(from.first).bind(first);
    }
    if let Some(last) = meant.last {
        query.push(from.end).bind(last);
    }
    let way = usize::from(filter.order == Order::Oldest);
    if let Some(Cursor(seq)) = filter.after {
        query.push(from.beyond[way]).bind(seq);
    }
    query.push(from.order[way]).bind(Arg::from(limit as u64));
    query
}

/// The beginning of the statement: where it reads from, and the words.
fn begin(filter: &Filter, is_postgres: bool) -> (&'static From, Query) {
    let Some(wanted) = &filter.text else { return (&EVENTS, Query::new(EVENTS.select)) };
    let from = if is_postgres { &WORDS_POSTGRES } else { &WORDS_SQLITE };
    let mut query = Query::new(from.select);
    match is_postgres {
        true => query.bind(tsquery(wanted, filter.only_told)).push("::TEXT::TSQUERY"),
        false => query.bind(fts5(wanted, filter.only_told)),
    };
    (from, query)
}

/// As FTS5 spells it: words are letters and digits, so quotes hold them.
fn fts5(wanted: &Wanted, only_told: bool) -> String {
    let phrase = |phrase: &Phrase| {
        let star = if phrase.is_open() { " *" } else { "" };
        format!("\"{}\"{star}", phrase.words().join(" "))
    };
    let phrases: Vec<String> = wanted.phrases().iter().map(phrase).collect();
    let columns = if only_told { "told" } else { "told withheld" };
    format!("{{{columns}}} : ({})", phrases.join(" AND "))
}

/// As PostgreSQL spells it; `A` are the words that a customer is told.
fn tsquery(wanted: &Wanted, only_told: bool) -> String {
    let weight = if only_told { "A" } else { "" };
    let phrase = |phrase: &Phrase| {
        let last = phrase.words().len() - 1;
        let word = |(at, word): (usize, &String)| {
            let star = if phrase.is_open() && at == last { "*" } else { "" };
            format!("'{word}':{star}{weight}")
        };
        let words: Vec<String> = phrase.words().iter().enumerate().map(word).collect();
        format!("({})", words.join(" <-> "))
    };
    wanted.phrases().iter().map(phrase).collect::<Vec<_>>().join(" & ")
}

fn row(row: &store::Row) -> Result<Row, StoreError> {
    Ok(Row {
        seq: row.u64(0)?,
        time: row.time(1)?,
        event: row.text(2)?,
        actor_kind: row.text(3)?,
        actor: row.text(4)?,
        operator: row.opt_text(5)?,
        customer: row.opt_text(6)?,
        service: row.opt_text(7)?,
        vm: row.opt_text(8)?,
        instance: row.opt_text(9)?,
        account: row.opt_text(10)?,
        level: row.opt_text(11)?,
        lease: row.opt_text(12)?,
        session: row.opt_text(13)?,
        ticket: row.opt_text(14)?,
        outcome: row.opt_text(15)?,
        reason: row.opt_text(16)?,
    })
}
