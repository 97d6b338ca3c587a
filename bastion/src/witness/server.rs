//! The witness that a customer or an auditor runs: one question, `POST /add-checkpoint`.
//!
//! What is answered is the table of the spec: 404 for a log that it does not know, 403 for a
//! checkpoint that none of the log's keys signed, 400, 409 and 422 as [`witness::judge`] says, 200
//! with the cosignature. Between looking at what it remembers and remembering what comes of it
//! nobody else does either: one lock is held over both, and over the flush. A memory that could not
//! be written ends all cosigning until the witness is started again, since nobody then knows what
//! is on the disk.

use super::{
    memory::{BadMemory, Memory},
    settings::{Settings, public},
};
use crate::{
    clock,
    https::{self, Answer, Asked, Method, Site, StatusCode, Tls, TlsError},
    keyfile::{self, KeyFileError},
};
use audit_schema::{
    checkpoint::Vkey,
    cosignature::{self, BadVkey},
    witness::{self, AddCheckpoint, BadBody, Refusal, SIZE_MEDIA_TYPE},
};
use ed25519_dalek::SigningKey;
use futures_util::future::BoxFuture;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::net::TcpListener;

/// Why a witness does not run.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its key is not usable.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// Its name cannot be a key's.
    #[error("the witness's name and key: {0}")]
    Name(#[from] BadVkey),
    /// What it remembers is not usable.
    #[error("{0}")]
    Memory(#[from] BadMemory),
    /// What it shows is not usable.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// It cannot listen.
    #[error("{0}: {1}")]
    Listen(std::net::SocketAddr, io::Error),
}

/// A witness with its key and its memory.
pub struct Witness {
    name: String,
    key: SigningKey,
    logs: BTreeMap<String, Vec<Vkey>>,
    /// None after it could not be written.
    memory: Mutex<Option<Memory>>,
}

impl Witness {
    /// The witness of a configuration.
    pub fn open(settings: &Settings) -> Result<Self, WitnessError> {
        let key = keyfile::read_log_key(&settings.key)?;
        let memory = Memory::open(&settings.memory, &public(&settings.name, &key)?)?;
        Ok(Self {
            name: settings.name.clone(),
            key,
            logs: settings.logs.clone(),
            memory: Mutex::new(Some(memory)),
        })
    }

    /// Answers a request; waits for the disk.
    fn add_checkpoint(&self, body: &[u8]) -> Answer {
        let parsed = std::str::from_utf8(body).map_err(|_| BadBody).and_then(AddCheckpoint::parse);
        let Ok(request) = parsed else { return refused(&Refusal::Malformed) };
        let Ok(origin) = request.origin() else { return refused(&Refusal::Malformed) };
        let Some(trusted) = self.logs.get(origin) else {
            let word = "this witness does not know that log: name its key in `logs`\n";
            return Answer::text(StatusCode::NOT_FOUND, word);
        };
        // A panic within would have left the memory as it was or as it is on the disk.
        let mut held = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(memory) = held.as_mut() else { return forgetful() };
        let last = memory.last(origin).copied();
        let checkpoint = match witness::judge(&request, trusted, last.as_ref()) {
            Ok(checkpoint) => checkpoint,
            Err(refusal) => {
                tracing::warn!(origin, %refusal, ?last, "not cosigned");
                return refused(&refusal);
            }
        };
        if last != Some(checkpoint.head())
            && let Err(error) = memory.keep(origin, checkpoint.head())
        {
            tracing::error!(%error, "what was seen cannot be kept: nothing is cosigned any more");
            *held = None;
            return forgetful();
        }
        let seconds = u64::try_from(clock::now().seconds()).unwrap_or_default();
        match cosignature::cosign(&checkpoint, &self.name, &self.key, seconds) {
            Ok(line) => Answer::text(StatusCode::OK, line),
            Err(bad) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{bad}\n")),
        }
    }
}

fn forgetful() -> Answer {
    let word = "this witness cannot keep what it sees, so it cosigns nothing\n";
    Answer::text(StatusCode::SERVICE_UNAVAILABLE, word)
}

fn refused(refusal: &Refusal) -> Answer {
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal.size_body() {
        Some(size) => Answer { status, kind: SIZE_MEDIA_TYPE, body: size.into() },
        None => Answer::text(status, format!("{refusal}\n")),
    }
}

/// The witness as it is asked over HTTP.
struct Served(Arc<Witness>);

impl Site for Served {
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            if asked.path != "/add-checkpoint" {
                return Answer::not_found();
            }
            if asked.method != Method::POST {
                let word = "POST a checkpoint with its consistency proof\n";
                return Answer::text(StatusCode::METHOD_NOT_ALLOWED, word);
            }
            let witness = Arc::clone(&self.0);
            let judged = tokio::task::spawn_blocking(move || witness.add_checkpoint(&asked.body));
            judged.await.unwrap_or_else(|_| forgetful())
        })
    }
}

