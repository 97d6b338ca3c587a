//! `report`: the fold of core over verified entries, in one of three forms.

use super::{
    Call, Fault, Reply,
    audit::{since, until},
    reading,
};
use crate::{
    ledger::reading::ReadError,
    render::{
        report::{Format, with_manifest},
        tar,
    },
};
use audit_schema::{commit::Opening, hash::Hash, merkle::Frontier, time::Timestamp};
use bastion_core::{
    id::CustomerId,
    report::{Audience, Fold, Openings, Question, Report, Verification},
};
use clap::Args;
use std::path::PathBuf;

/// Entries whose openings are read together.
const OPENINGS_OF: u64 = 512;

/// `report`
#[derive(Debug, Args)]
#[command(after_help = "\
Times are UTC. A day given with --to is included as a whole. With --out, or over SSH as a tar
archive when there are several files, manifest.json and SHA256SUMS come with the report.

Examples:
  bastion report --customer acme --from 2026-11-01 --to 2026-11-30 --format html --out report
  ( cd report && sha256sum -c SHA256SUMS )
  ssh bastion report --from 2026-11-01 --to 2026-11-30 --format html > report.html
  ssh bastion report --from 2026-11-01 --to 2026-11-30 --format csv | tar xf -")]
pub struct Ask {
    /// Whose services; an approver's own without asking
    #[arg(long)]
    pub customer: Option<CustomerId>,
    /// From this moment on: 2026-11-01 or 2026-11-01T08:00:00Z
    #[arg(long, value_parser = since)]
    pub from: Timestamp,
    /// Up to this moment, not included; a day counts as a whole
    #[arg(long, value_parser = until)]
    pub to: Timestamp,
    /// The form
    #[arg(long, value_enum, default_value = "html")]
    pub format: Format,
    /// As the customer may see it: operators by pseudonym, no addresses
    #[arg(long)]
    pub for_customer: bool,
    /// A folder for the files, on this machine
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

pub(super) async fn run(call: &mut Call<'_>, ask: Ask) -> Result<Reply, Fault> {
    if ask.out.is_some() && !call.out.wants_files() {
        let how = "over SSH a report is printed: … --format html > report.html, or csv | tar xf -";
        return Err(Fault::Usage(how.into()));
    }
    if ask.from >= ask.to {
        return Err(Fault::Usage("--to must be after --from".into()));
    }
    let scope = reading::scope(call, ask.customer.as_ref())?;
    let hidden = reading::withholds(call) || ask.for_customer;
    let question = Question {
        customer: scope.clone(),
        from: ask.from,
        to: ask.to,
        audience: if hidden { Audience::Customer } else { Audience::Auditor },
    };
    let size = reading::enter(call, scope.as_ref()).await?;
    let format = if call.json { Format::Json } else { ask.format };
    let report = fold(call, question, size).await?;
    let holds = report.verification.holds;
    let finding = report.verification.finding.clone();
    hand_out(call, with_manifest(&report, format)).await?;
    if holds {
        Ok(Reply::Written)
    } else {
        Err(Fault::Unverified { code: "log-broken", sentence: finding })
    }
}

/// Files to whoever has a folder for them; one file, or an archive of several, to all others.
async fn hand_out(call: &mut Call<'_>, files: Vec<(String, Vec<u8>)>) -> Result<(), Fault> {
    if call.out.wants_files() {
        for (name, bytes) in files {
            call.out.file(&name, bytes).await?;
        }
        return Ok(());
    }
    // The manifest and its sums are two; what is left is the report.
    match files.as_slice() {
        [(_, only), _, _] => call.out.out(only).await?,
        several => call.out.out(&tar::archive(several)).await?,
    }
    Ok(())
}

/// Verifies every entry before the end of the period, and folds it.
async fn fold(call: &Call<'_>, question: Question, size: u64) -> Result<Report, Fault> {
    let ledger = &call.app.ledger;
    let to = question.to;
    let mut walk = Walk { fold: Fold::new(question), tree: Frontier::new(), fault: None };
    let mut lines = ledger.lines(0, size).await?;
    let mut opened: Vec<Opening> = Vec::new();
    loop {
        let found = match lines.next().await {
            Ok(Some(found)) if found.entry.time < to => found,
            Ok(_) => break,
            Err(ReadError::Broken { seq, fault }) => {
                walk.fault = Some(format!("the log is broken at entry {seq}: {fault}"));
                break;
            }
            Err(error) => return Err(error.into()),
        };
        let seq = found.entry.seq;
        if seq.is_multiple_of(OPENINGS_OF) {
            opened = ledger.openings_between(seq..seq + OPENINGS_OF).await?;
        }
        walk.tree.push(found.leaf);
        let mut said = Openings::new();
        for opening in opened.iter().filter(|opening| opening.seq == seq) {
            match opening.check(&found.entry) {
                Ok(()) => {
                    said.insert(opening.field.clone(), opening.value.clone());
                }
                Err(bad) if walk.fault.is_none() => {
                    let field = &opening.field;
                    walk.fault = Some(format!("entry {seq}: the opening of {field}: {bad}"));
                }
                Err(_) => {}
            }
        }
        walk.fold.push(&found.entry, &said);
    }
    let witnessed = ledger.shown().await?.witnessed;
    Ok(walk.finish((ledger.origin().to_owned(), ledger.vkey()), witnessed))
}

struct Walk {
    fold: Fold,
    tree: Frontier,
    fault: Option<String>,
}

impl Walk {
    fn finish(self, (origin, log_key): (String, String), witnessed: Option<String>) -> Report {
        let size = self.tree.size();
        let root: Hash = self.tree.root();
        let holds = self.fault.is_none();
        let finding = self.fault.unwrap_or_else(|| {
            format!(
                "All {size} entries up to the end of the period were read and hashed again: each \
                 is linked to the one before, each customer's to the customer's one before, and \
                 what their commitments open to fits."
            )
        });
        self.fold.finish(Verification {
            holds,
            finding,
            size,
            root: root.to_string(),
            origin,
            log_key,
            witnessed,
        })
    }
}
