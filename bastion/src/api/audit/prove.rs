//! `audit prove|consistency|checkpoint`: what somebody else can hold the log against.
//!
//! The answers are files of the C2SP specs, for other people's verifiers as well as for ours.
//! Everything is signed before the entry that says that it was asked for, so that a proof fits an
//! export made just before it.

use crate::{
    api::{Call, Fault, Reply, reading},
    ledger::{Shown, Signed},
};
use audit_schema::{proof::Proof, witness::AddCheckpoint};
use serde_json::json;

/// What speaks of proof says who witnesses it, or that nobody does.
pub(super) fn said(witnessed: Option<&str>) -> String {
    match witnessed {
        Some(words) => format!("{words}: by its policy, this is the log that others are shown\n"),
        None => "unwitnessed: that others are shown the same log is not proven by this\n".into(),
    }
}

pub(super) async fn checkpoint(call: &mut Call<'_>, key: bool) -> Result<Reply, Fault> {
    let vkey = call.app.ledger.vkey();
    if key {
        return Ok(Reply::Said { text: format!("{vkey}\n"), json: json!({ "vkey": vkey }) });
    }
    let scope = reading::scope(call, None)?;
    let Shown { signed: Signed { note, .. }, witnessed } = call.app.ledger.shown().await?;
    reading::enter(call, scope.as_ref()).await?;
    call.out.err(said(witnessed.as_deref()).as_bytes()).await?;
    let json = json!({
        "by": witnessed, "note": note, "vkey": vkey, "witnessed": witnessed.is_some(),
    });
    Ok(Reply::Said { text: note, json })
}

/// One entry, as a C2SP tlog-proof.
pub(super) async fn prove(call: &mut Call<'_>, seq: u64) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let ledger = &call.app.ledger;
    let unknown = || Fault::refused("unknown", format!("no entry {seq} here"));
    let found = match ledger.entry(seq).await? {
        Some(found) => found,
        None => {
            reading::enter(call, scope.as_ref()).await?;
            return Err(unknown());
        }
    };
    let theirs = scope.as_ref().is_none_or(|own| {
        found.entry.customer.as_ref().is_some_and(|link| link.id == own.as_str())
    });
    let proven = ledger.proven(seq).await?;
    reading::enter(call, scope.as_ref()).await?;
    if !theirs {
        return Err(unknown());
    }
    let (Shown { signed, witnessed }, hashes) = proven;
    let size = signed.head.size;
    let proof = Proof { extra: None, index: seq, hashes, checkpoint: signed.note };
    let text = proof.to_text().map_err(|bad| Fault::Failed(bad.to_string()))?;
    call.out.err(said(witnessed.as_deref()).as_bytes()).await?;
    let json = json!({
        "by": witnessed, "proof": text, "seq": seq, "size": size, "witnessed": witnessed.is_some(),
    });
    Ok(Reply::Said { text, json })
}

/// That the log of one size extends the one of another: between two sizes as hashes, or up to now
/// as a witness would be asked (C2SP tlog-witness).
pub(super) async fn consistency(
    call: &mut Call<'_>,
    old: u64,
    new: Option<u64>,
) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let ledger = &call.app.ledger;
    let signed = ledger.signed().await?;
    let size = signed.head.size;
    let to = new.unwrap_or(size);
    reading::enter(call, scope.as_ref()).await?;
    if old > to || to > size {
        let sentence = format!("there are {size} entries: give two sizes of the log up to that");
        return Err(Fault::Usage(sentence));
    }
    let (was, is, proof) = ledger.consistency(old, to).await?;
    let hashes: Vec<_> = proof.iter().map(ToString::to_string).collect();
    let json = json!({
        "old": { "size": was.size, "root": was.root.to_string() },
        "new": { "size": is.size, "root": is.root.to_string() },
        "proof": hashes, "witnessed": false,
    });
    let text = match new {
        None => {
            let request = AddCheckpoint { old, proof, checkpoint: signed.note };
            request.to_text().map_err(|bad| Fault::Failed(bad.to_string()))?
        }
        Some(_) => {
            let list: String = hashes.iter().map(|hash| format!("{hash}\n")).collect();
            format!("old {} {}\nnew {} {}\n{list}", was.size, was.root, is.size, is.root)
        }
    };
    call.out.err(said(None).as_bytes()).await?;
    Ok(Reply::Said { text, json })
}
