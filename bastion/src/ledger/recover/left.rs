//! What a crash leaves open, as the rows and the log know it: leases, the connections that were
//! lent under them, and those who watched.

use crate::store::{Row, StoreError};
use audit_schema::{
    entry::Entry,
    event::{Actor, Event},
    time::Timestamp,
};
use bastion_core::id::{CustomerId, LeaseId, RecordingId, SessionId};

/// A lease that was live when the gateway ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLease {
    /// The lease.
    pub lease: LeaseId,
    /// The connection that it belonged to.
    pub session: SessionId,
    /// Whose VM it was for.
    pub customer: CustomerId,
    /// Its recording, if one was begun.
    pub recording: Option<OpenRecording>,
    /// Where its grant stands in the log.
    pub serial: u64,
    /// Connections that were lent under it and have no end.
    pub lent: Vec<OpenLent>,
    /// Who watched it, and since when.
    watches: Vec<(Actor, Timestamp)>,
    /// When its gateway wrote last: nothing is known to have gone on after it.
    seen: Timestamp,
}

/// A recording that nobody closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRecording {
    /// Which.
    pub id: RecordingId,
    /// What the log fixed of it last: bytes, and their SHA-256 in hex.
    pub entered: Option<(u64, String)>,
}

/// A connection that was lent under a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenLent {
    number: u64,
    /// Its recording.
    pub recording: OpenRecording,
}

impl OpenRecording {
    fn of(id: RecordingId) -> Self {
        Self { id, entered: None }
    }
}

impl OpenLease {
    /// The rows that [`Self::read`] reads.
    pub(super) const ROWS: &str =
        "SELECT id, session, customer, recording, serial, granted_at FROM leases";

    pub(super) fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            lease: row.parsed(0)?,
            session: row.parsed(1)?,
            customer: row.parsed(2)?,
            recording: row.opt_parsed(3)?.map(OpenRecording::of),
            serial: row.u64(4)?,
            lent: Vec::new(),
            watches: Vec::new(),
            seen: row.time(5)?,
        })
    }

    /// The ends of those who watched, each with whose it is. What they missed nobody knows.
    pub(super) fn watches_ended(&self) -> impl Iterator<Item = (Actor, Event)> {
        self.watches.iter().map(|(watcher, since)| {
            let micros = self.seen.micros().saturating_sub(since.micros());
            let event = Event::WatchEnded {
                duration_ms: u64::try_from(micros / 1000).unwrap_or_default(),
                lease: self.lease.to_string(),
                reason: "recovered".to_owned(),
                skipped: 0,
            };
            (watcher.clone(), event)
        })
    }

    fn note(&mut self, by: &Actor, at: Timestamp, event: &Event) {
        match event {
            Event::ForwardOpened { number, recording, .. } => {
                // An id that no gateway made names no file, and there is nothing to look at.
                let Ok(id) = recording.parse() else { return };
                self.lent.push(OpenLent { number: *number, recording: OpenRecording::of(id) });
            }
            Event::ForwardClosed { number, .. } => self.lent.retain(|lent| lent.number != *number),
            Event::WatchStarted { .. } => self.watches.push((by.clone(), at)),
            Event::WatchEnded { .. } => {
                let ended = self.watches.iter().position(|(watcher, _)| watcher == by);
                ended.map(|index| self.watches.remove(index));
            }
            _ => {}
        }
    }
}

/// Takes from an entry what it says of these leases.
pub(super) fn note(open: &mut [OpenLease], gateway: &str, entry: &Entry) {
    if entry.gateway == gateway {
        open.iter_mut().for_each(|lease| lease.seen = entry.time);
    }
    let Some(event) = entry.event() else { return };
    match &event {
        Event::RecordingSegment { bytes, digest, recording, .. } => {
            let mut recordings = open.iter_mut().flat_map(|lease| {
                lease.recording.iter_mut().chain(lease.lent.iter_mut().map(|l| &mut l.recording))
            });
            if let Some(of) = recordings.find(|open| open.id.as_str() == recording) {
                of.entered = Some((*bytes, digest.clone()));
            }
        }
        Event::ForwardOpened { lease, .. }
        | Event::ForwardClosed { lease, .. }
        | Event::WatchStarted { lease, .. }
        | Event::WatchEnded { lease, .. } => {
            if let Some(of) = open.iter_mut().find(|open| open.lease.as_str() == lease) {
                of.note(&entry.actor, entry.time, &event);
            }
        }
        _ => {}
    }
}