/// Serves a witness until the task is dropped.
pub async fn run(settings: &Settings) -> Result<(), WitnessError> {
    let witness = Arc::new(Witness::open(settings)?);
    let tls = settings.tls.as_ref().map(|(chain, key)| Tls::new(chain, key)).transpose()?;
    let failed = |error| WitnessError::Listen(settings.listen, error);
    let listener = TcpListener::bind(settings.listen).await.map_err(failed)?;
    let listen = listener.local_addr().map_err(failed)?;
    let key = public(&settings.name, &witness.key)?;
    tracing::info!(%listen, %key, logs = witness.logs.len(), "the witness listens");
    let site = Arc::new(Served(witness));
    match tls {
        Some(tls) => https::serve(listener, tls, site).await,
        None => https::serve_plain(listener, site).await,
    }
    .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use audit_schema::{
        checkpoint::{self, Checkpoint},
        hash::Hash,
        merkle::{self, leaf_hash},
    };
    use std::{fs, path::Path};

    const ORIGIN: &str = "log.example";

    fn log_key() -> SigningKey {
        SigningKey::from_bytes(&[3; 32])
    }

    fn witness(folder: &Path) -> Witness {
        fs::create_dir_all(folder).unwrap();
        let key = SigningKey::from_bytes(&[5; 32]);
        let vkey = public("w.example", &key).unwrap();
        if !folder.join("state").exists() {
            Memory::create(folder, &vkey).unwrap();
        }
        let log = Vkey::new(ORIGIN, log_key().verifying_key()).unwrap();
        let memory = Mutex::new(Some(Memory::open(folder, &vkey).unwrap()));
        let logs = BTreeMap::from([(ORIGIN.to_owned(), vec![log])]);
        Witness { name: "w.example".into(), key, logs, memory }
    }

    fn leaves(count: u64, salt: u8) -> Vec<Hash> {
        (0..count).map(|seq| leaf_hash(&[seq as u8, salt])).collect()
    }

    fn request(leaves: &[Hash], old: u64) -> AddCheckpoint {
        let (size, root) = (leaves.len() as u64, merkle::root(leaves));
        let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
        let proof = match old {
            0 => Vec::new(),
            old => merkle::consistency_proof(leaves, old).unwrap_or_default(),
        };
        let checkpoint = checkpoint::sign(&checkpoint, &log_key()).unwrap();
        AddCheckpoint { old, proof, checkpoint }
    }

    fn answered(witness: &Witness, request: &AddCheckpoint) -> (u16, String) {
        let answer = witness.add_checkpoint(request.to_text().unwrap().as_bytes());
        (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
    }

    #[test]
    fn the_status_table_of_the_spec_holds_over_a_restart() {
        let folder = format!("bastion-witness-server-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        let ours = witness(&folder);
        let (seven, nine) = (leaves(7, 0), leaves(9, 0));
        assert_eq!(ours.add_checkpoint(b"old 1\n").status, StatusCode::BAD_REQUEST);
        assert_eq!(answered(&ours, &request(&seven, 8)).0, 400);
        let (status, line) = answered(&ours, &request(&seven, 0));
        assert_eq!(status, 200);
        let note = request(&seven, 0).checkpoint;
        witness::accept(&note, &line, &public("w.example", &ours.key).unwrap()).unwrap();
        assert_eq!(answered(&ours, &request(&nine, 0)), (409, "7\n".into()));
        assert_eq!(answered(&ours, &request(&leaves(7, 1), 7)), (409, "7\n".into()));
        assert_eq!(answered(&ours, &request(&leaves(9, 1), 7)).0, 422);
        assert_eq!(answered(&ours, &request(&seven, 7)).0, 200);
        let mut stranger = request(&nine, 7);
        stranger.checkpoint = stranger.checkpoint.replace(ORIGIN, "other.example");
        assert_eq!(answered(&ours, &stranger).0, 404);
        let mut unsigned = request(&nine, 7);
        let other = SigningKey::from_bytes(&[4; 32]);
        let head = Checkpoint { origin: ORIGIN.into(), size: 9, root: merkle::root(&nine) };
        unsigned.checkpoint = checkpoint::sign(&head, &other).unwrap();
        assert_eq!(answered(&ours, &unsigned).0, 403);
        assert_eq!(answered(&ours, &request(&nine, 7)).0, 200);
        drop(ours);
        let again = witness(&folder);
        assert_eq!(answered(&again, &request(&nine, 7)), (409, "9\n".into()));
        // Its folder is gone: it says nothing more, even where it would be put back.
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(answered(&again, &request(&leaves(12, 0), 9)).0, 503);
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(answered(&again, &request(&leaves(12, 0), 9)).0, 503);
        fs::remove_dir_all(&folder).unwrap();
    }
}
