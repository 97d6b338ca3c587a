//! Counting entries by event, operator, customer and week, or any grouping of these.
//!
//! The index keeps one number for each combination that occurs, so a count adds up a few thousand
//! rows where the log has millions of entries.

use super::query::operators;
use crate::store::{Db, Query, StoreError};
use audit_schema::time::Timestamp;
use bastion_core::limits::STATS_ROWS_MAX;

/// What entries are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// The event's type
    Event,
    /// The operator whom it concerns
    Operator,
    /// The customer whom it concerns
    Customer,
    /// The week, from Monday on
    Week,
}

impl Group {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Operator => "operator",
            Self::Customer => "customer",
            Self::Week => "week",
        }
    }

    fn column(self) -> &'static str {
        match self {
            Self::Event => "type",
            Self::Operator => "operator",
            Self::Customer => "customer",
            Self::Week => "week",
        }
    }
}

/// What is counted, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counting {
    /// In this order, each at most once; none counts everything together.
    pub by: Vec<Group>,
    /// Of this customer.
    pub customer: Option<String>,
    /// Of this operator, by id or handle.
    pub operator: Option<String>,
    /// Of this type, or of all that begin so.
    pub event: Option<String>,
    /// Of the week that this moment is in, and later.
    pub since: Option<Timestamp>,
    /// Of weeks that began before this moment.
    pub until: Option<Timestamp>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What it is, one for each of [`Counting::by`]; none for entries without one.
    pub of: Vec<Option<String>>,
    /// How many entries it has.
    pub entries: u64,
}

/// The groups, in their order; one more than [`STATS_ROWS_MAX`] shows that there are too many.
pub(super) async fn run(
    index: &Db,
    log: &Db,
    counting: &Counting,
) -> Result<Vec<Count>, StoreError> {
    let ids = match &counting.operator {
        Some(operator) => operators(log, operator).await?,
        None => Vec::new(),
    };
    let query = compose(counting, &ids);
    let mut counts = Vec::new();
    for row in index.query(&query).await? {
        let mut of = Vec::with_capacity(counting.by.len());
        for (at, group) in counting.by.iter().enumerate() {
            of.push(match group {
                Group::Week => Some(row.time(at)?.to_string().chars().take(DAY).collect()),
                _ => Some(row.text(at)?).filter(|text| !text.is_empty()),
            });
        }
        // Nothing counted together is no row's sum.
        let entries = row.opt_u64(counting.by.len())?.unwrap_or_default();
        counts.push(Count { of, entries });
    }
    // Here, as the two databases have orders of their own.
    counts.sort_by(|one, other| one.of.cmp(&other.of));
    Ok(counts)
}

/// `2026-11-23`.
const DAY: usize = 10;

fn compose(counting: &Counting, operators: &[String]) -> Query {
    let mut query = Query::new("SELECT ");
    for group in &counting.by {
        query.push(group.column()).push(", ");
    }
    // PostgreSQL adds up to another type.
    query.push("CAST(SUM(entries) AS BIGINT) FROM counts WHERE true");
    if let Some(customer) = &counting.customer {
        query.push(" AND customer = ").bind(customer);
    }
    for (at, operator) in operators.iter().enumerate() {
        query.push(if at == 0 { " AND operator IN (" } else { ", " }).bind(operator);
    }
    if !operators.is_empty() {
        query.push(")");
    }
    if let Some(event) = &counting.event {
        // Names of types are lower-case letters, dots and underscores: all sort before the tilde.
        query.push(" AND type >= ").bind(event).push(" AND type < ").bind(format!("{event}~"));
    }
    if let Some(since) = counting.since {
        query.push(" AND week >= ").bind(super::chunk::week(since));
    }
    if let Some(until) = counting.until {
        query.push(" AND week < ").bind(until);
    }
    for (at, group) in counting.by.iter().enumerate() {
        query.push(if at == 0 { " GROUP BY " } else { ", " }).push(group.column());
    }
    query.push(" LIMIT ").bind(STATS_ROWS_MAX + 1);
    query
}
