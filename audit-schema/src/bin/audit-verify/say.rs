//! What was found, on the standard output; a reader that went away is no success.

use crate::Stop;
use audit_schema::{checkpoint::Checkpoint, time::Timestamp};
use std::io::Write as _;

/// One line.
pub fn line(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").map_err(|error| Stop::Unread(format!("standard output: {error}")))
}

/// What the log's key signed, and who cosigned it.
pub fn signed(checkpoint: &Checkpoint, cosigned: &[(String, u64)]) -> Result<(), Stop> {
    let Checkpoint { origin, size, root } = checkpoint;
    line(&format!("checkpoint: {origin} signed {size} entries with the root {root}"))?;
    for (witness, seconds) in cosigned {
        let when = Timestamp::from_seconds(i64::try_from(*seconds).unwrap_or(i64::MAX));
        line(&format!("checkpoint: {witness} cosigned it at {when}"))?;
    }
    if cosigned.is_empty() {
        line("unwitnessed: that others are shown the same log is not proven by this")?;
    }
    Ok(())
}
