//! The measures, in the order of the table.

mod appends;
mod busy;
mod pages;
mod postgres;
mod projection;
mod proofs;
mod start;
mod storage;
mod verify;

use super::{
    options::{Mode, Options},
    report::Row,
};
use futures_util::future::BoxFuture;

/// One measure.
pub struct Measure {
    /// As `--only` names it.
    pub name: &'static str,
    /// Takes its figures.
    pub run: fn(&Options) -> BoxFuture<'_, Vec<Row>>,
}

/// All of them. Those from `storage` on are of the filled log; what adds to it comes last.
pub const ALL: [Measure; 9] = [
    Measure { name: "append", run: |options| Box::pin(appends::rows(options)) },
    Measure { name: "busy", run: |options| Box::pin(busy::rows(options)) },
    Measure { name: "postgres", run: |options| Box::pin(postgres::rows(options)) },
    Measure { name: "storage", run: |options| Box::pin(storage::rows(options)) },
    Measure { name: "start", run: |options| Box::pin(start::rows(options)) },
    Measure { name: "verify", run: |options| Box::pin(verify::rows(options)) },
    Measure { name: "proof", run: |options| Box::pin(proofs::rows(options)) },
    Measure { name: "page", run: |options| Box::pin(pages::rows(options)) },
    Measure { name: "projection", run: |options| Box::pin(projection::rows(options)) },
];

/// The part of a measure that this process is.
pub async fn child(mode: &Mode) {
    match mode {
        Mode::Appends { folder, count } => appends::child(folder, *count).await,
        Mode::Gateway { .. } => postgres::child(mode).await,
        Mode::Start { folder } => start::child(folder).await,
    }
}
