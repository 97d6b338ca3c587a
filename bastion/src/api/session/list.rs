//! `session list|show`: from the rows of leases; what an entry says is read from the log.

use super::List;
use crate::{
    api::{Call, Fault, Reply, print, reading},
    ledger::projection::{Filter, Order},
    store::{Db, Query, Row, StoreError},
};
use audit_schema::time::Timestamp;
use serde_json::{Value, json};
use std::collections::HashMap;

pub(super) const COLUMNS: &str = "SELECT id, session, operator, customer, service, vm, instance, \
     account, level, kind, ticket, granted_at, deadline, revoked_cause, closed_at, recording, \
     gateway FROM leases WHERE true";

/// A row of leases.
pub(super) struct Lease {
    texts: Vec<Option<String>>,
    granted_at: i64,
    deadline: i64,
    revoked: Option<String>,
    closed_at: Option<i64>,
    recording: Option<String>,
    gateway: String,
}

impl Lease {
    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        let texts = (0..11).map(|column| row.opt_text(column)).collect::<Result<_, _>>()?;
        Ok(Self {
            texts,
            granted_at: row.i64(11)?,
            deadline: row.i64(12)?,
            revoked: row.opt_text(13)?,
            closed_at: row.opt_i64(14)?,
            recording: row.opt_text(15)?,
            gateway: row.text(16)?,
        })
    }
    pub(super) fn text(&self, column: usize) -> &str {
        self.texts.get(column).and_then(Option::as_deref).unwrap_or_default()
    }
    fn state(&self) -> &'static str {
        match (self.closed_at, &self.revoked) {
            (Some(_), _) => "closed",
            (None, Some(_)) => "ending",
            (None, None) => "live",
        }
    }
    pub(super) fn json(&self) -> Value {
        json!({
            "lease": self.text(0), "session": self.text(1), "operator": self.text(2),
            "customer": self.text(3), "service": self.text(4), "vm": self.text(5),
            "instance": self.text(6), "account": self.text(7), "level": self.text(8),
            "channel": self.text(9), "ticket": self.texts.get(10), "state": self.state(),
            "granted_at": at(self.granted_at), "deadline": at(self.deadline),
            "revoked_cause": self.revoked, "closed_at": self.closed_at.map(at),
            "recording": self.recording, "gateway": self.gateway,
        })
    }
}

/// The recordings of each lease: its own, and those of connections that were lent under it, in the
/// order in which they began.
pub(super) async fn recordings(
    db: &Db,
    leases: &[&str],
) -> Result<HashMap<String, Vec<String>>, StoreError> {
    let mut of: HashMap<String, Vec<String>> = HashMap::new();
    for some in leases.chunks(LEASES_ASKED_AT_ONCE) {
        let mut query = Query::new("SELECT lease, recording FROM recording_keys WHERE lease IN (");
        for (index, lease) in some.iter().enumerate() {
            query.push(if index == 0 { "" } else { ", " }).bind(*lease);
        }
        query.push(") ORDER BY created_at, recording");
        for row in db.query(&query).await? {
            of.entry(row.text(0)?).or_default().push(row.text(1)?);
        }
    }
    Ok(of)
}

/// So many that a statement with one argument for each is short of what any store takes.
const LEASES_ASKED_AT_ONCE: usize = 500;

fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

fn short(micros: i64) -> String {
    at(micros).to_string().get(..19).unwrap_or_default().replace('T', " ")
}

pub(super) async fn list(call: &mut Call<'_>, ask: &List) -> Result<Reply, Fault> {
    let scope = reading::scope(call, ask.customer.as_ref())?;
    reading::enter(call, scope.as_ref()).await?;
    let mut query = Query::new(COLUMNS);
    if let Some(customer) = &scope {
        query.push(" AND customer = ").bind(customer.as_str());
    }
    if let Some(vm) = &ask.vm {
        query.push(" AND vm = ").bind(vm);
    }
    if let Some(operator) = &ask.operator {
        query.push(" AND operator = ").bind(operator);
    }
    if ask.live {
        query.push(" AND closed_at IS NULL");
    }
    query.push(" ORDER BY CASE WHEN closed_at IS NULL THEN 0 ELSE 1 END, granted_at DESC, id");
    query.push(" LIMIT ").bind(i64::from(ask.limit.clamp(1, 1000)));
    let rows = call.db().query(&query).await?;
    let leases = rows.iter().map(Lease::read).collect::<Result<Vec<_>, _>>()?;
    let heads = [
        "lease", "state", "session", "operator", "vm", "account", "level", "channel", "ticket",
        "granted", "until",
    ];
    let mut table = print::Table::new(&heads);
    for lease in &leases {
        let until = lease.closed_at.unwrap_or(lease.deadline);
        table.row(&[
            lease.text(0),
            lease.state(),
            lease.text(1),
            lease.text(2),
            lease.text(5),
            lease.text(7),
            lease.text(8),
            lease.text(9),
            lease.text(10),
            &short(lease.granted_at),
            &short(until),
        ]);
    }
    let none = if ask.live { "nothing is live" } else { "no channel was ever opened" };
    let json = leases.iter().map(Lease::json).collect::<Vec<_>>();
    Ok(Reply::Said { text: table.or(none), json: json.into() })
}

