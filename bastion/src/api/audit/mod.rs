//! `audit …`: ask the log, show an entry, verify it, sign its head, hand it out.

mod entries;
mod erase;
pub(in crate::api) mod facts;
pub(in crate::api) mod hold;
mod lost;
mod prove;
mod publish;
mod query;
mod rebuild;
mod sql;
mod stats;
mod whole;

use super::{Call, Fault, Reply};

use audit_schema::time::Timestamp;
use bastion_core::{consent::FreeText, id::CustomerId};
use clap::{Args, Subcommand, ValueEnum};
pub use lost::Lost;
use std::path::PathBuf;

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Ask the log; every filter that is given must hold
    #[command(after_help = "\
Examples:
  audit query --customer acme --since 2026-11-01 --oldest
  audit query --vm pg-1.acme --event access.denied --limit 20
  audit query --text ZD-1042 disk* --format jsonl
  audit query --lease l-0123456789 --follow
  audit query --sql 'select reason, count(*) as n from denials group by reason order by n desc'")]
    Query(Box<Query>),
    /// How many entries, by event, operator, customer and week
    #[command(after_help = "\
A week begins on a Monday, and is named by it.

Examples:
  audit stats
  audit stats --by week,event --customer acme --since 2026-11-01
  audit stats --by operator --event access.denied --format csv")]
    Stats(Box<stats::Stats>),
    /// Make the query index again from the log
    #[command(after_help = "\
Nothing is lost by it: everything in the index is in the log. While it is read again, queries wait.

Example:
  audit rebuild-index")]
    RebuildIndex,
    /// One entry, what its commitments open to, and its hash
    #[command(after_help = "Example:\n  audit show 41")]
    Show {
        /// Its number
        seq: u64,
    },
    /// Check the log: exit 0 only if all of it holds, 4 otherwise
    #[command(after_help = "\
Examples:
  audit verify
  audit verify --from 1000 --to 1999
  audit verify --file log.jsonl --checkpoint checkpoint     (on your machine, without a gateway)")]
    Verify(Verify),
    /// The signed head of the log: a C2SP signed note
    #[command(after_help = "\
Keep what this prints: a log that is later cut off or rewritten does not fit it.

Examples:
  audit checkpoint > checkpoint
  audit checkpoint --key > log.vkey")]
    Checkpoint {
        /// Print the key that verifies it instead
        #[arg(long)]
        key: bool,
    },
    /// Erase what the log says of a person in clear; every hash and proof stays
    #[command(after_help = "\
It cannot be undone: two officers, and the customers concerned are told. Refused while the person
acts, before the minimum retention, and under a legal hold.

Example:
  ssh bastion audit erase --subject op-0123456789 --legal-basis gdpr-17-1-a --reason ZD-1042")]
    Erase(Box<erase::Erase>),
    /// Legal holds: what must not be erased now
    #[command(subcommand)]
    Hold(hold::Verb),
    /// The exact lines of the log, one entry a line
    #[command(after_help = "\
Examples:
  audit export > log.jsonl
  audit export --customer acme > acme.jsonl
  audit export --openings > openings.jsonl     (what the commitments open to: personal data)
  audit export --customer acme --whole > acme.export     (for `audit-verify customer`)")]
    Export {
        /// Only this customer's entries: gap-free in their own count
        #[arg(long)]
        customer: Option<CustomerId>,
        /// What the commitments open to, instead of the entries
        #[arg(long)]
        openings: bool,
        /// Up to the last heartbeat, with the proof that none of the customer's entries is missing
        #[arg(long, conflicts_with = "openings")]
        whole: bool,
    },
    /// A published hash tile, byte for byte, for whoever proves things on their own
    #[command(after_help = "Examples:\n  audit tile tile/0/000 > 000\n  audit tile checkpoint")]
    Tile {
        /// Its path: tile/LEVEL/INDEX, with .p/WIDTH where it is not full
        path: String,
    },
    /// Prove that an entry is in the log: a C2SP tlog-proof, which `audit-verify proof` checks
    #[command(after_help = "\
Whoever has the entry's line (`audit export`) and the log's key can check it without us.

Example:
  audit prove 41 > 41.tlog-proof")]
    Prove {
        /// Its number
        seq: u64,
    },
    /// Prove that the log of one size is the beginning of the log of another
    #[command(after_help = "\
Without a second size: up to now, with the signed checkpoint, as a C2SP witness would be asked.

Examples:
  audit consistency 4711
  audit consistency 4711 9000 --json")]
    Consistency {
        /// The smaller size: of a checkpoint that you kept
        old: u64,
        /// The larger one; now, if left out
        new: Option<u64>,
    },
    /// Publish the log into a folder of this machine, once: C2SP tlog-tiles
    #[command(after_help = "\
The gateway publishes by itself into the folder of its configuration; this writes a copy, or adds
to one. Check it with `audit-verify tiles DIR --vkey KEY`.

Example:
  bastion audit publish --to /mnt/auditor/tiles")]
    Publish {
        /// The folder; made if there is none
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// After a loss: go on under another name, and say what is lost (on the gateway's own machine,
    /// while it does not run)
    #[command(after_help = "\
A start that finds less of the log than somebody remembers refuses, and names the range.

Example:
  bastion audit new-epoch --lost 4711-4902 --reason 'disk of db-1 died, backup of 03:00'")]
    NewEpoch {
        /// The entries that are gone, both ends included
        #[arg(long, value_name = "FROM-TO")]
        lost: Lost,
        /// Why
        #[arg(long)]
        reason: FreeText,
    },
    /// Where a gateway's high-water mark is gone for good: make one at the log as it is (on the
    /// gateway's own machine, while it does not run)
    #[command(
        after_help = "Example:\n  bastion audit new-mark --reason 'disk of the keys replaced'"
    )]
    NewMark {
        /// Why
        #[arg(long)]
        reason: FreeText,
    },
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// A JSON object a line
    Jsonl,
    /// For spreadsheets
    Csv,
}

