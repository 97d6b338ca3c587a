//! `audit rebuild-index`: the query index, made again from the log.

use crate::api::{Call, Fault, Reply, reading};
use serde_json::json;

/// Begins it anew and answers at once; whoever asks meanwhile hears how far behind it is.
pub(super) async fn run(call: &mut Call<'_>) -> Result<Reply, Fault> {
    let size = reading::enter(call, None).await?;
    let scrubbed = call.app.projection().await?.forget().await?;
    let mut text = format!(
        "the query index is empty, and {size} entries are being read again: queries meanwhile \
         wait, and say how far behind it is; so does the metric projection_lag_entries\n"
    );
    if !scrubbed {
        text += "a reader kept its write-ahead log: what was in it may still be in that file\n";
    }
    Ok(Reply::Said { text, json: json!({ "entries": size, "scrubbed": scrubbed }) })
}
