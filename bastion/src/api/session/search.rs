//! `session search`: where something was typed.
//!
//! The gateway searches what it can read: the commands in the log, as the operator's client sent
//! them, and as they were seen to be typed at a prompt. Recordings are sealed; whoever has the key
//! searches them on their own machine (`cli/search`), which asks here first which ones it may open.
//! Either way the search is entered, for each customer whose channels are looked at.

use super::{access, list};
use crate::{
    api::{Call, Fault, Reply, print, reading},
    ledger::{
        NewEntry,
        projection::{Filter, Order},
    },
    store::Query,
};
use audit_schema::{
    event::{ActorKind, Event},
    time::Timestamp,
};
use bastion_core::{
    id::CustomerId,
    limits::{REFUSED_ARGUMENTS_CHARS_MAX, SEARCH_CHANNELS_MAX},
    search::Search,
    words::Wanted,
};
use clap::Args;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

/// `session search`
#[derive(Clone, Debug, Args)]
pub struct Ask {
    /// What to look for
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<String>,
    /// Upper and lower case are the same
    #[arg(long, short)]
    pub ignore_case: bool,
    /// In channels from this moment on: 2026-11-24 or 2026-11-24T08:02:00Z
    #[arg(long, value_parser = crate::api::audit::since)]
    pub since: Option<Timestamp>,
    /// Up to this moment, not included; a day counts as a whole
    #[arg(long, value_parser = crate::api::audit::until)]
    pub until: Option<Timestamp>,
    /// Of this operator, by id
    #[arg(long)]
    pub operator: Option<String>,
    /// Of this customer
    #[arg(long)]
    pub customer: Option<CustomerId>,
    /// On this VM
    #[arg(long)]
    pub vm: Option<String>,
    /// The private key that recordings are sealed to, on your machine: searches the screens, too
    #[arg(long, alias = "identity", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// What `session fetch` gave, instead of asking the gateway
    #[arg(long, requires = "key", value_name = "FILE", num_args = 1..)]
    pub file: Vec<PathBuf>,
    /// Name the recordings that may be searched: what --key asks for
    #[arg(long, hide = true)]
    pub recordings: bool,
}

/// What a search looks at.
#[derive(Default)]
struct Found {
    channels: Vec<Channel>,
    withheld: u64,
}

#[derive(Clone)]
struct Channel {
    lease: String,
    customer: CustomerId,
    json: Value,
}

pub(super) async fn run(call: &mut Call<'_>, ask: &Ask) -> Result<Reply, Fault> {
    if ask.key.is_some() {
        return Err(Fault::Usage(
            "the key that opens recordings is not on a gateway: run `bastion session search` on \
             your machine"
                .into(),
        ));
    }
    let scope = reading::scope(call, ask.customer.as_ref())?;
    let found = channels(call, ask, scope.as_ref()).await?;
    let size = enter(call, &found, ask.recordings).await?;
    let commands = commands(call, ask, &found, size).await?;
    let mut text = String::new();
    for command in &commands {
        let said = |field: &str| print::shown(command[field].as_str().unwrap_or_default());
        text += &format!(
            "{}  {}  {}  {}  {}\n    {}\n",
            said("time"),
            said("lease"),
            said("operator"),
            said("vm"),
            said("how"),
            said("command"),
        );
    }
    if commands.is_empty() {
        text += "no command holds it; the screens are in the recordings: `--help` tells how\n";
    }
    if found.withheld > 0 {
        text += &format!(
            "{} data channel(s) were not searched: no live consent includes their recordings\n",
            found.withheld
        );
    }
    let recordings = match ask.recordings {
        true => recordings(call, &found).await?,
        false => Vec::new(),
    };
    let json = json!({
        "commands": commands, "recordings": recordings, "withheld": found.withheld,
    });
    Ok(Reply::Said { text, json })
}

/// These channels, each once for every recording that it has.
async fn recordings(call: &Call<'_>, found: &Found) -> Result<Vec<Value>, Fault> {
    let leases: Vec<&str> = found.channels.iter().map(|channel| channel.lease.as_str()).collect();
    let mut of = list::recordings(call.db(), &leases).await?;
    let mut all = Vec::new();
    for channel in &found.channels {
        for recording in of.remove(&channel.lease).unwrap_or_default() {
            let mut json = channel.json.clone();
            json["is_lent"] = (json["recording"] != recording.as_str()).into();
            json["recording"] = recording.into();
            all.push(json);
        }
    }
    Ok(all)
}

