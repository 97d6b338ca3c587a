//! Making a log, and opening one: not without looking at what is there.
//!
//! A start checks the end of the log against its head: the links of the last entries, their
//! customers' links, the right edge of the tree. It refuses a log that does not hold and says
//! which entry and why; there is no repair, because there is nothing that could be repaired
//! without losing the proof. `bastion audit verify` looks at all of it.

use super::{
    Batch, Hooks, Ledger, LedgerError, Names, NewEntry, Start, epochs,
    head::{CUSTOMER_HEADS, Head, customer_head},
    mark::{Mark, Remembered},
    proofs::Tree,
    publish::Folder,
    reading::{Lines, ReadError, Verified},
    rollback::{self, Lost},
    sequencer::writer_of,
    signer::{KeyInProcess, LogSigner},
    subjects::SubjectKeys,
    write::{self, Failure},
};
use crate::{
    args,
    store::{Db, StoreError, Tx},
    witness::panel::Panel,
};
use audit_schema::{
    chain::Link,
    checkpoint::{BadVkey, Vkey},
    event::{Actor, ActorKind, Event},
    merkle::Frontier,
};
use bastion_core::limits::TAIL_ENTRIES_CHECKED;
use ed25519_dalek::SigningKey;
use std::{collections::HashMap, path::Path, sync::Arc};

/// What a gateway brings to its log.
pub struct Opening {
    /// The name of this gateway: no two that run may share it.
    pub gateway: String,
    /// What signs the log.
    pub signing: Signing,
    /// The keys of the data subjects.
    pub keys: SubjectKeys,
    /// Its high-water mark, away from the store.
    pub mark: Option<Arc<Mark>>,
    /// What others remember of the log, and who they are.
    pub remembered: Vec<(String, Remembered)>,
    /// Its witnesses.
    pub panel: Option<Arc<Panel>>,
    /// Where it is published, and up to which head: a shorter way to old nodes than the lines.
    pub tiles: Option<(Folder, Remembered)>,
    /// The clock, and what tests put in its place.
    pub hooks: Hooks,
    /// Whether no other process may write under this gateway's name.
    pub exclusive: bool,
}

/// What signs a log.
pub enum Signing {
    /// A key in this process.
    Key(Box<SigningKey>),
    /// Something that keeps the key to itself.
    Signer(Arc<dyn LogSigner>),
}

impl Opening {
    /// With the system's clock, and nothing that remembers.
    pub fn new(gateway: impl Into<String>, log_key: SigningKey, keys: SubjectKeys) -> Self {
        Self::signed_by(gateway, Signing::Key(Box::new(log_key)), keys)
    }

    /// The same, with a signer of any kind.
    pub fn signed_by(gateway: impl Into<String>, signing: Signing, keys: SubjectKeys) -> Self {
        Self {
            gateway: gateway.into(),
            signing,
            keys,
            mark: None,
            remembered: Vec::new(),
            panel: None,
            tiles: None,
            hooks: Hooks::default(),
            exclusive: true,
        }
    }

    /// With this gateway's high-water mark.
    pub fn marked(self, mark: Arc<Mark>) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// With the witnesses that cosign it.
    pub fn witnessed_by(self, panel: Option<Panel>) -> Self {
        Self { panel: panel.map(Arc::new), ..self }
    }

    /// With the folder that it is published in, up to a head that its key signed.
    pub fn published_in(self, root: &Path, what: Remembered) -> Self {
        Self { tiles: Some((Folder::at(root), what)), ..self }
    }

    /// With what somebody remembers of the log.
    pub fn remembered_by(mut self, who: impl Into<String>, what: Remembered) -> Self {
        self.remembered.push((who.into(), what));
        self
    }

    /// For a command that runs beside the gateway whose name it bears, on PostgreSQL.
    pub fn beside_gateway(self) -> Self {
        Self { exclusive: false, ..self }
    }
}

/// Why a log cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The database cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The chain does not hold.
    #[error(
        "the log is broken at entry {seq}: {fault}. Not started: keep the store as it is, look at \
         it with `bastion audit verify`, and restore it from a backup only after that"
    )]
    Broken {
        /// The first entry that does not hold.
        seq: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// There is a log already, or the key is of another.
    #[error("{0}")]
    Mismatch(String),
    /// It is not the log that somebody remembers, or not all of it.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The tree cannot be built.
    #[error("{0}")]
    Tree(LedgerError),
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            ReadError::Broken { seq, fault } => Self::Broken { seq, fault },
        }
    }
}

