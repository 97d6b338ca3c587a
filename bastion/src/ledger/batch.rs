//! What a change sees: a transaction under the head of the log, and a way to append.
//!
//! Entries are linked here and kept in memory; they reach the database together, at the end of the
//! batch. A change that is refused gives back its seqs, so the log has no gap.

use super::{
    ChangeError,
    head::{CUSTOMER_HEADS, Head, customer_head, customer_leaf},
    heartbeat::Ends,
    recorded::{Entered, Stamp},
    subjects::{SubjectKeys, whose},
};
use crate::{
    args,
    entropy::draw,
    store::{StoreError, Tx},
};
use audit_schema::{
    commit::commitment,
    entry::{CustomerLink, Entry, event_value},
    event::{Actor, ActorKind, Event},
    hash::Hash,
    time::Timestamp,
};
use bastion_core::{id::CustomerId, limits::CUSTOMERS_ASKED_SINGLY_MAX};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// An entry as a change has it: what the log adds (place, links, time, salts) is not its business.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// Who caused it.
    pub actor: Actor,
    /// Whose chain it belongs to, if it touches a customer.
    pub customer: Option<CustomerId>,
    /// What happened.
    pub event: Event,
    /// Personal data and free text by field: the entry commits to them, and they stand beside it.
    pub secrets: Vec<(&'static str, String)>,
    /// Whose some of them are, where [`super::subjects`] would not find out by itself.
    pub owners: Vec<(&'static str, String)>,
}

impl NewEntry {
    /// An entry that touches no customer and commits to nothing.
    pub fn new(actor: Actor, event: Event) -> Self {
        Self { actor, customer: None, event, secrets: Vec::new(), owners: Vec::new() }
    }
    /// The same, in a customer's chain.
    pub fn of_customer(mut self, customer: &CustomerId) -> Self {
        self.customer = Some(customer.clone());
        self
    }
    /// The same, with a commitment more.
    pub fn with(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.secrets.push((field, value.into()));
        self
    }
    /// The same, with a field that belongs to these people together.
    pub fn owned_by<'a>(
        mut self,
        field: &'static str,
        people: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let people: BTreeSet<&str> = people.into_iter().collect();
        self.owners.push((field, people.into_iter().collect::<Vec<_>>().join(" ")));
        self
    }
}

/// The transaction of a batch, as one change sees it.
#[derive(Debug)]
pub struct Batch {
    tx: Tx,
    gateway: Arc<str>,
    keys: SubjectKeys,
    clock: Timestamp,
    before: Head,
    head: Head,
    pending: Vec<Pending>,
    openings: Vec<Opened>,
    customers: Customers,
    mark: Mark,
}

/// A linked entry that is not written yet.
#[derive(Debug)]
pub(super) struct Pending {
    pub seq: u64,
    pub line: Vec<u8>,
    pub leaf: Hash,
}

/// A sealed opening that is not written yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub seq: u64,
    pub field: &'static str,
    /// Which key opens it: durable since before it sealed this.
    pub key: i64,
    pub sealed: Vec<u8>,
}

/// The heads of the customers' chains that this batch has looked at. A customer without entries
/// has no place in its chain yet.
#[derive(Debug, Default)]
pub(super) struct Customers {
    heads: HashMap<String, CustomerHead>,
    /// How many were asked for one by one, and whether all are here since.
    asked: usize,
    all: bool,
    /// What to put back if the change is refused.
    undo: Vec<(String, CustomerHead)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct CustomerHead {
    /// The last entry's place and leaf hash; none before the first.
    pub last: Option<(u64, Hash)>,
    /// Whether this batch has moved it.
    pub moved: bool,
}

/// Where a change began.
#[derive(Debug)]
struct Mark {
    head: Head,
    pending: usize,
    openings: usize,
}

impl Batch {
    pub(super) fn new(tx: Tx, head: Head, (gateway, keys): (Arc<str>, SubjectKeys)) -> Self {
        let mark = Mark { head: head.clone(), pending: 0, openings: 0 };
        Self {
            tx,
            gateway,
            keys,
            clock: head.time(),
            before: head.clone(),
            head,
            pending: Vec::new(),
            openings: Vec::new(),
            customers: Customers::default(),
            mark,
        }
    }

    /// What time it is: never before the last entry, and the same through one change.
    pub fn now(&self) -> Timestamp {
        self.clock
    }

    /// The name of this gateway.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// The gateway itself as an actor.
    pub fn gateway_actor(&self) -> Actor {
        Actor { id: self.gateway.to_string(), kind: ActorKind::Gateway }
    }

