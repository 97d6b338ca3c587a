//! A change on its way to the writer and back.

use super::{Batch, ChangeError, LedgerError, Recorded, recorded::Stamp};
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};
use tokio::sync::oneshot;

/// A queued change.
pub struct Job {
    /// What it is called in messages.
    pub label: &'static str,
    /// What it is for.
    pub purpose: Purpose,
    /// When it was queued.
    pub queued_at: Instant,
    turn: Turn,
    change: Box<dyn Change>,
}

/// What a change is for: it decides who may still write when the disk is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Anything.
    Change,
    /// It ends something that is open.
    Closing,
}

/// Whose turn it is: a change is either withdrawn by its caller or taken by the writer, never
/// both. So whoever is told "not recorded" can rely on it.
#[derive(Clone, Debug)]
pub struct Turn(Arc<AtomicU8>);

const WAITING: u8 = 0;
const TAKEN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Turn {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITING)))
    }
    fn claim(&self, state: u8) -> bool {
        self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
    /// The caller gives up; false if the writer was faster.
    pub fn withdraw(&self) -> bool {
        self.claim(WITHDRAWN)
    }
    fn take(&self) -> bool {
        self.claim(TAKEN)
    }
}

type Answer<T> = oneshot::Receiver<Result<Recorded<T>, LedgerError>>;

impl Job {
    /// A change, where its answer will come, and the means to withdraw it.
    pub fn new<T, F>(purpose: Purpose, label: &'static str, change: F) -> (Self, Answer<T>, Turn)
    where
        T: Send + 'static,
        F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>> + Send + 'static,
    {
        let (answer, outcome) = oneshot::channel();
        let turn = Turn::new();
        let typed = Typed { change: Some(change), value: None, answer };
        let job = Self {
            label,
            purpose,
            queued_at: Instant::now(),
            turn: turn.clone(),
            change: Box::new(typed),
        };
        (job, outcome, turn)
    }

    /// Whether the change may run; false if its caller has given up.
    pub fn take(&self) -> bool {
        self.turn.take()
    }
    /// Runs the change; its value is kept until the answer.
    pub async fn run(&mut self, batch: &mut Batch) -> Result<(), ChangeError> {
        self.change.run(batch).await
    }
    /// The change is durable.
    pub fn recorded(self, stamp: Stamp) {
        self.change.answer(Ok(stamp));
    }
    /// The change was not made.
    pub fn failed(self, error: LedgerError) {
        self.change.answer(Err(error));
    }
}

/// A change without its types.
trait Change: Send {
    fn run<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ChangeError>>;
    fn answer(self: Box<Self>, outcome: Result<Stamp, LedgerError>);
}

struct Typed<T, F> {
    change: Option<F>,
    value: Option<T>,
    answer: oneshot::Sender<Result<Recorded<T>, LedgerError>>,
}

impl<T, F> Change for Typed<T, F>
where
    T: Send + 'static,
    F: for<'a> FnOnce(&'a mut Batch) -> BoxFuture<'a, Result<T, ChangeError>> + Send + 'static,
{
    fn run<'a>(&'a mut self, batch: &'a mut Batch) -> BoxFuture<'a, Result<(), ChangeError>> {
        Box::pin(async move {
            let change = self.change.take().ok_or_else(ran_already)?;
            self.value = Some(change(batch).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, outcome: Result<Stamp, LedgerError>) {
        let Self { value, answer, .. } = *self;
        let outcome = outcome.and_then(|stamp| match value {
            Some(value) => Ok(Recorded::new(value, stamp)),
            None => Err(LedgerError::Failed(StoreError::failed("the change left no value"))),
        });
        // Nobody may be listening any more; the change is made or refused all the same.
        if answer.send(outcome).is_err() {
            tracing::debug!("a change was answered that nobody waits for");
        }
    }
}

fn ran_already() -> StoreError {
    StoreError::failed("the change ran already")
}
