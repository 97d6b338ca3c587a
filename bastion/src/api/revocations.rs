//! The revocation lists: what VMs must no longer accept, one signed file for each customer.
//!
//! A running gateway keeps them in the folder `revocations` of its deployment: made anew when
//! something is taken back, and every half minute, so that a VM sees that its list is fresh. A
//! file is replaced whole, so whoever fetches it has the old list or the new one. How it gets to a
//! VM is the VM's business: it is signed, and says how old it is.

use super::{Call, Fault, Reply, change::unknown_sentence};
use crate::{
    app::App,
    args, clock,
    store::{StoreError, Tx},
};
use bastion_core::{
    consent::TicketState,
    id::{CustomerId, InstanceId, TicketId},
    limits::{REVOCATIONS_EVERY_SECONDS, REVOCATIONS_MAX},
    revocation::Revocations,
};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long after the end of its window a ticket still stands in the list, in seconds: longer than
/// any clock is wrong, and than any window that an earlier revision may have had.
const KEPT_SECONDS: i64 = 31 * 24 * 3600;

/// The folder of a deployment's lists.
pub fn folder(config: &crate::config::Config) -> PathBuf {
    config.dir.join("revocations")
}

/// Keeps the files fresh for the life of the gateway.
pub async fn keep(app: Arc<App>) {
    loop {
        if let Err(why) = write_all(&app).await {
            tracing::error!(%why, "the revocation lists are not fresh: VMs will let nobody in");
        }
        tokio::select! {
            () = app.live.changed() => {}
            () = tokio::time::sleep(Duration::from_secs(REVOCATIONS_EVERY_SECONDS)) => {}
        }
    }
}

async fn write_all(app: &App) -> Result<(), Fault> {
    let folder = folder(&app.config);
    make_folder(&folder).map_err(|error| failed(&folder, &error))?;
    let rows = app.ledger.db().rows("SELECT id FROM customers ORDER BY id", &[]).await?;
    for row in rows {
        let customer: CustomerId = row.parsed(0)?;
        let list = signed(app, &customer).await?;
        let file = folder.join(customer.as_str());
        replace(&file, list.as_bytes()).map_err(|error| failed(&file, &error))?;
    }
    Ok(())
}

/// `vm revocations CUSTOMER`: the list as it is now.
pub(super) async fn show(call: &mut Call<'_>, customer: CustomerId) -> Result<Reply, Fault> {
    let known = "SELECT id FROM customers WHERE id = $1";
    let row = call.app.ledger.db().row_opt(known, &args![&customer]).await?;
    row.ok_or_else(|| Fault::refused("unknown", unknown_sentence("customer", customer.as_str())))?;
    let list = signed(call.app, &customer).await?;
    Ok(Reply::Said { json: serde_json::json!({ "list": list }), text: list })
}

/// A customer's list, signed.
pub async fn signed(app: &App, customer: &CustomerId) -> Result<String, Fault> {
    let (customer, origin) = (customer.clone(), app.config.origin.clone());
    let read = app.ledger.db().read(move |tx| Box::pin(list(tx, customer, origin)));
    let text = read.await?.to_text().map_err(|bad| Fault::Failed(bad.to_string()))?;
    app.signer.revocations(text).await.map_err(|error| Fault::Failed(error.to_string()))
}

async fn list(
    tx: &mut Tx,
    customer: CustomerId,
    origin: String,
) -> Result<Revocations, StoreError> {
    let issued = clock::now();
    let size = tx.row_opt("SELECT size FROM head WHERE id = 1", &[]).await?;
    let version = size.map_or(Ok(0), |row| row.u64(0))?;
    let mut consents = BTreeSet::new();
    let sql = "SELECT id, revision, state FROM tickets WHERE customer = $1 AND not_after > $2 \
               ORDER BY not_after DESC";
    let since = issued.plus_seconds(-KEPT_SECONDS);
    for row in tx.rows(sql, &args![&customer, since]).await? {
        let (ticket, revision): (TicketId, u64) = (row.parsed(0)?, row.u64(1)?);
        let over = TicketState::from_word(&row.text(2)?).is_none_or(TicketState::is_final);
        // What was signed for an earlier revision permits nothing any more.
        let void = (1..revision).chain(over.then_some(revision));
        consents.extend(void.map(|revision| (ticket.clone(), revision)));
    }
    let mut instances: BTreeSet<InstanceId> = BTreeSet::new();
    let sql = "SELECT id FROM instances WHERE customer = $1 AND retired_at IS NOT NULL \
               ORDER BY retired_at DESC LIMIT 1000";
    for row in tx.rows(sql, &args![&customer]).await? {
        instances.insert(row.parsed(0)?);
    }
    // More withdrawals within a month than any customer has; the list says so by being refused.
    if consents.len() > REVOCATIONS_MAX {
        return Err(StoreError::Shape(format!(
            "{} revoked consents of {customer}",
            consents.len()
        )));
    }
    Ok(Revocations { origin, customer, version, issued, consents, instances })
}

fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o755).create(folder)?;
    // Whatever the umask: whoever fetches it for a VM is nobody in particular.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
}

/// Puts a file in the place of another, whole.
fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // Gateways may share the folder: each has a file of its own until it is whole.
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    let mut out = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
    out.write_all(text)?;
    fs::rename(&new, file)
}

fn failed(place: &Path, error: &io::Error) -> Fault {
    Fault::Failed(format!("{}: {error}", place.display()))
}
