//! `audit export --whole`: what a customer can check without trusting us that it is all.
//!
//! The file ends at a heartbeat. It has the customer's own lines, its place in the heartbeat's map,
//! one proof that all of it stands in the tree, and the signed checkpoint; and no line of anybody
//! else. `audit-verify customer FILE` accepts it. `audit tile` hands out the hash tiles, which say
//! nothing of anybody either: with them a customer can prove more by itself.

use crate::{
    api::{Call, Fault, Reply, print, reading},
    app::log::published_folder,
    ledger::{publish::Folder, whole::WholeError},
};
use audit_schema::tile::{CHECKPOINT_PATH, Tile};
use bastion_core::id::CustomerId;

pub(super) async fn export(
    call: &mut Call<'_>,
    customer: Option<&CustomerId>,
) -> Result<Reply, Fault> {
    let scope = reading::scope(call, customer)?;
    let Some(customer) = scope else {
        return Err(Fault::Usage("say of which customer: --customer NAME".into()));
    };
    // What is exported was signed before the entry that says that it was.
    let export = call.app.ledger.whole_customer(customer.as_str()).await;
    reading::enter(call, Some(&customer)).await?;
    let (export, witnessed) = export.map_err(|error| fault(call, error))?;
    call.out.out(export.to_text().as_bytes()).await?;
    call.out.err(super::prove::said(witnessed.as_deref()).as_bytes()).await?;
    Ok(Reply::Written)
}

fn fault(call: &Call<'_>, error: WholeError) -> Fault {
    match error {
        WholeError::NoHeartbeat => {
            let minutes = call.app.config.provable.heartbeat.as_secs() / 60;
            Fault::Conflict(format!("{error}: try again in {minutes} minutes"))
        }
        WholeError::Log(error) => error.into(),
        WholeError::Read(error) => error.into(),
        WholeError::Broken { .. } => {
            Fault::Unverified { code: "log-broken", sentence: error.to_string() }
        }
    }
}

/// A published hash tile, or the published checkpoint.
pub(super) async fn tile(call: &mut Call<'_>, path: &str) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let named = path == CHECKPOINT_PATH || path.parse::<Tile>().is_ok();
    if !named {
        let how = "give the path of a hash tile, like tile/0/x001/234 or tile/1/004.p/210, or \
                   `checkpoint`; entries are in `audit export`";
        return Err(Fault::Usage(how.into()));
    }
    reading::enter(call, scope.as_ref()).await?;
    let Some(root) = published_folder(&call.app.config, &call.app.ledger) else {
        return Err(Fault::Conflict("this gateway does not publish: see [publish]".into()));
    };
    let name = path.to_owned();
    let read = tokio::task::spawn_blocking(move || Folder::at(&root).file(&name)).await;
    let found = read.map_err(|error| Fault::Failed(error.to_string()))??;
    let gone = || {
        let path = print::quoted(path);
        Fault::refused("unknown", format!("{path} is not published: `checkpoint` tells the size"))
    };
    call.out.out(&found.ok_or_else(gone)?).await?;
    Ok(Reply::Written)
}
