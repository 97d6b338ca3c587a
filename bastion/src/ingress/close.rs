//! The end of a channel: its evidence while it runs, its last entry, its last words.

use super::{
    EXIT_DENIED,
    fault::Fault,
    refusal,
    session::Session,
    voice::{self, Voice},
};
use crate::{
    app::{App, End},
    ca::Lease,
    gate::close::{Ended, FileEvent},
    ledger::{LedgerError, projection::Filter},
    metrics::METRICS,
    relay::{
        Closing, Evidence, Exit,
        downstream::Downstream,
        recording::{Recording, Segment},
    },
};
use audit_schema::event::{ChannelKind, Outcome};
use bastion_core::{
    authorize::{Denial, Grant},
    channel::is_forward,
    escape,
    id::RecordingId,
    lease::Cause,
    limits::EVIDENCE_WAITING_MAX,
    typed::Commands,
};
use russh::{
    ChannelWriteHalf, Sig,
    server::{ChannelOpenHandle, Msg},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// What the last entry of a channel needs to know from its beginning.
pub(super) struct Last {
    grant: Arc<Grant>,
    recording: Option<RecordingId>,
    began: Instant,
}

/// Where the last words of a channel can be heard.
pub(super) struct Mouth {
    /// The channel.
    pub write: ChannelWriteHalf<Msg>,
    /// The answer to its opening, if that waits still.
    pub opening: Option<ChannelOpenHandle>,
    /// What kind of channel it is.
    pub kind: ChannelKind,
}

impl Mouth {
    /// The operator's side of a channel of this kind.
    pub fn of(operator: Box<Downstream>, kind: ChannelKind) -> Self {
        let Downstream { write, opening, .. } = *operator;
        Self { write, opening, kind }
    }
}

/// A channel that is over, but for its last words.
pub(super) struct Over {
    mouth: Mouth,
    words: Option<String>,
    /// The operator has not been told an exit status or signal.
    unanswered: bool,
}

impl Last {
    /// For a channel that was granted.
    pub fn of(grant: &Arc<Grant>) -> Self {
        Self { grant: Arc::clone(grant), recording: None, began: Instant::now() }
    }

    /// Which recording it got.
    pub fn recording(&mut self, id: &RecordingId) {
        self.recording = Some(id.clone());
    }
}

impl Over {
    /// A denial, whose entry is durable.
    pub fn denied(session: &Session, mouth: Mouth, denial: &Denial) -> Self {
        count_denial(session, denial);
        // The rule that decided, by its stable name, for whoever asks about it or scripts it.
        let words = format!("bastion: {} [{}]", denial.sentence(), denial.spoken_reason());
        Self { mouth, words: Some(words), unanswered: true }
    }

    /// Something else that the operator has to be told.
    pub fn spoken(mouth: Mouth, fault: &Fault) -> Self {
        Self::said(mouth, fault.sentence.strip_prefix("bastion: ").unwrap_or(&fault.sentence))
    }

    /// A sentence.
    pub fn said(mouth: Mouth, sentence: &str) -> Self {
        Self { mouth, words: Some(format!("bastion: {sentence}")), unanswered: true }
    }

    /// Says what there is to say, and closes the channel.
    pub async fn speak(self, terminal: bool) {
        let Mouth { write, opening, kind } = self.mouth;
        let voice = Voice::new(write, terminal);
        match (opening, self.words, self.unanswered) {
            (Some(opening), words, _) => {
                opening.reject(refusal::failure(&words.unwrap_or_default())).await;
            }
            // An open forward carries somebody else's bytes: there is no place for words of ours.
            (None, _, _) if is_forward(kind) => voice.close().await,
            (None, Some(words), true) => {
                voice.last_words(&format!("{words}\n"), EXIT_DENIED).await;
            }
            (None, Some(words), false) => {
                voice.say(&format!("{words}\n")).await;
                voice.close().await;
            }
            (None, None, _) => voice.close().await,
        }
    }
}

/// Enters what the relay sees while it runs. If the log does not take it, the channel ends: the
/// relay is told through its lease, and what it still sends is let go.
pub(super) async fn enter(app: &App, lease: &Lease, mut seen: mpsc::Receiver<Box<Evidence>>) {
    let mut pieces = Vec::new();
    while seen.recv_many(&mut pieces, EVIDENCE_WAITING_MAX).await > 0 {
        let (mut files, mut segments) = (Vec::new(), Vec::new());
        for piece in pieces.drain(..) {
            match *piece {
                Evidence::Segment(segment) => segments.push(segment),
                Evidence::Transferred(file) => files.push(FileEvent::Transferred {
                    path: file.path,
                    direction: file.direction,
                    bytes: file.bytes,
                    complete: file.complete,
                    sha256: file.sha256,
                    offset: file.offset,
                    status: file.status,
                }),
                Evidence::Changed(change) => files.push(FileEvent::Changed {
                    operation: change.operation,
                    path: change.path,
                    target: change.target,
                    status: change.status,
                }),
                Evidence::Refused(refused) => files.push(FileEvent::Refused {
                    operation: refused.operation,
                    path: refused.path,
                    target: refused.target,
                }),
            }
        }
        if let Err(error) = enter_some(app, lease, files, segments).await {
            tracing::error!(lease = %lease.id(), %error, "evidence could not be entered");
            app.live.end(lease.id(), Cause::LogUnavailable);
        }
    }
}

async fn enter_some(
    app: &App,
    lease: &Lease,
    files: Vec<FileEvent>,
    segments: Vec<Segment>,
) -> Result<(), LedgerError> {
    if !files.is_empty() {
        app.gate.files(lease.grant(), files).await?;
    }
    for segment in segments {
        let sealed = (segment.index, segment.bytes, segment.digest);
        app.gate.segment(lease.grant(), lease.recording(), sealed).await?;
    }
    Ok(())
}

/// A signal's name without `SIG`, as SSH has it.
fn signal(name: &Sig) -> String {
    match name {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}

/// The end of a channel that ran. A client that has been told how its program ended is let go at
/// once: it has no use for the disk on which its recording is sealed, and for the entry that says
/// so.
pub(super) async fn ended(app: &App, last: Last, closing: Closing) -> Over {
    if closing.exit.is_some() && closing.sentence.is_none() {
        voice::hang_up(&closing.write).await;
    }
    let sealed = closing.recording.close().await;
    let (mut outcome, mut reason) = (closing.outcome, closing.reason.to_owned());
    let mut words = closing.sentence;
    if let Err(error) = &sealed {
        // The channel is over already; that its recording is not whole must not look like order.
        tracing::error!(lease = %last.grant.lease(), %error, "a recording could not be sealed");
        (outcome, reason) = (Outcome::Failed, Cause::RecordingFailed.as_str().to_owned());
        words = Some(Cause::RecordingFailed.sentence());
    }
    let (exit_status, exit_signal) = match &closing.exit {
        Some(Exit::Status(status)) => (Some(u64::from(*status)), None),
        Some(Exit::Signal { name, .. }) => (None, Some(signal(name))),
        None => (None, None),
    };
    if reason == Cause::Officer.as_str() {
        let request = last.grant.request();
        let ids = [request.lease.as_str(), request.session.as_str()];
        words = officers_reason(app, &ids).await.map(|why| {
            let sentence = Cause::Officer.sentence();
            format!("{}: {why}", sentence.trim_end_matches('.'))
        });
        words.get_or_insert_with(|| Cause::Officer.sentence());
    }
    let unanswered = closing.exit.is_none();
    let duration = last.began.elapsed();
    let ended = Ended {
        outcome,
        reason,
        recording: last.recording,
        sealed: sealed.ok().map(|sealed| (sealed.digest, sealed.bytes)),
        bytes_in: closing.bytes_in,
        bytes_out: closing.bytes_out,
        bytes_err: closing.bytes_err,
        duration_ms: millis(duration),
        exit_status,
        exit_signal,
        files: Vec::new(),
        commands: closing.commands,
    };
    record(app, &last.grant, ended).await;
    let mouth = Mouth { write: closing.write, opening: None, kind: last.grant.kind() };
    Over { mouth, words, unanswered }
}

/// What an officer wrote who ended one of these: the operator should read it. An index that does
/// not answer at once is not waited for.
pub(super) async fn officers_reason(app: &App, ids: &[&str]) -> Option<String> {
    let find = async {
        let index = app.projection().await.ok()?;
        index.catch_up().await.ok()?;
        for id in ids {
            let filter = Filter {
                event: Some("session.end_requested".into()),
                session: Some((*id).to_owned()),
                ..Filter::default()
            };
            let Some(row) = index.query(&filter).await.ok()?.rows.into_iter().next() else {
                continue;
            };
            let openings = app.ledger.openings(row.seq).await.ok()?;
            let reason = openings.into_iter().find(|opening| opening.field == "justification");
            return reason.map(|opening| escape::terminal(&opening.value));
        }
        None
    };
    tokio::time::timeout(super::LAST_WORDS * 4, find).await.ok().flatten()
}

/// The end of a channel that was granted and never began.
pub(super) async fn never_began(
    app: &App,
    last: Last,
    operator: Box<Downstream>,
    fault: Fault,
) -> Over {
    let over = Over::spoken(Mouth::of(operator, last.grant.kind()), &fault);
    let duration = last.began.elapsed();
    let ended = Ended {
        outcome: fault.outcome,
        reason: fault.reason,
        recording: last.recording,
        sealed: None,
        bytes_in: 0,
        bytes_out: 0,
        bytes_err: 0,
        duration_ms: millis(duration),
        exit_status: None,
        exit_signal: None,
        files: Vec::new(),
        commands: Commands::default(),
    };
    record(app, &last.grant, ended).await;
    over
}

/// The end of an access without a channel of the operator's: how, why, and the bytes of what went
/// through.
pub(super) async fn alone(
    app: &App,
    last: Last,
    (outcome, reason, (bytes_in, bytes_out)): (Outcome, String, (u64, u64)),
    recording: Option<Recording>,
) {
    let sealed = match recording {
        Some(recording) => recording.close().await.ok(),
        None => None,
    };
    let ended = Ended {
        outcome,
        reason,
        recording: last.recording,
        sealed: sealed.map(|sealed| (sealed.digest, sealed.bytes)),
        bytes_in,
        bytes_out,
        bytes_err: 0,
        duration_ms: millis(last.began.elapsed()),
        exit_status: None,
        exit_signal: None,
        files: Vec::new(),
        commands: Commands::default(),
    };
    record(app, &last.grant, ended).await;
}

/// Counts a denial, whose entry is durable, against the session.
pub(super) fn count_denial(session: &Session, denial: &Denial) {
    if !session.may_be_refused_again() {
        session.end(End::Refusals);
    }
    METRICS.denial(denial.reason().as_str());
    tracing::info!(reason = denial.reason().as_str(), "denied");
}

/// Enters the end, and closes the lease in the same transaction.
async fn record(app: &App, grant: &Grant, ended: Ended) {
    let lease = grant.lease();
    tracing::info!(%lease, outcome = ?ended.outcome, reason = ended.reason, "channel closed");
    if let Err(error) = app.gate.close(grant, ended).await {
        // The lease stays open in the store, so the next start closes it as recovered.
        tracing::error!(%lease, %error, "the end of a channel was not recorded");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
