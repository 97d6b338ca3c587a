//! `backup`: a copy of the log and of all beside it, sealed for the provider.

use super::{Call, Fault, Reply, print, reading};
use crate::backup::{self, BackupError};
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};

/// `backup`
#[derive(Debug, Args)]
#[command(after_help = "\
Made while the gateway runs, sealed for the provider's recording key, and read back before it has
its name. What it does not hold: the keys that sign, the configuration, recordings.
`bastion restore` puts one back; so do openssl and sqlite3 or psql alone.

Examples:
  bastion backup --to /mnt/backup/monday.backup
  bastion backup --keys --to /mnt/elsewhere/keys.backup
  bastion backup --forget /mnt/backup/monday.backup")]
pub struct Ask {
    /// The file; it must not be there
    #[arg(long, value_name = "FILE", required_unless_present = "forget")]
    pub to: Option<PathBuf>,
    /// Instead of making one: overwrite, in a backup that is there, the keys of recordings that
    /// were erased after it was made
    #[arg(long, value_name = "FILE", conflicts_with_all = ["to", "keys"])]
    pub forget: Option<PathBuf>,
    /// The keys of data subjects instead: they are in no backup of the log. Keep the newest alone,
    /// as an older one brings back what was erased since
    #[arg(long)]
    pub keys: bool,
}

/// Makes one.
pub(super) async fn run(call: &mut Call<'_>, ask: Ask) -> Result<Reply, Fault> {
    let (app, actor) = (call.app, call.actor());
    let to = match (&ask.to, &ask.forget) {
        (Some(to), _) => to,
        (None, Some(backup)) => return forget(call, backup).await,
        // The parser demands one of them.
        (None, None) => return Err(Fault::Usage("name a file with --to".into())),
    };
    let made = match ask.keys {
        false => backup::make(&app.ledger, &app.config, (to, actor)).await?,
        true => backup::subjects::make(&app.ledger, &app.config, (to, actor)).await?,
    };
    let shown = print::quoted(&to.display().to_string());
    let (entries, bytes) = (made.entries, made.bytes);
    let what =
        if ask.keys { "the keys of data subjects".into() } else { format!("{entries} entries") };
    let text = format!(
        "backup {}: {what} in {bytes} bytes at {shown}, read back whole\nsigned digest: \
         {} (entry {})\n",
        made.backup, made.digest, made.seq
    );
    Ok(Reply::Said {
        text,
        json: json!({
            "backup": made.backup,
            "bytes": bytes,
            "digest": made.digest.to_string(),
            "entries": entries,
            "entry": made.seq,
        }),
    })
}

/// Has an erasure reach a backup.
async fn forget(call: &Call<'_>, backup: &Path) -> Result<Reply, Fault> {
    if !backup.is_absolute() {
        let how = "name the file with its whole path: the gateway writes it, wherever it runs";
        return Err(Fault::Usage(how.into()));
    }
    reading::enter(call, None).await?;
    let found = backup::forget::forget(call.db(), backup).await?;
    let (now, before, kept) = (found.now, found.before, found.kept);
    let text = format!(
        "overwritten: the keys of {now} recordings ({before} had been before, {kept} are not \
         erased)\n"
    );
    Ok(Reply::Said { text, json: json!({ "now": now, "before": before, "kept": kept }) })
}

impl From<BackupError> for Fault {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Place(how) => Self::Usage(how),
            BackupError::Ledger(error) => error.into(),
            BackupError::Store(error) => error.into(),
            other => Self::Failed(other.to_string()),
        }
    }
}
