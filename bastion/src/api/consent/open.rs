//! A ticket begins: an operator asks, or the customer asks for help.

use super::{
    super::{
        Call, Fault, Reply,
        change::{unknown, usage},
        rows,
        values::{Moment, Span, opt_text, text},
    },
    ticket,
};
use crate::{
    args,
    entropy::draw,
    gate::facts,
    ledger::{Batch, ChangeError, NewEntry},
    notices::{self, Notice},
};
use audit_schema::{
    event::{Actor, Event, Level},
    hash::Hash,
    time::Timestamp,
};
use bastion_core::{
    consent::{
        FreeText, NamedOperator, ReasonCode, RecordingLevel, ScopedInstance, TeamName, Terms,
        Ticket,
    },
    id::{AccountName, CustomerId, Handle, OperatorId, ServiceId, TicketId, VmName},
    limits::{CONSENT_PENDING_SECONDS_MAX, CONSENT_SESSIONS_MAX},
    operator::Operator,
    policy::Policy,
    training,
    vm::VmInstance,
};
use clap::Args;
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc};

/// The terms that both sides ask for in the same words.
#[derive(Debug, Args)]
pub struct Asked {
    /// A VM, or a service for all of its VMs that live now.
    #[arg(value_name = "VM|SERVICE")]
    place: VmName,
    /// The account on it.
    #[arg(long)]
    account: AccountName,
    /// Why: CUSTOMER_REQUEST, CUSTOMER_INITIATED_SUPPORT, PROVIDER_INITIATED_SERVICE,
    /// PRODUCTION_ALERT, SECURITY_REVIEW, THIRD_PARTY_DATA_REQUEST, SCHEDULED_MAINTENANCE.
    #[arg(long, value_name = "CODE")]
    reason: ReasonCode,
    /// The case it belongs to, as ZD-1042.
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    case: Vec<String>,
    /// How long: 30m, 1h, at most 24h.
    #[arg(long = "for", value_name = "TIME")]
    span: Span,
    /// From when on, as 2026-11-24T08:02:00Z; from now on if it is not given.
    #[arg(long, value_name = "INSTANT")]
    from: Option<Moment>,
    /// Why, in your words; the customer reads it before they sign.
    #[arg(long, required = true, num_args = 1.., value_name = "TEXT")]
    note: Vec<String>,
    /// Sessions (connections) at most.
    #[arg(long, default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CONSENT_SESSIONS_MAX)))]
    sessions: u32,
    /// Let the provider open the recordings while the consent is live.
    #[arg(long)]
    recording_access: bool,
    /// What is recorded: full, or digests (how much and when, with SHA-256, not what).
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    recording: RecordingLevel,
}

/// What an operator asks for.
#[derive(Debug, Args)]
pub struct Request {
    #[command(flatten)]
    asked: Asked,
    /// For every operator of your team, not for you alone.
    #[arg(long)]
    team: bool,
}

/// What a customer asks for.
#[derive(Debug, Args)]
pub struct Open {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    who: Who,
}

/// Who may use it.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct Who {
    /// An operator, by name; repeat it.
    #[arg(long = "operator", value_name = "NAME")]
    operators: Vec<Handle>,
    /// A team of operators.
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    team: Vec<String>,
}

/// Everything that a new ticket is made of, as the closure takes it along.
struct Ask {
    asked: Asked,
    case: Option<FreeText>,
    note: FreeText,
    opened_by: Actor,
    origin: String,
    policy: Arc<Policy>,
}

/// `request`: an operator asks.
pub async fn request(call: &Call<'_>, request: Request) -> Result<Reply, Fault> {
    let id: OperatorId = call
        .caller
        .actor
        .id
        .parse()
        .map_err(|_| Fault::Failed("the caller has no operator id; report this".into()))?;
    let courses = call.app.config.courses.clone();
    let ask = ask(call, request.asked)?;
    let for_team = request.team;
    let change = call.change("request", move |batch| {
        Box::pin(async move {
            let operator = rows::operator_by_id(batch.tx(), &id).await?;
            check_training(batch, &operator, &courses).await?;
            let places =
                places(batch, &ask, |vm| ask.policy.may_list(&operator, vm).is_ok()).await?;
            let who = if for_team {
                let team = operator.team.parse().map_err(|_| usage("your team has no name"))?;
                (Vec::new(), Some(team))
            } else {
                (vec![named(&operator)], None)
            };
            insert(batch, ask, places, who).await
        })
    });
    let made = change.await?.into_inner();
    Ok(said(&made, "the customer's approvers are told; watch it with `status"))
}