impl Ledger {
    /// Makes the log of a new deployment: entry 0 says its name, its key and its format.
    pub async fn create(db: Db, origin: &str, opening: Opening) -> Result<Self, OpenError> {
        let gateway: Arc<str> = Arc::from(opening.gateway.as_str());
        let exists = || OpenError::Mismatch("the store has a log already".into());
        // Before the writing connection: a log that runs holds it.
        if db.row_opt("SELECT size FROM head", &[]).await?.is_some() {
            return Err(exists());
        }
        let mut tx = Tx::begin_write(db.writer().await?).await?;
        if Head::read_in(&mut tx).await?.is_some() {
            return Err(exists());
        }
        let empty = Head::empty();
        tx.run(
            "INSERT INTO head (id, size, leaf, frontier, time) VALUES (1, 0, $1, $2, 0)",
            &args![empty.leaf().as_bytes().as_slice(), empty.frontier().encode()],
        )
        .await?;
        let sql = "INSERT INTO settings (key, value) VALUES ($1, $2)";
        tx.run(sql, &args![KEY_STORE, opening.keys.name()]).await?;
        let mut batch = Batch::new(tx, empty, (gateway, opening.keys.clone()));
        batch.begin_change((opening.hooks.clock)());
        let actor = Actor { id: opening.gateway.clone(), kind: ActorKind::Gateway };
        let log_key = vkey(&opening.signing, origin);
        let log_key = log_key.map_err(|bad| OpenError::Mismatch(format!("{origin}: {bad}")))?;
        let event =
            Event::Genesis { format: 1, log_key: log_key.to_string(), origin: origin.to_owned() };
        let appended = batch.append(NewEntry::new(actor, event)).await;
        appended.map_err(|error| OpenError::Mismatch(error.to_string()))?;
        let written = write::write(batch.into_parts(), &opening.hooks).await;
        written.map(drop).map_err(|failure| match failure {
            Failure::NotWritten(error) => OpenError::Store(error),
            Failure::Unknown(what) => OpenError::Store(StoreError::failed(what)),
        })?;
        Self::open(db, opening).await
    }

    /// Opens the log, after checking its end.
    pub async fn open(db: Db, opening: Opening) -> Result<Self, OpenError> {
        let epochs = epochs::read(&db).await?;
        let origin = epochs::name(&epochs, &opening.signing)?;
        let deployment = epochs.first().map_or_else(String::new, |first| first.origin.clone());
        check_key_store(&db, &opening.keys).await?;
        let conn = match opening.exclusive {
            true => Some(writer_of(&db, &opening.gateway).await?),
            false => None,
        };
        let head = verify_tail(&db, &opening.keys).await?;
        let tree = Arc::new(Tree::new(db.clone(), &head));
        // Those of an epoch before may hold what was lost.
        if let Some((folder, what)) =
            opening.tiles.as_ref().filter(|(_, what)| what.origin == origin)
        {
            tree.published(folder.clone(), what.head);
        }
        for remembered in rollback::remembered(&opening) {
            rollback::check_one(&tree, &epochs, remembered).await?;
        }
        let signer = signer(&opening, &origin)?;
        let names = Names { deployment, origin };
        Ok(Self::start(Start { db, opening, names, signer, tree, head, conn }))
    }

    /// Checks the whole log against its head. Answers how many entries there are.
    pub async fn verify(&self) -> Result<u64, OpenError> {
        verify_from(self.db(), self.keys(), 0).await.map(|head| head.size())
    }
}

/// Where the store keeps the name of its key store.
const KEY_STORE: &str = "key_store";

/// With another store of keys everything would look erased, and what is written now would look
/// erased later.
async fn check_key_store(db: &Db, keys: &SubjectKeys) -> Result<(), OpenError> {
    let sql = "SELECT value FROM settings WHERE key = $1";
    let ours = db.row_opt(sql, &args![KEY_STORE]).await?.map(|row| row.text(0)).transpose()?;
    match ours {
        Some(name) if name == keys.name() => Ok(()),
        _ => Err(OpenError::Mismatch(
            "the keys of data subjects that `[erasure] keys` leads to are of another log: name \
             those that were made with this one"
                .into(),
        )),
    }
}

/// Whether a log, which is only read, is all that somebody remembers.
pub async fn check_remembered(
    db: &Db,
    head: &Head,
    remembered: (String, Remembered),
) -> Result<(), OpenError> {
    let epochs = epochs::read(db).await?;
    rollback::check_one(&Tree::new(db.clone(), head), &epochs, remembered).await
}

/// The verifier key of a log: `name+hash+base64`.
pub(super) fn vkey(signing: &Signing, origin: &str) -> Result<Vkey, BadVkey> {
    match signing {
        Signing::Key(key) => Vkey::new(origin, key.verifying_key()),
        Signing::Signer(signer) => Ok(signer.vkey()),
    }
}

