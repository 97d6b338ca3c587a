//! `bastion restore`: a backup is put back, on the machine of a deployment that has no store.

use super::Fault;
use crate::{
    app::log,
    backup::{self, BackupError},
    config::Config,
    ledger::{head::Head, open::check_remembered},
    store::{Db, Options},
};
use std::{path::PathBuf, process::ExitCode};

/// `bastion restore`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The configuration and the keys must be there, and the store must not: a backup is never put over
one. Every entry is replayed. Where the log was longer than the backup, the next start says so and
names the ceremony by which it goes on.

Examples:
  bastion restore --from /mnt/usb/monday.backup --identity provider-recording.pem
  bastion audit new-epoch --lost 4711-4902 --reason 'disk of db-1 died, backup of monday'
  bastion serve")]
pub struct Args {
    /// The backup
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The backup of the keys of data subjects, where these are gone too
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// The private half of the provider's recording key, for which it was sealed
    #[arg(long, value_name = "KEY.pem")]
    identity: PathBuf,
}

/// Puts a backup back, and says what to do next.
pub fn run(config: &Config, args: &Args, json: bool) -> Result<ExitCode, Fault> {
    let pem = std::fs::read_to_string(&args.identity)
        .map_err(|cause| Fault::failed(format!("{}: {cause}", args.identity.display())))?;
    let runtime = super::runtime()?;
    if let Some(keys) = &args.keys {
        runtime.block_on(backup::subjects::restore(config, keys, &pem))?;
    }
    let restored = runtime.block_on(backup::restore(config, &args.from, &pem))?;
    let refused = runtime.block_on(refused(config))?;
    if json {
        let value = serde_json::json!({
            "backup": restored.backup,
            "created_at": restored.created_at,
            "entries": restored.entries,
            "root": restored.root.to_string(),
            "same_config": restored.same_config,
            "start_refused": refused,
        });
        println!("{value}");
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "put back: {} of {}, {} entries, all of which hold\nroot: {}",
        restored.backup, restored.created_at, restored.entries, restored.root
    );
    if !restored.same_config {
        println!("the configuration file is not the one of then: compare the two");
    }
    println!(
        "facts are those of then: what was taken away since (consents, operators, keys, erasures) \
         is back, so look through it before anybody is let in"
    );
    match refused {
        Some(why) => println!("a start is refused for now: {why}"),
        None => println!("nobody here remembers a longer log: start the gateway"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Why a start would be refused, if anybody here remembers more.
async fn refused(config: &Config) -> Result<Option<String>, Fault> {
    let db = Db::open(&config.store.url(), Options::READ_ONLY).await.map_err(Fault::failed)?;
    let head = Head::read(&db).await.map_err(Fault::failed)?;
    let mut refused = None;
    for remembered in log::remembered(config).map_err(Fault::failed)? {
        if let Err(why) = check_remembered(&db, &head, remembered).await {
            refused.get_or_insert(why.to_string());
        }
    }
    db.close().await;
    Ok(refused)
}

impl From<BackupError> for Fault {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Bad(_) | BackupError::Log(_) | BackupError::Signature => {
                Self::unverified(error)
            }
            other => Self::failed(other),
        }
    }
}
