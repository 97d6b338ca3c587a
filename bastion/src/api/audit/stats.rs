//! `audit stats`: how many entries, by event, operator, customer and week.

use super::Form;
use crate::{
    api::{Call, Fault, Reply, print::Table, reading},
    ledger::projection::{Count, Counting, Group},
};
use audit_schema::time::Timestamp;
use bastion_core::{escape, id::CustomerId, limits::STATS_ROWS_MAX};
use clap::Args;
use serde_json::{Map, Value};

/// `audit stats`
#[derive(Debug, Args)]
pub struct Stats {
    /// What to group by, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_value = "event", value_name = "WHAT")]
    pub by: Vec<Group>,
    /// Of this customer
    #[arg(long)]
    pub customer: Option<CustomerId>,
    /// Of this operator, by id (officers: or name)
    #[arg(long)]
    pub operator: Option<String>,
    /// Of this type, or of all types that begin so: `access.denied`, `consent.`
    #[arg(long)]
    pub event: Option<String>,
    /// From the week that this moment is in
    #[arg(long, value_parser = super::since)]
    pub since: Option<Timestamp>,
    /// Up to the week that this moment is in, the whole week included
    #[arg(long, value_parser = super::until)]
    pub until: Option<Timestamp>,
    /// The form of the answer; --json is jsonl
    #[arg(long, value_enum)]
    pub format: Option<Form>,
}

pub(super) async fn run(call: &mut Call<'_>, ask: &Stats) -> Result<Reply, Fault> {
    let scope = reading::scope(call, ask.customer.as_ref())?;
    let mut by: Vec<Group> = Vec::new();
    for group in &ask.by {
        if by.contains(group) {
            return Err(Fault::Usage(format!("--by: `{}` is there twice", group.name())));
        }
        by.push(*group);
    }
    super::query::refuse_name(call, ask.operator.as_deref())?;
    let size = reading::enter(call, scope.as_ref()).await?;
    let index = call.app.projection().await?;
    index.wait_for(size - 1).await?;
    let counting = Counting {
        by,
        customer: scope.map(|customer| customer.to_string()),
        operator: ask.operator.clone(),
        event: ask.event.clone(),
        since: ask.since,
        until: ask.until,
    };
    let counts = index.count(&counting).await?;
    if counts.len() as u64 > STATS_ROWS_MAX {
        return Err(Fault::Usage(format!(
            "more than {STATS_ROWS_MAX} groups: ask for a customer, or with --since and --until"
        )));
    }
    let text = match (ask.format, call.json) {
        (Some(Form::Csv), _) => sheet(&counting.by, &counts),
        (Some(Form::Jsonl), _) | (None, true) => objects(&counting.by, &counts),
        (Some(Form::Table), _) | (None, false) => {
            table(&super::query::names(call).await?, &counting.by, &counts)
        }
    };
    call.out.out(text.as_bytes()).await?;
    Ok(Reply::Written)
}

/// A name where there is one and the caller may know it: people know each other by it.
fn table(names: &super::query::Names, by: &[Group], counts: &[Count]) -> String {
    let heads: Vec<&str> = by.iter().map(|group| group.name()).chain(["entries"]).collect();
    let mut table = Table::new(&heads);
    for count in counts {
        let mut cells: Vec<String> = Vec::with_capacity(heads.len());
        for (group, of) in by.iter().zip(&count.of) {
            let of = of.as_deref().unwrap_or("-");
            cells.push(match names.get(of).filter(|_| *group == Group::Operator) {
                Some(name) => format!("{name} ({of})"),
                None => of.to_owned(),
            });
        }
        cells.push(count.entries.to_string());
        table.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table.or("no entries match")
}

fn sheet(by: &[Group], counts: &[Count]) -> String {
    let heads: Vec<&str> = by.iter().map(|group| group.name()).chain(["entries"]).collect();
    let mut text = format!("{}\r\n", heads.join(","));
    for count in counts {
        let of = count.of.iter().map(|of| escape::csv(of.as_deref().unwrap_or_default()));
        let fields: Vec<String> = of.chain([count.entries.to_string()]).collect();
        text += &format!("{}\r\n", fields.join(","));
    }
    text
}

fn objects(by: &[Group], counts: &[Count]) -> String {
    let object = |count: &Count| {
        let pairs = by.iter().zip(&count.of);
        let mut object: Map<String, Value> = pairs
            .filter_map(|(group, of)| Some((group.name().to_owned(), of.clone()?.into())))
            .collect();
        object.insert("entries".into(), count.entries.into());
        format!("{}\n", Value::from(object))
    };
    counts.iter().map(object).collect()
}