    /// The place that the next entry will have.
    pub fn next_seq(&self) -> u64 {
        self.head.size()
    }

    /// The transaction: facts to read, rows to write.
    pub fn tx(&mut self) -> &mut Tx {
        &mut self.tx
    }

    /// Appends an entry; answers its place.
    pub async fn append(&mut self, new: NewEntry) -> Result<u64, ChangeError> {
        let seq = self.head.size();
        let event = event_value(&new.event).map_err(|e| no_entry(&e))?;
        let commit = self.commit(seq, &new, &event).await?;
        let customer = match &new.customer {
            Some(id) => Some(self.link(id.as_str()).await?),
            None => None,
        };
        let entry = Entry {
            actor: new.actor,
            commit,
            customer,
            event,
            gateway: self.gateway.to_string(),
            prev: self.head.leaf(),
            seq,
            time: self.clock,
        };
        let line = entry.to_line().map_err(|e| no_entry(&e))?;
        let leaf = line.leaf_hash();
        if let Some(link) = entry.customer {
            self.customers.move_to(link.id, (link.seq, leaf));
        }
        self.head.push(leaf, self.clock);
        self.pending.push(Pending { seq, line: line.into_bytes(), leaf });
        Ok(seq)
    }

    /// Appends the entry of a value, and answers the value as one that has its place.
    pub async fn enter<T>(&mut self, value: T, entry: NewEntry) -> Result<Entered<T>, ChangeError> {
        let seq = self.append(entry).await?;
        Ok(Entered::new(value, Stamp { seq, time: self.clock }))
    }

    /// Appends an entry for every customer: a change that touches everybody stands in each chain.
    /// Where there is no customer yet, it stands in none, once.
    pub async fn append_for_everybody(&mut self, new: NewEntry) -> Result<(), ChangeError> {
        let rows = self.tx.rows("SELECT id FROM customers ORDER BY id", &[]).await?;
        if rows.is_empty() {
            self.append(new).await?;
            return Ok(());
        }
        for row in rows {
            let customer: CustomerId = row.parsed(0)?;
            self.append(new.clone().of_customer(&customer)).await?;
        }
        Ok(())
    }

    /// What the current change has appended from a place on: whose entry, and where. For the few
    /// changes that have to tell people what they did.
    pub fn appended_from(&self, first: u64) -> Result<Vec<(Option<CustomerId>, u64)>, ChangeError> {
        let since = self.pending[self.mark.pending..].iter().filter(|entry| entry.seq >= first);
        let whose = since.map(|pending| {
            let entry = Entry::parse(&pending.line).map_err(|e| no_entry(&e))?;
            let customer = entry.customer.map(|link| link.id.parse()).transpose();
            let customer = customer.map_err(|_| StoreError::Shape("an entry's customer".into()))?;
            Ok((customer, pending.seq))
        });
        whose.collect()
    }

    /// Draws a salt for each field, and seals what opens the commitment for whom it belongs to.
    async fn commit(
        &mut self,
        seq: u64,
        new: &NewEntry,
        event: &serde_json::Value,
    ) -> Result<BTreeMap<String, Hash>, ChangeError> {
        let mut commit = BTreeMap::new();
        for (field, value) in &new.secrets {
            // PostgreSQL's text cannot hold a NUL; its picture can be seen, too.
            let value = value.replace('\0', "\u{2400}");
            let (salt, nonce) = salt_and_nonce()?;
            let digest = commitment(&salt, &value);
            if commit.insert((*field).to_owned(), digest).is_some() {
                let fault = format!("an entry commits to `{field}` twice");
                return Err(StoreError::failed(fault).into());
            }
            let owner = whose(new, (event, self.now()), field);
            let (key, sealed) =
                self.keys.seal(&owner, (seq, field), (nonce, &salt), &value).await?;
            self.openings.push(Opened { seq, field, key, sealed });
        }
        Ok(commit)
    }

    async fn link(&mut self, id: &str) -> Result<CustomerLink, StoreError> {
        let last = match self.customers.heads.get(id) {
            Some(head) => head.last,
            None => self.load_customer(id).await?,
        };
        let (seq, prev) = last.map_or((0, Hash::ZERO), |(seq, leaf)| (seq + 1, leaf));
        Ok(CustomerLink { id: id.to_owned(), prev, seq })
    }

