//! The writer threads: the only code that touches the files of recordings.
//!
//! A thread takes what its recordings have gathered, seals it, writes it, and every ten seconds or
//! 64 MiB ends a segment and flushes the file to disk. A file that cannot be written is given up
//! at once, and its channel is told.

use super::{
    RecordingFailed, Sealed, Segment, container::Writer, digests::Digester, disk::Disk,
    sheet::Sheet, track::Track,
};
use crate::{
    metrics::{Alarm, METRICS},
    relay::{keystream::CipherFailed, page::Page},
};
use bastion_core::{
    id::RecordingId,
    limits::{
        RECORDING_BLOCK_BYTES, RECORDING_BYTES_MAX, RECORDING_SEGMENT_BYTES_MAX,
        RECORDING_SEGMENT_SECONDS_MAX,
    },
};
use std::{
    collections::HashMap,
    fs::File,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};

/// What a writer thread is asked to do.
pub(super) enum Job {
    Open(Box<Open>),
    /// A recording has gathered enough.
    Take(RecordingId),
    Close(RecordingId, oneshot::Sender<Result<Sealed, RecordingFailed>>),
    /// A second has passed.
    Tick,
}

/// A recording, as its thread sees it.
pub(super) struct Open {
    pub(super) track: Arc<Track>,
    pub(super) disk: Disk,
    pub(super) writer: Writer,
    /// Takes the place of contents where only digests are recorded.
    pub(super) digester: Option<Digester>,
    /// New recordings are refused below this; running ones end below half of it.
    pub(super) free_bytes_min: u64,
    /// The folder, until it has been flushed with the file's name in it.
    pub(super) folder: Option<Arc<Path>>,
    /// The container's first line, not written yet.
    pub(super) start: Page,
    pub(super) segments: watch::Sender<Vec<Segment>>,
    pub(super) failed: watch::Sender<Option<String>>,
    /// Since when something is not sealed.
    pub(super) unsealed_since: Option<Instant>,
    /// It has filled a buffer since the last second.
    pub(super) is_busy: bool,
}

/// Buffers that are used again and again: a busy recording fills a mebibyte many times a second.
#[derive(Default)]
struct Scratch {
    sheet: Sheet,
    page: Page,
}

/// Runs until every recorder handle is gone, then seals what is still open. Keeps about so many
/// files open.
pub(super) fn run(mut jobs: mpsc::Receiver<Job>, files_max: usize) {
    let mut open: HashMap<RecordingId, Box<Open>> = HashMap::new();
    let mut scratch = Scratch::default();
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Open(mut recording) => {
                recording.step(&mut scratch);
                open.insert(recording.track.id.clone(), recording);
            }
            Job::Take(id) => {
                if let Some(recording) = open.get_mut(&id) {
                    recording.is_busy = true;
                    recording.step(&mut scratch);
                }
            }
            Job::Close(id, answer) => {
                let sealed = match open.remove(&id) {
                    Some(recording) => recording.close(),
                    None => Err(RecordingFailed("the recording is not open".into())),
                };
                // The channel may have gone without waiting for the answer.
                drop(answer.send(sealed));
            }
            Job::Tick => tick(&mut open, &mut scratch, files_max),
        }
    }
    for (_, recording) in open {
        finish(recording);
    }
}

fn tick(open: &mut HashMap<RecordingId, Box<Open>>, scratch: &mut Scratch, files_max: usize) {
    let mut kept = 0;
    for recording in open.values_mut() {
        let was_busy = std::mem::take(&mut recording.is_busy);
        recording.step(scratch);
        // A file that is closed before its segment is sealed is opened again to be flushed.
        if recording.unsealed_since.is_some() && (was_busy || kept < files_max) {
            kept += 1;
        } else {
            recording.disk.rest();
        }
    }
    // No end in order will come for what nobody holds any more.
    let abandoned = open.extract_if(|_, recording| recording.is_orphan());
    for (_, recording) in abandoned {
        finish(recording);
    }
}

fn finish(recording: Box<Open>) {
    let id = recording.track.id.clone();
    if let Err(why) = recording.close() {
        tracing::error!(recording = %id, %why, "a recording could not be sealed");
    }
}

impl Open {
    /// Only the thread itself holds it: no close can come any more.
    fn is_orphan(&self) -> bool {
        self.failed.receiver_count() == 0
    }

    /// Writes what has been gathered, and seals when it is time. A failure is kept in `failed`.
    fn step(&mut self, scratch: &mut Scratch) {
        if self.failed.borrow().is_some() {
            return;
        }
        if let Err(why) = self.try_step(scratch) {
            self.fail(&why);
        }
    }

