//! The bytes of one file in one direction: how many, in which order, and their digest.

use super::Transfer;
use audit_schema::{event::Direction, hash::Hash};
use aws_lc_rs::digest::{Context, SHA256};

/// An open file.
pub(super) struct OpenFile {
    pub(super) path: String,
    /// Opened to write, and empty at that moment: what is written from 0 on is all of it.
    pub(super) starts_empty: bool,
    /// The opening itself may have made or emptied it: worth a word, even if nothing follows.
    pub(super) may_make: bool,
    pub(super) upload: Tally,
    pub(super) download: Tally,
    /// Its size, as the VM told it.
    pub(super) size: Option<u64>,
    /// The size that it was last set to while open.
    pub(super) cut_at: Option<u64>,
    /// A close is on its way: what comes after it belongs to nobody.
    pub(super) closing: bool,
}

/// One direction.
pub(super) struct Tally {
    sha: Context,
    /// Where the first byte belongs.
    start: Option<u64>,
    bytes: u64,
    in_order: bool,
    pub(super) touched: bool,
    /// The VM said that there is nothing after the last byte.
    pub(super) saw_end: bool,
    pub(super) status: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            sha: Context::new(&SHA256),
            start: None,
            bytes: 0,
            in_order: true,
            touched: false,
            saw_end: false,
            status: 0,
        }
    }

    /// Data for this offset begins.
    pub(super) fn at(&mut self, offset: u64) {
        self.touched = true;
        let start = *self.start.get_or_insert(offset);
        self.in_order &= start.checked_add(self.bytes) == Some(offset);
    }

    pub(super) fn add(&mut self, data: &[u8]) {
        self.sha.update(data);
        self.bytes += data.len() as u64;
    }

    /// Where the next byte would belong.
    pub(super) fn end(&self) -> u64 {
        self.start.unwrap_or_default().saturating_add(self.bytes)
    }

    /// All there was, from the first byte on, and every answer was "ok".
    fn is_whole(&self) -> bool {
        self.in_order && self.status == 0 && self.start.unwrap_or_default() == 0
    }

    /// Something passed that was not followed.
    pub(super) fn lose(&mut self) {
        self.touched = true;
        self.in_order = false;
    }

    pub(super) fn fail(&mut self, status: u32) {
        self.touched = true;
        self.status = u64::from(status);
    }
}

impl OpenFile {
    /// What went through, when the file is closed (or, not `closed`, when the channel ends).
    pub(super) fn transfers(self, closed: bool) -> impl Iterator<Item = Transfer> {
        let Self { path, starts_empty, may_make, upload, download, size, cut_at, .. } = self;
        // Nothing old is left after the last byte: it was emptied first, or cut there (scp does).
        let is_all = cut_at.map_or(starts_empty, |cut| cut == upload.bytes);
        let whole_upload = closed && is_all && upload.is_whole();
        let read_to_end = download.saw_end || size == Some(download.bytes);
        let whole_download = closed && read_to_end && download.is_whole();
        let uploaded = upload.touched || may_make || cut_at.is_some();
        let up = uploaded.then(|| transfer(&path, Direction::Upload, upload, whole_upload));
        let down = download.touched;
        let down = down.then(|| transfer(&path, Direction::Download, download, whole_download));
        up.into_iter().chain(down)
    }
}

fn transfer(path: &str, direction: Direction, tally: Tally, complete: bool) -> Transfer {
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(tally.sha.finish().as_ref());
    Transfer {
        path: path.to_owned(),
        direction,
        bytes: tally.bytes,
        sha256: Hash(sha256),
        offset: tally.start.filter(|_| tally.in_order).unwrap_or_default(),
        complete,
        status: tally.status,
    }
}