/// `consent open`: the customer asks for help.
pub async fn open(call: &Call<'_>, customer: CustomerId, given: Open) -> Result<Reply, Fault> {
    let ask = ask(call, given.asked)?;
    let team = opt_text("--team", &given.who.team)?;
    let change = call.change("consent open", move |batch| {
        Box::pin(async move {
            let places = places(batch, &ask, |vm| vm.customer == customer).await?;
            let mut operators = Vec::new();
            for handle in &given.who.operators {
                let operator = rows::operator(batch.tx(), handle).await?;
                if !operator.enabled {
                    return Err(unknown("operator", handle.as_str()));
                }
                operators.push(named(&operator));
            }
            insert(batch, ask, places, (operators, team)).await
        })
    });
    let made = change.await?.into_inner();
    Ok(said(
        &made,
        "nothing is permitted yet: sign it, as `help consent decide` shows; see `consent show",
    ))
}

fn ask(call: &Call<'_>, asked: Asked) -> Result<Ask, Fault> {
    Ok(Ask {
        case: opt_text("--case", &asked.case)?,
        note: text("--note", &asked.note)?,
        asked,
        opened_by: call.actor(),
        origin: call.app.config.origin.clone(),
        policy: call.app.policy.current(),
    })
}

fn named(operator: &Operator) -> NamedOperator {
    NamedOperator { id: operator.id.clone(), handle: operator.handle.clone() }
}

/// A mandatory course that is not known to count now has lapsed.
async fn check_training(
    batch: &mut Batch,
    operator: &Operator,
    courses: &[String],
) -> Result<(), ChangeError> {
    let now = batch.now();
    let records = facts::training(batch.tx(), &operator.id).await?;
    let training = training::state(&operator.id, &records, courses, now);
    match training.lapsed.first() {
        None => Ok(()),
        Some(course) => Err(ChangeError::refused(
            "training_lapsed",
            format!(
                "your training `{course}` has lapsed or was never recorded; complete it, then ask \
                 a security officer to record it"
            ),
        )),
    }
}

/// The VM instances that are asked for, of those that the caller may know of. A VM's name goes
/// before a service's.
async fn places(
    batch: &mut Batch,
    ask: &Ask,
    may_know: impl Fn(&VmInstance) -> bool,
) -> Result<Vec<VmInstance>, ChangeError> {
    let name = &ask.asked.place;
    let mut found: Vec<VmInstance> =
        rows::live_instance(batch.tx(), name).await?.into_iter().collect();
    if found.is_empty()
        && let Ok(service) = name.as_str().parse::<ServiceId>()
    {
        found = rows::live_instances(batch.tx(), &service).await?;
    }
    found.retain(may_know);
    if found.is_empty() {
        return Err(unknown("VM or service", name.as_str()));
    }
    Ok(found)
}

/// The level of the account, which all of the instances must have, and at one level.
fn level(places: &[VmInstance], account: &AccountName) -> Result<Level, ChangeError> {
    let mut levels = BTreeSet::new();
    for instance in places {
        match instance.account(account) {
            Some(found) => levels.insert(found.level),
            None => {
                return Err(usage(format!(
                    "{} has no account `{account}`: it has {}",
                    instance.vm,
                    super::super::vms::accounts_shown(&instance.accounts)
                )));
            }
        };
    }
    match levels.into_iter().collect::<Vec<_>>().as_slice() {
        [level] => Ok(*level),
        _ => Err(usage(format!(
            "`{account}` has different levels on these VMs: ask for each VM by its name"
        ))),
    }
}

fn window(now: Timestamp, asked: &Asked) -> Result<(Timestamp, Timestamp), ChangeError> {
    let from = asked.from.map_or(now, |moment| moment.0);
    if from < now {
        return Err(usage("--from is in the past: leave it out to begin now"));
    }
    if from > now.plus_seconds(CONSENT_PENDING_SECONDS_MAX) {
        return Err(usage("--from is more than four days away: ask later"));
    }
    Ok((from, from.plus_seconds(asked.span.seconds)))
}

/// A new ticket, as the answer says it.
struct Made {
    ticket: Ticket,
    summary: String,
}

