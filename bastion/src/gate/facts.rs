//! The facts of one request, read in the transaction that will record the answer.
//!
//! Nothing here decides. What is missing stays missing, and the core refuses; what does not parse
//! is an error of the store, and nothing is granted either.

use crate::{
    args,
    store::{StoreError, Tx},
};
use audit_schema::{event::Level, hash::Hash, time::Timestamp};
use bastion_core::{
    authorize::{ConsentFact, Facts, SignatureFact},
    consent::{ApproverKey, TicketState},
    destination::Destination,
    id::{CustomerId, InstanceId, OperatorId, ServiceId, VmName},
    operator::Operator,
    request::AccessRequest,
    training::TrainingRecord,
    vm::{Account, Service, SourceRanges, VmInstance},
};

/// What a deployment's decisions read besides the store.
#[derive(Clone, Debug)]
pub struct Ground {
    /// The deployment's name.
    pub origin: String,
    /// The mandatory courses.
    pub courses: Vec<String>,
}

/// Everything that the decision about a request reads.
pub async fn of_request(
    tx: &mut Tx,
    request: &AccessRequest,
    ground: &Ground,
    now: Timestamp,
) -> Result<Facts, StoreError> {
    let operator = operator(tx, &request.operator).await?;
    let training = training(tx, &request.operator).await?;
    let instance = live_instance(tx, &request.vm).await?;
    let mut facts = Facts {
        now,
        origin: ground.origin.clone(),
        operator,
        training,
        required_courses: ground.courses.clone(),
        instance: None,
        service: None,
        signatures_needed: 0,
        approver_keys: Vec::new(),
        consents: Vec::new(),
        destinations: Vec::new(),
    };
    if let Some(instance) = instance {
        facts.service = service(tx, &instance.service).await?;
        let level = instance.account(&request.account).map(|account| account.level);
        if level == Some(Level::Data) {
            facts.signatures_needed = signatures_needed(tx, &instance.customer).await?;
            facts.approver_keys = approver_keys(tx, &instance.customer).await?;
            facts.consents = consents(tx, &instance.customer, now).await?;
        }
        if request.destination.is_some() {
            facts.destinations = destinations(tx, &instance.id).await?;
        }
        facts.instance = Some(instance);
    }
    Ok(facts)
}

/// An operator of the inventory.
pub async fn operator(tx: &mut Tx, id: &OperatorId) -> Result<Option<Operator>, StoreError> {
    let sql = "SELECT id, handle, team, employing_entity, country, state FROM operators \
               WHERE id = $1";
    let Some(row) = tx.row_opt(sql, &args![id]).await? else { return Ok(None) };
    Ok(Some(Operator {
        id: row.parsed(0)?,
        handle: row.parsed(1)?,
        team: row.text(2)?,
        employing_entity: row.text(3)?,
        country: row.text(4)?,
        enabled: row.text(5)? == "enabled",
    }))
}

/// An operator's training records.
pub async fn training(tx: &mut Tx, id: &OperatorId) -> Result<Vec<TrainingRecord>, StoreError> {
    let sql = "SELECT course, completed_at, valid_until FROM training WHERE operator = $1 \
               ORDER BY course, completed_at";
    let mut records = Vec::new();
    for row in tx.rows(sql, &args![id]).await? {
        records.push(TrainingRecord {
            operator: id.clone(),
            course: row.text(0)?,
            completed_at: row.time(1)?,
            valid_until: row.time(2)?,
        });
    }
    Ok(records)
}

/// The live instance of a VM, with its accounts.
pub async fn live_instance(tx: &mut Tx, vm: &VmName) -> Result<Option<VmInstance>, StoreError> {
    let sql = "SELECT id, service, customer, region, zone, address FROM instances \
               WHERE vm = $1 AND retired_at IS NULL";
    let Some(row) = tx.row_opt(sql, &args![vm]).await? else { return Ok(None) };
    let id: InstanceId = row.parsed(0)?;
    Ok(Some(VmInstance {
        vm: vm.clone(),
        service: row.parsed(1)?,
        customer: row.parsed(2)?,
        region: row.text(3)?,
        zone: row.text(4)?,
        address: row.text(5)?,
        accounts: accounts(tx, &id).await?,
        id,
    }))
}

async fn accounts(tx: &mut Tx, instance: &InstanceId) -> Result<Vec<Account>, StoreError> {
    let sql = "SELECT name, level, unix_user FROM accounts WHERE instance = $1 ORDER BY name";
    let mut accounts = Vec::new();
    for row in tx.rows(sql, &args![instance]).await? {
        let level = level(&row.text(1)?)?;
        accounts.push(Account { name: row.parsed(0)?, level, unix_user: row.text(2)? });
    }
    Ok(accounts)
}

/// What forwards may go to on an instance, by name.
pub async fn destinations(
    tx: &mut Tx,
    instance: &InstanceId,
) -> Result<Vec<Destination>, StoreError> {
    let sql = "SELECT name, spot, level, description FROM destinations WHERE instance = $1 \
               ORDER BY name";
    let mut listed = Vec::new();
    for row in tx.rows(sql, &args![instance]).await? {
        listed.push(Destination {
            name: row.parsed(0)?,
            instance: instance.clone(),
            spot: row.parsed(1)?,
            level: level(&row.text(2)?)?,
            description: row.text(3)?,
        });
    }
    Ok(listed)
}

