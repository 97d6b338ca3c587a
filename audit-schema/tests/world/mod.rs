//! A small log for the tests: entries linked as the writer links them, and its test key.
#![allow(dead_code)] // each test file uses its own part

use audit_schema::{
    checkpoint::{self, Checkpoint, Vkey},
    commit::{Opening, commitment},
    customer_export::CustomerExport,
    customers::{CustomerMap, Row, blinded},
    entry::{CustomerLink, Entry, FORMAT, event_value},
    event::{Actor, ActorKind, ChannelKind, Event, Level, Place, TrainingState},
    hash::Hash,
    merkle::{self, Frontier},
    time::Timestamp,
};
use ed25519_dalek::SigningKey;
use std::{collections::BTreeMap, ops::Range};

/// The log's name.
pub const ORIGIN: &str = "bastion.example/log";

/// RFC 8032 §7.1, TEST 1: a key that everybody has.
pub fn key() -> SigningKey {
    let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    SigningKey::from_bytes(&secret.parse::<Hash>().unwrap().0)
}

pub fn vkey() -> Vkey {
    Vkey::new(ORIGIN, key().verifying_key()).unwrap()
}

/// A log in memory.
#[derive(Default)]
pub struct Log {
    pub lines: Vec<Vec<u8>>,
    pub openings: Vec<Opening>,
    customers: BTreeMap<String, (u64, Hash)>,
    clock: i64,
}

impl Log {
    /// Append an event; `secrets` are committed to.
    pub fn append(
        &mut self,
        kind: ActorKind,
        customer: Option<&str>,
        event: &Event,
        secrets: &[(&str, &str)],
    ) {
        let seq = self.lines.len() as u64;
        let mut commit = BTreeMap::new();
        for (field, value) in secrets {
            let salt = Hash::of(format!("salt of {field} of entry {seq}").as_bytes());
            commit.insert((*field).to_owned(), commitment(&salt.0, value));
            let (field, value) = ((*field).to_owned(), (*value).to_owned());
            self.openings.push(Opening { field, salt, seq, value });
        }
        let link = customer.map(|id| match self.customers.get(id) {
            Some((seq, leaf)) => CustomerLink { id: id.into(), prev: *leaf, seq: seq + 1 },
            None => CustomerLink { id: id.into(), prev: Hash::ZERO, seq: 0 },
        });
        self.clock += 1_250_001;
        let id = match kind {
            ActorKind::Operator => "op-1f2e3d4c",
            ActorKind::Officer => "of-90a1b2c3",
            ActorKind::Approver => "ap-77665544",
            ActorKind::Local => "1000",
            ActorKind::Gateway => "gw-1",
        };
        let entry = Entry {
            actor: Actor { id: id.into(), kind },
            commit,
            customer: link.clone(),
            event: event_value(event).unwrap(),
            gateway: "gw-1".into(),
            prev: self.lines.last().map_or(Hash::ZERO, |line| merkle::leaf_hash(line)),
            seq,
            time: Timestamp::from_micros(1_795_507_200_000_000 + self.clock),
        };
        let line = entry.to_line().unwrap();
        if let Some(link) = link {
            self.customers.insert(link.id, (link.seq, line.leaf_hash()));
        }
        self.lines.push(line.into_bytes());
    }

    /// What the newest heartbeat must hold: the map of customers over all entries so far.
    pub fn map(&self) -> CustomerMap {
        let row = |(id, (seq, head)): (&String, &(u64, Hash))| Row {
            customer: blinded(id, &blind(id).0),
            head: *head,
            seq: *seq,
        };
        CustomerMap::new(self.customers.iter().map(row).collect()).unwrap()
    }

    /// Append a heartbeat.
    pub fn heartbeat(&mut self) {
        let head = self.map().head();
        let event = Event::Heartbeat { customers: head.size, map: head.root.to_string() };
        self.append(ActorKind::Gateway, None, &event, &[]);
    }

    /// A customer's export up to the heartbeat that is number `at`, under the log's checkpoint; the
    /// map is that of the same log when the heartbeat was written.
    pub fn customer_export(&self, customer: &str, at: usize, map: &CustomerMap) -> CustomerExport {
        let theirs = |line: &Vec<u8>| {
            Entry::parse(line).unwrap().customer.is_some_and(|link| link.id == customer)
        };
        let mine: Vec<usize> = (0..at).filter(|seq| theirs(&self.lines[*seq])).collect();
        let blind = blind(customer);
        let (_, place, proof) = map.place(&blinded(customer, &blind.0)).unwrap();
        let seqs: Vec<u64> = mine.iter().map(|seq| *seq as u64).collect();
        let leaves = self.leaves();
        let ranges = CustomerExport::ranges(&seqs, at as u64, leaves.len() as u64).unwrap();
        let root =
            |range: Range<u64>| merkle::root(&leaves[range.start as usize..range.end as usize]);
        CustomerExport {
            customer: customer.into(),
            blind,
            place,
            map: proof,
            heartbeat: self.lines[at].clone(),
            nodes: ranges.into_iter().map(root).collect(),
            entries: mine.into_iter().map(|seq| self.lines[seq].clone()).collect(),
            checkpoint: self.note(),
        }
    }