async fn insert(
    batch: &mut Batch,
    ask: Ask,
    places: Vec<VmInstance>,
    (operators, team): (Vec<NamedOperator>, Option<TeamName>),
) -> Result<Made, ChangeError> {
    let customer = places.first().map(|place| place.customer.clone());
    let customer = customer.ok_or_else(|| usage("name a VM"))?;
    let service = places.first().map(|place| place.service.to_string()).unwrap_or_default();
    let level = level(&places, &ask.asked.account)?;
    let (not_before, not_after) = window(batch.now(), &ask.asked)?;
    let asked = ask.asked;
    let instances = places
        .into_iter()
        .map(|place| ScopedInstance { instance: place.id, service: place.service, vm: place.vm })
        .collect();
    let terms = Terms {
        account: asked.account,
        case: ask.case,
        instances,
        justification: ask.note,
        level,
        not_after,
        not_before,
        operators,
        reason: asked.reason,
        recording: asked.recording,
        recording_access: asked.recording_access,
        sessions_max: asked.sessions,
        team,
    };
    let ticket = Ticket {
        id: TicketId::from_entropy(draw()?),
        customer,
        revision: 1,
        opened_by: ask.opened_by,
        opened_at: batch.now(),
        terms: terms.sorted(),
    };
    let statement = ticket::compose(batch, &ticket, &ask.origin, &ask.policy).await?;
    store(batch, &ticket, &statement).await?;
    let seq = append(batch, &ticket, &statement, service).await?;
    let summary = bastion_core::consent::Statement::parse(&statement)
        .map_err(|e| usage(e.to_string()))?
        .summary();
    let facts = json!({ "ticket": ticket.id, "revision": 1, "summary": summary });
    let kind = match ticket.opened_by.kind {
        audit_schema::event::ActorKind::Operator => "consent.requested",
        _ => "consent.opened",
    };
    notices::enqueue(batch, &Notice { customer: &ticket.customer, kind, seq, facts }).await?;
    Ok(Made { ticket, summary })
}

async fn store(batch: &mut Batch, ticket: &Ticket, statement: &[u8]) -> Result<(), ChangeError> {
    let sql = "INSERT INTO tickets \
               (id, customer, revision, state, scope_json, statement, not_after, created_at) \
               VALUES ($1, $2, $3, 'pending', $4, $5, $6, $7)";
    let row = args![
        ticket.id.as_str(),
        ticket.customer.as_str(),
        ticket.revision,
        rows::to_json(ticket)?,
        statement.to_vec(),
        ticket.terms.not_after,
        ticket.opened_at
    ];
    batch.tx().run(sql, &row).await?;
    Ok(())
}

async fn append(
    batch: &mut Batch,
    ticket: &Ticket,
    statement: &[u8],
    service: String,
) -> Result<u64, ChangeError> {
    let terms = &ticket.terms;
    let account = terms.account.to_string();
    let instances = terms.instances.iter().map(|place| place.instance.to_string()).collect();
    let (level, revision) = (terms.level, ticket.revision);
    let reason_code = terms.reason.as_str().to_owned();
    let (statement, ticket_id) = (Hash::of(statement).to_string(), ticket.id.to_string());
    let event = match ticket.opened_by.kind {
        audit_schema::event::ActorKind::Operator => Event::ConsentRequested {
            account,
            instances,
            level,
            reason_code,
            revision,
            service,
            statement,
            ticket: ticket_id,
        },
        _ => Event::ConsentOpened {
            account,
            instances,
            level,
            reason_code,
            revision,
            service,
            statement,
            ticket: ticket_id,
        },
    };
    let mut entry = NewEntry::new(ticket.opened_by.clone(), event)
        .of_customer(&ticket.customer)
        .with("justification", terms.justification.as_str());
    if let Some(case) = &terms.case {
        entry = entry.with("case", case.as_str());
    }
    let handles: Vec<&str> = terms.operators.iter().map(|named| named.handle.as_str()).collect();
    if !handles.is_empty() {
        let named = terms.operators.iter().map(|named| named.id.as_str());
        entry = entry.with("handle", handles.join(" ")).owned_by("handle", named);
    }
    batch.append(entry).await
}

fn said(made: &Made, next: &str) -> Reply {
    let ticket = &made.ticket;
    Reply::Said {
        text: format!("{}\nticket {}: {next} {}`\n", made.summary.trim_end(), ticket.id, ticket.id),
        json: json!({
            "ticket": ticket.id,
            "revision": ticket.revision,
            "state": "pending",
            "customer": ticket.customer,
            "account": ticket.terms.account,
            "level": ticket.terms.level,
            "not_before": ticket.terms.not_before,
            "not_after": ticket.terms.not_after,
            "summary": made.summary,
        }),
    }
}