fn level(word: &str) -> Result<Level, StoreError> {
    match word {
        "troubleshoot" => Ok(Level::Troubleshoot),
        "data" => Ok(Level::Data),
        other => Err(StoreError::Shape(format!("the level `{other}`"))),
    }
}

/// A service with its source ranges.
pub async fn service(tx: &mut Tx, id: &ServiceId) -> Result<Option<Service>, StoreError> {
    let sql = "SELECT customer, sources_json, recording_key FROM services WHERE id = $1";
    let Some(row) = tx.row_opt(sql, &args![id]).await? else { return Ok(None) };
    let sources: SourceRanges = serde_json::from_str(&row.text(1)?)
        .map_err(|_| StoreError::Shape("a service's source ranges".into()))?;
    let (customer, recording_key) = (row.parsed(0)?, row.text(2)?);
    Ok(Some(Service { id: id.clone(), customer, sources, recording_key }))
}

/// How many distinct signatures a customer asks for.
pub async fn signatures_needed(tx: &mut Tx, customer: &CustomerId) -> Result<u64, StoreError> {
    let sql = "SELECT signatures_needed FROM customers WHERE id = $1";
    // A customer that is not there is asked for more signatures than anybody can give.
    match tx.row_opt(sql, &args![customer]).await? {
        Some(row) => row.u64(0),
        None => Ok(u64::MAX),
    }
}

/// The keys of a customer's approvers, removed ones included. Those of a disabled approver count
/// as removed at the beginning of time.
pub async fn approver_keys(
    tx: &mut Tx,
    customer: &CustomerId,
) -> Result<Vec<ApproverKey>, StoreError> {
    let sql = "SELECT k.subject, k.public_key, k.added_at, k.removed_at, a.state \
               FROM keys k JOIN approvers a ON a.id = k.subject \
               WHERE k.role = 'approver' AND a.customer = $1 ORDER BY k.fingerprint";
    let mut keys = Vec::new();
    for row in tx.rows(sql, &args![customer]).await? {
        let removed_at = match row.text(4)?.as_str() {
            "enabled" => row.opt_time(3)?,
            _ => Some(Timestamp::from_micros(0)),
        };
        keys.push(ApproverKey {
            approver: row.parsed(0)?,
            customer: customer.clone(),
            public_key: row.text(1)?,
            added_at: row.time(2)?,
            removed_at,
        });
    }
    Ok(keys)
}

/// How long after its end a ticket still explains a denial, in seconds: a week.
const ENDED_TICKET_SECONDS_MAX: i64 = 7 * 24 * 3600;

/// The customer's tickets that permit, or whose end explains why nothing does.
pub async fn consents(
    tx: &mut Tx,
    customer: &CustomerId,
    now: Timestamp,
) -> Result<Vec<ConsentFact>, StoreError> {
    let sql = "SELECT id, revision, state, statement FROM tickets \
               WHERE customer = $1 AND not_after > $2 ORDER BY created_at, id";
    let since = now.plus_seconds(-ENDED_TICKET_SECONDS_MAX);
    let mut facts = Vec::new();
    for row in tx.rows(sql, &args![customer, since]).await? {
        let word = row.text(2)?;
        let state = TicketState::from_word(&word)
            .ok_or_else(|| StoreError::Shape(format!("the ticket state `{word}`")))?;
        let mut fact = ConsentFact {
            ticket: row.parsed(0)?,
            revision: row.u64(1)?,
            state,
            statement: row.bytes(3)?,
            signatures: Vec::new(),
            uses: Vec::new(),
        };
        if state == TicketState::Granted {
            fact.signatures = signatures(tx, &fact).await?;
            fact.uses = uses(tx, &fact).await?;
        }
        facts.push(fact);
    }
    Ok(facts)
}

async fn signatures(tx: &mut Tx, fact: &ConsentFact) -> Result<Vec<SignatureFact>, StoreError> {
    let sql = "SELECT signature, decided_at FROM consent_signatures \
               WHERE ticket = $1 AND revision = $2 ORDER BY signed_seq";
    let mut signatures = Vec::new();
    for row in tx.rows(sql, &args![&fact.ticket, fact.revision]).await? {
        signatures.push(SignatureFact { signature: row.text(0)?, decided_at: row.time(1)? });
    }
    Ok(signatures)
}

async fn uses(
    tx: &mut Tx,
    fact: &ConsentFact,
) -> Result<Vec<bastion_core::id::SessionId>, StoreError> {
    let sql = "SELECT session FROM ticket_uses WHERE ticket = $1 AND revision = $2";
    let rows = tx.rows(sql, &args![&fact.ticket, fact.revision]).await?;
    rows.iter().map(|row| row.parsed(0)).collect()
}

/// The digest of the policy that is in force in this deployment.
pub async fn policy_in_force(tx: &mut Tx) -> Result<Option<Hash>, StoreError> {
    let sql = "SELECT value FROM settings WHERE key = 'policy_digest'";
    let row = tx.row_opt(sql, &[]).await?;
    row.map(|row| row.parsed(0)).transpose()
}
