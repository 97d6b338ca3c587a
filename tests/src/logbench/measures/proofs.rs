//! Proofs of entries anywhere in the filled log: how large, and how long they take to build.

use crate::{
    bench::row::percentile,
    logbench::{
        options::Options,
        report::{Limit, Row},
        store::{filled, key},
    },
};
use audit_schema::{checkpoint::Vkey, proof::Proof};
use std::time::Instant;

pub async fn rows(options: &Options) -> Vec<Row> {
    let (place, _) = filled(options).await;
    let ledger = place.open().await;
    let size = *ledger.size().borrow();
    let vkey = Vkey::new(ledger.origin(), key().verifying_key()).unwrap();
    let (mut millis, mut largest) = (Vec::new(), 0);
    for number in 0..options.count(1_000, 20) as u64 {
        // A prime step goes all over the log.
        let seq = number * 7_368_787 % size;
        let began = Instant::now();
        let (shown, hashes) = ledger.proven(seq).await.unwrap();
        let proof = Proof { extra: None, index: seq, hashes, checkpoint: shown.signed.note };
        let text = proof.to_text().unwrap();
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
        largest = largest.max(text.len());
        let leaf = ledger.entry(seq).await.unwrap().unwrap().leaf;
        Proof::parse(&text).unwrap().verify(&leaf, &vkey).unwrap();
    }
    ledger.close().await;
    let title = |what| format!("proof of an entry among {size}, {what}");
    vec![
        Row::new("proof_size", title("largest"), "B", largest as f64)
            .limited(Limit::at_most(1600.0))
            .noted("a C2SP tlog-proof file under a checkpoint of one signature; each was verified"),
        Row::new("proof_p50", title("built, p50"), "ms", percentile(&millis, 50.0))
            .limited(Limit::at_most(2.0)),
        Row::new("proof_p99", title("built, p99"), "ms", percentile(&millis, 99.0))
            .noted("the checkpoint is signed anew for each"),
    ]
}
