//! What a running bastion is made of.

use crate::{
    config::Config,
    keyfile::{self, KeyFileError},
    ledger::{Ledger, OpenError, Opening},
    store::{Db, Options, StoreError},
};

/// A deployment that is open.
pub struct App {
    /// Its configuration.
    pub(crate) config: Config,
    /// Its log.
    pub(crate) ledger: Ledger,
}

/// Why a deployment cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A key cannot be used.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// The store cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The log does not hold.
    #[error("{0}")]
    Log(#[from] OpenError),
}

impl App {
    /// Opens a deployment without a listener: what local commands read while no gateway runs.
    pub async fn open(config: Config) -> Result<Self, AppError> {
        let log_key = keyfile::read_log_key(&config.keys.log)?;
        let db = Db::open(&config.store.url(), Options::OPEN).await?;
        let ledger = Ledger::open(db, Opening::new(config.gateway.clone(), log_key)).await?;
        Ok(Self { config, ledger })
    }
}

/// Runs the gateway of a deployment until `stop` resolves.
pub async fn serve(
    config: crate::config::Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), std::io::Error> {
    drop(stop);
    Err(std::io::Error::other(format!("{} cannot be served yet", config.origin)))
}
