//! Publishing the log as C2SP tlog-tiles: for auditors, for customers, for witnesses, and for our
//! own proofs about old entries.
//!
//! A task follows the log as the query index does. A round has the log's head signed, reads the
//! lines that are not published yet, writes tiles and entry bundles, and last the checkpoint. What
//! was read must lead to the root that was signed, or nothing is published. The folder is a copy
//! and no more: whoever deletes it gets it again, from the entries; and a crash costs what one
//! round had written, which the next finds there and compares.

mod folder;

pub use folder::{Folder, Write, WriteFault};

use super::{Ledger, LedgerError, Shown, reading::lines_raw};
use crate::metrics::{Alarm, METRICS};
use audit_schema::{
    checkpoint::{self, Vkey},
    merkle::{self, TreeHead},
    tile::{BadBundle, BadTiles, Bundle, Edge, WIDTH, Written},
};
use bastion_core::limits::{
    LINES_READ_AT_ONCE, PUBLISH_LATE_SECONDS, PUBLISH_MILLIS, PUBLISHED_FILES_AT_ONCE,
};
use folder::Piece;
use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Why the log is not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A file or folder.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// The log does not answer.
    #[error("{0}")]
    Log(#[from] LedgerError),
    /// A name is taken by other bytes.
    #[error(
        "{0} stands there with other bytes than this log's: the folder is of another log, or was \
         changed. Move it away: it is written again from the entries"
    )]
    Differs(String),
    /// A tile is gone.
    #[error("{0} is missing: move the folder away, and it is written again from the entries")]
    Missing(String),
    /// The checkpoint that stands there is not of this log.
    #[error(
        "the checkpoint in the folder: {0}. Move the folder away: it is written again from the \
         entries"
    )]
    Checkpoint(String),
    /// The tiles do not fit together.
    #[error("{0}: move the folder away, and it is written again from the entries")]
    Tiles(#[from] BadTiles),
    /// The lines do not lead to the root that was signed.
    #[error(
        "the entries do not lead to the root that was signed for {0} of them: nothing is \
         published; run `bastion audit verify`"
    )]
    Root(u64),
}

/// What publishes a log into a folder.
pub struct Publisher {
    ledger: Ledger,
    folder: Folder,
    edge: Edge,
    /// The lines of the bundle that is not full yet.
    begun: Vec<Vec<u8>>,
    /// The size before the last: readers of its checkpoint may still be there.
    before: Option<u64>,
    /// Who witnesses the published checkpoint.
    witnessed: Option<String>,
}

impl Publisher {
    /// Goes on where the folder's checkpoint ends; from the first entry where there is none, or
    /// where its tiles cannot be used.
    pub async fn open(ledger: &Ledger, folder: Folder) -> Result<Self, PublishError> {
        let edge = match folder.checkpoint()? {
            None => Edge::new(),
            Some(note) => match resume(ledger, &folder, &note).await {
                Ok(edge) => edge,
                Err(error @ (PublishError::Missing(_) | PublishError::Tiles(_))) => {
                    tracing::warn!(%error, "the log is published again from its first entry");
                    Edge::new()
                }
                Err(error) => return Err(error),
            },
        };
        let first = edge.size() - edge.size() % WIDTH;
        let begun = lines_raw(ledger.db(), first..edge.size()).await.map_err(LedgerError::from)?;
        let ledger = ledger.clone();
        let publisher = Self { ledger, folder, edge, begun, before: None, witnessed: None };
        publisher.tell();
        Ok(publisher)
    }

    /// Who witnesses the published checkpoint, in words; none where the policy is not satisfied.
    pub fn witnessed(&self) -> Option<&str> {
        self.witnessed.as_deref()
    }

    /// Publishes what the log has now; answers the head that is published.
    pub async fn round(&mut self) -> Result<TreeHead, PublishError> {
        let now = self.ledger.shared.tree.head().await?;
        let settled = self.witnessed.is_some() || self.ledger.panel().is_none();
        if now.size == self.edge.size() && self.before.is_some() && settled {
            return Ok(now);
        }
        let Shown { signed, witnessed } = self.ledger.shown().await?;
        // A round that fails has moved the edge and not the checkpoint: the next one begins from
        // what is published.
        let old = (self.edge.clone(), self.begun.clone());
        let published = self.write_up_to(signed.head, signed.note).await;
        match published {
            Ok(()) => {
                let size = old.0.size();
                if let Some(before) = self.before.replace(size).filter(|before| *before != size) {
                    let kept = [size, signed.head.size];
                    self.blocking(move |folder| folder.forget_edge(before, kept)).await?;
                }
                self.tell();
                self.witnessed = witnessed;
                Ok(signed.head)
            }
            Err(error) => {
                (self.edge, self.begun) = old;
                Err(error)
            }
        }
    }

