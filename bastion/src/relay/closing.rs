//! How a channel came to its end, and what was found on the way.

use super::{
    outbox::Exit,
    recording::{Recording, RecordingFailed, Segment},
    sftp::{Change, Lost, Refused, Transfer},
    spool::Overrun,
    tap::Tapped,
};
use crate::{ca::Lease, egress::EgressError};
use audit_schema::{
    event::{Level, Outcome},
    time::Timestamp,
};
use bastion_core::{file_rule::FileRule, lease::Cause, typed::Commands};
use russh::{ChannelWriteHalf, server};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::Instant};

/// Until when a channel may live.
#[derive(Clone, Debug)]
pub struct Terms {
    /// On the monotonic clock.
    pub deadline: Instant,
    /// On the wall clock; whichever comes first.
    pub deadline_at: Timestamp,
    /// What the deadline means.
    pub deadline_cause: Cause,
    /// Turns to `Some` when the ground is gone.
    pub end: watch::Receiver<Option<Cause>>,
    /// How long nothing may go through.
    pub idle: Duration,
    /// Which way files may go; nothing if either way.
    pub files: Option<FileRule>,
    /// Where those find the channel who may watch it.
    pub tap: Option<Arc<Tapped>>,
    /// Whether the commands that are typed are looked for.
    pub finds_commands: bool,
}

impl Terms {
    /// What a lease says, with how long its channel may be idle.
    pub fn of(lease: &Lease, idle: Duration) -> Self {
        Self {
            deadline: lease.deadline(),
            deadline_at: lease.deadline_at(),
            deadline_cause: lease.grant().deadline_cause(),
            end: lease.end(),
            idle,
            files: lease.grant().file_rule().cloned(),
            tap: None,
            // What is typed where customer data is belongs into its recording alone.
            finds_commands: lease.grant().level() == Level::Troubleshoot,
        }
    }

    /// The same, for a channel that can be watched.
    pub fn watchable(self, tap: Tapped) -> Self {
        Self { tap: Some(Arc::new(tap)), ..self }
    }
}

impl Terms {
    /// Returns when the lease is over: its ground is gone, or its time.
    pub(crate) async fn over(&self) -> Cause {
        tokio::select! {
            cause = ground_gone(self) => cause,
            () = deadline(self) => self.deadline_cause,
        }
    }
}

async fn ground_gone(terms: &Terms) -> Cause {
    let mut end = terms.end.clone();
    match end.wait_for(Option::is_some).await {
        Ok(cause) => cause.unwrap_or(Cause::Unconfirmed),
        // Nobody watches this lease any more: then nobody knows whether it still stands.
        Err(_) => Cause::Unconfirmed,
    }
}

/// Both clocks: the monotonic one cannot be set, and the wall clock is what was promised.
async fn deadline(terms: &Terms) {
    while tokio::time::Instant::now() < terms.deadline && crate::clock::now() < terms.deadline_at {
        let left = terms.deadline - tokio::time::Instant::now();
        tokio::time::sleep(left.min(Duration::from_secs(1))).await;
    }
}

/// What the relay finds while a channel lives, for the log.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A segment of the recording was sealed.
    Segment(Segment),
    /// A file went through.
    Transferred(Transfer),
    /// A file was changed in another way.
    Changed(Change),
    /// A request was refused by the rule on the direction of files.
    Refused(Refused),
}

/// A channel that is over. The operator's side is handed back: whoever asked for the relay says
/// the last words there and closes it, and closes the recording.
pub struct Closing {
    /// How it ended.
    pub outcome: Outcome,
    /// A stable word for why.
    pub reason: &'static str,
    /// What the operator should read, when it did not end by itself.
    pub sentence: Option<String>,
    /// How the program ended, if it did.
    pub exit: Option<Exit>,
    /// Bytes from the operator that were passed on.
    pub bytes_in: u64,
    /// Bytes of output that were passed on.
    pub bytes_out: u64,
    /// Bytes of error output that were passed on.
    pub bytes_err: u64,
    /// The commands that were seen to be typed.
    pub commands: Commands,
    /// To be closed.
    pub recording: Recording,
    /// The operator's channel, not closed.
    pub write: ChannelWriteHalf<server::Msg>,
    /// The operator's connection.
    pub handle: server::Handle,
}

/// Why the relay stops.
#[derive(Debug)]
pub(super) enum Ending {
    ProgramEnded,
    OperatorLeft,
    VmLost,
    NotStarted(EgressError),
    Cut(Cause),
    Overrun(Overrun),
    /// Under a rule on the direction of files.
    Lost(Lost, FileRule),
    Unrecorded(RecordingFailed),
    /// A forward that is SSH.
    CarriesSsh,
    /// A forward whose far end is over.
    FarEndClosed,
}

impl Ending {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::ProgramEnded | Self::OperatorLeft | Self::FarEndClosed => Outcome::Completed,
            Self::NotStarted(_) => Outcome::Unreachable,
            Self::Cut(_) | Self::Overrun(_) | Self::Lost(..) | Self::CarriesSsh => Outcome::Cut,
            Self::VmLost | Self::Unrecorded(_) => Outcome::Failed,
        }
    }

    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::ProgramEnded => "program_ended",
            Self::OperatorLeft => "operator_left",
            Self::VmLost => "vm_connection_lost",
            Self::NotStarted(why) => why.reason(),
            Self::Cut(cause) => cause.as_str(),
            Self::Overrun(Overrun::Disk(_)) => "spool_failed",
            Self::Overrun(_) => "spool_full",
            Self::Lost(Lost::Framing, _) => "sftp_not_followed",
            Self::Lost(Lost::Refusals, _) => "refusals",
            Self::CarriesSsh => "forward_carries_ssh",
            Self::FarEndClosed => "far_end_closed",
            Self::Unrecorded(_) => Cause::RecordingFailed.as_str(),
        }
    }

    pub(super) fn sentence(&self) -> Option<String> {
        let ends =
            |why: &dyn std::fmt::Display| Some(format!("bastion: this channel ends now: {why}."));
        match self {
            Self::ProgramEnded | Self::OperatorLeft | Self::FarEndClosed => None,
            Self::VmLost => ends(&"the connection to the VM was lost"),
            Self::NotStarted(why) => Some(format!("bastion: {why}.")),
            Self::Cut(cause) => Some(cause.sentence()),
            Self::Overrun(why) => ends(why),
            Self::Lost(lost, rule) => ends(&lost.sentence(rule)),
            Self::CarriesSsh => ends(&"a forward may not carry ssh: connect through the bastion"),
            Self::Unrecorded(why) => ends(why),
        }
    }
}

impl From<Overrun> for Ending {
    fn from(why: Overrun) -> Self {
        Self::Overrun(why)
    }
}

impl From<RecordingFailed> for Ending {
    fn from(why: RecordingFailed) -> Self {
        Self::Unrecorded(why)
    }
}
