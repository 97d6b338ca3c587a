//! Where a backlog goes that no longer fits in memory: an unlinked, encrypted temporary file.
//!
//! The relay always drains both sides of a channel, because a read that is parked also parks the
//! window adjustments that would free it. What the other side does not take yet must therefore be
//! kept, and a fast sender in front of a stopped receiver can be gigabytes ahead. So a channel
//! keeps a few mebibytes in memory and the rest here, within the quotas of [`super::quota`], which
//! leave the disk some room: the log may be on it.
//!
//! The file has no name (it is unlinked as soon as it is open) and its key lives in memory only:
//! a crash, a stolen disk or a curious colleague find nothing.

use super::{keystream::Keystream, page::Page, quota::Quotas};
use bastion_core::limits::{SPOOL_PULL_BYTES, SPOOLS_LOOK_BYTES};
use nix::fcntl::{FallocateFlags, fallocate};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// All spool files of this process: where they are made, and how much they hold together.
#[derive(Debug)]
pub struct Spools {
    folder: PathBuf,
    quotas: Quotas,
    bytes: AtomicU64,
    /// Bytes that were ever written, to look at the disk now and then.
    written: AtomicU64,
    made: AtomicU64,
}

/// The backlog of one channel outgrew its bounds, or could not be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Overrun {
    /// One channel is too far ahead of its receiver.
    #[error("the receiving side of this channel is {0} bytes behind: too far to go on")]
    Channel(u64),
    /// The receiver takes nothing.
    #[error(
        "its receiving side has taken nothing for {} seconds, and too much waits for it",
        .0.as_secs()
    )]
    Held(Duration),
    /// All channels together are.
    #[error("all channels together hold more data than the gateway keeps: try again later")]
    Gateway,
    /// The disk said no.
    #[error("the gateway cannot keep the data that waits for the receiving side: {0}")]
    Disk(String),
}

impl Spools {
    /// Spool files in this folder, which must exist and be writable by us alone.
    pub fn new(folder: &Path) -> Arc<Self> {
        Self::within(folder, Quotas::default())
    }

    /// The same, within quotas of the caller's.
    pub fn within(folder: &Path, quotas: Quotas) -> Arc<Self> {
        Arc::new(Self {
            folder: folder.to_owned(),
            quotas,
            written: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            made: AtomicU64::new(0),
        })
    }

    /// Bytes that wait on disk, over all channels: for the metrics.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn quotas(&self) -> &Quotas {
        &self.quotas
    }

    /// Looks at the disk once in a while.
    fn look(&self, file: &File, more: u64) -> Result<(), Overrun> {
        let before = self.written.fetch_add(more, Ordering::Relaxed);
        if before / SPOOLS_LOOK_BYTES == (before + more) / SPOOLS_LOOK_BYTES && before > 0 {
            return Ok(());
        }
        let stat = nix::sys::statvfs::fstatvfs(file).map_err(disk)?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < self.quotas.free_bytes_min {
            return Err(disk(format!("only {free} bytes are free on its disk")));
        }
        Ok(())
    }

    pub(crate) fn open(self: &Arc<Self>) -> Result<Spool, Overrun> {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(format!("spool-{}-{number}", std::process::id()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| std::fs::remove_file(&path).map(|()| file))
            .map_err(disk)?;
        let mut key = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut key).map_err(|_| disk("no randomness"))?;
        Ok(Spool {
            seal: Keystream::new(&key).map_err(disk)?,
            open: Keystream::new(&key).map_err(disk)?,
            file,
            head: 0,
            tail: 0,
            has_holes: true,
            page: Page::default(),
            spools: Arc::clone(self),
        })
    }
}

/// The spool of one channel: bytes in, the same bytes out, in order.
pub(crate) struct Spool {
    file: File,
    seal: Keystream,
    open: Keystream,
    /// Next byte to read.
    head: u64,
    /// Next byte to write.
    tail: u64,
    /// What was read can be given back to the disk.
    has_holes: bool,
    page: Page,
    spools: Arc<Spools>,
}

impl Spool {
    pub(crate) fn bytes(&self) -> u64 {
        self.tail - self.head
    }

    pub(crate) fn push(&mut self, data: &[u8]) -> Result<(), Overrun> {
        let more = data.len() as u64;
        // Without holes a file keeps its blocks until it is drained.
        let own = if self.has_holes { self.bytes() } else { self.tail };
        let all = self.spools.bytes.load(Ordering::Relaxed);
        self.spools.quotas.allow(own + more, all + more)?;
        self.spools.look(&self.file, more)?;
        self.page.clear();
        self.seal.apply(data, &mut self.page).map_err(disk)?;
        // Page cache, not platter: nobody needs this file after a crash.
        self.file.write_all_at(self.page.filled(), self.tail).map_err(disk)?;
        self.tail += more;
        self.spools.bytes.fetch_add(more, Ordering::Relaxed);
        Ok(())
    }

    /// The next bytes, at most `most` and `SPOOL_PULL_BYTES`; empty when there is nothing.
    pub(crate) fn pull(&mut self, most: usize) -> Result<Vec<u8>, Overrun> {
        let length = self.bytes().min(SPOOL_PULL_BYTES.min(most) as u64);
        // `length` is at most SPOOL_PULL_BYTES, a usize.
        let mut sealed = vec![0; length as usize];
        self.file.read_exact_at(&mut sealed, self.head).map_err(disk)?;
        self.page.clear();
        self.open.apply(&sealed, &mut self.page).map_err(disk)?;
        self.give_back(length)?;
        Ok(self.page.filled().to_vec())
    }

    /// What was read needs no disk any more. The keystream goes on: no byte of it is used twice.
    fn give_back(&mut self, length: u64) -> Result<(), Overrun> {
        self.spools.bytes.fetch_sub(length, Ordering::Relaxed);
        self.head += length;
        if self.head == self.tail {
            self.file.set_len(0).map_err(disk)?;
            (self.head, self.tail) = (0, 0);
            return Ok(());
        }
        let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        // Only whole blocks are freed: begin at the one that the last piece ended in.
        let from = (self.head - length) & !(BLOCK_BYTES - 1);
        let range = (i64::try_from(from), i64::try_from(self.head - from));
        let (Ok(from), Ok(length)) = range else { return Ok(()) };
        self.has_holes &= fallocate(&self.file, hole, from, length).is_ok();
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.spools.bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

fn disk(why: impl ToString) -> Overrun {
    Overrun::Disk(why.to_string())
}

const BLOCK_BYTES: u64 = 4096;
