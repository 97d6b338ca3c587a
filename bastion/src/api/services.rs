//! `service …`: what a customer rents, and from where operators may come to it.

use super::{
    Call, Fault, Reply,
    change::{conflict, unknown},
    effects::revoke_outside,
    print::Table,
    rows,
};
use crate::{
    args,
    keyfile::check_recording_key,
    ledger::{Batch, ChangeError, NewEntry},
};
use audit_schema::{
    event::{Actor, Event},
    hash::Hash,
};
use bastion_core::{
    id::{CustomerId, ServiceId},
    limits::SOURCE_RANGES_MAX,
    vm::SourceRanges,
};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::json;

/// What an officer does with services.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Add a service of a customer
    #[command(after_help = "The customer makes the key pair and keeps the private half:\n  \
        openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072 -out recording.key\n  \
        openssl pkey -in recording.key -pubout -out recording.pem\n\
        Example:\n  ssh bastion service add acme-pg --customer acme < recording.pem")]
    Add(Add),
    /// Every service, with the source ranges of operators
    List {
        /// Only this customer's.
        #[arg(long)]
        customer: Option<CustomerId>,
    },
    /// Say from where operators may come; takes effect at once, on live channels too
    #[command(after_help = "Examples:\n  \
        ssh bastion service sources acme-pg 192.0.2.0/24 2001:db8::/48\n  \
        ssh bastion service sources acme-pg --anywhere")]
    Sources(Sources),
    /// Change the key to which recordings of data channels are sealed, from now on
    #[command(after_help = "Example:\n  ssh bastion service recording-key acme-pg < recording.pem")]
    RecordingKey {
        /// Which service.
        service: ServiceId,
    },
}

/// A new service. The recording key comes on standard input.
#[derive(Debug, Args)]
pub struct Add {
    /// Its id: a-z, 0-9 and '-'.
    service: ServiceId,
    /// Whose it is.
    #[arg(long)]
    customer: CustomerId,
    /// From where operators may come (CIDR); repeat it. Without one they may come from anywhere.
    #[arg(long = "source", value_name = "CIDR")]
    sources: Vec<Range>,
}

/// Allowed source ranges.
#[derive(Debug, Args)]
pub struct Sources {
    /// Which service.
    service: ServiceId,
    /// The ranges (CIDR, IPv4 or IPv6): all of them, not only new ones.
    #[arg(value_name = "CIDR", required_unless_present = "anywhere", num_args = 1..=64)]
    ranges: Vec<Range>,
    /// From anywhere: what a service starts with, and flagged wherever it shows.
    #[arg(long, conflicts_with = "ranges")]
    anywhere: bool,
}

/// One source range, spelled as it is meant: no address bits behind its length.
#[derive(Clone, Copy, Debug)]
pub struct Range(IpNet);

impl std::str::FromStr for Range {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let net: IpNet =
            text.parse().map_err(|_| "write a range as 192.0.2.0/24 or 2001:db8::/48")?;
        if net != net.trunc() {
            return Err(format!("the range begins at {}; write that", net.trunc()));
        }
        if net.prefix_len() == 0 {
            return Err("that is everybody: say --anywhere if you mean it".into());
        }
        Ok(Self(net))
    }
}

/// Runs one of them.
pub async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Add(add) => {
            let key = recording_key(call).await?;
            insert_service(call, add, key).await
        }
        Verb::List { customer } => list(call, customer).await,
        Verb::Sources(sources) => change_sources(call, sources).await,
        Verb::RecordingKey { service } => {
            let key = recording_key(call).await?;
            change_recording_key(call, service, key).await
        }
    }
}

async fn recording_key(call: &mut Call<'_>) -> Result<String, Fault> {
    let pem = call.input("the public recording key (PEM)").await?;
    if check_recording_key(&pem) {
        return Ok(pem);
    }
    Err(Fault::Usage(
        "not a public RSA key of 3072 bits or more in PEM; `help service add` shows how to make one"
            .into(),
    ))
}

fn ranges(given: &[Range]) -> Result<SourceRanges, Fault> {
    let mut nets: Vec<IpNet> = given.iter().map(|range| range.0).collect();
    nets.sort();
    nets.dedup();
    if nets.len() > SOURCE_RANGES_MAX {
        return Err(Fault::Usage(format!("a service has at most {SOURCE_RANGES_MAX} ranges")));
    }
    Ok(SourceRanges(nets))
}

fn spelled(sources: &SourceRanges) -> Vec<String> {
    sources.0.iter().map(ToString::to_string).collect()
}

async fn insert_service(call: &Call<'_>, add: Add, key: String) -> Result<Reply, Fault> {
    let sources = ranges(&add.sources)?;
    let open = if sources.is_wide_open() {
        "; operators may come from anywhere: narrow it with `service sources`"
    } else {
        ""
    };
    let actor = call.actor();
    let text = format!("added service {} of {}{open}\n", add.service, add.customer);
    let json = json!({ "service": add.service, "customer": add.customer, "sources": sources });
    let service = New { id: add.service, customer: add.customer, sources, key };
    let change = call.change("service add", move |batch| Box::pin(insert(batch, actor, service)));
    change.await?.into_inner();
    Ok(Reply::Said { text, json })
}

struct New {
    id: ServiceId,
    customer: CustomerId,
    sources: SourceRanges,
    key: String,
}

