//! The operator's output while it waits for the operator: two streams, their order, and the end.
//!
//! The VM's connection is always drained into here, and gated when too much has gathered. Output
//! and error output keep the order in which they came. The end has three parts that clients are
//! particular about: the exit status is told as soon as everything before it has been delivered;
//! the end of output is held back until it has, because a client that answers it with a close
//! would lose the status; and the channel is over when the VM has closed it.
//!
//! Nothing here wakes anybody. Who puts in (`pump::drain`) and who takes out (`pump::download`) are
//! one task, polled in that order, so what has been put in is found in the same poll. A waker would
//! run that task once more for nothing, and have the runtime wake a second thread to look what
//! there is to do: at every echo of a key, on two cores, right when the VM needs the other one.

use super::{
    fifo::Fifo,
    quota::Brim,
    spool::{Overrun, Spools},
};
use crate::egress::Gate;
use bastion_core::limits::{
    EOF_HOLD_ENDED_SECONDS, EOF_HOLD_MILLIS, GATE_CLOSE_BYTES, GATE_OPEN_BYTES, OUTBOX_RUNS_MAX,
    SPOOL_PULL_BYTES,
};
use bytes::Bytes;
use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::time::{Sleep, sleep_until};

/// Which of the two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

/// How the program on the VM ended.
#[derive(Clone, Debug)]
pub enum Exit {
    /// With a status.
    Status(u32),
    /// By a signal.
    Signal {
        /// Its name, without `SIG`.
        name: russh::Sig,
        /// Whether it left a core file.
        core: bool,
        /// What sshd says about it.
        message: String,
        /// The language of that.
        language: String,
    },
}

/// What the operator is to be told next.
pub(super) enum Next {
    Data(Stream, Bytes),
    /// Answers of the gateway itself, to requests that it refused.
    Ours(Bytes),
    Exit(Exit),
    Eof,
    /// The VM closed the channel; or, if not `clean`, its connection went away.
    Over {
        clean: bool,
    },
}

pub(super) struct Outbox {
    state: Mutex<State>,
    gate: Gate,
    /// Those of output and of error output.
    brims: [Arc<Brim>; 2],
    spools: Arc<Spools>,
}

struct State {
    output: Fifo,
    error: Fifo,
    /// Runs of bytes of one stream, oldest first.
    runs: VecDeque<(Stream, u64)>,
    exit: Option<Exit>,
    exit_told: bool,
    eof_at: Option<Instant>,
    eof_told: bool,
    over: Option<bool>,
}

impl Outbox {
    /// For a program, whose exit status comes at the end, or for a connection, which has none.
    pub(super) fn new(spools: &Arc<Spools>, gate: Gate, has_exit: bool) -> Self {
        let state = State {
            output: Fifo::new(spools),
            error: Fifo::new(spools),
            runs: VecDeque::new(),
            exit: None,
            exit_told: !has_exit,
            eof_at: None,
            eof_told: false,
            over: None,
        };
        let brims = [state.output.brim(), state.error.brim()];
        let spools = Arc::clone(spools);
        Self { state: Mutex::new(state), gate, brims, spools }
    }

    /// Returns when too much has waited for the operator for too long.
    pub(super) async fn overflow(&self) -> Overrun {
        let [output, error] = &self.brims;
        let quotas = self.spools.quotas();
        tokio::select! {
            why = output.overflow(quotas) => why,
            why = error.overflow(quotas) => why,
        }
    }

