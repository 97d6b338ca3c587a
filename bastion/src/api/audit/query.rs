//! `audit query`: the index finds, the log answers.

use super::{Form, Query};
use crate::{
    api::{Call, Fault, Reply, print::Table, reading},
    ledger::projection::{Cursor, Filter, Order, Projection, Row},
};
use audit_schema::commit::Opening;
use bastion_core::{
    escape,
    limits::QUERY_ROWS_MAX,
    words::{NotWanted, Wanted},
};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, time::Duration};

/// Rows of a table when no limit is given: a few screens.
const TABLE_ROWS: usize = 200;

/// How long `--follow` waits before it looks again, should another gateway have written.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const COLUMNS: [&str; 17] = [
    "seq",
    "time",
    "event",
    "actor_kind",
    "actor",
    "operator",
    "customer",
    "service",
    "vm",
    "instance",
    "account",
    "level",
    "lease",
    "session",
    "ticket",
    "outcome",
    "reason",
];

pub(super) async fn run(call: &mut Call<'_>, ask: &Query) -> Result<Reply, Fault> {
    let scope = reading::scope(call, ask.customer.as_ref())?;
    let form = match (ask.format, call.json) {
        (Some(form), _) => form,
        (None, true) => Form::Jsonl,
        (None, false) => Form::Table,
    };
    let mut filter = filter(call, ask)?;
    filter.customer = scope.as_ref().map(ToString::to_string);
    let size = reading::enter(call, scope.as_ref()).await?;
    let index = call.app.projection().await?;
    index.wait_for(size - 1).await?;
    let names = names(call).await?;
    let mut printer = Printer { form, begun: false, text: filter.text.clone(), names };
    if ask.follow {
        return follow(call, &index, filter, &mut printer).await;
    }
    let most = ask.limit.unwrap_or(if form == Form::Table { TABLE_ROWS } else { usize::MAX });
    let next = pages(call, &index, &mut filter, (most, &mut printer)).await?;
    if !printer.begun {
        printer.rows(call, Vec::new()).await?;
    }
    if let Some(next) = next {
        let hint = format!("there is more: repeat with --cursor {next}\n");
        call.out.err(hint.as_bytes()).await?;
    }
    Ok(Reply::Written)
}

/// What people are called, by id.
pub(super) type Names = HashMap<String, String>;

/// What people are called; nobody's name for a caller who is not told names.
pub(super) async fn names(call: &Call<'_>) -> Result<Names, Fault> {
    if reading::withholds(call) {
        return Ok(HashMap::new());
    }
    let sql = "SELECT id, handle FROM operators UNION ALL SELECT id, handle FROM officers \
               UNION ALL SELECT id, handle FROM approvers";
    let mut names = HashMap::new();
    for row in call.app.ledger.db().rows(sql, &[]).await? {
        names.insert(row.text(0)?, row.text(1)?);
    }
    Ok(names)
}

/// A name that finds an id would tell whose id it is.
pub(super) fn refuse_name(call: &Call<'_>, operator: Option<&str>) -> Result<(), Fault> {
    match operator {
        Some(name) if reading::withholds(call) && !name.starts_with("op-") => {
            let how = "--operator: give the id of an operator, as op-0123456789";
            Err(Fault::Usage(how.into()))
        }
        _ => Ok(()),
    }
}

fn filter(call: &Call<'_>, ask: &Query) -> Result<Filter, Fault> {
    refuse_name(call, ask.operator.as_deref())?;
    if ask.limit == Some(0) {
        return Err(Fault::Usage("--limit: give at least 1".into()));
    }
    Ok(Filter {
        service: ask.service.clone(),
        vm: ask.vm.clone(),
        operator: ask.operator.clone(),
        event: ask.event.clone(),
        lease: ask.lease.clone(),
        session: ask.session.clone(),
        ticket: ask.ticket.clone(),
        outcome: ask.outcome.clone(),
        text: wanted(&ask.text)?,
        only_told: reading::withholds(call),
        since: ask.since,
        until: ask.until,
        order: if ask.oldest || ask.follow { Order::Oldest } else { Order::Newest },
        after: ask
            .cursor
            .as_ref()
            .map(|cursor| cursor.parse::<Cursor>())
            .transpose()
            .map_err(|bad| Fault::Usage(format!("--cursor: {bad}")))?,
        ..Filter::default()
    })
}