    pub fn leaves(&self) -> Vec<Hash> {
        self.lines.iter().map(|line| merkle::leaf_hash(line)).collect()
    }

    pub fn file(&self) -> Vec<u8> {
        file(&self.lines)
    }

    pub fn customer_file(&self, customer: &str) -> Vec<u8> {
        let theirs = |line: &&Vec<u8>| {
            Entry::parse(line).unwrap().customer.is_some_and(|link| link.id == customer)
        };
        self.lines.iter().filter(theirs).flat_map(|line| [line, &b"\n"[..]].concat()).collect()
    }

    pub fn checkpoint(&self) -> Checkpoint {
        let mut frontier = Frontier::new();
        self.leaves().into_iter().for_each(|leaf| frontier.push(leaf));
        Checkpoint { origin: ORIGIN.into(), size: frontier.size(), root: frontier.root() }
    }

    pub fn note(&self) -> String {
        checkpoint::sign(&self.checkpoint(), &key()).unwrap()
    }

    pub fn openings_file(&self) -> Vec<u8> {
        let lines: Vec<_> = self.openings.iter().map(|o| o.to_line().unwrap()).collect();
        file(&lines)
    }
}

/// What a customer of the tests is blinded with.
pub fn blind(customer: &str) -> Hash {
    Hash::of(format!("blind of {customer}").as_bytes())
}

pub fn file(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line, &b"\n"[..]].concat()).collect()
}

pub fn genesis() -> Event {
    Event::Genesis { format: FORMAT, log_key: vkey().to_string(), origin: ORIGIN.into() }
}

/// An event with text that is not ASCII.
pub fn stopped() -> Event {
    Event::GatewayStopped { reason: "Ende gut — “alles” gut".into() }
}

fn session_opened(session: &str) -> Event {
    Event::SessionOpened {
        fingerprint: "SHA256:2Zt0a1fZ7y0sJ1v7mQm0r9n6J3Hq0z0m1k8m9n0p1q2".into(),
        method: "publickey".into(),
        session: session.into(),
    }
}

fn denied(session: &str) -> Event {
    Event::AccessDenied {
        place: Some(Place {
            account: "dba".into(),
            instance: "i-5b6c7d8e".into(),
            level: Level::Data,
            service: "pg".into(),
            vm: "pg-1.acme".into(),
        }),
        channel: ChannelKind::Shell,
        operator: "op-1f2e3d4c".into(),
        policies: vec![],
        policy_digest: Hash::of(b"policy").to_string(),
        reason: "no_consent".into(),
        session: session.into(),
        training: vec![TrainingState {
            course: "data-protection".into(),
            valid_until: Some("2027-03-01T00:00:00.000000Z".into()),
        }],
    }
}

/// The log of FORMAT.md's worked example: five entries, two of them of customer acme.
pub fn example() -> Log {
    let mut log = Log::default();
    log.append(ActorKind::Gateway, None, &genesis(), &[]);
    let added = Event::CustomerAdded { signatures_needed: 1 };
    log.append(ActorKind::Officer, Some("acme"), &added, &[]);
    let opened = session_opened("s-3a4b5c6d");
    log.append(ActorKind::Operator, None, &opened, &[("source", "192.0.2.7")]);
    let asked = [("command", "psql -c 'select 1'"), ("handle", "Olga Müller")];
    log.append(ActorKind::Operator, Some("acme"), &denied("s-3a4b5c6d"), &asked);
    let closed = Event::SessionClosed {
        channels: 1,
        reason: "operator_left".into(),
        session: "s-3a4b5c6d".into(),
    };
    log.append(ActorKind::Operator, None, &closed, &[]);
    log
}

/// A log of many entries over a few customers.
pub fn long(entries: u64) -> Log {
    let mut log = Log::default();
    log.append(ActorKind::Gateway, None, &genesis(), &[]);
    for n in 1..entries {
        let session = format!("s-{n:08x}");
        let source = format!("192.0.2.{}", n % 250);
        match n % 4 {
            0 => log.append(
                ActorKind::Operator,
                None,
                &session_opened(&session),
                &[("source", &source)],
            ),
            1 => log.append(ActorKind::Operator, Some("acme"), &denied(&session), &[]),
            2 => log.append(ActorKind::Operator, Some("globex"), &denied(&session), &[]),
            _ => log.append(ActorKind::Gateway, None, &stopped(), &[]),
        }
    }
    log
}

/// These entries, linked anew behind another line: what somebody who rewrites a log would do.
pub fn relinked(lines: &[Vec<u8>], before: &[u8]) -> Vec<Vec<u8>> {
    let mut ends: BTreeMap<String, Hash> = BTreeMap::new();
    let mut last = merkle::leaf_hash(before);
    let relink = |line: &Vec<u8>| {
        let mut entry = Entry::parse(line).unwrap();
        entry.prev = last;
        if let Some(link) = &mut entry.customer
            && let Some(end) = ends.get(&link.id)
        {
            link.prev = *end;
        }
        let line = entry.to_line().unwrap();
        last = line.leaf_hash();
        if let Some(link) = entry.customer {
            ends.insert(link.id, last);
        }
        line.into_bytes()
    };
    lines.iter().map(relink).collect()
}
