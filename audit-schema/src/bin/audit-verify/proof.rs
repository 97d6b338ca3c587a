//! One entry's proof (c2sp.org/tlog-proof).
//!
//! The entry comes in a file of its own, or in the proof's extra data: that is not signed, but the
//! inclusion proof is over its hash.

use crate::{Ask, Stop, read_bounded, say};
use audit_schema::{
    entry::{Entry, LINE_BYTES_MAX},
    merkle::leaf_hash,
    proof::Proof,
};

/// The longest proof file: note, hashes and extra data.
const PROOF_BYTES_MAX: u64 = 1 << 20;

/// Verifies a proof.
pub fn run(ask: &Ask) -> Result<(), Stop> {
    let key = ask.key()?;
    let bytes = read_bounded(&ask.subject, PROOF_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Stop::broken("the proof is not text"))?;
    let proof = Proof::parse(text).map_err(Stop::broken)?;
    let line = entry(ask, &proof)?;
    let leaf = leaf_hash(&line);
    let (checkpoint, cosigned) = match &ask.policy {
        None => (proof.verify(&leaf, key).map_err(Stop::broken)?, Vec::new()),
        Some(policy) => {
            let held = proof.verify_under(&leaf, policy, Some(key)).map_err(Stop::broken)?;
            (held.checkpoint, held.cosigned)
        }
    };
    say::signed(&checkpoint, &cosigned)?;
    let index = proof.index;
    say::line(&format!("proof: the entry with the hash {leaf} is number {index} of this log"))?;
    if ask.any_entries {
        return Ok(());
    }
    let entry = Entry::parse(&line).map_err(|bad| {
        Stop::Broken(format!("it is in the log, but is not an entry of ours: {bad}"))
    })?;
    if entry.seq != index {
        let seq = entry.seq;
        return Err(Stop::Broken(format!("it says that it is entry {seq}, and stands at {index}")));
    }
    let (name, _) = entry.type_name().map_err(Stop::broken)?;
    // The name was a JSON string of somebody: only a plain one is printed.
    let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || b"._".contains(&byte));
    let name = if plain { name } else { "an event of another kind" };
    say::line(&format!("entry: {name}, of {}", entry.time))
}

fn entry(ask: &Ask, proof: &Proof) -> Result<Vec<u8>, Stop> {
    match (&ask.entry, &proof.extra) {
        (Some(file), _) => {
            let mut line = read_bounded(file, LINE_BYTES_MAX as u64 + 1)?;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            Ok(line)
        }
        (None, Some(extra)) => Ok(extra.clone()),
        (None, None) => {
            let what = "the proof does not hold its entry: give the entry's line with --entry FILE";
            Err(Stop::Usage(what.into()))
        }
    }
}
