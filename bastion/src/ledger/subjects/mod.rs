//! The keys of data subjects: what makes an erasure reach every copy.
//!
//! What the commitments of an entry open to (a salt and a value) stands in the store sealed under
//! a key of the person that it belongs to (`whose`). The keys stand in a store of their own,
//! apart from the database and its backups: a small SQLite file, or another PostgreSQL database
//! that all gateways share. Destroying a key erases what it sealed from every backup of the log
//! that was ever made, while each hash and each proof stays what it was.
//!
//! ```text
//! append ─▶ whose text? ─▶ key in memory? ── yes ─▶ seal ─▶ batch ─▶ one flush
//!                              └─ no ─▶ make it durable in the key store, then the same
//! ```
//!
//! A key is durable before it seals anything. If we crash between, there is a key that nothing was
//! sealed with, and the next text of that person takes it. A text whose key is gone is answered as
//! erased, so a backup that is put back cannot bring back what was erased since.

mod seal;
mod store;
mod whose;

pub use store::{KeyStoreError, key_tables};
pub(super) use whose::whose;
pub use whose::{contact, unknown_of};

use crate::{
    entropy::draw,
    store::{Db, StoreError, Tx},
};
use audit_schema::{commit::Opening, hash::Hash};
use bastion_core::limits::SUBJECT_KEYS_CACHED_MAX;
use seal::Key;
use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
use store::KeyStore;

/// The keys of a deployment's data subjects; cheap to clone.
#[derive(Clone)]
pub struct SubjectKeys {
    store: KeyStore,
    known: Arc<RwLock<Known>>,
    /// How many erasures the log had when it was last looked at.
    erasures: Arc<AtomicU64>,
}

/// What is in memory of the key store.
#[derive(Default)]
struct Known {
    /// The key that seals a subject's next text, with its id.
    by_subject: HashMap<String, (i64, Arc<Key>)>,
    /// None: there is no such key any more. Ids never come back.
    by_id: HashMap<i64, Option<Arc<Key>>>,
}

/// An opening as the database has it.
pub(super) struct Sealed {
    pub seq: u64,
    pub field: String,
    /// Which key opens it.
    pub key: i64,
    pub bytes: Vec<u8>,
}

impl SubjectKeys {
    /// Makes the key store of a new deployment: `sqlite:PATH` or `postgres://…`.
    pub async fn create(url: &str) -> Result<Self, KeyStoreError> {
        Ok(Self::of(KeyStore::create(url).await?))
    }

    /// Opens the key store of a deployment, which must be there.
    pub async fn open(url: &str) -> Result<Self, KeyStoreError> {
        Ok(Self::of(KeyStore::open(url, false).await?))
    }

    /// The same for looking only.
    pub async fn open_read_only(url: &str) -> Result<Self, KeyStoreError> {
        Ok(Self::of(KeyStore::open(url, true).await?))
    }

    fn of(store: KeyStore) -> Self {
        Self { store, known: Arc::default(), erasures: Arc::default() }
    }

    /// Where they stand.
    pub(crate) fn db(&self) -> &Db {
        self.store.db()
    }

    /// The name of the key store: the log knows which one is its own.
    pub fn name(&self) -> &str {
        self.store.name()
    }

    /// Seals a salt and a value; answers the key's id and the sealed bytes. Nonce and salt were
    /// drawn for this text alone.
    pub(super) async fn seal(
        &self,
        subject: &str,
        place: (u64, &str),
        (nonce, salt): ([u8; 12], &[u8; 32]),
        value: &str,
    ) -> Result<(i64, Vec<u8>), StoreError> {
        let (id, key) = match self.in_memory(subject) {
            Some(known) => known,
            None => self.make(subject).await?,
        };
        Ok((id, key.seal(nonce, place, salt, value)?))
    }

    fn in_memory(&self, subject: &str) -> Option<(i64, Arc<Key>)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.by_subject.get(subject).cloned()
    }

    /// The subject's key from the store, made there if it is not yet.
    async fn make(&self, subject: &str) -> Result<(i64, Arc<Key>), StoreError> {
        let fresh = draw::<32>().map_err(|none| StoreError::failed(none.to_string()))?;
        let (id, bytes) = self.store.find_or_make(subject, &fresh).await?;
        let key = Arc::new(Key::new(&bytes)?);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.shrink();
        known.by_subject.insert(subject.to_owned(), (id, Arc::clone(&key)));
        known.by_id.insert(id, Some(Arc::clone(&key)));
        Ok((id, key))
    }

    /// Opens what the database has; what was sealed with a key that is gone is left out, as it is
    /// erased. What does not open with its own key was put there by somebody else: its seq.
    pub(super) async fn unseal(
        &self,
        sealed: Vec<Sealed>,
    ) -> Result<Result<Vec<Opening>, u64>, StoreError> {
        self.learn(&sealed).await?;
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut openings = Vec::with_capacity(sealed.len());
        for one in sealed {
            let Some(Some(key)) = known.by_id.get(&one.key) else { continue };
            let Some((salt, value)) = key.unseal((one.seq, &one.field), one.bytes) else {
                return Ok(Err(one.seq));
            };
            openings.push(Opening { field: one.field, salt: Hash(salt), seq: one.seq, value });
        }
        Ok(Ok(openings))
    }

    /// Asks the store for the keys that are not in memory.
    async fn learn(&self, sealed: &[Sealed]) -> Result<(), StoreError> {
        let mut missing: Vec<i64> = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let keys = sealed.iter().map(|one| one.key);
            keys.filter(|key| !known.by_id.contains_key(key)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        missing.sort_unstable();
        missing.dedup();
        let found = self.store.keys(&missing).await?;
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.shrink();
        for (id, bytes) in found {
            let key = bytes.map(|bytes| Key::new(&bytes).map(Arc::new)).transpose()?;
            known.by_id.insert(id, key);
        }
        Ok(())
    }

    /// The ids of the keys that open a subject's texts, those shared with other subjects included.
    pub async fn ids(&self, subject: &str) -> Result<Vec<i64>, StoreError> {
        self.store.ids(subject).await
    }

    /// Destroys keys: what they sealed opens nowhere any more. Doing it again is harmless.
    pub async fn destroy(&self, ids: &[i64]) -> Result<(), StoreError> {
        self.store.destroy(ids).await?;
        self.forget();
        Ok(())
    }

    /// Another gateway has written: if it erased somebody, the keys in memory may be dead.
    pub(super) async fn forget_erased(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let row = tx.row_opt("SELECT COUNT(*) FROM erasures", &[]).await?;
        let erasures = row.map(|row| row.u64(0)).transpose()?.unwrap_or_default();
        if self.erasures.swap(erasures, Ordering::Relaxed) != erasures {
            self.forget();
        }
        Ok(())
    }

    fn forget(&self) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known::default();
    }

    /// Closes its connections.
    pub async fn close(&self) {
        self.store.close().await;
    }
}

impl Known {
    fn shrink(&mut self) {
        if self.by_id.len().max(self.by_subject.len()) >= SUBJECT_KEYS_CACHED_MAX {
            *self = Self::default();
        }
    }
}

impl std::fmt::Debug for SubjectKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the keys.
        f.debug_struct("SubjectKeys").field("name", &self.name()).finish_non_exhaustive()
    }
}
