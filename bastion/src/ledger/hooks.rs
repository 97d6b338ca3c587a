//! What the writer takes from outside: the clock, the end of the process, and faults in tests.

use audit_schema::time::Timestamp;
use std::sync::Arc;

/// The exit code of a process that does not know what it logged.
pub const EXIT_LOG_FAILED: i32 = 70;

/// The clock, what happens when an outcome is unknown, and where tests let a write fail.
#[derive(Clone)]
pub struct Hooks {
    /// What time it is.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Called with what happened when it is unknown whether a batch is in the log. Does not
    /// return but in tests; after it returns, the writer answers nobody and ends.
    pub fatal: Arc<dyn Fn(&str) + Send + Sync>,
    /// Asked before each write; always [`Fault::None`] outside tests.
    pub fault: Arc<dyn Fn(Step) -> Fault + Send + Sync>,
}

/// The writes of a batch, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Begin, and the lock on the head.
    Lock,
    /// The lines.
    Entries,
    /// What the commitments open to.
    Openings,
    /// The heads of the customers' chains.
    CustomerHeads,
    /// The head.
    Head,
    /// The commit.
    Commit,
    /// Reading the lines back.
    ReadBack,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [
        Self::Lock,
        Self::Entries,
        Self::Openings,
        Self::CustomerHeads,
        Self::Head,
        Self::Commit,
        Self::ReadBack,
    ];
}

/// How a write fails in a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// It fails and has done nothing.
    Before,
    /// It has been done, but answers an error.
    After,
    /// The disk is full; it has done nothing.
    Full,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            clock: Arc::new(now),
            fatal: Arc::new(end_process),
            fault: Arc::new(|_| Fault::None),
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

fn now() -> Timestamp {
    Timestamp::from_micros(chrono::Utc::now().timestamp_micros())
}

/// A flush that failed may have reached the disk, and asking again proves nothing: the kernel
/// drops the error with the page. Only a fresh process that reads what is there can tell.
fn end_process(what: &str) {
    tracing::error!(
        what,
        "it is unknown whether the last entries are in the log; ending (code 70). Look at the \
         disk and the database's own log, then start again: the start verifies the log and closes \
         what was open"
    );
    eprintln!("bastion: the log failed: {what}; start again once its disk is sound (code 70)");
    std::process::exit(EXIT_LOG_FAILED);
}