async fn insert(batch: &mut Batch, actor: Actor, new: New) -> Result<(), ChangeError> {
    rows::signatures_needed(batch.tx(), &new.customer).await?;
    let taken = "SELECT id FROM services WHERE id = $1";
    if batch.tx().row_opt(taken, &args![new.id.as_str()]).await?.is_some() {
        return Err(conflict(format!("there is a service `{}` already", new.id)));
    }
    let sql = "INSERT INTO services (id, customer, sources_json, recording_key) \
               VALUES ($1, $2, $3, $4)";
    let sources = rows::to_json(&new.sources)?;
    let row = args![new.id.as_str(), new.customer.as_str(), sources, new.key.as_str()];
    batch.tx().run(sql, &row).await?;
    let event = Event::ServiceAdded {
        recording_key: Hash::of(new.key.as_bytes()).to_string(),
        service: new.id.to_string(),
        sources: spelled(&new.sources),
    };
    batch.append(NewEntry::new(actor, event).of_customer(&new.customer)).await?;
    Ok(())
}

async fn change_sources(call: &Call<'_>, given: Sources) -> Result<Reply, Fault> {
    let sources = ranges(&given.ranges)?;
    let actor = call.actor();
    let (id, new) = (given.service.clone(), sources.clone());
    let (of, wanted) = (given.service.clone(), sources.clone());
    let change = call.change_if(
        "service sources",
        move |batch| Box::pin(widens(batch, of, wanted)),
        move |batch| Box::pin(put_sources(batch, actor, id, new)),
    );
    let leases = change.await?.into_inner();
    call.app.live.wake();
    let from =
        if sources.is_wide_open() { "anywhere".into() } else { spelled(&sources).join(", ") };
    Ok(Reply::Said {
        text: format!(
            "operators may come to {} from {from}; {} channel(s) are being ended\n",
            given.service,
            leases.len()
        ),
        json: json!({ "service": given.service, "sources": sources, "leases": leases }),
    })
}

/// Whether operators may come from where they could not.
async fn widens(
    batch: &mut Batch,
    id: ServiceId,
    wanted: SourceRanges,
) -> Result<bool, ChangeError> {
    Ok(rows::service(batch.tx(), &id).await?.sources.widened(&wanted))
}

async fn put_sources(
    batch: &mut Batch,
    actor: Actor,
    id: ServiceId,
    new: SourceRanges,
) -> Result<Vec<String>, ChangeError> {
    let service = rows::service(batch.tx(), &id).await?;
    let sql = "UPDATE services SET sources_json = $1 WHERE id = $2";
    let text = rows::to_json(&new)?;
    batch.tx().run(sql, &args![text, id.as_str()]).await?;
    let leases = revoke_outside(batch, &id, &new).await?;
    let event = Event::ServiceSourcesChanged {
        leases: leases.clone(),
        service: id.to_string(),
        sources: spelled(&new),
    };
    batch.append(NewEntry::new(actor, event).of_customer(&service.customer)).await?;
    Ok(leases)
}

async fn change_recording_key(
    call: &Call<'_>,
    service: ServiceId,
    key: String,
) -> Result<Reply, Fault> {
    let actor = call.actor();
    let digest = Hash::of(key.as_bytes()).to_string();
    let (id, print) = (service.clone(), digest.clone());
    let change = call.change("service recording-key", move |batch| {
        Box::pin(async move {
            let service = rows::service(batch.tx(), &id).await?;
            let sql = "UPDATE services SET recording_key = $1 WHERE id = $2";
            if batch.tx().run(sql, &args![key, id.as_str()]).await? == 0 {
                return Err(unknown("service", id.as_str()));
            }
            let event =
                Event::ServiceRecordingKeyChanged { recording_key: print, service: id.to_string() };
            batch.append(NewEntry::new(actor, event).of_customer(&service.customer)).await?;
            Ok(())
        })
    });
    change.await?.into_inner();
    Ok(Reply::Said {
        text: format!("recordings of {service} are sealed to the key {digest} from now on\n"),
        json: json!({ "service": service, "recording_key": digest }),
    })
}

async fn list(call: &Call<'_>, customer: Option<CustomerId>) -> Result<Reply, Fault> {
    let sql = "SELECT id, customer, sources_json FROM services ORDER BY customer, id";
    let mut table = Table::new(&["service", "customer", "operators may come from"]);
    let mut services = Vec::new();
    for row in call.db().rows(sql, &[]).await? {
        let (id, of) = (row.text(0)?, row.text(1)?);
        if customer.as_ref().is_some_and(|wanted| wanted.as_str() != of) {
            continue;
        }
        let sources: SourceRanges = rows::json(&row.text(2)?)?;
        table.row(&[&id, &of, &sources_shown(&sources)]);
        services.push(json!({
            "service": id, "customer": of, "sources": sources,
            "wide_open": sources.is_wide_open(),
        }));
    }
    Ok(Reply::Said {
        text: table.or("no services yet; add one with `service add`"),
        json: json!({ "services": services }),
    })
}

/// Source ranges for people; wide open is flagged wherever it shows.
pub fn sources_shown(sources: &SourceRanges) -> String {
    if sources.is_wide_open() { "ANYWHERE (!)".into() } else { spelled(sources).join(", ") }
}
