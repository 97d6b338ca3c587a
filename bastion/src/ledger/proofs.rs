//! Proofs that an entry is in the log, and that the log extends what it was; and its signed head.
//!
//! A proof is a handful of nodes of the tree. Those of recent entries are in memory
//! ([`super::tail`]), older ones in the published tiles; where neither has one, the lines below it
//! are hashed again. None of these is believed: what is handed out was verified here, against the
//! root that the writer computed.

use super::{
    Ledger, LedgerError, Shown,
    batch::Pending,
    head::Head,
    publish::Folder,
    reading::{line_raw, lines_raw},
    signer::{HeadToSign, SignError},
    tail::{Node, Tail, fold, nodes_of},
};
use crate::{
    metrics::{Alarm, METRICS},
    store::{Db, StoreError},
};
use audit_schema::{
    hash::Hash,
    merkle::{self, Frontier, TreeHead},
};
use bastion_core::limits::{CHECKPOINT_TRIES, LINES_READ_AT_ONCE, RECENT_LINES_MAX};
use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The log's tree, as far as it is in memory; the store and the tiles have the rest.
pub(super) struct Tree {
    db: Db,
    tail: Mutex<Tail>,
    recent: Mutex<VecDeque<Pending>>,
    /// The tiles of the log up to a head.
    tiles: Mutex<Option<(Folder, TreeHead)>>,
}

/// What is to be signed of some entries: a head, the entries, and the proofs that they are in it
/// and that it extends another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsigned {
    /// Size and root of a log that holds them.
    pub head: TreeHead,
    /// The exact lines, without a newline.
    pub lines: Vec<Vec<u8>>,
    /// One inclusion proof for each, to `head`.
    pub inclusion: Vec<Vec<Hash>>,
    /// The consistency proof to `head` from the size that was asked for.
    pub consistency: Vec<Hash>,
}

/// A signed head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Size and root.
    pub head: TreeHead,
    /// The C2SP signed note over them.
    pub note: String,
}

impl Tree {
    pub fn new(db: Db, head: &Head) -> Self {
        let tail = Mutex::new(Tail::after(head.frontier()));
        Self { db, tail, recent: Mutex::default(), tiles: Mutex::default() }
    }

