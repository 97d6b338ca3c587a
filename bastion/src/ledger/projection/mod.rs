//! The query index: what the log says, in columns.
//!
//! The entry store has no index but the place of an entry, because indexes are what limits
//! inserts. So the entries are read once more, by a task that follows the log and folds each into
//! a row ([`fold`]) of a store of its own: `index.db` beside an SQLite log, the schema
//! `projection` beside the log's tables on PostgreSQL. Nothing in it is evidence: an answer to a
//! query names entries, and whoever shows one reads it from the log.
//!
//! It holds the words of what commitments open to, in clear, where the log has them sealed. So it
//! is in no backup and no log of a database (it can be made again), and after an erasure every
//! table of it is dropped, its freed pages zeroed and its write-ahead log cut, before it is built
//! again from what is left. What went through data channels is customer data and is not in it.

mod chunk;
mod counts;
mod fold;
mod follow;
mod query;
mod schema;
pub mod views;

pub use counts::{Count, Counting, Group};
pub use query::{BadCursor, Cursor, Filter, Order, Page, Row};

use super::{Ledger, reading::ReadError};
use crate::store::{Answer, AskError, Db, Options, StoreError};
use bastion_core::{limits::INDEX_WAIT_SECONDS_MAX, sql::Selection};
use std::{sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};

/// A handle to the query index; cheap to clone. The task that feeds it ends with the last handle.
#[derive(Clone)]
pub struct Projection {
    index: Db,
    ledger: Ledger,
    /// How many entries the index has seen; set back when it is begun anew.
    seen: Arc<watch::Sender<u64>>,
    /// Tells the task that somebody waits.
    wanted: Arc<Notify>,
    _feeder: Arc<Feeder>,
}

/// Ends the task when the last handle is dropped.
struct Feeder(tokio::task::JoinHandle<()>);

impl Drop for Feeder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why the index does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProjectionError {
    /// Its database failed.
    #[error("the query index: {0}")]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error("{0}")]
    Log(#[from] ReadError),
    /// It is too far behind the log.
    #[error(
        "the query index has not seen entry {seq} within {INDEX_WAIT_SECONDS_MAX} s ({lag} entries \
         behind): try again, or see the gateway's own log"
    )]
    Behind {
        /// What was waited for.
        seq: u64,
        /// How far behind it is.
        lag: u64,
    },
}

impl Projection {
    /// Opens the index (`sqlite:PATH`, or the log's own PostgreSQL URL), begins it anew if it is
    /// of another log or another build, and starts to follow the log.
    pub async fn open(ledger: &Ledger, url: &str) -> Result<Self, ProjectionError> {
        let options = Options { schema: Some(schema::NAME), ..Options::REBUILDABLE };
        let index = Db::connect(url, &options).await?;
        let seen = schema::prepare(&index, ledger).await?;
        let seen = Arc::new(watch::Sender::new(seen));
        let wanted = Arc::<Notify>::default();
        let signs = (Arc::clone(&seen), Arc::clone(&wanted));
        let follower = follow::Follower::new(index.clone(), ledger.clone(), signs);
        let feeder = Arc::new(Feeder(tokio::spawn(follower.run())));
        Ok(Self { index, ledger: ledger.clone(), seen, wanted, _feeder: feeder })
    }

    /// Drops every row and reads the log again; answers when all of it is there. What was erased
    /// from the log's openings is then gone from here too.
    pub async fn rebuild(&self) -> Result<u64, ProjectionError> {
        schema::reset(&self.index, &self.ledger).await?;
        let mut contexts = fold::Contexts::default();
        follow::advance(&self.index, &self.ledger, &mut contexts, &self.seen).await
    }

    /// Drops every row, so that nothing of what was erased is left in a file of it, and begins to
    /// read the log again; false if a reader kept the write-ahead log from being cut. Whoever asks
    /// meanwhile waits, and hears how far behind it is.
    pub async fn forget(&self) -> Result<bool, ProjectionError> {
        schema::reset(&self.index, &self.ledger).await?;
        self.seen.send_replace(0);
        self.wanted.notify_one();
        Ok(self.index.scrub().await?)
    }

    /// How many entries the index has yet to see.
    pub fn lag(&self) -> u64 {
        self.ledger.size().borrow().saturating_sub(*self.seen.borrow())
    }

    /// Waits until the index has seen an entry: whoever recorded it finds it in the next query.
    pub async fn wait_for(&self, seq: u64) -> Result<(), ProjectionError> {
        let mut seen = self.seen.subscribe();
        let wait = Duration::from_secs(INDEX_WAIT_SECONDS_MAX);
        let caught_up = async {
            loop {
                self.wanted.notify_one();
                seen.wait_for(|seen| *seen > seq).await.ok()?;
                // Another gateway may have begun it anew, for an erasure say.
                let cursor = schema::cursor(&self.index).await.ok().flatten().unwrap_or_default();
                if cursor > seq {
                    return Some(());
                }
                self.seen.send_replace(cursor);
            }
        };
        match tokio::time::timeout(wait, caught_up).await {
            Ok(Some(())) => Ok(()),
            Ok(None) | Err(_) => Err(ProjectionError::Behind { seq, lag: self.lag() }),
        }
    }

    /// Waits until the index has seen all that the log had when this was called.
    pub async fn catch_up(&self) -> Result<(), ProjectionError> {
        let size = super::head::Head::read(self.ledger.db()).await?.size();
        match size.checked_sub(1) {
            Some(last) => self.wait_for(last).await,
            None => Ok(()),
        }
    }

    /// The rows that a filter lets through, one page.
    pub async fn query(&self, filter: &Filter) -> Result<Page, ProjectionError> {
        Ok(query::run(&self.index, self.ledger.db(), filter).await?)
    }

    /// How many entries there are, by what they are grouped by.
    pub async fn count(&self, counting: &Counting) -> Result<Vec<Count>, ProjectionError> {
        Ok(counts::run(&self.index, self.ledger.db(), counting).await?)
    }

    /// Asks an auditor's own statement, over the documented views.
    pub async fn ask(&self, selection: &Selection) -> Result<Answer, AskError> {
        self.index.ask(selection, schema::NAME, views::ROLE).await
    }

    /// How the index finds them, in its database's words.
    pub async fn plan(&self, filter: &Filter) -> Result<Vec<String>, ProjectionError> {
        Ok(query::plan(&self.index, self.ledger.db(), filter).await?)
    }
}
