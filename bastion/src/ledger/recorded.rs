//! What the log answers.

use crate::store::StoreError;
use audit_schema::time::Timestamp;

/// Something that is durable in the log. Only the writer makes one, after the commit.
#[derive(Debug)]
pub struct Recorded<T> {
    value: T,
    seq: u64,
    time: Timestamp,
}

impl<T> Recorded<T> {
    pub(super) fn new(value: T, stamp: Stamp) -> Self {
        Self { value, seq: stamp.seq, time: stamp.time }
    }
    /// What was recorded.
    #[allow(clippy::should_implement_trait)]
    pub fn get(&self) -> &T {
        &self.value
    }
    /// What was recorded, given up with its proof.
    pub fn into_inner(self) -> T {
        self.value
    }
    /// The last entry of the change; of a change that appended nothing, the last of the log.
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// The time of that entry.
    pub fn time(&self) -> Timestamp {
        self.time
    }
    /// The two outcomes of a decision, each as recorded as the other.
    pub fn split<A, B>(self) -> Result<Recorded<A>, Recorded<B>>
    where
        T: Into<Result<A, B>>,
    {
        let stamp = Stamp { seq: self.seq, time: self.time };
        match self.value.into() {
            Ok(value) => Ok(Recorded::new(value, stamp)),
            Err(value) => Err(Recorded::new(value, stamp)),
        }
    }
}

/// Something whose entry stands in the change that is being made: it has its place and its time,
/// and becomes durable with the change or not at all. Only [`Batch::enter`] makes one. What may
/// exist before its entry is durable is made from it inside the change; nothing leaves the change
/// but as [`Recorded`].
///
/// [`Batch::enter`]: super::Batch::enter
#[derive(Debug)]
pub struct Entered<T> {
    value: T,
    stamp: Stamp,
}

impl<T> Entered<T> {
    pub(super) fn new(value: T, stamp: Stamp) -> Self {
        Self { value, stamp }
    }
    /// What was entered.
    pub fn get(&self) -> &T {
        &self.value
    }
    /// What was entered, given up with its place.
    pub fn into_inner(self) -> T {
        self.value
    }
    /// The place of its entry.
    pub fn seq(&self) -> u64 {
        self.stamp.seq
    }
    /// The time of its entry.
    pub fn time(&self) -> Timestamp {
        self.stamp.time
    }
}

/// Where a change ended up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub seq: u64,
    pub time: Timestamp,
}

/// A change that is not made, and why: an outcome, not an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    /// A stable word for programs.
    pub code: &'static str,
    /// A sentence for whoever asked: lower case, says what to do next.
    pub sentence: String,
}

impl Refusal {
    /// A refusal with its word and its sentence.
    pub fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self { code, sentence: sentence.into() }
    }
}

/// Why a closure did not make its change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It says no; what it wrote is taken back, the rest of the batch stands.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The database said no.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl ChangeError {
    /// A refusal with its word and its sentence.
    pub fn refused(code: &'static str, sentence: impl Into<String>) -> Self {
        Self::Refused(Refusal::new(code, sentence))
    }
}

/// Why nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The change itself said no.
    #[error("{0}")]
    Refused(Refusal),
    /// No room on the disk of the log.
    #[error("the disk of the log is full: free space, then try again; nothing was recorded")]
    Full,
    /// The database is not reachable, too slow, or its clock is off.
    #[error("the log is not available: {0}; nothing was recorded")]
    Unavailable(String),
    /// The database refused a statement of this change.
    #[error("not recorded: {0}")]
    Failed(StoreError),
    /// The writer has ended.
    #[error("the log is closed: see the gateway's own log, then start it again")]
    Closed,
}

impl From<StoreError> for LedgerError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            StoreError::Unavailable(why) => Self::Unavailable(why),
            other => Self::Failed(other),
        }
    }
}

impl From<ChangeError> for LedgerError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => Self::Refused(refusal),
            ChangeError::Store(error) => error.into(),
        }
    }
}
