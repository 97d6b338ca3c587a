//! Recordings: what was done on a channel, sealed from the first byte.
//!
//! In order: [`Recorder::blank`] draws a key and wraps it for the recipients, before there is a
//! certificate; the wrapped key is stored with the certificate's entry; [`Recorder::open`] makes
//! the file; the relay writes every byte there before it delivers it; [`Recording::close`] seals
//! it and says its digest, which the channel's closing entry holds. The gateway cannot open what
//! it has sealed.
//!
//! If we crash, the file holds whole sealed segments up to ten seconds ago, and [`verify`] finds
//! them without any key.

mod container;
mod digests;
mod disk;
mod payload;
mod reader;
mod section;
mod sheet;
mod thread;
mod track;
mod wrapped;

pub use crate::relay::keystream::CipherFailed;
pub use container::{ContainerKey, Header, SEAL_LINE_BYTES, Segment, Writer as ContainerWriter};
pub use payload::{Moment, Payload};
pub use reader::{BadRecording, Found, header, open, open_container, verify};
pub use section::Section;
pub use track::Recording;
pub use wrapped::{KeyError, Recipient, unwrap, wrap};

use super::{
    downstream::{Kind, Setup},
    page::Page,
};
use crate::metrics::{Alarm, METRICS};
use audit_schema::{event::Level, hash::Hash, time::Timestamp};
use bastion_core::{
    authorize::Grant,
    consent::RecordingLevel,
    id::{LeaseId, RecordingId},
    limits::{RECORDING_DESCRIPTORS_SHARE, RECORDING_QUEUE_MAX},
};
use container::Writer;
use digests::Digester;
use disk::Disk;
use payload::Encoder;
use sheet::Sheet;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use thread::{Job, Open};
use tokio::sync::{mpsc, watch};
use track::Track;

/// Makes recordings. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    folder: Arc<Path>,
    provider: Recipient,
    free_bytes_min: u64,
    queues: Arc<[mpsc::Sender<Job>]>,
}

/// A recording that has a key and no file yet.
pub struct Blank {
    id: RecordingId,
    key: ContainerKey,
    wrapped_json: String,
}

impl ChannelMeta {
    /// What the channel of a lease holds, by what the operator asked for.
    pub fn of((lease, level): (LeaseId, RecordingLevel), setup: &Setup, now: Timestamp) -> Self {
        let payload = match (&setup.kind, &setup.pty) {
            // Contents of files are not kept in any case.
            (Kind::Sftp, _) => Payload::Operations,
            _ if level == RecordingLevel::Digests => Payload::Digests,
            (Kind::Forward(to), _) => Payload::Forward { to: to.clone() },
            (_, Some(pty)) => Payload::Terminal {
                columns: pty.size.columns,
                rows: pty.size.rows,
                term: pty.term.clone(),
            },
            (Kind::Exec(command), None) => Payload::Streams { command: Some(command.clone()) },
            (Kind::Shell, None) => Payload::Streams { command: None },
        };
        Self { lease, payload, now }
    }
}

/// What a recording is of.
#[derive(Clone, Debug)]
pub struct ChannelMeta {
    /// The lease of the channel.
    pub lease: LeaseId,
    /// What it will hold.
    pub payload: Payload,
    /// When it begins.
    pub now: Timestamp,
}

/// A recording that ended in order and is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// SHA-256 of the whole file.
    pub digest: Hash,
    /// Its size.
    pub bytes: u64,
}

/// A recording that cannot be written: its channel must end.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct RecordingFailed(pub(crate) String);

/// Why there can be no recording, and so no channel.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// A key is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The crypto provider said no.
    #[error("no key for the recording can be drawn")]
    Cipher,
    /// The disk said no.
    #[error("no recording can be made in {folder}: {cause}")]
    Io {
        /// Where.
        folder: String,
        /// Why.
        cause: io::Error,
    },
    /// The disk is nearly full.
    #[error(
        "only {free} bytes are free in {folder}: make room, or lower `recordings.free_mib_min`"
    )]
    Full {
        /// Where.
        folder: String,
        /// How much is left.
        free: u64,
    },
    /// The writer thread is gone.
    #[error("the recorder has stopped: restart the gateway")]
    Stopped,
}

impl Recorder {
    /// Starts the writer threads. Recordings go to `folder`; those of troubleshoot channels are
    /// sealed for `provider`. To be called inside the runtime, which ticks them.
    pub fn start(
        folder: &Path,
        provider: Recipient,
        free_bytes_min: u64,
    ) -> Result<Self, RecorderError> {
        let files_max = files_max() / THREADS;
        let mut queues = Vec::new();
        for number in 0..THREADS {
            let (queue, jobs) = mpsc::channel(RECORDING_QUEUE_MAX);
            std::thread::Builder::new()
                .name(format!("recorder-{number}"))
                .spawn(move || thread::run(jobs, files_max))
                .map_err(|cause| io_error(folder, cause))?;
            tokio::spawn(tick(queue.downgrade()));
            queues.push(queue);
        }
        Ok(Self { folder: folder.into(), provider, free_bytes_min, queues: queues.into() })
    }

