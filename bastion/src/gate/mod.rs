//! May they? The one place where a request meets the facts, and where the answer becomes durable.
//!
//! The whole decision runs inside [`Ledger::record`]: facts are read, [`authorize`] decides, the
//! lease or the denial is written, all in the transaction whose commit is the answer. Whoever
//! withdraws a consent or disables an operator does so in such a transaction too, and there is one
//! head: so a withdrawal either comes first and this is a denial, or comes second and sees the
//! lease. There is no third case.
pub mod close;
pub mod facts;
pub mod lent;

pub use facts::Ground;

use crate::{
    args,
    ledger::{Batch, ChangeError, Entered, Ledger, LedgerError, NewEntry, Recorded},
    store::{StoreError, Tx},
};
use audit_schema::event::{Actor, ActorKind, Event, Level};
use bastion_core::{
    authorize::{Decision, Denial, Grant, authorize},
    id::{OperatorId, VmName},
    policy::Policy,
    request::AccessRequest,
    vm::VmInstance,
};
use futures_util::future::BoxFuture;
use std::sync::{Arc, PoisonError, RwLock};

/// The policy of this process; a reload swaps it.
pub struct PolicyCell(RwLock<Arc<Policy>>);

impl PolicyCell {
    /// A cell with the policy that was loaded at start.
    pub fn new(policy: Policy) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }
    /// The policy as of now.
    pub fn current(&self) -> Arc<Policy> {
        // A poisoned lock still holds a whole Arc: the swap is one assignment.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Puts another policy in force in this process; `policy.changed` must be durable already.
    pub fn swap(&self, policy: Arc<Policy>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }
}

/// Decides and records.
#[derive(Clone)]
pub struct Gate {
    ledger: Ledger,
    policy: Arc<PolicyCell>,
    ground: Arc<Ground>,
}

/// The two outcomes, each durable before anybody hears of it. With a grant comes what was made of
/// it in the same change.
pub type Decided<T> = Result<Recorded<T>, Recorded<Denial>>;

impl Gate {
    /// A gate over a log, a policy and a deployment's rules.
    pub fn new(ledger: Ledger, policy: Arc<PolicyCell>, ground: Ground) -> Self {
        Self { ledger, policy, ground: Arc::new(ground) }
    }

    /// May this channel be opened? Either answer stands in the log when this returns; an error
    /// means that nothing was decided, and so that nobody gets in.
    ///
    /// `then` goes on with a grant in the same change, so that what follows from it (the issuance
    /// of its certificate) stands in the log with it or not at all, and costs no commit of its own.
    pub async fn decide<T, F>(
        &self,
        request: AccessRequest,
        then: F,
    ) -> Result<Decided<T>, LedgerError>
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch, Entered<Grant>) -> BoxFuture<'a, Result<T, ChangeError>>
            + Send
            + 'static,
    {
        let gate = self.clone();
        let decided = self
            .ledger
            .record("decide", move |batch| {
                Box::pin(async move {
                    match gate.decide_in(batch, &request).await? {
                        Ok(grant) => Ok(Ok(then(batch, grant).await?)),
                        Err(denial) => Ok(Err(denial)),
                    }
                })
            })
            .await?;
        Ok(decided.split())
    }

    async fn decide_in(
        &self,
        batch: &mut Batch,
        request: &AccessRequest,
    ) -> Result<Result<Entered<Grant>, Denial>, ChangeError> {
        let now = batch.now();
        let policy = self.policy_in_force(batch.tx()).await?;
        let facts = facts::of_request(batch.tx(), request, &self.ground, now).await?;
        match authorize(request, &facts, &policy) {
            Decision::Granted(grant) => {
                let entry = granted(&grant);
                let grant = batch.enter(*grant, entry).await?;
                lease(batch, grant.get(), grant.seq()).await?;
                touch(batch, grant.get()).await?;
                close::tell(batch, grant.get(), ("access.granted", grant.seq())).await?;
                Ok(Ok(grant))
            }
            Decision::Denied(denial) => {
                let handle = facts.operator.map(|operator| operator.handle.to_string());
                batch.append(denied(&denial, handle)).await?;
                Ok(Err(*denial))
            }
        }
    }

    /// The policy of this process, if it is the one in force: another gateway may have changed it.
    async fn policy_in_force(&self, tx: &mut Tx) -> Result<Arc<Policy>, ChangeError> {
        let policy = self.policy.current();
        if facts::policy_in_force(tx).await? == Some(policy.digest()) {
            return Ok(policy);
        }
        Err(ChangeError::refused(
            "policy_stale",
            "this gateway's policy is not the one in force: a security officer runs \
             `ssh bastion policy reload`",
        ))
    }

    /// May this operator know that a VM exists? The live instance, if so: `ls`, host certificates
    /// and `request` ask here, so that unknown and not-yours are one answer.
    pub async fn may_list(
        &self,
        operator: &OperatorId,
        vm: &VmName,
    ) -> Result<Option<VmInstance>, StoreError> {
        let (operator, vm) = (operator.clone(), vm.clone());
        let policy = self.policy.current();
        self.ledger
            .db()
            .read(move |tx| {
                Box::pin(async move {
                    let Some(operator) = facts::operator(tx, &operator).await? else {
                        return Ok(None);
                    };
                    let instance = facts::live_instance(tx, &vm).await?;
                    let listed =
                        |instance: &VmInstance| policy.may_list(&operator, instance).is_ok();
                    Ok(instance.filter(|instance| operator.enabled && listed(instance)))
                })
            })
            .await
    }
}

