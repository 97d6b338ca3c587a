//! What a running bastion is made of. The only place where the adapters are built and joined.
//!
//! Two ways in: [`App::create`] makes the log of a new deployment, [`App::open`] opens one, for a
//! gateway ([`crate::serve`]) or for local commands while none runs. Both read the same keys and
//! load the same policy; neither goes on with one that is not in order. What runs knows the `App`;
//! the `App` knows nothing of what runs.

use crate::{
    authn::Authn,
    ca::{Authorities, Ca, Live},
    config::{Config, Store},
    egress::Egress,
    gate::{Gate, Ground, PolicyCell},
    keyfile::{self, KeyFileError},
    ledger::{
        Ledger, LedgerError, OpenError, OpenRecording, RecordingFound, SubjectKeys,
        projection::{Projection, ProjectionError},
        subjects::KeyStoreError,
    },
    relay::{
        Quotas, Spools, Taps,
        recording::{self, Recipient, Recorder},
    },
    signer::{EngineError, Signer, SignerError},
    store::{Db, Options, StoreError},
};
use audit_schema::{
    event::{Actor, ActorKind},
    hash::Hash,
};
use bastion_core::policy::{Policy, PolicyErrors};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub mod log;
pub mod policy;
mod sessions;

pub use sessions::{End, Sessions};

/// A deployment that is open.
pub struct App {
    /// Its configuration.
    pub config: Config,
    /// The log.
    pub ledger: Ledger,
    /// The policy of this process.
    pub policy: Arc<PolicyCell>,
    /// The one place of decisions.
    pub gate: Gate,
    /// The leases that live in this process.
    pub live: Arc<Live>,
    /// The authorities.
    pub ca: Ca,
    /// What keeps the keys of certificates and of the log.
    pub signer: Arc<Signer>,
    /// Who may come in.
    pub authn: Authn,
    /// The way to VMs.
    pub egress: Egress,
    /// The recordings.
    pub recorder: Recorder,
    /// The query index, opened by whoever asks first.
    index: tokio::sync::OnceCell<Projection>,
    /// What waits on disk for slow receivers.
    pub spools: Arc<Spools>,
    /// The channels that run here, for those who may watch them.
    pub taps: Arc<Taps>,
    /// The connections of operators, officers and approvers.
    pub sessions: Sessions,
    /// Where to run what may take long, and must not hold up the connections of one thread.
    pub runtime: tokio::runtime::Handle,
}

/// Why a deployment cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A key is not usable.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// What signs cannot be had.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// What signs does not start.
    #[error("{0}")]
    Signer(#[from] SignerError),
    /// The roots for webhooks are not usable.
    #[error("{0}")]
    Trust(String),
    /// The witnesses cannot be asked as it is configured.
    #[error("{0}")]
    Witness(String),
    /// Nobody can be told of alarms as it is configured.
    #[error("{0}")]
    Alarms(String),
    /// The recorder cannot start.
    #[error("{0}")]
    Recorder(#[from] crate::relay::recording::RecorderError),
    /// The recording key is not usable.
    #[error("{0}")]
    RecordingKey(#[from] crate::relay::recording::KeyError),
    /// The store is not usable.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The keys of data subjects are not usable.
    #[error("{0}")]
    SubjectKeys(#[from] KeyStoreError),
    /// The log is not usable.
    #[error("{0}")]
    Log(#[from] OpenError),
    /// The log does not take an entry.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// A file or folder is not usable.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// This gateway has no high-water mark any more.
    #[error(
        "the high-water mark {0} is gone, and without it an older backup of the log could not be \
         told from the log: put the file back. If it is gone for good and you know that this \
         store is the newest, `bastion audit new-mark --reason …` makes one, which is entered in \
         the log"
    )]
    MarkGone(PathBuf),
    /// The policy files are wrong.
    #[error("the policy in {0} is not valid, and nothing runs without one:\n{1}")]
    Policy(PathBuf, PolicyErrors),
    /// The policy files are not those in force.
    #[error(
        "the policy files in {folder} (digest {found}) are not the policy in force (digest \
         {in_force}): put those back, or put these in force with `bastion serve --accept-policy`, \
         which is entered in the log for every customer"
    )]
    PolicyChanged {
        /// Where the files are.
        folder: PathBuf,
        /// Their digest.
        found: Hash,
        /// What the log says.
        in_force: String,
    },
    /// The deployment's name in the configuration is not the log's.
    #[error("the configuration says origin {config}, the log is {log}: they belong apart")]
    Origin {
        /// In the configuration.
        config: String,
        /// In entry 0.
        log: String,
    },
}

impl App {
    /// Makes the log of a new deployment, with the policy of its folder in force.
    pub async fn create(config: Config) -> Result<Self, StartError> {
        let signer = Arc::new(Signer::here(&config)?);
        let db = Db::open(&config.store.url(), Options::CREATE).await?;
        let keys = SubjectKeys::create(&config.erasure.keys).await?;
        let opening = log::opening(&config, (Arc::clone(&signer), keys))?;
        let ledger = Ledger::create(db, &config.origin, opening).await?;
        let policy = policy::of_folder(&config)?;
        policy::adopt(&ledger, policy.digest()).await?.into_inner();
        Self::assemble(config, (ledger, signer), policy)
    }