    /// Nothing of the VM is read while too much waits.
    fn hold(&self) {
        self.gate.set_held(self.brims.iter().any(|brim| brim.is_held()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock ends the channel's task, and with it every holder of this.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, stream: Stream, data: Bytes) -> Result<(), Overrun> {
        let mut state = self.lock();
        let bytes = data.len() as u64;
        match stream {
            Stream::Output => state.output.push_owned(data)?,
            Stream::Error => state.error.push_owned(data)?,
        }
        state.add_run(stream, bytes);
        if state.bytes() > GATE_CLOSE_BYTES {
            self.gate.set_closed(true);
            self.hold();
        }
        Ok(())
    }

    pub(super) fn exit(&self, exit: Exit) {
        self.lock().exit.get_or_insert(exit);
    }

    pub(super) fn eof(&self) {
        self.lock().eof_at.get_or_insert_with(Instant::now);
    }

    pub(super) fn over(&self, clean: bool) {
        self.lock().over.get_or_insert(clean);
    }

    /// How the program ended, as far as is known.
    pub(super) fn known_exit(&self) -> Option<Exit> {
        self.lock().exit.clone()
    }

    /// What comes next; `ended` says whether the operator's input has. To be polled by the task
    /// that puts things in, after it has. May be dropped while it waits.
    pub(super) async fn next(&self, ended: impl Fn() -> bool) -> Result<Next, Overrun> {
        let mut timer = None;
        poll_fn(|cx| self.poll_next(cx, eof_hold(ended()), &mut timer)).await
    }

    fn poll_next(
        &self,
        cx: &mut Context<'_>,
        hold: Duration,
        timer: &mut Option<Pin<Box<Sleep>>>,
    ) -> Poll<Result<Next, Overrun>> {
        loop {
            let mut state = self.lock();
            let was_held = self.brims.iter().any(|brim| brim.is_held());
            let next = state.take(&self.gate, hold)?;
            if was_held {
                self.hold();
            }
            if let Some(next) = next {
                return Poll::Ready(Ok(next));
            }
            let Some(since) = state.eof_at.filter(|_| !state.eof_told) else {
                return Poll::Pending;
            };
            drop(state);
            let until = (since + hold).into();
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if timer.deadline() != until {
                timer.as_mut().reset(until);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// How long the end of output waits for the exit status. A client whose input has ended as well has
/// no use for it, and may close at once.
fn eof_hold(ended: bool) -> Duration {
    if ended {
        Duration::from_secs(EOF_HOLD_ENDED_SECONDS)
    } else {
        Duration::from_millis(EOF_HOLD_MILLIS)
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.output.bytes() + self.error.bytes()
    }

    /// A VM that alternates streams byte by byte costs us order, not memory.
    fn add_run(&mut self, stream: Stream, bytes: u64) {
        let full = self.runs.len() >= OUTBOX_RUNS_MAX;
        let depth = if full { 2 } else { 1 };
        let last = self.runs.iter_mut().rev().take(depth).find(|(of, _)| *of == stream);
        match last {
            Some((_, length)) => *length += bytes,
            None => self.runs.push_back((stream, bytes)),
        }
    }

    fn take(&mut self, gate: &Gate, hold: Duration) -> Result<Option<Next>, Overrun> {
        if let Some((stream, data)) = self.take_data()? {
            if self.bytes() < GATE_OPEN_BYTES {
                gate.set_closed(false);
            }
            return Ok(Some(Next::Data(stream, data)));
        }
        if let Some(exit) = self.exit.as_ref().filter(|_| !self.exit_told) {
            self.exit_told = true;
            return Ok(Some(Next::Exit(exit.clone())));
        }
        let may_tell = self.exit_told || self.over.is_some();
        let is_due = self.eof_at.is_some_and(|at| may_tell || at.elapsed() >= hold);
        if is_due && !self.eof_told {
            self.eof_told = true;
            return Ok(Some(Next::Eof));
        }
        Ok(self.over.map(|clean| Next::Over { clean }))
    }

    fn take_data(&mut self) -> Result<Option<(Stream, Bytes)>, Overrun> {
        let Some((stream, left)) = self.runs.front_mut() else { return Ok(None) };
        let stream = *stream;
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(SPOOL_PULL_BYTES);
        let fifo = match stream {
            Stream::Output => &mut self.output,
            Stream::Error => &mut self.error,
        };
        // Runs count exactly what was pushed; an empty queue here would be a bug, and ends it.
        let data = fifo.pop(most)?.unwrap_or_default();
        *left = left.saturating_sub(data.len() as u64);
        if *left == 0 || data.is_empty() {
            self.runs.pop_front();
        }
        Ok(Some((stream, data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(&Spools::new(&std::env::temp_dir()), Gate::default(), true)
    }

    #[tokio::test]
    async fn two_streams_keep_their_order() {
        let outbox = outbox();
        let pushed: Vec<_> = (0..300_u32)
            .map(|n| (if n % 3 == 0 { Stream::Error } else { Stream::Output }, n.to_be_bytes()))
            .collect();
        for (stream, data) in &pushed {
            outbox.push(*stream, Bytes::copy_from_slice(data)).unwrap();
        }
        outbox.over(true);
        let (mut streams, mut bytes) = (Vec::new(), Vec::new());
        while let Next::Data(stream, data) = outbox.next(|| false).await.unwrap() {
            streams.extend(std::iter::repeat_n(stream, data.len() / 4));
            bytes.extend_from_slice(&data);
        }
        assert_eq!(streams, pushed.iter().map(|(stream, _)| *stream).collect::<Vec<_>>());
        assert_eq!(bytes, pushed.iter().flat_map(|(_, data)| *data).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn the_end_of_output_waits_for_the_exit_status() {
        let outbox = outbox();
        outbox.push(Stream::Output, Bytes::from_static(b"x")).unwrap();
        outbox.eof();
        assert!(matches!(outbox.next(|| false).await, Ok(Next::Data(..))));
        let early = tokio::time::timeout(Duration::from_millis(50), outbox.next(|| false)).await;
        assert!(early.is_err(), "the end of output came before the exit status");
        outbox.exit(Exit::Status(5));
        outbox.over(true);
        assert!(matches!(outbox.next(|| false).await, Ok(Next::Exit(Exit::Status(5)))));
        assert!(matches!(outbox.next(|| false).await, Ok(Next::Eof)));
        assert!(matches!(outbox.next(|| false).await, Ok(Next::Over { clean: true })));
    }

    #[tokio::test]
    async fn a_program_that_closes_its_output_and_goes_on_is_not_held_for_long() {
        let outbox = outbox();
        outbox.eof();
        let next =
            tokio::time::timeout(Duration::from_secs(2), outbox.next(|| false)).await.unwrap();
        assert!(matches!(next, Ok(Next::Eof)));
    }

    #[tokio::test]
    async fn a_client_that_may_close_at_once_gets_the_exit_status_first() {
        let outbox = outbox();
        outbox.eof();
        let early = tokio::time::timeout(Duration::from_secs(1), outbox.next(|| true)).await;
        assert!(early.is_err(), "the end of output came before the exit status");
        outbox.exit(Exit::Status(5));
        assert!(matches!(outbox.next(|| true).await, Ok(Next::Exit(Exit::Status(5)))));
        assert!(matches!(outbox.next(|| true).await, Ok(Next::Eof)));
    }
}
