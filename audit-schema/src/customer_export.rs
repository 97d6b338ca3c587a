//! A customer's export that shows that nothing is missing at its end either.
//!
//! ```text
//! bastion-customer-export/v1
//! customer acme
//! blind 5f…64 hex…
//! place 17
//! map 3X4B…=
//! heartbeat {"actor":{…},…,"seq":9041,…}
//! node Rk2o…=
//! entry {…,"customer":{"id":"acme","prev":"000…","seq":0},…}
//! entry {…,"customer":{"id":"acme","prev":"95f…","seq":1},…}
//!
//! bastion.example/log
//! 9044
//! 9hTz…=
//!
//! — bastion.example/log Az3g…=
//! ```
//!
//! The entries are all that the customer has before the heartbeat. The heartbeat's map
//! ([`customers`](crate::customers)) holds the end of the customer's chain, `place` and `map` are
//! its place there, and `node` is one proof ([`multiproof`]) that all these
//! entries and the heartbeat stand in the tree that the checkpoint signs. No line of anybody else
//! is in it.

use crate::{
    chain::{Broken, CustomerChain, Link},
    checkpoint::{self, BadNote, Checkpoint, Vkey},
    customers::{Row, blinded, verify_place},
    entry::{Entry, EntryError},
    event::Event,
    hash::Hash,
    merkle::{self, BadProof, TreeHead},
    multiproof,
    note::Note,
    policy::{Policy, Unwitnessed},
    proof::parse_hash,
    time::Timestamp,
};
use base64::{Engine, engine::general_purpose::STANDARD};

const HEADER: &str = "bastion-customer-export/v1";

/// The first bytes of such a file, by which it is told from the entries alone.
pub const MARK: &str = "bastion-customer-export/";

/// A customer's export; nothing of it is checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerExport {
    /// The customer's id.
    pub customer: String,
    /// What its id is blinded with; the customer compares it with the one that it keeps.
    pub blind: Hash,
    /// Its row's index in the map.
    pub place: u64,
    /// The proof of that place.
    pub map: Vec<Hash>,
    /// The line of the heartbeat.
    pub heartbeat: Vec<u8>,
    /// The proof that the entries and the heartbeat are in the tree.
    pub nodes: Vec<Hash>,
    /// The customer's lines, from its first on.
    pub entries: Vec<Vec<u8>>,
    /// The signed note.
    pub checkpoint: String,
}

/// What was verified of a customer's export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeCustomer {
    /// The customer.
    pub customer: String,
    /// How many entries: all that it had before the heartbeat.
    pub entries: u64,
    /// The last of them in the customer's chain.
    pub last: Link,
    /// The heartbeat that it ends at.
    pub heartbeat: u64,
    /// The heartbeat's time.
    pub time: Timestamp,
    /// What the log signed.
    pub checkpoint: Checkpoint,
    /// The witnesses that cosigned it, and when; empty is unwitnessed, and then nothing here keeps
    /// whoever signs from showing others another history.
    pub cosigned: Vec<(String, u64)>,
}