fn wanted(text: &[String]) -> Result<Option<Wanted>, Fault> {
    if text.is_empty() {
        return Ok(None);
    }
    let wanted = text.join(" ").parse();
    wanted.map(Some).map_err(|none: NotWanted| Fault::Usage(format!("--text: {none}")))
}

/// Prints pages until enough rows or the end; answers where the next would begin.
async fn pages(
    call: &mut Call<'_>,
    index: &Projection,
    filter: &mut Filter,
    (most, printer): (usize, &mut Printer),
) -> Result<Option<Cursor>, Fault> {
    let mut left = most;
    loop {
        filter.limit = left.min(QUERY_ROWS_MAX);
        let page = index.query(filter).await?;
        left -= page.rows.len().min(left);
        let next = page.next;
        printer.rows(call, page.rows).await?;
        filter.after = next;
        if next.is_none() || left == 0 {
            return Ok(next);
        }
    }
}

/// What is there first, unless only what comes is wanted; then what comes, until the caller goes.
async fn follow(
    call: &mut Call<'_>,
    index: &Projection,
    mut filter: Filter,
    printer: &mut Printer,
) -> Result<Reply, Fault> {
    let mut size = call.app.ledger.size();
    if filter.after.is_none() && filter.since.is_none() {
        filter.after = Some(Cursor::beyond(size.borrow_and_update().saturating_sub(1)));
    }
    loop {
        index.catch_up().await?;
        let last = pages_to_end(call, index, &mut filter, printer).await?;
        filter.after = last.or(filter.after);
        // A sleep besides: on PostgreSQL other gateways write too.
        let waited = tokio::time::timeout(LOOK_AGAIN, size.changed()).await;
        if matches!(waited, Ok(Err(_))) {
            return Ok(Reply::Written);
        }
    }
}

async fn pages_to_end(
    call: &mut Call<'_>,
    index: &Projection,
    filter: &mut Filter,
    printer: &mut Printer,
) -> Result<Option<Cursor>, Fault> {
    filter.limit = QUERY_ROWS_MAX;
    let mut last = None;
    loop {
        let page = index.query(filter).await?;
        last = page.rows.last().map(|row| Cursor::beyond(row.seq)).or(last);
        if page.rows.is_empty() {
            return Ok(last);
        }
        printer.rows(call, page.rows).await?;
        filter.after = last;
    }
}

/// Rows in one of the three forms; the head of a table or sheet comes once.
struct Printer {
    form: Form,
    begun: bool,
    text: Option<Wanted>,
    /// Of those whose ids stand in entries; kept out of the log and of the index.
    names: Names,
}

