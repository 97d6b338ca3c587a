//! `audit query --sql`: a selection of the auditor's own, over the documented views.
//!
//! A customer's approver has no such question: nothing in a statement would keep it to their own.

use super::{Form, Query};
use crate::{
    api::{Call, Fault, Reply, print::Table, reading},
    ledger::projection::views::VIEWS,
    store::{Answer, AskError, Asked},
};
use bastion_core::{escape, limits::SQL_ROWS_MAX, sql::Selection};
use serde_json::{Map, Value};

pub(super) async fn run(call: &mut Call<'_>, ask: &Query) -> Result<Reply, Fault> {
    if reading::withholds(call) {
        return Err(Fault::refused(
            "not-for-customers",
            "--sql reads the entries of all customers: use the filters, or `audit stats`",
        ));
    }
    let selection = Selection::read(&ask.sql.join(" "), VIEWS)
        .map_err(|refused| Fault::Usage(format!("--sql: {refused}; SQL.md has the views")))?;
    let size = reading::enter(call, None).await?;
    let index = call.app.projection().await?;
    index.wait_for(size - 1).await?;
    let answer = index.ask(&selection).await?;
    let text = match (ask.format, call.json) {
        (Some(Form::Csv), _) => sheet(&answer),
        (Some(Form::Jsonl), _) | (None, true) => answer.rows.iter().map(object).collect(),
        (Some(Form::Table), _) | (None, false) => table(&answer),
    };
    call.out.out(text.as_bytes()).await?;
    if answer.is_cut {
        let hint = format!(
            "there is more: at most {SQL_ROWS_MAX} rows of 8 MiB in all are answered; order by \
             `seq` and go on from the last\n"
        );
        call.out.err(hint.as_bytes()).await?;
    }
    Ok(Reply::Written)
}

impl From<AskError> for Fault {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Store(error) => error.into(),
            AskError::TooLong | AskError::NoRole { .. } => Self::Failed(error.to_string()),
            AskError::Taken(_) | AskError::Refused(_) => Self::Usage(format!("--sql: {error}")),
        }
    }
}

fn heads(answer: &Answer) -> Vec<&str> {
    let first = answer.rows.first().map(|Asked(fields)| fields.as_slice()).unwrap_or_default();
    first.iter().map(|(name, _)| name.as_str()).collect()
}

fn cells(Asked(fields): &Asked) -> impl Iterator<Item = String> {
    fields.iter().map(|(_, value)| super::query::bare(value))
}

fn table(answer: &Answer) -> String {
    let mut table = Table::new(&heads(answer));
    for row in &answer.rows {
        let cells: Vec<String> = cells(row).collect();
        table.row(&cells.iter().map(String::as_str).collect::<Vec<_>>());
    }
    table.or("no rows")
}

fn sheet(answer: &Answer) -> String {
    let line = |fields: Vec<String>| format!("{}\r\n", fields.join(","));
    let mut text = line(heads(answer).into_iter().map(escape::csv).collect());
    for row in &answer.rows {
        text += &line(cells(row).map(|cell| escape::csv(&cell)).collect());
    }
    text
}

fn object(Asked(fields): &Asked) -> String {
    let fields: Map<String, Value> = fields.iter().cloned().collect();
    format!("{}\n", Value::from(fields))
}