/// Why a file is no customer's export, or one that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadCustomerExport {
    /// Not in the one spelling.
    #[error("line {0}: it is not as a customer's export has it there")]
    Spelling(usize),
    /// An entry, or the customer's chain, does not hold.
    #[error("{0}")]
    Chain(#[from] Broken),
    /// The heartbeat is no entry.
    #[error("the heartbeat is not an entry: {0}")]
    Heartbeat(#[from] EntryError),
    /// The entry that the export ends at is no heartbeat, or one of a version that is not known.
    #[error("what it ends at is not a heartbeat: nothing says that the export is whole")]
    NoHeartbeat,
    /// The map does not have the last entry here as the customer's newest.
    #[error(
        "the heartbeat's map does not end this customer's chain here: entries are missing at the \
         end, or the blind or the place is another's ({0})"
    )]
    Map(BadProof),
    /// An entry is not before the heartbeat, or later than it.
    #[error("entry {0}: it is not before the heartbeat that the export ends at")]
    After(u64),
    /// The entries are not those of the tree.
    #[error("the entries are not those that the checkpoint signs: {0}")]
    Tree(BadProof),
    /// The checkpoint does not hold.
    #[error("the checkpoint does not hold: {0}")]
    Checkpoint(#[from] BadNote),
    /// The checkpoint is not witnessed as the policy asks.
    #[error("the policy is not met: {0}")]
    Policy(#[from] Unwitnessed),
}

use BadCustomerExport as Bad;

impl CustomerExport {
    /// The subtrees whose roots are [`nodes`](Self::nodes), for these entries and a heartbeat, by
    /// `seq`, in a tree of this size.
    pub fn ranges(entries: &[u64], heartbeat: u64, size: u64) -> Option<Vec<std::ops::Range<u64>>> {
        multiproof::ranges(&[entries, &[heartbeat]].concat(), size)
    }

    /// The file.
    pub fn to_text(&self) -> String {
        let lossy = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let mut text = format!(
            "{HEADER}\ncustomer {}\nblind {}\nplace {}\n",
            self.customer, self.blind, self.place
        );
        let hashes = |name: &str, hashes: &[Hash]| -> String {
            hashes.iter().map(|hash| format!("{name} {}\n", STANDARD.encode(hash.0))).collect()
        };
        text += &hashes("map", &self.map);
        text += &format!("heartbeat {}\n", lossy(&self.heartbeat));
        text += &hashes("node", &self.nodes);
        for line in &self.entries {
            text += &format!("entry {}\n", lossy(line));
        }
        text + "\n" + &self.checkpoint
    }

    /// The export of a file; exactly one spelling is accepted.
    pub fn parse(text: &str) -> Result<Self, Bad> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(Bad::Spelling(1))?;
        Note::parse(checkpoint)?;
        let mut lines = Lines { lines: head.split('\n'), at: 0, next: None };
        lines.exactly(HEADER)?;
        let customer = lines.value("customer ")?.to_owned();
        let blind = lines.value("blind ")?.parse().map_err(|_| lines.bad())?;
        let place = lines.value("place ")?;
        let place: u64 = match place.parse() {
            Ok(number) if format!("{number}") == place => number,
            _ => return Err(lines.bad()),
        };
        let map = lines.hashes("map ")?;
        let heartbeat = lines.value("heartbeat ")?.as_bytes().to_vec();
        let nodes = lines.hashes("node ")?;
        let entries = lines.while_named("entry ").map(|line| line.as_bytes().to_vec()).collect();
        lines.end()?;
        let checkpoint = checkpoint.to_owned();
        Ok(Self { customer, blind, place, map, heartbeat, nodes, entries, checkpoint })
    }

    /// Check all of it under the log's key, and with a policy that the checkpoint is witnessed.
    pub fn verify(&self, vkey: &Vkey, policy: Option<&Policy>) -> Result<WholeCustomer, Bad> {
        let (checkpoint, cosigned) = match policy {
            None => (checkpoint::verify(&self.checkpoint, vkey)?, Vec::new()),
            Some(policy) => {
                let witnessed = policy.check(&self.checkpoint, Some(vkey))?;
                (witnessed.checkpoint, witnessed.cosigned)
            }
        };
        self.check(checkpoint, cosigned)
    }

    /// Check all but who signed: what is whole under its own checkpoint may still be another log's.
    pub fn verify_but_signature(&self) -> Result<WholeCustomer, Bad> {
        let checkpoint = Checkpoint::parse_text(Note::parse(&self.checkpoint)?.text)?;
        self.check(checkpoint, Vec::new())
    }

    fn check(
        &self,
        checkpoint: Checkpoint,
        cosigned: Vec<(String, u64)>,
    ) -> Result<WholeCustomer, Bad> {
        let heartbeat = Entry::parse(&self.heartbeat)?;
        let (last, leaves) = self.check_entries(&heartbeat)?;
        self.check_map(&heartbeat, last)?;
        multiproof::verify(&leaves, &self.nodes, &checkpoint.head()).map_err(Bad::Tree)?;
        Ok(WholeCustomer {
            customer: self.customer.clone(),
            entries: self.entries.len() as u64,
            last,
            heartbeat: heartbeat.seq,
            time: heartbeat.time,
            checkpoint,
            cosigned,
        })
    }

    /// The customer's chain, all of it before the heartbeat: its end, and the leaves of all.
    fn check_entries(&self, heartbeat: &Entry) -> Result<(Link, Vec<(u64, Hash)>), Bad> {
        let mut chain = CustomerChain::new(Some(&self.customer));
        let mut leaves = Vec::with_capacity(self.entries.len() + 1);
        for line in &self.entries {
            let entry = chain.push(line)?;
            if entry.seq >= heartbeat.seq || entry.time > heartbeat.time {
                return Err(Bad::After(entry.seq));
            }
            leaves.push((entry.seq, merkle::leaf_hash(line)));
        }
        leaves.push((heartbeat.seq, merkle::leaf_hash(&self.heartbeat)));
        let last = chain.last().ok_or(Broken::whole(crate::chain::Fault::Empty))?;
        Ok((last, leaves))
    }

    fn check_map(&self, heartbeat: &Entry, last: Link) -> Result<(), Bad> {
        let Some(Event::Heartbeat { customers, map }) = heartbeat.event() else {
            return Err(Bad::NoHeartbeat);
        };
        let root = map.parse().map_err(|_| Bad::NoHeartbeat)?;
        let map = TreeHead { size: customers, root };
        let customer = blinded(&self.customer, &self.blind.0);
        let row = Row { customer, head: last.leaf, seq: last.seq };
        verify_place(&row, self.place, &self.map, &map).map_err(Bad::Map)
    }
}

/// The lines before the checkpoint, read one after the other.
struct Lines<'a> {
    lines: std::str::Split<'a, char>,
    at: usize,
    next: Option<&'a str>,
}

impl<'a> Lines<'a> {
    fn peek(&mut self) -> Option<&'a str> {
        if self.next.is_none() {
            self.next = self.lines.next();
        }
        self.next
    }

    fn take(&mut self) -> Option<&'a str> {
        self.at += 1;
        self.peek()?;
        self.next.take()
    }

    fn bad(&self) -> Bad {
        Bad::Spelling(self.at)
    }

    fn exactly(&mut self, expected: &str) -> Result<(), Bad> {
        if self.take() == Some(expected) { Ok(()) } else { Err(self.bad()) }
    }

    fn value(&mut self, name: &str) -> Result<&'a str, Bad> {
        let value = self.take().and_then(|line| line.strip_prefix(name));
        value.filter(|value| !value.is_empty()).ok_or(self.bad())
    }

    fn while_named(&mut self, name: &'static str) -> impl Iterator<Item = &'a str> {
        std::iter::from_fn(move || {
            let value = self.peek()?.strip_prefix(name)?;
            self.take();
            Some(value)
        })
    }

    fn hashes(&mut self, name: &'static str) -> Result<Vec<Hash>, Bad> {
        let hashes: Option<Vec<Hash>> = self.while_named(name).map(parse_hash).collect();
        hashes.ok_or(self.bad())
    }

    fn end(&mut self) -> Result<(), Bad> {
        if self.take().is_none() { Ok(()) } else { Err(self.bad()) }
    }
}