pub(super) async fn show(call: &mut Call<'_>, id: &str) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let size = reading::enter(call, scope.as_ref()).await?;
    let mut query = Query::new(COLUMNS);
    query.push(" AND (id = ").bind(id).push(" OR session = ").bind(id).push(")");
    if let Some(customer) = &scope {
        query.push(" AND customer = ").bind(customer.as_str());
    }
    query.push(" ORDER BY granted_at, id");
    let rows = call.db().query(&query).await?;
    let leases = rows.iter().map(Lease::read).collect::<Result<Vec<_>, _>>()?;
    if leases.is_empty() {
        return Err(Fault::refused("unknown", format!("no session or lease `{id}` here")));
    }
    let ids: Vec<&str> = leases.iter().map(|lease| lease.text(0)).collect();
    let mut recordings = recordings(call.db(), &ids).await?;
    let index = call.app.projection().await?;
    index.wait_for(size - 1).await?;
    let mut text = String::new();
    let mut all = Vec::new();
    for lease in &leases {
        let filter = Filter {
            lease: Some(lease.text(0).to_owned()),
            customer: scope.as_ref().map(ToString::to_string),
            order: Order::Oldest,
            ..Filter::default()
        };
        let page = index.query(&filter).await?;
        let mut lent = recordings.remove(lease.text(0)).unwrap_or_default();
        lent.retain(|recording| lease.recording.as_ref() != Some(recording));
        text += &described(lease, &lent);
        let mut table = print::Table::new(&["entry", "time", "event", "outcome", "reason"]);
        let mut entries = Vec::new();
        for row in &page.rows {
            table.row(&[
                &row.seq.to_string(),
                &row.time.to_string(),
                &row.event,
                row.outcome.as_deref().unwrap_or_default(),
                row.reason.as_deref().unwrap_or_default(),
            ]);
            entries.push(json!({ "seq": row.seq, "time": row.time, "event": row.event }));
        }
        let mut object = lease.json();
        let closing = page.rows.iter().find(|row| row.event == "channel.commands");
        if let Some(row) = closing {
            let commands = detected(call, row.seq).await?;
            text += "detected commands (an aid: what a program reads is not seen)\n";
            commands.iter().for_each(|line| text += &format!("  {}\n", print::shown(line)));
            object["detected_commands"] = commands.into();
        }
        text += &format!("{table}\n");
        object["entries"] = entries.into();
        object["lent_recordings"] = lent.into();
        all.push(object);
    }
    Ok(Reply::Said { text, json: all.into() })
}

/// The commands that were seen to be typed, from the opening of their entry.
async fn detected(call: &Call<'_>, seq: u64) -> Result<Vec<String>, Fault> {
    let openings = call.app.ledger.openings(seq).await?;
    let commands = openings.iter().filter(|opening| opening.field == "commands");
    Ok(commands.flat_map(|opening| opening.value.lines()).map(str::to_owned).collect())
}

fn described(lease: &Lease, lent: &[String]) -> String {
    let shown = |column| print::shown(lease.text(column));
    let mut pairs = vec![
        ("lease", shown(0)),
        ("session", shown(1)),
        ("operator", shown(2)),
        ("where", format!("{}@{} ({})", shown(7), shown(5), shown(6))),
        ("service", format!("{} of {}", shown(4), shown(3))),
        ("level", shown(8)),
        ("channel", shown(9)),
        ("consent", if lease.text(10).is_empty() { "none needed".into() } else { shown(10) }),
        ("granted", at(lease.granted_at).to_string()),
        ("deadline", at(lease.deadline).to_string()),
        ("state", lease.state().into()),
    ];
    if let Some(cause) = &lease.revoked {
        pairs.push(("ended by", print::shown(cause)));
    }
    if let Some(closed) = lease.closed_at {
        pairs.push(("closed", at(closed).to_string()));
    }
    if let Some(recording) = &lease.recording {
        pairs.push(("recording", print::shown(recording)));
    }
    // Of the operator's agent, display or port; each can be fetched by its id.
    pairs.extend(lent.iter().map(|recording| ("lent", print::shown(recording))));
    print::pairs(&pairs)
}
