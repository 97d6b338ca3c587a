//! `audit publish`: a copy of the log as tiles, in a folder of the gateway's machine.

use super::prove::said;
use crate::{
    api::{Call, Fault, Reply, print, reading},
    ledger::publish::{Folder, PublishError, Publisher},
};
use serde_json::json;
use std::path::Path;

pub(super) async fn run(call: &mut Call<'_>, to: &Path) -> Result<Reply, Fault> {
    if !to.is_absolute() {
        let how = "name the folder with its whole path: the gateway writes it, wherever it runs";
        return Err(Fault::Usage(how.into()));
    }
    reading::enter(call, None).await?;
    let folder = Folder::open(to)?;
    let mut publisher = Publisher::open(&call.app.ledger, folder).await?;
    let head = publisher.round().await?;
    let witnessed = publisher.witnessed();
    let shown = print::quoted(&to.display().to_string());
    let text = format!(
        "published: {} entries at {shown}\nroot: {}\n{}",
        head.size,
        head.root,
        said(witnessed)
    );
    let root = head.root.to_string();
    Ok(Reply::Said {
        text,
        json: json!({ "entries": head.size, "root": root, "witnessed": witnessed.is_some() }),
    })
}

impl From<PublishError> for Fault {
    fn from(error: PublishError) -> Self {
        Self::Failed(error.to_string())
    }
}