    /// The end of a customer's chain. Asking for one after the other is what a batch of many
    /// customers would mostly do, so after a few all are read at once.
    async fn load_customer(&mut self, id: &str) -> Result<Option<(u64, Hash)>, StoreError> {
        self.customers.asked += 1;
        if self.customers.asked == CUSTOMERS_ASKED_SINGLY_MAX {
            for row in self.tx.look(CUSTOMER_HEADS, &[]).await? {
                let (customer, last) = customer_head(&row)?;
                let known = CustomerHead { last: Some(last), moved: false };
                self.customers.heads.entry(customer).or_insert(known);
            }
            self.customers.all = true;
        }
        let unknown = CustomerHead { last: None, moved: false };
        if self.customers.all {
            return Ok(self.customers.heads.entry(id.to_owned()).or_insert(unknown).last);
        }
        let sql = "SELECT seq, leaf FROM customer_heads WHERE customer = $1";
        let rows = self.tx.look(sql, &args![id]).await?;
        let last = match rows.first() {
            None => None,
            Some(row) => Some((row.u64(0)?, customer_leaf(row, 1)?)),
        };
        self.customers.heads.insert(id.to_owned(), CustomerHead { last, moved: false });
        Ok(last)
    }

    /// Where each customer's chain ends at this moment, this change included.
    pub(super) async fn customer_ends(&mut self) -> Result<Ends, ChangeError> {
        let rows = self.tx.rows(CUSTOMER_HEADS, &[]).await?;
        let mut ends: Ends = rows.iter().map(customer_head).collect::<Result<_, _>>()?;
        for (customer, head) in &self.customers.heads {
            ends.extend(head.last.map(|last| (customer.clone(), last)));
        }
        Ok(ends)
    }

    // ---- for the writer -------------------------------------------------------------------------

    /// A change begins: what follows can be taken back alone.
    pub(super) fn begin_change(&mut self, clock: Timestamp) {
        self.clock = clock.max(self.head.time());
        self.tx.mark();
        self.customers.undo.clear();
        self.mark = Mark {
            head: self.head.clone(),
            pending: self.pending.len(),
            openings: self.openings.len(),
        };
    }

    /// The change stands.
    pub(super) async fn keep_change(&mut self) -> Result<(), StoreError> {
        self.tx.keep().await
    }

    /// The change is taken back, its entries with it.
    pub(super) async fn undo_change(&mut self) -> Result<(), StoreError> {
        self.head = self.mark.head.clone();
        self.pending.truncate(self.mark.pending);
        self.openings.truncate(self.mark.openings);
        while let Some((id, head)) = self.customers.undo.pop() {
            self.customers.heads.insert(id, head);
        }
        self.tx.undo().await
    }

    /// How many entries the current change has appended.
    pub(super) fn appended(&self) -> usize {
        self.pending.len() - self.mark.pending
    }

    /// Whether the current change has changed rows.
    pub(super) fn wrote_rows(&self) -> bool {
        self.tx.changed() > 0
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }
    pub(super) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    pub(super) fn into_parts(self) -> Parts {
        let moved = self.customers.heads.into_iter().filter(|(_, head)| head.moved);
        Parts {
            tx: self.tx,
            before: self.before,
            head: self.head,
            pending: self.pending,
            openings: self.openings,
            customers: moved.filter_map(|(id, head)| Some((id, head.last?))).collect(),
        }
    }
}

/// A batch taken apart for writing.
#[derive(Debug)]
pub(super) struct Parts {
    pub tx: Tx,
    pub before: Head,
    pub head: Head,
    pub pending: Vec<Pending>,
    pub openings: Vec<Opened>,
    pub customers: Vec<(String, (u64, Hash))>,
}

impl Customers {
    fn move_to(&mut self, id: String, last: (u64, Hash)) {
        let moved = CustomerHead { last: Some(last), moved: true };
        if let Some(before) = self.heads.insert(id.clone(), moved) {
            self.undo.push((id, before));
        }
    }
}

/// What one commitment and its sealing take, in one go: asking costs more than the bytes do.
fn salt_and_nonce() -> Result<([u8; 32], [u8; 12]), ChangeError> {
    let drawn = draw::<44>()?;
    let (mut salt, mut nonce) = ([0; 32], [0; 12]);
    salt.copy_from_slice(&drawn[..32]);
    nonce.copy_from_slice(&drawn[32..]);
    Ok((salt, nonce))
}

/// An event that no line can hold is the fault of whoever composed it, and theirs alone.
fn no_entry(error: &audit_schema::entry::EntryError) -> ChangeError {
    ChangeError::refused("entry_invalid", format!("this cannot be written to the log: {error}"))
}