fn actor(operator: &OperatorId) -> Actor {
    Actor { id: operator.to_string(), kind: ActorKind::Operator }
}

fn granted(grant: &Grant) -> NewEntry {
    let request = grant.request();
    NewEntry::new(actor(&request.operator), grant.event())
        .of_customer(grant.customer())
        .with("handle", grant.operator().handle.to_string())
        .asked(request)
}

fn denied(denial: &Denial, handle: Option<String>) -> NewEntry {
    let request = denial.request();
    let mut entry = NewEntry::new(actor(&request.operator), denial.event())
        .with("asked", format!("{}+{}", request.account, request.vm))
        .asked(request);
    if let Some(customer) = denial.customer() {
        entry = entry.of_customer(customer);
    }
    match handle {
        Some(handle) => entry.with("handle", handle),
        None => entry,
    }
}

impl NewEntry {
    /// What both answers commit to: from where, and the command or the destination.
    fn asked(self, request: &AccessRequest) -> Self {
        let entry = self.with("source", request.source.to_string());
        let entry = match &request.command {
            // A command is bytes; what is no UTF-8 is shown as such, and whole in the recording.
            Some(command) => entry.with("command", String::from_utf8_lossy(command)),
            None => entry,
        };
        match &request.destination {
            Some(wanted) => entry.with("destination", wanted.to_string()),
            None => entry,
        }
    }
}

/// Whoever is root where data is can leave anything there: from here on the instance says so.
async fn touch(batch: &mut Batch, grant: &Grant) -> Result<(), ChangeError> {
    if grant.level() != Level::Data || grant.account().unix_user != "root" {
        return Ok(());
    }
    let (now, instance) = (batch.now(), grant.instance());
    let sql = "UPDATE instances SET touched_at = $1 WHERE id = $2 AND touched_at IS NULL";
    if batch.tx().run(sql, &args![now, &instance.id]).await? == 0 {
        return Ok(());
    }
    let event = Event::VmTouched {
        instance: instance.id.to_string(),
        lease: grant.request().lease.to_string(),
        vm: instance.vm.to_string(),
    };
    let actor = batch.gateway_actor();
    batch.append(NewEntry::new(actor, event).of_customer(grant.customer())).await?;
    Ok(())
}

/// Writes the lease and counts the session against its ticket.
async fn lease(batch: &mut Batch, grant: &Grant, serial: u64) -> Result<(), StoreError> {
    let request = grant.request();
    let gateway = batch.gateway().to_owned();
    let consent = grant.consent();
    let sql = "INSERT INTO leases (id, serial, gateway, session, operator, customer, service, vm, \
               instance, account, level, kind, ticket, revision, source, granted_at, deadline, \
               destination) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, \
               $18)";
    let instance = grant.instance();
    let row = args![
        &request.lease,
        serial,
        gateway,
        &request.session,
        &request.operator,
        grant.customer(),
        &instance.service,
        &instance.vm,
        &instance.id,
        &grant.account().name,
        grant.level().as_str(),
        request.kind.as_str(),
        consent.map(|consent| consent.ticket.to_string()),
        consent.map(|consent| consent.revision),
        request.source.to_string(),
        grant.granted_at(),
        grant.deadline(),
        grant.destination_name()
    ];
    batch.tx().run(sql, &row).await?;
    if let Some(consent) = consent.filter(|consent| consent.first_use) {
        let sql = "INSERT INTO ticket_uses (ticket, revision, session) VALUES ($1, $2, $3)";
        let row = args![&consent.ticket, consent.revision, &request.session];
        batch.tx().run(sql, &row).await?;
    }
    Ok(())
}
