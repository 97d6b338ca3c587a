//! What happens between a batch being durable and its callers hearing of it: it is added to the
//! tree in memory, and the gateway's mark says that the log is so long.

use super::{batch::Pending, head::Head, mark::Mark, proofs::Tree};
use crate::metrics::{Alarm, METRICS};
use std::sync::Arc;

/// Where the writer notes what it is about to answer.
pub(super) struct Answered {
    pub tree: Arc<Tree>,
    pub mark: Option<Arc<Mark>>,
    pub origin: String,
}

impl Answered {
    /// A batch is durable, and the log is as it says. If we crash before the mark is written,
    /// nobody was answered, and the next start finds a log that is longer than its mark.
    pub fn batch(&self, written: Vec<Pending>, head: &Head) {
        if written.is_empty() {
            return;
        }
        self.tree.appended_lines(written);
        let Some(mark) = &self.mark else { return };
        let raised = mark.raise(&self.origin, head.frontier().head());
        METRICS.alarm(Alarm::Mark, raised.is_err());
        if let Err(error) = raised {
            // The entries are durable: a log that a restore cuts off would only not be noticed
            // here. The alarm stays until the mark can be written again.
            tracing::error!(%error, file = %mark.path().display(), "the high-water mark");
        }
    }
}