    /// Draws a key for the channel of a grant.
    pub fn blank(&self, grant: &Grant) -> Result<Blank, RecorderError> {
        self.blank_for(grant.level(), grant.recording_key())
    }

    /// Draws a key for a channel of this level and wraps it: for the customer's service if the
    /// channel reaches its data, otherwise for the provider.
    pub fn blank_for(&self, level: Level, service_key: &str) -> Result<Blank, RecorderError> {
        let room = self.check_room();
        // Cleared by the next recording that is sealed.
        if room.is_err() {
            METRICS.alarm(Alarm::Recording, true);
        }
        room?;
        let key = ContainerKey::draw().map_err(|_| RecorderError::Cipher)?;
        let mut entropy = [0; 10];
        aws_lc_rs::rand::fill(&mut entropy).map_err(|_| RecorderError::Cipher)?;
        let id = RecordingId::from_entropy(entropy);
        let recipient = match level {
            Level::Troubleshoot => self.provider.clone(),
            Level::Data => Recipient::from_pem(service_key)?,
        };
        let wrapped_json = wrapped::wrap(id.as_str(), &key, &[&recipient])?;
        Ok(Blank { id, key, wrapped_json })
    }

    /// Makes the file. Nothing may be relayed before this has returned.
    pub async fn open(&self, blank: Blank, meta: ChannelMeta) -> Result<Recording, RecorderError> {
        let disk = Disk::create(&self.path(&blank.id));
        let disk = disk.map_err(|cause| io_error(&self.folder, cause))?;
        let header = Header {
            created_at: meta.now.to_string(),
            lease: meta.lease.to_string(),
            payload: meta.payload.name().into(),
            recording: blank.id.to_string(),
        };
        let (mut start, mut sheet) = (Page::default(), Sheet::default());
        let writer = Writer::begin(&header, &blank.key, &mut start);
        let mut writer = writer.map_err(|_| RecorderError::Cipher)?;
        let encoder = Encoder::begin(&meta.payload, meta.now.seconds(), sheet.text());
        let digester = matches!(meta.payload, Payload::Digests).then(Digester::new);
        if digester.is_some() {
            let line = digests::first_line(meta.now.seconds());
            writer.data(line.as_bytes(), &mut start).map_err(|_| RecorderError::Cipher)?;
        }
        let queue = self.queue_of(&blank.id);
        let track = Track::new(blank.id, encoder, sheet);
        let (segments, segments_seen) = watch::channel(Vec::new());
        let (failed, failed_seen) = watch::channel(None);
        let open = Open {
            track: Arc::clone(&track),
            disk,
            free_bytes_min: self.free_bytes_min,
            folder: Some(Arc::clone(&self.folder)),
            writer,
            digester,
            start,
            segments,
            failed,
            unsealed_since: None,
            is_busy: false,
        };
        let job = Job::Open(Box::new(open));
        queue.send(job).await.map_err(|_| RecorderError::Stopped)?;
        Ok(Recording { track, queue, segments: segments_seen, failed: failed_seen })
    }

    /// Where a recording's file is.
    pub fn path(&self, id: &RecordingId) -> PathBuf {
        self.folder.join(format!("{id}.rec"))
    }

    fn queue_of(&self, id: &RecordingId) -> mpsc::Sender<Job> {
        let sum: usize = id.as_str().bytes().map(usize::from).sum();
        self.queues[sum % self.queues.len()].clone()
    }

    fn check_room(&self) -> Result<(), RecorderError> {
        let stat = nix::sys::statvfs::statvfs(&*self.folder)
            .map_err(|cause| io_error(&self.folder, cause.into()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        if free < self.free_bytes_min {
            return Err(RecorderError::Full { folder: self.folder.display().to_string(), free });
        }
        Ok(())
    }
}

impl Blank {
    /// The recording's id.
    pub fn id(&self) -> &RecordingId {
        &self.id
    }
    /// The key, wrapped: to be stored before the recording is opened.
    pub fn wrapped_json(&self) -> &str {
        &self.wrapped_json
    }
}

/// How many files recordings may keep open together.
fn files_max() -> usize {
    use nix::sys::resource::{Resource, getrlimit};
    // A system that does not tell lets a process have few.
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(descriptors / RECORDING_DESCRIPTORS_SHARE).unwrap_or(usize::MAX)
}

async fn tick(queue: mpsc::WeakSender<Job>) {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        let Some(queue) = queue.upgrade() else { return };
        // A full queue means that the thread is busy; the next second is soon enough.
        drop(queue.try_send(Job::Tick));
    }
}

fn io_error(folder: &Path, cause: io::Error) -> RecorderError {
    RecorderError::Io { folder: folder.display().to_string(), cause }
}

/// One may be waiting for a disk while the other writes.
const THREADS: usize = 2;

#[cfg(test)]
mod tests;
