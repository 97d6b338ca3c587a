//! One change in its batch: run, and kept or taken back alone.

use super::{
    Batch, ChangeError, hooks::Hooks, job::Job, recorded::Stamp, sequencer::Metrics, write::bounded,
};
use crate::store::StoreError;
use bastion_core::limits::CHANGE_SECONDS_MAX;
use futures_util::FutureExt as _;
use std::{panic::AssertUnwindSafe, sync::atomic::Ordering, time::Duration};

/// A change that stands, with the place of its last entry: it waits for the commit.
pub(super) type Ran = (Job, Stamp);

/// Runs a change. One that is refused or fails is answered as soon as what it wrote is taken back.
///
/// # Errors
/// When it cannot be taken back alone: then the transaction is lost, and all that ran in it. (A
/// full disk rolls all of it back, say; a connection that broke cannot do anything alone.)
pub(super) async fn run(
    mut job: Job,
    batch: &mut Batch,
    hooks: &Hooks,
    metrics: &Metrics,
) -> Result<Option<Ran>, StoreError> {
    if !job.take() {
        return Ok(None);
    }
    batch.begin_change((hooks.clock)());
    let error = match outcome(&mut job, batch).await {
        Ok(()) => match kept(batch).await {
            Ok(stamp) => return Ok(Some((job, stamp))),
            Err(error) => {
                job.failed(error.clone().into());
                return Err(error);
            }
        },
        Err(error) => error,
    };
    let undone = bounded(CHANGE_SECONDS_MAX, batch.undo_change()).await;
    match &error {
        ChangeError::Refused(_) => metrics.refused.fetch_add(1, Ordering::Relaxed),
        ChangeError::Store(_) => metrics.failed.fetch_add(1, Ordering::Relaxed),
    };
    let label = job.label;
    // Whatever becomes of the batch, this change is not in it.
    let cause = match &error {
        ChangeError::Store(cause) => Some(cause.clone()),
        ChangeError::Refused(_) => None,
    };
    job.failed(error.into());
    undone.map(|()| None).map_err(|fault| {
        tracing::warn!(%fault, change = label, "a change could not be taken back alone");
        // What broke the transaction says more than what then could not be done in it.
        cause.unwrap_or(fault)
    })
}

/// Runs the closure: within its time, and whatever it does.
async fn outcome(job: &mut Job, batch: &mut Batch) -> Result<(), ChangeError> {
    let label = job.label;
    let work = AssertUnwindSafe(job.run(batch)).catch_unwind();
    match tokio::time::timeout(Duration::from_secs(CHANGE_SECONDS_MAX), work).await {
        Ok(Ok(outcome)) => outcome?,
        Ok(Err(_)) => return Err(StoreError::failed(format!("{label} panicked")).into()),
        Err(_) => {
            let why = format!("{label} took more than {CHANGE_SECONDS_MAX} s");
            return Err(StoreError::Unavailable(why).into());
        }
    }
    // A fact that changes without an entry would be a mistake of ours.
    match batch.appended() == 0 && batch.wrote_rows() {
        true => Err(StoreError::failed(format!("{label} wrote rows and appended no entry")).into()),
        false => Ok(()),
    }
}

async fn kept(batch: &mut Batch) -> Result<Stamp, StoreError> {
    bounded(CHANGE_SECONDS_MAX, batch.keep_change()).await?;
    let head = batch.head();
    let last = head.size().checked_sub(1);
    let seq = last.ok_or_else(|| StoreError::failed("the log has no entry"))?;
    Ok(Stamp { seq, time: head.time() })
}