fn signer(opening: &Opening, origin: &str) -> Result<Arc<dyn LogSigner>, OpenError> {
    match &opening.signing {
        Signing::Signer(signer) => Ok(Arc::clone(signer)),
        Signing::Key(key) => {
            let key = KeyInProcess::new(SigningKey::clone(key), origin, opening.mark.clone());
            Ok(Arc::new(key.map_err(|bad| OpenError::Mismatch(format!("{origin}: {bad}")))?))
        }
    }
}

/// Checks the whole log of a store that nobody writes, and that these are its keys of data
/// subjects.
pub async fn verify_whole(db: &Db, keys: &SubjectKeys) -> Result<Head, OpenError> {
    check_key_store(db, keys).await?;
    verify_from(db, keys, 0).await
}

/// Checks the end of the log: the entries since the last multiple of [`TAIL_ENTRIES_CHECKED`], and
/// as many before.
pub async fn verify_tail(db: &Db, keys: &SubjectKeys) -> Result<Head, OpenError> {
    let size = Head::read(db).await?.size();
    let edge = size - size % TAIL_ENTRIES_CHECKED;
    verify_from(db, keys, edge.saturating_sub(TAIL_ENTRIES_CHECKED)).await
}

/// Checks the log from an entry on against its head, and what its commitments open to.
async fn verify_from(db: &Db, keys: &SubjectKeys, start: u64) -> Result<Head, OpenError> {
    // The head first: what is appended meanwhile is not looked at.
    let head = Head::read(db).await?;
    check_nothing_beyond(db, head.size()).await?;
    let heads = customer_heads(db).await?;
    let mut frontier = edge_at(&head, start);
    let mut lines = Lines::new(db.clone(), start..head.size()).with_openings(keys);
    let mut last: Option<Verified> = None;
    while let Some(found) = lines.next().await? {
        if found.entry.seq >= frontier.size() {
            frontier.push(found.leaf);
        }
        last = Some(found);
    }
    let broken = |fault: &str| OpenError::Broken {
        seq: head.size().saturating_sub(1),
        fault: fault.to_owned(),
    };
    let last = last.ok_or_else(|| broken("the log is empty"))?;
    if last.leaf != head.leaf() || last.entry.time != head.time() {
        return Err(broken("it is not the one that the head names"));
    }
    if frontier != *head.frontier() {
        return Err(broken("the tree over the entries is not the one of the head"));
    }
    let met = lines.chain().map(|chain| chain.customers().clone()).unwrap_or_default();
    for (customer, found) in &met {
        // A customer's head may have moved on since the log's head was read, never back.
        let stored = heads.get(customer);
        if stored != Some(found) && stored.is_none_or(|stored| stored.seq <= found.seq) {
            let fault = format!("the head of customer {customer} is not its last entry");
            return Err(broken(&fault));
        }
    }
    // A customer that came in since the head was read is no fault, so the head is read again.
    let unknown = heads.keys().find(|customer| start == 0 && !met.contains_key(*customer));
    if let Some(customer) = unknown
        && Head::read(db).await? == head
    {
        return Err(broken(&format!("customer {customer} has a head and no entry")));
    }
    Ok(head)
}

/// The right edge of the tree at an entry before the end, as far as the head's own right edge
/// tells: at the last multiple of [`TAIL_ENTRIES_CHECKED`], or at 0 where all is read.
fn edge_at(head: &Head, start: u64) -> Frontier {
    if start == 0 {
        return Frontier::new();
    }
    let size = head.size() - head.size() % TAIL_ENTRIES_CHECKED;
    let roots = size.count_ones() as usize;
    let mut bytes = size.to_be_bytes().to_vec();
    bytes.extend(head.frontier().encode().into_iter().skip(8).take(32 * roots));
    // The largest subtrees come first, so the first ones are the edge of a smaller tree; were they
    // not, the comparison at the end would say so.
    Frontier::decode(&bytes).unwrap_or_default()
}

async fn check_nothing_beyond(db: &Db, size: u64) -> Result<(), OpenError> {
    let beyond = db
        .row_opt("SELECT seq FROM entries WHERE seq >= $1 ORDER BY seq LIMIT 1", &args![size])
        .await?;
    // The head may have moved between the two looks; what is then there is read by a later one.
    if beyond.is_some() && Head::read(db).await?.size() == size {
        return Err(OpenError::Broken { seq: size, fault: "it is beyond the head".into() });
    }
    Ok(())
}

async fn customer_heads(db: &Db) -> Result<HashMap<String, Link>, OpenError> {
    let rows = db.rows(CUSTOMER_HEADS, &[]).await?;
    let heads = rows.iter().map(|row| {
        let (customer, (seq, leaf)) = customer_head(row)?;
        Ok((customer, Link { seq, leaf }))
    });
    heads.collect()
}

impl From<OpenError> for LedgerError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}
