//! Whether the log is still all that somebody remembers.
//!
//! A backup that was put back holds by itself: nothing in it tells that there was more. So a start
//! asks everybody who may know better (this gateway's mark, the published folder's checkpoint, a
//! witness), and refuses a log that is shorter than one of them remembers, or that has another
//! root at the size that they remember.

use super::{
    epochs::Epoch,
    mark::Remembered,
    open::{OpenError, Opening},
    proofs::Tree,
};
use audit_schema::merkle;

/// The log is not the one that somebody remembers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// It was longer.
    #[error(
        "the log has {size} entries, and {who} remembers {remembered}: entries {size} to {} are \
         lost, as when an older backup was put back. Not started: put the newest store back. If \
         it is gone for good, `bastion audit new-epoch --lost {size}-{} --reason …` goes on under \
         another name, and tells every customer what was lost", remembered - 1, remembered - 1
    )]
    Shorter {
        /// Who remembers.
        who: String,
        /// How many entries there are.
        size: u64,
        /// How many there were.
        remembered: u64,
    },
    /// It was another.
    #[error(
        "the first {remembered} entries of the log are not those that {who} remembers: they were \
         rewritten, or another store was put in their place. Not started: keep this store as it \
         is, and put the right one back. If it is gone for good, `bastion audit new-epoch --lost \
         FROM-{} --reason …` goes on under another name", remembered - 1
    )]
    Other {
        /// Who remembers.
        who: String,
        /// How many entries there were.
        remembered: u64,
    },
    /// More of an earlier epoch was lost than its end says.
    #[error(
        "{who} remembers {remembered} entries of {origin}, more than were said to be lost when the \
         log went on under another name. Not started: put the newest store back, or keep this \
         gateway's mark aside as evidence and tell the customers"
    )]
    More {
        /// Who remembers.
        who: String,
        /// The name.
        origin: String,
        /// How many entries there were.
        remembered: u64,
    },
    /// It has gone on under a name that the store does not know.
    #[error(
        "{who} remembers the log as {origin}, which this store has never heard of: an older \
         backup was put back, or the store of another deployment. Not started: put the newest \
         store back"
    )]
    Unknown {
        /// Who remembers.
        who: String,
        /// The name.
        origin: String,
    },
}

/// Everybody who remembers, with what.
pub(super) fn remembered(opening: &Opening) -> Vec<(String, Remembered)> {
    let mark = opening.mark.as_ref().and_then(|mark| {
        let who = format!("the high-water mark {}", mark.path().display());
        mark.last().map(|last| (who, last))
    });
    mark.into_iter().chain(opening.remembered.iter().cloned()).collect()
}

/// Refuses a log that is not what somebody remembers.
pub(super) async fn check_one(
    tree: &Tree,
    epochs: &[Epoch],
    (who, Remembered { origin, head }): (String, Remembered),
) -> Result<(), OpenError> {
    let place = epochs.iter().position(|epoch| epoch.origin == origin);
    let after = place.map(|place| epochs.get(place + 1));
    match after {
        None => return Err(Lost::Unknown { who, origin }.into()),
        // An epoch that ended: what it lost was said, if it was no more than this.
        Some(Some(next)) if head.size <= next.old_size => return Ok(()),
        Some(Some(_)) => return Err(Lost::More { who, origin, remembered: head.size }.into()),
        Some(None) => {}
    }
    let now = tree.head().await.map_err(OpenError::Tree)?;
    if now.size < head.size {
        let (size, remembered) = (now.size, head.size);
        return Err(Lost::Shorter { who, size, remembered }.into());
    }
    let proof = tree.consistency(head.size, &now).await.map_err(OpenError::Tree)?;
    if merkle::verify_consistency(&head, &now, &proof).is_err() {
        return Err(Lost::Other { who, remembered: head.size }.into());
    }
    Ok(())
}
