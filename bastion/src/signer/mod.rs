//! The signer: the user CA's key and the log's key, where nothing else runs.
//!
//! `bastion serve` starts it as a process of its own and talks to it over one socket. It has no
//! network and, once its keys are read, no way to anything but its own state file ([`sandbox`]).
//! It signs two things and believes nobody about them ([`engine`]): a checkpoint, if it is proven
//! to extend the one that it signed last; and a certificate, if the receipt that it makes for it
//! shows the grant and the issuance of this very certificate, and the customer's signed consent
//! covers it where it reaches customer data: the question that a VM's guard asks too.
//!
//! Local commands that open a deployment while no gateway runs have the same engine in their own
//! process ([`Signer::here`]). While the process is gone nothing is signed: no checkpoint, no
//! login; another one takes its place (`kept`).

mod engine;
mod kept;
mod message;
pub mod process;
pub mod sandbox;
mod state;

pub use engine::EngineError;
pub use message::{Line, Order, Under};

use crate::{
    config::Config,
    ledger::signer::{HeadToSign, LogSigner, SignError},
    metrics::{Alarm, METRICS},
};
use audit_schema::{checkpoint::Vkey, merkle::TreeHead};
use bastion_core::limits::SIGNER_SECONDS_MAX;
use engine::Engine;
use futures_util::future::BoxFuture;
use kept::Kept;
use message::{Answer, Hello, Request};
use russh::keys::{PublicKey, ssh_key::Certificate};
use std::{
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::UnixStream,
    sync::{Mutex, MutexGuard},
};

/// Why the signer did not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    /// It cannot be started.
    #[error("the signer does not start: {0}")]
    Start(String),
    /// It does not answer, or is gone.
    #[error("the signer is gone ({0})")]
    Gone(String),
    /// It will not sign this.
    #[error("the signer refuses: {0}")]
    Refused(String),
    /// The proof does not begin where the signer is.
    #[error("the last checkpoint signed is of {} entries", .0.size)]
    Behind(TreeHead),
    /// The log is not the one that it knows.
    #[error(
        "the log is not the one whose {} entries were signed last: keep the store as it is and run \
         `bastion doctor`", .0.size
    )]
    Fork(TreeHead),
}

/// What signs, wherever it runs.
pub struct Signer {
    place: Place,
    user_ca: PublicKey,
    vkey: Vkey,
    /// What it signed last, as far as we heard.
    last: StdMutex<TreeHead>,
    confined: String,
    /// Whose turn it is to prove from the last head: two that do so at once are one too many.
    turn: Mutex<()>,
}

enum Place {
    /// In this process.
    Here(Box<StdMutex<Engine>>),
    /// In a process of its own.
    Process(Arc<Mutex<Kept>>),
}

impl Signer {
    /// The engine in this process, for what opens a deployment but serves nobody.
    pub fn here(config: &Config) -> Result<Self, EngineError> {
        let mut engine = Engine::open(config)?;
        let Answer::Hello(hello) = engine.answer(Request::Hello) else {
            return Err(EngineError::Answer);
        };
        Self::greeted(Place::Here(Box::new(StdMutex::new(engine))), *hello)
            .map_err(|_| EngineError::Answer)
    }

    /// A process of its own, which ends when this does.
    pub async fn start(config: &Config) -> Result<Self, SignerError> {
        let (kept, hello) = Kept::start(config).await?;
        Self::greeted(Place::Process(Arc::new(Mutex::new(kept))), *hello)
    }

    fn greeted(place: Place, hello: Hello) -> Result<Self, SignerError> {
        let wrong = |what: String| SignerError::Start(what);
        Ok(Self {
            place,
            user_ca: PublicKey::from_openssh(&hello.user_ca).map_err(|e| wrong(e.to_string()))?,
            vkey: hello.vkey.parse().map_err(|e| wrong(format!("its key: {e}")))?,
            last: StdMutex::new(hello.last.into()),
            confined: hello.confined,
            turn: Mutex::new(()),
        })
    }

