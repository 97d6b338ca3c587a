//! A recording while it is made: the relay's end of it.
//!
//! A keystroke must not wait for a disk, nor wake another thread. So the relay puts plaintext
//! on a sheet of its own and goes on; the writer thread takes the sheet away when it has grown to
//! a quarter of a mebibyte, and in any case once a second. What has been delivered but is not in
//! the file yet is therefore bounded in bytes and in time. A thread that falls behind makes the
//! relay wait; one that fails makes it end.

use super::{
    RecordingFailed, Sealed, Segment,
    payload::{Encoder, Moment},
    sheet::Sheet,
    thread::Job,
};
use bastion_core::{
    id::RecordingId,
    limits::{RECORDING_BUFFER_BYTES, RECORDING_IN_FLIGHT_BYTES_MAX},
};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// An open recording. Dropping it seals what there is, without an end in order.
pub struct Recording {
    pub(super) track: Arc<Track>,
    pub(super) queue: mpsc::Sender<Job>,
    pub(super) segments: watch::Receiver<Vec<Segment>>,
    pub(super) failed: watch::Receiver<Option<String>>,
}

/// What the relay and the writer thread share.
pub(super) struct Track {
    pub(super) id: RecordingId,
    started: Instant,
    pending: Mutex<Pending>,
    taken: Notify,
    announced: AtomicBool,
}

struct Pending {
    encoder: Encoder,
    sheet: Sheet,
}

impl Track {
    pub(super) fn new(id: RecordingId, encoder: Encoder, sheet: Sheet) -> Arc<Self> {
        Arc::new(Self {
            id,
            started: Instant::now(),
            pending: Mutex::new(Pending { encoder, sheet }),
            taken: Notify::new(),
            announced: AtomicBool::new(false),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Encoding is total; a panic under the lock would leave a text that is only shorter.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the writer thread: nothing more will come.
    pub(super) fn finish(&self) {
        let micros = self.micros();
        let mut pending = self.lock();
        let Pending { encoder, sheet } = &mut *pending;
        encoder.finish(micros, sheet.text());
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// For the writer thread: everything so far, for an empty sheet to go on with.
    pub(super) fn take(&self, spare: Sheet) -> Sheet {
        self.announced.store(false, Ordering::Release);
        let sheet = std::mem::replace(&mut self.lock().sheet, spare);
        self.taken.notify_waiters();
        sheet
    }
}

impl Recording {
    /// Its id, as it stands in the log.
    pub fn id(&self) -> &RecordingId {
        &self.track.id
    }

    /// Takes a moment down. Returns when it is in the recording's hands, which is before it may be
    /// delivered; waits while the disk is behind. A dropped call may have taken it down.
    pub async fn write(&self, moment: Moment<'_>) -> Result<(), RecordingFailed> {
        self.check()?;
        let micros = self.track.micros();
        let waiting = {
            let mut pending = self.track.lock();
            let Pending { encoder, sheet } = &mut *pending;
            encoder.add(micros, moment, sheet);
            sheet.len()
        };
        if waiting >= RECORDING_BUFFER_BYTES {
            self.announce();
        }
        if waiting >= RECORDING_IN_FLIGHT_BYTES_MAX {
            self.wait_for_room().await?;
        }
        Ok(())
    }

    fn announce(&self) {
        if !self.track.announced.swap(true, Ordering::AcqRel)
            && self.queue.try_send(Job::Take(self.track.id.clone())).is_err()
        {
            // A full queue: the thread looks at every recording once a second anyway.
            self.track.announced.store(false, Ordering::Release);
        }
    }

    async fn wait_for_room(&self) -> Result<(), RecordingFailed> {
        let mut failed = self.failed.clone();
        loop {
            let taken = self.track.taken.notified();
            if self.track.lock().sheet.len() < RECORDING_IN_FLIGHT_BYTES_MAX {
                return Ok(());
            }
            self.announce();
            tokio::select! {
                () = taken => {}
                _ = failed.wait_for(Option::is_some) => return self.check(),
            }
        }
    }

    /// Whether it can still be written.
    pub fn check(&self) -> Result<(), RecordingFailed> {
        match self.failed.borrow().as_ref() {
            Some(why) => Err(RecordingFailed(why.clone())),
            None => Ok(()),
        }
    }

    /// Returns once it cannot be written any more.
    pub async fn failed(&self) -> RecordingFailed {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(why) => RecordingFailed(why.clone().unwrap_or_default()),
            Err(_) => RecordingFailed(GONE.into()),
        }
    }

    /// All sealed segments, each time there is one more: some thousands in the longest recording.
    pub fn segments(&self) -> watch::Receiver<Vec<Segment>> {
        self.segments.clone()
    }

    /// Seals the rest and says what the whole file is. On disk when it returns.
    pub async fn close(self) -> Result<Sealed, RecordingFailed> {
        let (answer, sealed) = oneshot::channel();
        let job = Job::Close(self.track.id.clone(), answer);
        self.queue.send(job).await.map_err(|_| RecordingFailed(GONE.into()))?;
        sealed.await.map_err(|_| RecordingFailed(GONE.into()))?
    }
}

const GONE: &str = "the recorder has stopped";
