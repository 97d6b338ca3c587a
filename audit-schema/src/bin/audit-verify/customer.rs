//! One customer's export: with a heartbeat that shows that it is whole, or its entries alone.

use crate::{Ask, Stop, read_bounded, say};
use audit_schema::{
    customer_export::{CustomerExport, MARK, WholeCustomer},
    export::verify_customer_export,
};

/// The longest export that is read: some hundred thousand entries.
const EXPORT_BYTES_MAX: u64 = 1 << 30;

/// Verifies a customer's export.
pub fn run(ask: &Ask) -> Result<(), Stop> {
    let bytes = read_bounded(&ask.subject, EXPORT_BYTES_MAX)?;
    if !bytes.starts_with(MARK.as_bytes()) {
        return entries_alone(ask, &bytes);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| Stop::broken("it is not text"))?;
    let export = CustomerExport::parse(text).map_err(Stop::broken)?;
    let whole = match &ask.vkey {
        Some(key) => export.verify(key, ask.policy.as_ref()).map_err(Stop::broken)?,
        None if ask.policy.is_some() => {
            let what = "a policy needs the log's public key too: give it with --vkey";
            return Err(Stop::Usage(what.into()));
        }
        None => export.verify_but_signature().map_err(Stop::broken)?,
    };
    if ask.vkey.is_some() {
        say::signed(&whole.checkpoint, &whole.cosigned)?;
    } else {
        say::line("note: whether the log signed this was not checked: give its key with --vkey")?;
    }
    tell(&export, &whole)
}

fn tell(export: &CustomerExport, whole: &WholeCustomer) -> Result<(), Stop> {
    let WholeCustomer { entries, heartbeat, time, .. } = whole;
    say::line(&format!(
        "complete: all {entries} entries that this customer had before heartbeat {heartbeat} of \
         {time}"
    ))?;
    // The blind is what makes the map's row the customer's own.
    say::line(&format!("compare the blind with the one that you keep: {}", export.blind))
}

fn entries_alone(ask: &Ask, bytes: &[u8]) -> Result<(), Stop> {
    if ask.vkey.is_some() || ask.policy.is_some() {
        let what = "these are entries alone, which nothing signs: ask for an export that ends at \
                    a heartbeat";
        return Err(Stop::Usage(what.into()));
    }
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let verified = verify_customer_export(lines, None).map_err(Stop::broken)?;
    let entries = verified.entries;
    say::line(&format!("chain: {entries} entries of one customer hold, without a gap"))?;
    say::line("note: whether more came after them, or they are in the log, does not show here")
}
