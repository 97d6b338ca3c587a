//! A log that lies, and a witness that is killed: two histories are never both cosigned.

use super::house::Witness;
use audit_schema::{
    checkpoint::{self, Checkpoint, Vkey},
    cosignature,
    hash::Hash,
    merkle::{self, TreeHead, leaf_hash},
};
use bastion::{
    https::Trust,
    ledger::SigningKey,
    witness::asked::{Asked, Prove},
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const ORIGIN: &str = "liar.example";
/// Where the two histories part.
const PARTING: u64 = 5;
const SIZE_MAX: u64 = 400;
const KILLS: u32 = 40;

/// The leaves of a history; both are alike up to where they part.
fn history(salt: u8) -> Vec<Hash> {
    let leaf = |seq: u64| match seq < PARTING {
        true => leaf_hash(&seq.to_be_bytes()),
        false => leaf_hash(&[&seq.to_be_bytes()[..], &[salt]].concat()),
    };
    (0..SIZE_MAX).map(leaf).collect()
}

/// What was cosigned: of which history, and how much of it.
type Got = Mutex<Vec<(u8, TreeHead)>>;

/// Asks for cosignatures of one history's heads until it is told to stop; those that it got.
async fn ask(
    (salt, asked): (u8, Asked),
    key: SigningKey,
    (stop, got): (Arc<AtomicBool>, Arc<Got>),
) {
    let leaves = Arc::new(history(salt));
    let mut size = 1;
    while !stop.load(Ordering::Relaxed) {
        let root = merkle::root(&leaves[..size as usize]);
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
        let note = checkpoint::sign(&checkpoint, &key).unwrap();
        let known = Arc::clone(&leaves);
        let prove: Box<Prove> = Box::new(move |old| {
            let proof = merkle::consistency_proof(&known[..size as usize], old);
            Box::pin(std::future::ready(proof.ok_or_else(|| "no proof".to_owned())))
        });
        let head = checkpoint.head();
        match asked.cosign((head, &note), &*prove).await {
            Ok(lines) => {
                let note =
                    format!("{}\n{lines}", note.split("\n\n").next().unwrap().to_owned() + "\n");
                cosignature::verify(&note, asked.key()).unwrap();
                got.lock().unwrap().push((salt, head));
                size = (size + 1).min(SIZE_MAX);
            }
            // It is down, or has seen more of this history or of the other one.
            Err(_) => {
                size = asked.size().map_or(size, |has| (has + 1).clamp(size, SIZE_MAX));
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_rounds_a_witness_never_cosigns_two_histories() {
    let key = SigningKey::from_bytes(&[11; 32]);
    let vkey = Vkey::new(ORIGIN, key.verifying_key()).unwrap();
    let mut witness = Witness::start("kills", "acme", &vkey.to_string());
    let (stop, got) = (Arc::new(AtomicBool::new(false)), Arc::<Got>::default());
    let asking: Vec<_> = [1, 2]
        .map(|salt| {
            let roots = Some(witness.dir.join("chain.pem"));
            let trust = Trust::named(roots, "witness.extra_roots").unwrap();
            let who = ("acme".to_owned(), witness.key.parse().unwrap());
            let asked = Asked::new(who, &witness.url(), (trust, 3)).unwrap();
            let state = (Arc::clone(&stop), Arc::clone(&got));
            tokio::spawn(ask((salt, asked), key.clone(), state))
        })
        .into();
    for round in 0..KILLS {
        // At any moment: within a flush, a rename, an answer.
        tokio::time::sleep(Duration::from_millis(u64::from(round * 37 % 130) + 20)).await;
        tokio::task::block_in_place(|| {
            witness.kill();
            witness.begin();
        });
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, Ordering::Relaxed);
    for task in asking {
        task.await.unwrap();
    }
    let got = got.lock().unwrap();
    let parted: Vec<_> = got.iter().filter(|(_, head)| head.size > PARTING).collect();
    assert!(parted.len() > 20, "too little happened: {}", got.len());
    let (first, _) = parted[0];
    let other = parted.iter().find(|(salt, _)| salt != first);
    assert_eq!(other, None, "two histories were cosigned");
    eprintln!("{} cosignatures over {KILLS} kills", got.len());
}