    /// Opens a deployment that no gateway serves, and closes what a crash left open. The keys that
    /// sign are in this process, for as long as the command takes.
    pub async fn open(config: Config) -> Result<Self, StartError> {
        let config = log::named(config).await?;
        let signer = Arc::new(Signer::here(&config)?);
        let ledger = log::open(&config, Arc::clone(&signer)).await?;
        Self::open_with(config, (ledger, signer)).await
    }

    /// Opens a deployment to serve it: the keys that sign are in a process of their own.
    pub async fn open_to_serve(config: Config) -> Result<Self, StartError> {
        let config = log::named(config).await?;
        let signer = Arc::new(Signer::start(&config).await?);
        tracing::info!(by = signer.confined(), "the signer is held back");
        let ledger = log::open(&config, Arc::clone(&signer)).await?;
        // Before its first entry: what was put back must not be gone on with.
        ledger.recall().await?;
        Self::open_with(config, (ledger, signer)).await
    }

    async fn open_with(
        config: Config,
        (ledger, signer): (Ledger, Arc<Signer>),
    ) -> Result<Self, StartError> {
        let policy = policy::of_folder(&config)?;
        let app = Self::assemble(config, (ledger, signer), policy)?;
        log::enter_restored(&app.ledger).await?;
        app.recover().await?;
        // A crash may have come between an erasure and the end of its keys, or the cut of the
        // write-ahead log.
        crate::ledger::erasure::finish(&app.ledger).await?;
        if !app.ledger.db().scrub().await? {
            tracing::warn!("the write-ahead log was not cut: something reads the store");
        }
        Ok(app)
    }

    fn assemble(
        config: Config,
        (ledger, signer): (Ledger, Arc<Signer>),
        policy: Policy,
    ) -> Result<Self, StartError> {
        let live = Arc::new(Live::default());
        let policy = Arc::new(PolicyCell::new(policy));
        let keys = &config.keys;
        let authorities = Authorities {
            signer: Arc::clone(&signer),
            gateway_host: keyfile::read_ssh(&keys.gateway_host_ca)?,
            vm_host: keyfile::read_ssh(&keys.vm_host_ca)?,
        };
        let ca = Ca::new(authorities, config.egress.source_ranges.clone(), Arc::clone(&live));
        let ground = Ground { origin: config.origin.clone(), courses: config.courses.clone() };
        let vm_hosts = vec![ca.vm_host_ca().key_data().clone()];
        let pem = keyfile::read_recording_key(&config.recordings.provider_key)?;
        let recordings = &config.recordings;
        let recorder = Recorder::start(
            &recordings.dir,
            Recipient::from_pem(&pem)?,
            recordings.free_bytes_min,
        )?;
        Ok(Self {
            gate: Gate::new(ledger.clone(), Arc::clone(&policy), ground),
            authn: Authn::new(ledger.db().clone(), config.operator_cas.clone()),
            egress: Egress::new(vm_hosts, config.egress.connect)
                .rekeying_after(config.egress.rekey_bytes)
                .asking_every(config.egress.keepalive),
            spools: Spools::within(
                &config.recordings.dir,
                Quotas {
                    free_bytes_min: config.recordings.free_bytes_min / 2,
                    ..Quotas::default()
                },
            ),
            taps: Arc::default(),
            sessions: Sessions::default(),
            runtime: tokio::runtime::Handle::current(),
            index: tokio::sync::OnceCell::new(),
            policy,
            live,
            ca,
            signer,
            recorder,
            ledger,
            config,
        })
    }

    /// Closes what a crash left open, each with an entry that says what its recording still holds.
    async fn recover(&self) -> Result<(), StartError> {
        let recovery = self
            .ledger
            .recover(|open| recording_found(&self.recorder.path(&open.id), open))
            .await?;
        if recovery.leases + recovery.sessions > 0 {
            tracing::warn!(?recovery, "closed what the last run left open");
        }
        Ok(())
    }

    /// The query index, which follows the log from now on.
    pub async fn projection(&self) -> Result<Projection, ProjectionError> {
        let open = || async {
            let url = match &self.config.store {
                Store::Sqlite { index, .. } => format!("sqlite:{}", index.display()),
                Store::Postgres { url } => url.clone(),
            };
            Projection::open(&self.ledger, &url).await
        };
        self.index.get_or_try_init(open).await.cloned()
    }

    /// The gateway as an actor, for entries that nobody asked for.
    pub fn gateway_actor(&self) -> Actor {
        Actor { id: self.config.gateway.clone(), kind: ActorKind::Gateway }
    }
}

/// What is on disk of a recording that a crash left open, beside what the log fixed of it.
fn recording_found(path: &Path, open: &OpenRecording) -> Option<RecordingFound> {
    let file = fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    let found = recording::verify(io::BufReader::new(file), None).ok()?;
    let digest_at = |bytes: u64| {
        let seals = found.segments.iter().map(|seal| (seal.bytes, seal.digest));
        let mut proven = seals.chain(found.whole);
        proven.find(|(at, _)| *at == bytes).map(|(_, digest)| digest.to_string())
    };
    let entered = open.entered.as_ref();
    let missing = entered.filter(|(bytes, digest)| digest_at(*bytes).as_ref() != Some(digest));
    let (bytes, digest) = found.proven().unzip();
    Some(RecordingFound {
        bytes: bytes.unwrap_or_default(),
        digest: digest.map(|digest| digest.to_string()).unwrap_or_default(),
        missing: missing.map_or(0, |(bytes, _)| *bytes),
        unsealed: length.saturating_sub(found.sealed_file_bytes()),
    })
}
