//! `bastion audit verify --file`: an export is checked here, with `audit-schema` alone.
//!
//! No gateway is asked and none hears of it: an auditor does this on a machine of their own.

use super::Fault;
use crate::api::audit::Verify;
use audit_schema::{
    chain::CustomerChain,
    checkpoint::Vkey,
    commit::Opening,
    entry::Entry,
    event::Event,
    export::{Export, Verified},
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::ExitCode,
};

/// A line of an export, its newline included, and one byte more: enough to see that it is too long.
const LINE_BYTES_MAX: u64 = 65_537;

/// Verifies a file and says what was found.
pub fn run(file: &Path, ask: &Verify, json: bool) -> Result<ExitCode, Fault> {
    let first = lines(file)?.next().transpose()?;
    let genesis = first.as_deref().and_then(|line| Entry::parse(line.trim_ascii_end()).ok());
    let genesis = genesis.filter(|entry| entry.seq == 0);
    if genesis.is_none() && first.is_some() && ask.checkpoint.is_none() {
        // One customer's entries: whole in their own count, but not the whole log.
        return customer(file, json);
    }
    let verified = whole(file, ask, genesis.as_ref())?;
    let opened = match &ask.openings {
        Some(openings) => check_openings(file, openings)?,
        None => 0,
    };
    let root = verified.root.map(|root| root.to_string()).unwrap_or_default();
    if json {
        let value = serde_json::json!({
            "holds": true,
            "entries": verified.entries,
            "root": root,
            "signed": verified.checkpoint.as_ref().map(|checkpoint| checkpoint.size),
            "beyond": verified.beyond,
            "openings": opened,
            "witnessed": false,
        });
        println!("{value}");
        return Ok(ExitCode::SUCCESS);
    }
    println!("the file holds: {} entries, the last at {}", verified.entries, verified.time);
    println!("root: {root}");
    say_signed(&verified, ask);
    if ask.openings.is_some() {
        println!("{opened} openings fit their commitments");
    }
    println!("unwitnessed: that others are shown the same log is not proven by this");
    Ok(ExitCode::SUCCESS)
}

fn say_signed(verified: &Verified, ask: &Verify) {
    match &verified.checkpoint {
        None => println!("no checkpoint given: a cut-off end would not show"),
        Some(checkpoint) => {
            println!("signed: the first {} entries, by {}", checkpoint.size, checkpoint.origin);
            if verified.beyond > 0 {
                let beyond = verified.beyond;
                println!("{beyond} entries after them are linked, but not signed yet");
            }
            if ask.vkey.is_none() {
                println!("the key is the one that entry 0 names; give --vkey to compare it");
            }
        }
    }
}

fn whole(file: &Path, ask: &Verify, genesis: Option<&Entry>) -> Result<Verified, Fault> {
    let mut export = match &ask.checkpoint {
        None => Export::whole(),
        Some(checkpoint) => {
            let note = read(checkpoint)?;
            let key = key(ask.vkey.as_deref(), genesis)?;
            Export::under(&note, &key).map_err(Fault::unverified)?
        }
    };
    for line in lines(file)? {
        export.push(&line?).map_err(Fault::unverified)?;
    }
    export.finish().map_err(Fault::unverified)
}

fn key(given: Option<&str>, genesis: Option<&Entry>) -> Result<Vkey, Fault> {
    let text = match given {
        Some(key) if Path::new(key).exists() => read(Path::new(key))?,
        Some(key) => key.to_owned(),
        None => match genesis.and_then(Entry::event) {
            Some(Event::Genesis { log_key, .. }) => log_key,
            _ => return Err(Fault::unverified("entry 0 is no genesis, so it names no key")),
        },
    };
    text.trim().parse().map_err(|bad| Fault::usage(format!("not a verifier key: {bad}")))
}

fn customer(file: &Path, json: bool) -> Result<ExitCode, Fault> {
    let mut chain = CustomerChain::new(None);
    for line in lines(file)? {
        let line = line?;
        let line = line.strip_suffix(b"\n").ok_or_else(|| {
            Fault::unverified("the last line has no newline at its end: the file was cut off")
        })?;
        chain.push(line).map_err(Fault::unverified)?;
    }
    let customer = chain.customer().unwrap_or_default().to_owned();
    let entries = chain.lines();
    if json {
        let value = serde_json::json!({
            "holds": true, "customer": customer, "entries": entries, "witnessed": false,
        });
        println!("{value}");
    } else {
        println!(
            "the file holds: {entries} entries of customer {customer}, without a gap in their own \
             count; whether more came after them it cannot tell"
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Every opening must open the entry that it names.
fn check_openings(file: &Path, openings: &Path) -> Result<u64, Fault> {
    let mut by_entry: BTreeMap<u64, Vec<Opening>> = BTreeMap::new();
    let mut count = 0;
    for line in lines(openings)? {
        count += 1;
        let line = line?;
        let opening = Opening::parse(line.trim_ascii_end())
            .map_err(|bad| Fault::unverified(format!("opening {count}: {bad}")))?;
        by_entry.entry(opening.seq).or_default().push(opening);
    }
    for line in lines(file)? {
        let line = line?;
        let Ok(entry) = Entry::parse(line.trim_ascii_end()) else { continue };
        for opening in by_entry.remove(&entry.seq).unwrap_or_default() {
            opening.check(&entry).map_err(|bad| {
                let field = &opening.field;
                Fault::unverified(format!("entry {}: the opening of {field}: {bad}", entry.seq))
            })?;
        }
    }
    match by_entry.keys().next() {
        None => Ok(count),
        Some(seq) => Err(Fault::unverified(format!("an opening is of entry {seq}: not there"))),
    }
}

fn read(file: &Path) -> Result<String, Fault> {
    std::fs::read_to_string(file).map_err(|cause| unreadable(file, &cause))
}

/// The lines of a file with their newlines, each bounded.
fn lines(file: &Path) -> Result<impl Iterator<Item = Result<Vec<u8>, Fault>>, Fault> {
    let opened = File::open(file).map_err(|cause| unreadable(file, &cause))?;
    let mut reader = BufReader::new(opened);
    let file = file.to_path_buf();
    Ok(std::iter::from_fn(move || {
        let mut line = Vec::new();
        match (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) => None,
            Ok(_) => Some(Ok(line)),
            Err(cause) => Some(Err(unreadable(&file, &cause))),
        }
    }))
}

fn unreadable(file: &Path, cause: &std::io::Error) -> Fault {
    Fault::failed(format!("cannot read {}: {cause}", file.display()))
}