    fn try_step(&mut self, scratch: &mut Scratch) -> Result<(), String> {
        self.write_pending(scratch)?;
        let age = self.unsealed_since.map(|since| since.elapsed());
        let is_old = age >= Some(Duration::from_secs(RECORDING_SEGMENT_SECONDS_MAX));
        if is_old || self.unsealed() >= RECORDING_SEGMENT_BYTES_MAX {
            let mut line = Page::default();
            self.digest_segment(&mut line).map_err(|why| why.to_string())?;
            let segment = self.writer.seal(&mut line);
            self.write(line.filled())?;
            self.sync_folder()
                .and_then(|()| self.disk.file()?.sync_data())
                .map_err(|why| why.to_string())?;
            self.unsealed_since = None;
            let bytes = segment.bytes;
            self.segments.send_modify(|sealed| sealed.push(segment));
            self.check_bounds(bytes)?;
        }
        Ok(())
    }

    /// A program that writes for ever must not fill the disk that the log may be on.
    fn check_bounds(&mut self, bytes: u64) -> Result<(), String> {
        if bytes > RECORDING_BYTES_MAX {
            return Err(format!("it is longer than {RECORDING_BYTES_MAX} bytes"));
        }
        let file = self.disk.file().map_err(|why| why.to_string())?;
        let stat = nix::sys::statvfs::fstatvfs(&*file).map_err(|why| why.to_string())?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < self.free_bytes_min / 2 {
            return Err(format!("only {free} bytes are free on its disk"));
        }
        Ok(())
    }

    /// Bytes of the channel that no seal covers yet.
    fn unsealed(&self) -> u64 {
        let hashed = self.digester.as_ref().map_or(0, Digester::unsealed);
        self.writer.unsealed() + hashed
    }

    /// What the streams are at the end of a segment, where their contents are not kept.
    fn digest_segment(&mut self, file: &mut Page) -> Result<(), CipherFailed> {
        let Some(digester) = &mut self.digester else { return Ok(()) };
        let mut lines = Vec::new();
        digester.segment(self.writer.segments(), &mut lines);
        self.writer.data(&lines, file)
    }

    /// What the streams were in all.
    fn digest_end(&mut self, file: &mut Page) -> Result<(), CipherFailed> {
        self.digest_segment(file)?;
        let Some(digester) = &mut self.digester else { return Ok(()) };
        let mut lines = Vec::new();
        digester.end(&mut lines);
        self.writer.data(&lines, file)
    }

    fn write_pending(&mut self, scratch: &mut Scratch) -> Result<(), String> {
        // A busy recording gets a sheet that has its size already; one that rests keeps none.
        let spare =
            if self.is_busy { std::mem::take(&mut scratch.sheet) } else { Sheet::default() };
        let mut sheet = self.track.take(spare);
        let page = &mut scratch.page;
        page.begin_at(self.disk.length(), RECORDING_BLOCK_BYTES);
        page.put(std::mem::take(&mut self.start).filled());
        if !sheet.is_empty() {
            self.seal_sheet(&sheet, page).map_err(|why| why.to_string())?;
            self.unsealed_since.get_or_insert_with(Instant::now);
        }
        self.disk.write(page.filled()).map_err(|why| why.to_string())?;
        METRICS.recorded(page.len() as u64);
        sheet.clear();
        if sheet.room() > scratch.sheet.room() {
            scratch.sheet = sheet;
        }
        Ok(())
    }

    fn seal_sheet(&mut self, sheet: &Sheet, page: &mut Page) -> Result<(), CipherFailed> {
        let Some(digester) = &mut self.digester else {
            return self.writer.pieces(sheet.len(), sheet.pieces(), page);
        };
        let mut lines = Vec::new();
        digester.eat(sheet.pieces(), &mut lines);
        self.writer.data(&lines, page)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.disk.write(bytes).map_err(|why| why.to_string())?;
        METRICS.recorded(bytes.len() as u64);
        Ok(())
    }

    fn fail(&self, why: &str) {
        tracing::error!(recording = %self.track.id, %why, "a recording cannot be written");
        METRICS.alarm(Alarm::Recording, true);
        self.failed.send_replace(Some(format!("the recording cannot be written: {why}")));
        // Whoever waits for room must look again.
        drop(self.track.take(Sheet::default()));
    }

    fn close(mut self: Box<Self>) -> Result<Sealed, RecordingFailed> {
        if let Some(why) = self.failed.borrow().clone() {
            return Err(RecordingFailed(why));
        }
        self.track.finish();
        self.write_pending(&mut Scratch::default()).map_err(RecordingFailed)?;
        self.sync_folder().map_err(|why| RecordingFailed(why.to_string()))?;
        let mut lines = Page::default();
        self.digest_end(&mut lines).map_err(|why| RecordingFailed(why.to_string()))?;
        let Self { writer, mut disk, .. } = *self;
        let (bytes, digest) = writer.end(&mut lines);
        let flushed = disk.write(lines.filled()).and_then(|()| disk.file()?.sync_all());
        flushed.map_err(|why| RecordingFailed(why.to_string()))?;
        METRICS.alarm(Alarm::Recording, false);
        Ok(Sealed { digest, bytes })
    }

    /// A file that is on disk without its name is lost: once, before the first seal counts.
    fn sync_folder(&mut self) -> io::Result<()> {
        match self.folder.take() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}
