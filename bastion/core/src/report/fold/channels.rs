//! Channels: granted or refused, what went through them, how they ended.

use super::Fold;
use crate::report::{
    Access, Ending, FileMoved, Forwarded,
    made::{At, closed, denied, forwarded, granted},
};
use audit_schema::event::Event;

impl Fold {
    pub(super) fn fold_channel(&mut self, at: &At<'_>, event: &Event) {
        match event {
            Event::AccessGranted { lease, .. } => {
                if let Some(access) = granted(at, event) {
                    if let Some(ground) = &access.consent
                        && let Some(ticket) = self.tickets.get_mut(&ground.ticket)
                    {
                        ticket.consent.leases.push(lease.clone());
                        ticket.touch(at);
                    }
                    self.touch_instance(&access);
                    self.accesses.insert(lease.clone(), access);
                }
            }
            Event::AccessDenied { .. } if at.within => self.refusals.extend(denied(at, event)),
            Event::CertificateIssued { lease, serial, recording, .. } => {
                self.recordings.insert(recording.clone(), lease.clone());
                if let Some(access) = self.access(lease, at) {
                    access.certificate_serial = Some(*serial);
                    access.recording = Some(recording.clone());
                }
            }
            Event::ChannelClosed { lease, .. } => {
                if let Some(access) = self.access(lease, at) {
                    access.forwards.extend(forwarded(at, event));
                    access.ended = closed(at, event);
                    self.forget_if_past(lease);
                }
            }
            Event::Recovered { lease: Some(lease), recording: None, recording_digest, .. } => {
                if let Some(access) = self.access(lease, at) {
                    access.ended = Some(Ending {
                        recording_digest: recording_digest.clone(),
                        ..Ending::recovered(at)
                    });
                    self.forget_if_past(lease);
                }
            }
            _ => self.fold_passage(at, event),
        }
    }

    /// What goes through a channel while it is open.
    fn fold_passage(&mut self, at: &At<'_>, event: &Event) {
        match event {
            Event::RecordingSegment { recording, .. } => {
                if let Some(lease) = self.recordings.get(recording).cloned() {
                    self.access(&lease, at);
                }
            }
            Event::ForwardOpened { lease, recording, .. }
            | Event::ForwardClosed { lease, recording, .. } => {
                self.recordings.insert(recording.clone(), lease.clone());
                let access = self.access(lease, at);
                if let Some((access, forwarded)) = access.zip(forwarded(at, event)) {
                    note(&mut access.forwards, forwarded);
                }
            }
            Event::Recovered { lease: Some(lease), recording: Some(lent), .. } => {
                let access = self.access(lease, at);
                let forwards = access.into_iter().flat_map(|access| &mut access.forwards);
                for forwarded in forwards.filter(|forwarded| forwarded.recording == *lent) {
                    forwarded.reason = "recovered".into();
                    forwarded.entries.push(at.entry.seq);
                }
            }
            Event::ChannelCommands { lease, count, .. } => {
                if let Some(access) = self.access(lease, at) {
                    access.detected_commands = *count;
                    access.commands_seen = at.said("commands");
                }
            }
            Event::FileTransferred { lease, direction, bytes, sha256, complete, .. } => {
                if let Some(access) = self.access(lease, at) {
                    access.files.push(FileMoved {
                        direction: *direction,
                        path: at.said("path"),
                        bytes: *bytes,
                        sha256: sha256.clone(),
                        complete: *complete,
                        entry: at.entry.seq,
                    });
                }
            }
            Event::FileChanged { lease, .. } | Event::FileRefused { lease, .. } => {
                if let Some(access) = self.access(lease, at) {
                    access.file_changes += u64::from(matches!(event, Event::FileChanged { .. }));
                }
            }
            _ => {}
        }
    }

    /// An access, which stands on this entry, too.
    fn access(&mut self, lease: &str, at: &At<'_>) -> Option<&mut Access> {
        let access = self.accesses.get_mut(lease)?;
        access.entries.push(at.entry.seq);
        Some(access)
    }

    /// What ended before the period is not in the report; a long log must not fill the memory.
    fn forget_if_past(&mut self, lease: &str) {
        let past = self
            .accesses
            .get(lease)
            .is_some_and(|access| access.ended.as_ref().is_some_and(|end| end.at < self.ask.from));
        if past {
            self.accesses.remove(lease);
        }
    }
}

/// A connection that begins, or the end of one that is known.
fn note(known: &mut Vec<Forwarded>, forwarded: Forwarded) {
    match known.iter_mut().find(|known| known.recording == forwarded.recording) {
        Some(begun) => {
            let entries = [&begun.entries[..], &forwarded.entries].concat();
            *begun = Forwarded { opened_at: begun.opened_at, entries, ..forwarded };
        }
        None => known.push(forwarded),
    }
}
