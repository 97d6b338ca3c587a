//! A published tree (c2sp.org/tlog-tiles) in a folder.

use crate::{Ask, Stop, read_bounded, read_text, say};
use audit_schema::{
    chain::Chain,
    published::{self, Failure},
    tile::CHECKPOINT_PATH,
};

/// Verifies the tree in a folder under its checkpoint.
pub fn run(ask: &Ask) -> Result<(), Stop> {
    ask.key()?;
    let note = read_text(&ask.subject.join(CHECKPOINT_PATH))?;
    let (checkpoint, cosigned) = ask.checkpoint(&note)?;
    say::signed(&checkpoint, &cosigned)?;
    let read = |path: &str, bytes_max: usize| {
        let file = ask.subject.join(path);
        if file.exists() { read_bounded(&file, bytes_max as u64).map(Some) } else { Ok(None) }
    };
    let verified = published::verify(&checkpoint, ask.any_entries, read);
    let verified = verified.map_err(|failure| match failure {
        Failure::Unread(stop) => stop,
        Failure::Broken(broken) => Stop::broken(broken),
    })?;
    let (size, tiles) = (checkpoint.size, verified.tiles);
    say::line(&format!("tree: {size} entries and {tiles} tiles have the signed root"))?;
    match verified.chain {
        Some(chain) => end_of_chain(&chain),
        None => say::line("note: the entries were not looked into"),
    }
}

fn end_of_chain(chain: &Chain) -> Result<(), Stop> {
    let (size, customers) = (chain.size(), chain.customers().len());
    let until = chain.time().map(|time| format!(", the last of {time}")).unwrap_or_default();
    say::line(&format!("chain: {size} entries of {customers} customers hold{until}"))
}