    async fn write_up_to(&mut self, head: TreeHead, note: String) -> Result<(), PublishError> {
        let mut pieces = Vec::new();
        while self.edge.size() < head.size {
            let at = self.edge.size();
            let range = at..head.size.min(at + LINES_READ_AT_ONCE);
            let lines = lines_raw(self.ledger.db(), range).await.map_err(LedgerError::from)?;
            self.take(lines, &mut pieces)?;
            if pieces.len() >= PUBLISHED_FILES_AT_ONCE {
                let full = std::mem::take(&mut pieces);
                self.blocking(move |folder| folder.publish(&full)).await?;
            }
        }
        if self.edge.head() != head {
            return Err(PublishError::Root(head.size));
        }
        pieces.extend(self.edge.partial().into_iter().map(piece));
        pieces.extend(self.begun_bundle()?);
        if let Some(mark) = &self.ledger.shared.mark {
            // Before anybody can see the checkpoint.
            mark.flush().map_err(|error| PublishError::Io(mark.path().to_path_buf(), error))?;
        }
        self.blocking(move |folder| {
            folder.publish(&pieces)?;
            folder.replace_checkpoint(&note)
        })
        .await
    }

    /// Lines that follow: what became full with them.
    fn take(&mut self, lines: Vec<Vec<u8>>, full: &mut Vec<Piece>) -> Result<(), PublishError> {
        let leaves: Vec<_> = lines.iter().map(|line| merkle::leaf_hash(line)).collect();
        let first = self.edge.size() - self.begun.len() as u64;
        let tiles = self.edge.append(&leaves).ok_or(PublishError::Root(self.edge.size()))?;
        full.extend(tiles.into_iter().map(piece));
        self.begun.extend(lines);
        let whole = self.begun.len() - self.begun.len() % WIDTH as usize;
        let whole: Vec<_> = self.begun.drain(..whole).collect();
        for (at, lines) in whole.chunks(WIDTH as usize).enumerate() {
            full.push(bundle(first / WIDTH + at as u64, self.edge.size(), lines)?);
        }
        Ok(())
    }

    fn begun_bundle(&self) -> Result<Option<Piece>, PublishError> {
        let size = self.edge.size();
        let begun = !self.begun.is_empty();
        begun.then(|| bundle(size / WIDTH, size, &self.begun)).transpose()
    }

    /// Whoever proves something may use these tiles from now on.
    fn tell(&self) {
        let head = self.edge.head();
        if head.size > 0 {
            self.ledger.shared.tree.published(self.folder.clone(), head);
        }
    }

    async fn blocking(
        &self,
        work: impl FnOnce(&Folder) -> Result<(), PublishError> + Send + 'static,
    ) -> Result<(), PublishError> {
        let folder = self.folder.clone();
        let root = folder.root().to_path_buf();
        let done = tokio::task::spawn_blocking(move || work(&folder)).await;
        done.unwrap_or_else(|error| Err(PublishError::Io(root, io::Error::other(error))))
    }
}

/// The edge of what is published, if it is of this log.
async fn resume(ledger: &Ledger, folder: &Folder, note: &str) -> Result<Edge, PublishError> {
    let vkey: Vkey = ledger.shared.signer.vkey();
    let published = checkpoint::verify(note, &vkey)
        .map_err(|bad| PublishError::Checkpoint(bad.to_string()))?
        .head();
    let tree = &ledger.shared.tree;
    let now = tree.head().await?;
    let other = || PublishError::Checkpoint("it is not of this log as it is now".into());
    if now.size < published.size {
        return Err(other());
    }
    let proof = tree.consistency(published.size, &now).await?;
    merkle::verify_consistency(&published, &now, &proof).map_err(|_| other())?;
    Ok(Edge::open(published, folder.edge(published.size)?)?)
}

fn piece(written: Written) -> Piece {
    Piece { path: written.tile.to_string(), bytes: written.bytes }
}

fn bundle(index: u64, size: u64, lines: &[Vec<u8>]) -> Result<Piece, PublishError> {
    let bundle = Bundle::of_tree(index, size).ok_or(PublishError::Root(size))?;
    let bytes = bundle.encode(lines).map_err(|bad: BadBundle| {
        let fault = io::Error::new(io::ErrorKind::InvalidData, bad);
        PublishError::Io(bundle.to_string().into(), fault)
    })?;
    Ok(Piece { path: bundle.to_string(), bytes })
}

/// Publishes a log into a folder for as long as the task lives.
pub async fn run(ledger: Ledger, root: PathBuf) {
    let mut size = ledger.size();
    let mut publisher = None;
    let mut well = Instant::now();
    loop {
        match step(&ledger, &root, &mut publisher).await {
            Ok(head) => {
                let lag = size.borrow().saturating_sub(head.size);
                METRICS.publishing_lag(lag);
                well = Instant::now();
                METRICS.alarm(Alarm::Publishing, false);
            }
            Err(error) => {
                publisher = None;
                tracing::error!(%error, "the log is not published");
                let late = well.elapsed() > Duration::from_secs(PUBLISH_LATE_SECONDS);
                // A disk or server that hiccups is tried again; what stays wrong is an alarm.
                let passing = matches!(error, PublishError::Io(..) | PublishError::Log(_));
                METRICS.alarm(Alarm::Publishing, late || !passing);
            }
        }
        tokio::select! {
            changed = size.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(PUBLISH_LATE_SECONDS / 2)) => {}
        }
        tokio::time::sleep(Duration::from_millis(PUBLISH_MILLIS)).await;
    }
}

async fn step(
    ledger: &Ledger,
    root: &std::path::Path,
    publisher: &mut Option<Publisher>,
) -> Result<TreeHead, PublishError> {
    let publisher = match publisher {
        Some(publisher) => publisher,
        None => {
            let folder = Folder::open(root)?;
            publisher.insert(Publisher::open(ledger, folder).await?)
        }
    };
    publisher.round().await
}