/// The channels that this caller may search, the newest first.
async fn channels(call: &Call<'_>, ask: &Ask, scope: Option<&CustomerId>) -> Result<Found, Fault> {
    let mut query = Query::new(list::COLUMNS);
    if let Some(customer) = scope {
        query.push(" AND customer = ").bind(customer.as_str());
    }
    if let Some(vm) = &ask.vm {
        query.push(" AND vm = ").bind(vm);
    }
    if let Some(operator) = &ask.operator {
        query.push(" AND operator = ").bind(operator);
    }
    if let Some(since) = ask.since {
        query.push(" AND granted_at >= ").bind(since.micros());
    }
    if let Some(until) = ask.until {
        query.push(" AND granted_at < ").bind(until.micros());
    }
    query.push(" ORDER BY granted_at DESC, id LIMIT ").bind(SEARCH_CHANNELS_MAX);
    let mut found = Found::default();
    let mut known: HashMap<(CustomerId, String, String), bool> = HashMap::new();
    for row in call.db().query(&query).await? {
        let lease = list::Lease::read(&row)?;
        let Ok(customer) = lease.text(3).parse::<CustomerId>() else { continue };
        let place = (lease.text(6).to_owned(), lease.text(7).to_owned());
        if lease.text(8) == "data" && call.caller.actor.kind != ActorKind::Approver {
            let key = (customer.clone(), place.0.clone(), place.1.clone());
            let may = match known.get(&key) {
                Some(may) => *may,
                None => permitted(call, &customer, place).await?,
            };
            known.insert(key, may);
            if !may {
                found.withheld += 1;
                continue;
            }
        }
        let (lease, json) = (lease.text(0).to_owned(), lease.json());
        found.channels.push(Channel { lease, customer, json });
    }
    Ok(found)
}

async fn permitted(
    call: &Call<'_>,
    customer: &CustomerId,
    place: (String, String),
) -> Result<bool, Fault> {
    let (origin, customer) = (call.app.config.origin.clone(), customer.clone());
    let now = crate::clock::now();
    let looked = call.db().read(move |tx| {
        Box::pin(async move { access::ticket(tx, (now, &origin), &customer, place).await })
    });
    Ok(looked.await?.is_some())
}

/// Enters the search, once for each customer concerned; answers how many entries there are.
async fn enter(call: &Call<'_>, found: &Found, screens: bool) -> Result<u64, Fault> {
    let actor = call.actor();
    let arguments: String = call.argv.join(" ").chars().take(REFUSED_ARGUMENTS_CHARS_MAX).collect();
    let mut counts: BTreeMap<Option<CustomerId>, u64> = BTreeMap::new();
    for channel in &found.channels {
        *counts.entry(Some(channel.customer.clone())).or_default() += 1;
    }
    if counts.is_empty() {
        counts.insert(call.caller.customer.clone(), 0);
    }
    let entered = call.app.ledger.record("recording searched", move |batch| {
        Box::pin(async move {
            for (customer, channels) in counts {
                let event = Event::RecordingSearched { channels, screens };
                let mut entry = NewEntry::new(actor.clone(), event);
                entry.customer = customer;
                batch.append(entry.with("arguments", arguments.clone())).await?;
            }
            Ok(())
        })
    });
    Ok(entered.await?.seq() + 1)
}

/// The commands that hold the text, of these channels. The index finds those of troubleshoot
/// channels; what went through a data channel is not in it, so those are read one by one.
async fn commands(
    call: &Call<'_>,
    ask: &Ask,
    found: &Found,
    size: u64,
) -> Result<Vec<Value>, Fault> {
    let text = ask.text.join(" ");
    let wanted = Wanted::literally(&text).map_err(|none| Fault::Usage(none.to_string()))?;
    let search = Search::new(&text, ask.ignore_case);
    let index = call.app.projection().await?;
    index.wait_for(size - 1).await?;
    let (granted, typed) = (("command", "asked for"), ("commands", "seen to be typed"));
    let mut filter = Filter {
        customer: ask.customer.as_ref().or(call.caller.customer.as_ref()).map(ToString::to_string),
        vm: ask.vm.clone(),
        text: Some(wanted),
        order: Order::Newest,
        ..Filter::default()
    };
    let mut rows = Vec::new();
    for (event, what) in [("access.granted", granted), ("channel.commands", typed)] {
        filter.event = Some(event.into());
        rows.extend(index.query(&filter).await?.rows.into_iter().map(|row| (row, what)));
    }
    for channel in found.channels.iter().filter(|channel| channel.json["level"] == "data") {
        let filter = Filter {
            event: Some("access.granted".into()),
            lease: Some(channel.lease.clone()),
            ..Filter::default()
        };
        rows.extend(index.query(&filter).await?.rows.into_iter().map(|row| (row, granted)));
    }
    let leases: HashMap<&str, &Channel> =
        found.channels.iter().map(|channel| (channel.lease.as_str(), channel)).collect();
    let mut commands = Vec::new();
    for (row, (field, how)) in rows {
        let Some(channel) = row.lease.as_deref().and_then(|lease| leases.get(lease)) else {
            continue;
        };
        let openings = call.app.ledger.openings(row.seq).await?;
        let opened = openings.iter().filter(|opening| opening.field == field);
        for line in opened.flat_map(|opening| opening.value.lines()) {
            if search.matches(line) {
                commands.push(json!({
                    "time": row.time, "entry": row.seq, "lease": channel.lease,
                    "session": channel.json["session"], "operator": channel.json["operator"],
                    "customer": channel.customer, "vm": channel.json["vm"], "how": how,
                    "command": line,
                }));
            }
        }
    }
    Ok(commands)
}
