//! All lines of a log, as one file.

use crate::{Ask, Stop, read_text, say};
use audit_schema::{
    checkpoint::Checkpoint,
    customer_export::MARK,
    entry::LINE_BYTES_MAX,
    export::Export,
    merkle::{Frontier, leaf_hash},
};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
};

/// Verifies the export, and under a checkpoint that it is what was signed.
pub fn run(ask: &Ask) -> Result<(), Stop> {
    let signed = match &ask.checkpoint {
        None if ask.vkey.is_some() || ask.policy.is_some() => {
            let what = "--vkey and --policy are for the checkpoint: give it with --checkpoint";
            return Err(Stop::Usage(what.into()));
        }
        None => None,
        Some(file) => {
            let note = read_text(file)?;
            let (checkpoint, cosigned) = ask.checkpoint(&note)?;
            say::signed(&checkpoint, &cosigned)?;
            Some((note, checkpoint))
        }
    };
    if ask.any_entries { tree(ask, signed) } else { chain(ask, signed) }
}

fn chain(ask: &Ask, signed: Option<(String, Checkpoint)>) -> Result<(), Stop> {
    let mut export = match &signed {
        Some((note, _)) => Export::under(note, ask.key()?).map_err(Stop::broken)?,
        None => Export::whole(),
    };
    each_line(ask, |line| export.push(line).map_err(Stop::broken))?;
    let verified = export.finish().map_err(Stop::broken)?;
    let (entries, time) = (verified.entries, verified.time);
    say::line(&format!("chain: {entries} entries hold, the last of {time}"))?;
    match signed {
        Some((_, checkpoint)) => under(&checkpoint, verified.beyond),
        None => say::line("note: without a checkpoint a cut-off end does not show"),
    }
}

/// The tree alone: the lines are not looked into.
fn tree(ask: &Ask, signed: Option<(String, Checkpoint)>) -> Result<(), Stop> {
    let Some((_, checkpoint)) = signed else {
        let what = "of entries that are not ours only the root says anything: give --checkpoint";
        return Err(Stop::Usage(what.into()));
    };
    let (mut frontier, mut root) = (Frontier::new(), None);
    let mut count: u64 = 0;
    each_line(ask, |line| {
        if count == checkpoint.size {
            root = Some(frontier.root());
        }
        count += 1;
        let line = line.strip_suffix(b"\n");
        let line = line.ok_or_else(|| Stop::Broken(format!("line {count}: it was cut off")))?;
        frontier.push(leaf_hash(line));
        Ok(())
    })?;
    if count < checkpoint.size {
        let (missing, size) = (count + 1, checkpoint.size);
        let what = format!("line {missing}: it is missing: the checkpoint signs {size} entries");
        return Err(Stop::Broken(what));
    }
    if root.unwrap_or_else(|| frontier.root()) != checkpoint.root {
        return Err(Stop::broken("these are not the entries that the checkpoint signs"));
    }
    under(&checkpoint, count - checkpoint.size)
}

fn under(checkpoint: &Checkpoint, beyond: u64) -> Result<(), Stop> {
    say::line(&format!("tree: the first {} entries have the signed root", checkpoint.size))?;
    if beyond == 0 {
        return Ok(());
    }
    say::line(&format!("note: {beyond} more come after them: nothing signs those"))
}

/// Every line of the file with its newline, none of them longer than an entry can be by more than a
/// byte.
fn each_line(ask: &Ask, mut push: impl FnMut(&[u8]) -> Result<(), Stop>) -> Result<(), Stop> {
    let path = ask.subject.display();
    let unread = |error| Stop::Unread(format!("{path}: {error}"));
    let mut file = BufReader::with_capacity(1 << 18, File::open(&ask.subject).map_err(unread)?);
    if file.fill_buf().map_err(unread)?.starts_with(MARK.as_bytes()) {
        let what = "this is a customer's export: verify it with `audit-verify customer`";
        return Err(Stop::Usage(what.into()));
    }
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = file.by_ref().take(LINE_BYTES_MAX as u64 + 2);
        if bounded.read_until(b'\n', &mut line).map_err(unread)? == 0 {
            return Ok(());
        }
        push(&line)?;
    }
}