    /// A batch of this gateway is durable. Entries that came in from others before it are read
    /// when they are needed.
    pub fn appended_lines(&self, written: Vec<Pending>) {
        if let Some(first) = written.first() {
            self.appended(first.seq, written.iter().map(|entry| entry.leaf));
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.extend(written);
        let old = recent.len().saturating_sub(RECENT_LINES_MAX);
        recent.drain(..old);
    }

    fn appended(&self, before: u64, leaves: impl Iterator<Item = Hash>) {
        let mut tail = self.tail();
        if tail.end() == before {
            leaves.for_each(|leaf| tail.push(leaf));
        }
    }

    /// A line: from memory, if it is one of this gateway's last.
    pub async fn line(&self, seq: u64) -> Result<Vec<u8>, LedgerError> {
        let recent = {
            let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let place = recent.binary_search_by_key(&seq, |entry| entry.seq).ok();
            place.and_then(|place| recent.get(place)).map(|entry| entry.line.clone())
        };
        match recent {
            Some(line) => Ok(line),
            None => line_raw(&self.db, seq).await?.ok_or_else(|| missing(seq)),
        }
    }

    /// Size and root of the log at this moment.
    pub async fn head(&self) -> Result<TreeHead, LedgerError> {
        self.follow(Head::read(&self.db).await?.size()).await
    }

    /// The head at a size or later, without asking the store where it is known.
    async fn head_from(&self, size: u64) -> Result<TreeHead, LedgerError> {
        let known = {
            let tail = self.tail();
            if tail.end() >= size { tail.head(tail.end()) } else { None }
        };
        match known {
            Some(head) => Ok(head),
            None => self.head().await,
        }
    }

    /// The head at a size that the log has; what is missing up to it is read.
    async fn follow(&self, size: u64) -> Result<TreeHead, LedgerError> {
        loop {
            let from = {
                let tail = self.tail();
                if tail.end() >= size && size >= tail.start() {
                    return tail.head(size).ok_or_else(|| missing(size));
                }
                tail.end()
            };
            if from >= size {
                return self.head_before(size).await;
            }
            let leaves = leaves(&self.db, from..size.min(from + LINES_READ_AT_ONCE)).await?;
            self.appended(from, leaves.into_iter());
        }
    }

    /// The head at a size before what is in memory.
    async fn head_before(&self, size: u64) -> Result<TreeHead, LedgerError> {
        if size == 0 {
            return Ok(Frontier::new().head());
        }
        let whole = std::iter::once(0..size).collect::<Vec<_>>();
        let found = self.roots(&whole).await?;
        let root = found.first().copied().ok_or_else(|| missing(size))?;
        Ok(TreeHead { size, root })
    }

    /// The roots of subtrees, in their order.
    async fn roots(&self, ranges: &[Range<u64>]) -> Result<Vec<Hash>, LedgerError> {
        let mut found = BTreeMap::new();
        let mut deep = Vec::new();
        {
            let tail = self.tail();
            for node in ranges.iter().flat_map(nodes_of) {
                match tail.node(node) {
                    Some(hash) => drop(found.insert(node, hash)),
                    None => deep.push(node),
                }
            }
        }
        found.extend(self.published_nodes(&deep).await);
        for node in deep {
            if let Entry::Vacant(place) = found.entry(node) {
                place.insert(hash_again(&self.db, node).await?);
            }
        }
        let root = |range: &Range<u64>| {
            let nodes = nodes_of(range);
            fold(nodes.iter().map(|node| found.get(node).copied()))
        };
        let roots = ranges.iter().map(|range| root(range).ok_or_else(|| missing(range.end)));
        roots.collect()
    }

    /// The log is published up to a head: its tiles are a shorter way to old nodes.
    pub fn published(&self, folder: Folder, head: TreeHead) {
        *self.tiles.lock().unwrap_or_else(PoisonError::into_inner) = Some((folder, head));
    }

    /// The nodes that the tiles have; a tile that does not fit the head is not used, and the
    /// lines are read instead.
    async fn published_nodes(&self, nodes: &[Node]) -> Vec<(Node, Hash)> {
        let tiles = self.tiles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((folder, head)) = tiles else { return Vec::new() };
        let published = |node: &Node| node.leaves().end <= head.size;
        let nodes: Vec<_> = nodes.iter().copied().filter(published).collect();
        if nodes.is_empty() {
            return Vec::new();
        }
        let ranges: Vec<_> = nodes.iter().map(Node::leaves).collect();
        let read = tokio::task::spawn_blocking(move || folder.roots(&ranges, head)).await;
        match read {
            Ok(Ok(roots)) => nodes.into_iter().zip(roots).collect(),
            Ok(Err(error)) => {
                tracing::error!(%error, "the published tiles cannot be used");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// The proof that the log of one size extends the one of another.
    pub async fn consistency(&self, old: u64, head: &TreeHead) -> Result<Vec<Hash>, LedgerError> {
        let ranges = merkle::consistency_ranges(old, head.size).ok_or_else(|| missing(old))?;
        self.roots(&ranges).await
    }

    /// The proof that an entry is in the log of a head.
    pub async fn inclusion(
        &self,
        (seq, leaf): (u64, &Hash),
        head: &TreeHead,
    ) -> Result<Vec<Hash>, LedgerError> {
        let ranges = merkle::inclusion_ranges(seq, head.size).ok_or_else(|| missing(seq))?;
        let proof = self.roots(&ranges).await?;
        merkle::verify_inclusion(leaf, seq, &proof, head).map_err(|bad| {
            let fault = format!("entry {seq} cannot be proven: {bad}; run `bastion audit verify`");
            LedgerError::Unavailable(fault)
        })?;
        Ok(proof)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        // A panic between two leaves would leave a tail that proves nothing, which is refused
        // where it is verified.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// What a signer needs to sign a head over these entries, which extends its last one of size
    /// `from`. Recent entries are not read from the store but for their lines.
    pub async fn unsigned(&self, seqs: &[u64], from: u64) -> Result<Unsigned, LedgerError> {
        let tree = &self.shared.tree;
        let least = seqs.iter().map(|seq| seq + 1).max().unwrap_or(0).max(from);
        let head = tree.head_from(least).await?;
        let (lines, inclusion) = self.proven_in(seqs, &head).await?.into_iter().unzip();
        let consistency = tree.consistency(from, &head).await?;
        Ok(Unsigned { head, lines, inclusion, consistency })
    }

    /// The signed head of the log, not before this moment.
    pub async fn signed(&self) -> Result<Signed, LedgerError> {
        let signed = self.sign().await;
        METRICS.alarm(Alarm::Signing, signed.is_err());
        signed
    }

    async fn sign(&self) -> Result<Signed, LedgerError> {
        let signer = &self.shared.signer;
        let mut last = signer.last().await?;
        for _ in 0..CHECKPOINT_TRIES {
            // Another gateway's entries count, too.
            self.shared.tree.head().await?;
            let Unsigned { head, consistency: proof, .. } = self.unsigned(&[], last.size).await?;
            match signer.sign(HeadToSign { head, from: last.size, proof }).await {
                Ok(note) => return Ok(Signed { head, note }),
                // Somebody else had one signed meanwhile.
                Err(SignError::Behind(now)) => last = now,
                Err(error) => return Err(error.into()),
            }
        }
        Err(LedgerError::Unavailable("others have checkpoints signed all the time".into()))
    }

    /// The head as it is shown to somebody, and the proof that an entry is in it.
    pub async fn proven(&self, seq: u64) -> Result<(Shown, Vec<Hash>), LedgerError> {
        let shown = self.shown().await?;
        let proven = self.proven_in(&[seq], &shown.signed.head).await?;
        let proof = proven.into_iter().next().ok_or_else(|| missing(seq))?.1;
        Ok((shown, proof))
    }

    /// The heads of two sizes, and the proof that the larger extends the smaller.
    pub async fn consistency(
        &self,
        old: u64,
        new: u64,
    ) -> Result<(TreeHead, TreeHead, Vec<Hash>), LedgerError> {
        let tree = &self.shared.tree;
        tree.head_from(new).await?;
        let (was, is) = (tree.follow(old).await?, tree.follow(new).await?);
        let proof = tree.consistency(old, &is).await?;
        merkle::verify_consistency(&was, &is, &proof).map_err(|bad| {
            let fault = format!("{old} to {new}: {bad}; run `bastion audit verify`");
            LedgerError::Unavailable(fault)
        })?;
        Ok((was, is, proof))
    }

    /// The roots of subtrees of the log as it is signed, in their order.
    pub async fn roots(&self, ranges: &[Range<u64>]) -> Result<Vec<Hash>, LedgerError> {
        self.shared.tree.roots(ranges).await
    }
}

impl From<SignError> for LedgerError {
    fn from(error: SignError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

fn missing(seq: u64) -> LedgerError {
    LedgerError::Failed(StoreError::failed(format!("the log has no entry {seq}")))
}

/// The leaf hashes of a range that is in the log.
async fn leaves(db: &Db, range: Range<u64>) -> Result<Vec<Hash>, StoreError> {
    let lines = lines_raw(db, range).await?;
    Ok(lines.iter().map(|line| merkle::leaf_hash(line)).collect())
}

/// A node from the lines below it: slow where there are many.
async fn hash_again(db: &Db, node: Node) -> Result<Hash, StoreError> {
    let Range { start: mut at, end } = node.leaves();
    let mut frontier = Frontier::new();
    while at < end {
        let next = end.min(at + LINES_READ_AT_ONCE);
        leaves(db, at..next).await?.into_iter().for_each(|leaf| frontier.push(leaf));
        at = next;
    }
    Ok(frontier.root())
}