    /// The user CA's public key: what a VM's `TrustedUserCAKeys` holds.
    pub fn user_ca(&self) -> &PublicKey {
        &self.user_ca
    }

    /// What holds it back, in words.
    pub fn confined(&self) -> &str {
        &self.confined
    }

    /// The size of the log that it signed last.
    pub fn last_signed(&self) -> TreeHead {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for one's turn to have something signed that extends [`Self::last_signed`].
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The certificate of an order, with its receipt and its consent in it: one round trip.
    pub async fn certificate(&self, order: Order) -> Result<Certificate, SignerError> {
        let head = match &order.under {
            Under::Head(head) => Some(head.head()),
            // Of a checkpoint that was signed before we have heard already.
            Under::Cosigned(_) => None,
        };
        let answer = self.ask(Request::Certificate(Box::new(order))).await?;
        let Answer::Certificate(line) = answer else { return Err(unexpected()) };
        if let Some(head) = head {
            self.signed(head);
        }
        line.parse().map_err(|_| unexpected())
    }

    /// A revocation list as a signed note.
    pub async fn revocations(&self, text: String) -> Result<String, SignerError> {
        match self.ask(Request::Revocations(text)).await? {
            Answer::Note(note) => Ok(note),
            _ => Err(unexpected()),
        }
    }

    fn signed(&self, head: TreeHead) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if head.size >= last.size {
            *last = head;
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, SignerError> {
        let answer = match &self.place {
            Place::Here(engine) => {
                Ok(engine.lock().unwrap_or_else(PoisonError::into_inner).answer(request))
            }
            Place::Process(kept) => {
                let mut kept = Arc::clone(kept).lock_owned().await;
                // A task of its own: a login that is cut off leaves its question to be answered,
                // and the process to whoever asks next.
                let asked = tokio::spawn(async move { kept.ask(&request).await });
                asked.await.unwrap_or_else(|_| Err(SignerError::Gone("we are ending".into())))
            }
        };
        METRICS.alarm(Alarm::Signing, answer.is_err());
        match answer? {
            Answer::Behind(last) => {
                let last = TreeHead::from(last);
                *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
                Err(SignerError::Behind(last))
            }
            Answer::Fork(last) => Err(SignerError::Fork(last.into())),
            Answer::Refused(why) => Err(SignerError::Refused(why)),
            answer => Ok(answer),
        }
    }
}

impl LogSigner for Signer {
    fn vkey(&self) -> Vkey {
        self.vkey.clone()
    }
    fn last(&self) -> BoxFuture<'_, Result<TreeHead, SignError>> {
        Box::pin(std::future::ready(Ok(self.last_signed())))
    }
    fn sign(&self, ask: HeadToSign) -> BoxFuture<'_, Result<String, SignError>> {
        let head = ask.head;
        Box::pin(async move {
            match self.ask(Request::Head(ask.into())).await {
                Ok(Answer::Note(note)) => {
                    self.signed(head);
                    Ok(note)
                }
                Ok(_) => Err(SignError::Unavailable(unexpected().to_string())),
                Err(SignerError::Behind(last)) => Err(SignError::Behind(last)),
                Err(SignerError::Fork(last)) => Err(SignError::Fork { last, asked: head }),
                Err(other) => Err(SignError::Unavailable(other.to_string())),
            }
        })
    }
}

async fn exchange(stream: &mut UnixStream, request: &Request) -> Result<Answer, SignerError> {
    let gone = |error: std::io::Error| SignerError::Gone(error.to_string());
    let asked = async {
        message::send(stream, request).await?;
        message::receive(stream).await
    };
    let within = Duration::from_secs(SIGNER_SECONDS_MAX);
    let answer = tokio::time::timeout(within, asked).await;
    answer.map_err(|_| SignerError::Gone("it does not answer".into()))?.map_err(gone)
}

fn unexpected() -> SignerError {
    SignerError::Refused("it answered something else".into())
}