impl Printer {
    async fn rows(&mut self, call: &mut Call<'_>, rows: Vec<Row>) -> Result<(), Fault> {
        let mut shown = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(found) = call.app.ledger.entry(row.seq).await? else { continue };
            let openings = reading::openings(call, &found.entry).await?;
            // The index was asked for what a customer is told; were it wrong, nothing is shown.
            if reading::withholds(call) && !self.holds_text(&openings) {
                continue;
            }
            let entry = serde_json::to_value(&found.entry).unwrap_or_default();
            shown.push((row, openings, entry));
        }
        let text = match self.form {
            Form::Table => self.table(&shown),
            Form::Jsonl => {
                shown.iter().map(|(row, open, entry)| object(row, open, entry)).collect()
            }
            Form::Csv => self.sheet(&shown),
        };
        self.begun = true;
        call.out.out(text.as_bytes()).await?;
        Ok(())
    }

    fn holds_text(&self, openings: &[Opening]) -> bool {
        let texts = || openings.iter().map(|opening| opening.value.as_str());
        self.text.as_ref().is_none_or(|wanted| wanted.is_in(texts()))
    }

    /// A name where there is one: people know each other by it.
    fn who(&self, row: &Row) -> String {
        match self.names.get(&row.actor) {
            Some(name) => format!("{name} ({})", row.actor),
            None => format!("{}:{}", row.actor_kind, row.actor),
        }
    }

    fn table(&self, shown: &[(Row, Vec<Opening>, Value)]) -> String {
        let heads = ["seq", "time", "event", "who", "where", "lease", "ticket", "outcome", "said"];
        let mut table = Table::new(&heads);
        for (row, openings, _) in shown {
            table.row(&[
                &row.seq.to_string(),
                &row.time.to_string().get(..19).unwrap_or_default().replace('T', " "),
                &row.event,
                &self.who(row),
                &place(row),
                row.lease.as_deref().unwrap_or_default(),
                row.ticket.as_deref().unwrap_or_default(),
                &outcome(row),
                &said(openings),
            ]);
        }
        match (table.is_empty(), self.begun) {
            (true, false) => "no entries match\n".into(),
            (true, true) => String::new(),
            (false, false) => table.to_string(),
            // The head stands above the first rows.
            (false, true) => {
                table.to_string().split_once('\n').map(|(_, rest)| rest.into()).unwrap_or_default()
            }
        }
    }

    fn sheet(&self, shown: &[(Row, Vec<Opening>, Value)]) -> String {
        let mut text = String::new();
        if !self.begun {
            text += &format!("{},said\r\n", COLUMNS.join(","));
        }
        for (row, openings, _) in shown {
            let mut fields: Vec<String> =
                columns(row).iter().map(|value| escape::csv(&bare(value))).collect();
            fields.push(escape::csv(&said(openings)));
            text += &fields.join(",");
            text += "\r\n";
        }
        text
    }
}

fn columns(row: &Row) -> [Value; 17] {
    [
        json!(row.seq),
        json!(row.time),
        json!(row.event),
        json!(row.actor_kind),
        json!(row.actor),
        json!(row.operator),
        json!(row.customer),
        json!(row.service),
        json!(row.vm),
        json!(row.instance),
        json!(row.account),
        json!(row.level),
        json!(row.lease),
        json!(row.session),
        json!(row.ticket),
        json!(row.outcome),
        json!(row.reason),
    ]
}

pub(super) fn bare(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn object(row: &Row, openings: &[Opening], entry: &Value) -> String {
    let mut object: Map<String, Value> = COLUMNS
        .iter()
        .zip(columns(row))
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| ((*name).to_owned(), value))
        .collect();
    let said: Map<String, Value> =
        openings.iter().map(|o| (o.field.clone(), json!(o.value))).collect();
    object.insert("said".into(), said.into());
    object.insert("entry".into(), entry.clone());
    format!("{}\n", Value::from(object))
}

fn place(row: &Row) -> String {
    match (&row.account, &row.vm, &row.service, &row.customer) {
        (Some(account), Some(vm), _, _) => format!("{account}@{vm}"),
        (None, Some(vm), _, _) => vm.clone(),
        (_, None, Some(service), _) => service.clone(),
        (_, None, None, Some(customer)) => customer.clone(),
        (_, None, None, None) => String::new(),
    }
}

fn outcome(row: &Row) -> String {
    let parts = [row.outcome.as_deref(), row.reason.as_deref()];
    let mut parts: Vec<&str> = parts.into_iter().flatten().collect();
    parts.dedup();
    parts.join(": ")
}

fn said(openings: &[Opening]) -> String {
    let parts: Vec<String> =
        openings.iter().map(|opening| format!("{}={:?}", opening.field, opening.value)).collect();
    parts.join(" ")
}
