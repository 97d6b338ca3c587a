//! A backup being written: under another name, on a thread of its own, and flushed at its end.
//!
//! If we crash here, a file that ends in `.partial` is left, which the next backup to the same
//! place overwrites; under the final name stands a whole backup or none. A full disk is met here
//! and nowhere else: the partial file is removed, and the log knows nothing of it.

use super::{BackupError, Header, io_error};
use crate::durable::sync_folder_of;
use crate::relay::{
    Page,
    recording::{self, ContainerKey, ContainerWriter},
};
use audit_schema::hash::Hash;
use aws_lc_rs::digest::{Context, SHA256};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bastion_core::limits::{BACKUP_PIECES_WAITING_MAX, RECORDING_SEGMENT_BYTES_MAX};
use ed25519_dalek::{Signer as _, SigningKey};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{sync::mpsc, task::JoinHandle};

/// What the file is made of, in order: lines of keys, then the body, then its end.
pub(super) enum Piece {
    /// The line of a recording's wrapped key.
    Key(String),
    /// A piece of the text.
    Text(String),
    /// All of it was said.
    End,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub bytes: u64,
    pub digest: Hash,
}

/// A file that is being written.
pub(super) struct Writing {
    pieces: Option<mpsc::Sender<Piece>>,
    thread: Option<JoinHandle<Result<Written, BackupError>>>,
}

/// What seals and signs it.
pub(super) struct Seals {
    pub header: Header,
    pub key: Arc<ContainerKey>,
    pub signer: SigningKey,
}

impl Writing {
    pub fn begin(partial: &Path, seals: Seals) -> Self {
        let (pieces, waiting) = mpsc::channel(BACKUP_PIECES_WAITING_MAX);
        let partial = partial.to_owned();
        let thread = tokio::task::spawn_blocking(move || write(&partial, &seals, waiting));
        Self { pieces: Some(pieces), thread: Some(thread) }
    }

    /// Hands over a piece; where the file cannot be written any more, the reason.
    pub async fn put(&mut self, piece: Piece) -> Result<(), BackupError> {
        if let Some(pieces) = &self.pieces
            && pieces.send(piece).await.is_ok()
        {
            return Ok(());
        }
        Err(self.ended().await.err().unwrap_or(BackupError::Ended))
    }

    /// Waits until all of it is on the disk.
    pub async fn finish(mut self) -> Result<Written, BackupError> {
        self.put(Piece::End).await?;
        self.ended().await
    }

    async fn ended(&mut self) -> Result<Written, BackupError> {
        drop(self.pieces.take());
        match self.thread.take() {
            Some(thread) => thread.await.map_err(|_| BackupError::Ended)?,
            None => Err(BackupError::Ended),
        }
    }
}

/// The name under which a backup is written, until it is whole.
pub(super) fn partial(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}

/// Gives a whole file its name, which survives a loss of power.
pub(super) fn name_it(partial: &Path, to: &Path) -> Result<(), BackupError> {
    let named = || {
        // Fails where the name was taken meanwhile.
        fs::hard_link(partial, to)?;
        fs::remove_file(partial)?;
        sync_folder_of(to)
    };
    named().map_err(|why| io_error(to, why))
}

fn write(
    partial: &Path,
    seals: &Seals,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Written, BackupError> {
    let file = alone_with(partial)?;
    let mut out =
        Out { path: partial, file, sha: Context::new(&SHA256), bytes: 0, page: Page::default() };
    out.hashed(seals.header.line()?.as_bytes())?;
    let mut container = None;
    let mut sealed = 0;
    while let Some(piece) = pieces.blocking_recv() {
        match piece {
            Piece::Key(line) => out.plain(line.as_bytes())?,
            Piece::Text(text) => {
                let container = match &mut container {
                    Some(container) => container,
                    none => none.insert(out.begin(seals)?),
                };
                container.data(text.as_bytes(), &mut out.page)?;
                sealed += text.len() as u64;
                if sealed >= RECORDING_SEGMENT_BYTES_MAX {
                    container.seal(&mut out.page);
                    sealed = 0;
                }
                out.page()?;
            }
            Piece::End => {
                let container = container.take().ok_or(BackupError::Ended)?;
                container.end(&mut out.page);
                out.page()?;
                return out.end(&seals.signer);
            }
        }
    }
    // Whoever said the pieces has failed, and says why.
    Err(BackupError::Ended)
}

/// The partial file, empty, and nobody else's while it is open.
fn alone_with(partial: &Path) -> Result<Flock<File>, BackupError> {
    let open =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(partial);
    let file = open.map_err(|why| io_error(partial, why))?;
    let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| BackupError::Busy(partial.to_owned()))?;
    file.set_len(0).map_err(|why| io_error(partial, why))?;
    Ok(file)
}

struct Out<'a> {
    path: &'a Path,
    file: Flock<File>,
    /// Over the first line and the container: all but the lines of keys, which may be erased.
    sha: Context,
    bytes: u64,
    page: Page,
}

impl Out<'_> {
    fn plain(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|why| io_error(self.path, why))
    }

    fn hashed(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.sha.update(bytes);
        self.plain(bytes)
    }

    fn begin(&mut self, seals: &Seals) -> Result<ContainerWriter, BackupError> {
        let header = recording::Header {
            created_at: seals.header.created_at.clone(),
            lease: "none".into(),
            payload: "backup-sql-v1".into(),
            recording: seals.header.backup.clone(),
        };
        Ok(ContainerWriter::begin(&header, &seals.key, &mut self.page)?)
    }

    /// Writes what the container has put on the page.
    fn page(&mut self) -> Result<(), BackupError> {
        let page = std::mem::take(&mut self.page);
        let done = self.hashed(page.filled());
        self.page = page;
        self.page.clear();
        done
    }

    fn end(mut self, signer: &SigningKey) -> Result<Written, BackupError> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.sha.clone().finish().as_ref());
        let digest = Hash(digest);
        let signature = signer.sign(signed_text(&digest).as_bytes()).to_bytes();
        let line = format!("{SIGNED}{}\n", BASE64_STANDARD.encode(signature));
        self.plain(line.as_bytes())?;
        self.file.sync_all().map_err(|why| io_error(self.path, why))?;
        Ok(Written { bytes: self.bytes, digest })
    }
}

/// How the last line begins.
pub(super) const SIGNED: &str = "signed ";
/// Its bytes: the signature's 64 are 88 of base 64.
pub(super) const SIGNED_LINE_BYTES: u64 = 7 + 88 + 1;

/// What the notice key signs.
pub(super) fn signed_text(digest: &Hash) -> String {
    format!("bastion-backup/1 {digest}\n")
}