/// `audit query`
#[derive(Debug, Args)]
pub struct Query {
    /// Of this customer
    #[arg(long)]
    pub customer: Option<CustomerId>,
    /// Of this service
    #[arg(long)]
    pub service: Option<String>,
    /// Of this VM, by name or instance
    #[arg(long)]
    pub vm: Option<String>,
    /// Of this operator, by id (officers: or name)
    #[arg(long)]
    pub operator: Option<String>,
    /// Of this type, or of all types that begin so: `access.denied`, `consent.`
    #[arg(long)]
    pub event: Option<String>,
    /// Of this lease
    #[arg(long)]
    pub lease: Option<String>,
    /// Of this session
    #[arg(long)]
    pub session: Option<String>,
    /// Of this consent ticket
    #[arg(long)]
    pub ticket: Option<String>,
    /// With this outcome: granted, denied, completed, cut, …
    #[arg(long)]
    pub outcome: Option<String>,
    /// With all of these words in what was written: justifications, commands of troubleshoot
    /// channels and other texts, in any case; `disk*` is any word that begins so
    #[arg(long, num_args = 1.., value_name = "WORDS")]
    pub text: Vec<String>,
    /// From this moment on: 2026-11-24 or 2026-11-24T08:02:00Z
    #[arg(long, value_parser = since)]
    pub since: Option<Timestamp>,
    /// Up to this moment, not included; a day counts as a whole
    #[arg(long, value_parser = until)]
    pub until: Option<Timestamp>,
    /// The newest first: the default
    #[arg(long, conflicts_with = "oldest")]
    pub newest: bool,
    /// The oldest first
    #[arg(long)]
    pub oldest: bool,
    /// At most so many; the rest is named by a cursor. Default: 200 in a table, all otherwise
    #[arg(long)]
    pub limit: Option<usize>,
    /// Go on where an answer before ended
    #[arg(long)]
    pub cursor: Option<String>,
    /// Go on for ever with what is entered from now on
    #[arg(long, conflicts_with_all = ["newest", "until"])]
    pub follow: bool,
    /// A selection of your own from the views that SQL.md describes, for officers and auditors: at
    /// most 10,000 rows and 10 seconds
    #[arg(
        long, num_args = 1.., value_name = "SELECT",
        conflicts_with_all = [
            "customer", "service", "vm", "operator", "event", "lease", "session", "ticket",
            "outcome", "text", "since", "until", "newest", "oldest", "limit", "cursor", "follow",
        ],
    )]
    pub sql: Vec<String>,
    /// The form of the answer; --json is jsonl
    #[arg(long, value_enum)]
    pub format: Option<Form>,
}

/// `audit verify`
#[derive(Debug, Args)]
pub struct Verify {
    /// From this entry
    #[arg(long, value_name = "SEQ", conflicts_with = "file")]
    pub from: Option<u64>,
    /// To this entry, included
    #[arg(long, value_name = "SEQ", conflicts_with = "file")]
    pub to: Option<u64>,
    /// An exported file, on your own machine: needs no gateway, and none hears of it
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// The checkpoint that the file must fit
    #[arg(long, value_name = "FILE", requires = "file")]
    pub checkpoint: Option<PathBuf>,
    /// The key of the checkpoint, as a text or a file; by default the one in the file's entry 0
    #[arg(long, value_name = "KEY", requires = "checkpoint")]
    pub vkey: Option<String>,
    /// What the file's commitments open to: each is checked
    #[arg(long, value_name = "FILE", requires = "file")]
    pub openings: Option<PathBuf>,
}

pub(super) async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Query(query) if !query.sql.is_empty() => sql::run(call, &query).await,
        Verb::Query(query) => query::run(call, &query).await,
        Verb::Stats(ask) => stats::run(call, &ask).await,
        Verb::RebuildIndex => rebuild::run(call).await,
        Verb::Show { seq } => entries::show(call, seq).await,
        Verb::Verify(verify) => entries::verify(call, &verify).await,
        Verb::Erase(ask) => erase::run(call, *ask).await,
        Verb::Hold(verb) => hold::run(call, verb).await,
        Verb::Checkpoint { key } => prove::checkpoint(call, key).await,
        Verb::Export { customer, whole: true, .. } => whole::export(call, customer.as_ref()).await,
        Verb::Tile { path } => whole::tile(call, &path).await,
        Verb::Export { customer, openings, .. } => {
            entries::export(call, customer.as_ref(), openings).await
        }
        Verb::Prove { seq } => prove::prove(call, seq).await,
        Verb::Consistency { old, new } => prove::consistency(call, old, new).await,
        Verb::Publish { to } => publish::run(call, &to).await,
        Verb::NewEpoch { .. } | Verb::NewMark { .. } => Err(Fault::Conflict(
            "this is done on the gateway's own machine, while it does not run".into(),
        )),
    }
}

/// A moment; a day is its first instant.
pub(crate) fn since(text: &str) -> Result<Timestamp, &'static str> {
    text.parse().map(|super::values::Moment(at)| at)
}

/// The end of a span, itself not included; a day is included as a whole.
pub(crate) fn until(text: &str) -> Result<Timestamp, &'static str> {
    let at = since(text)?;
    Ok(if text.len() == "2026-11-24".len() { at.plus_seconds(86_400) } else { at })
}
