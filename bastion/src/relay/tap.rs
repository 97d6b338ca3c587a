//! The live channels of this gateway, for those who may watch them.
//!
//! What goes through is put here after it is in the recording's hands. Nobody who watches can slow
//! a channel: pieces wait in a queue of bounded length, and one that is full loses what comes, and
//! counts it. A terminal keeps its last output, some full screens of it, so that whoever begins to
//! watch, or was too slow, gets the screen as it is now and goes on from there.

use super::downstream::{Setup, WindowSize};
use bastion_core::{
    id::LeaseId,
    limits::{WATCH_PIECES_MAX, WATCH_RECENT_BYTES_MAX, WATCHERS_MAX},
    typed::is_full_screen_after,
};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// The channels that run on this gateway.
#[derive(Default)]
pub struct Taps(Mutex<HashMap<LeaseId, Arc<Tap>>>);

/// One channel, for its watchers.
pub struct Tap {
    state: Mutex<State>,
    /// Nobody looks: the usual case, told without the lock.
    watched: AtomicBool,
    terminal: bool,
    words: Mutex<VecDeque<String>>,
    spoken: Notify,
}

struct State {
    size: (u64, u64),
    recent: VecDeque<u8>,
    /// Whether a full-screen program had the screen where `recent` begins.
    full_screen: bool,
    watchers: Vec<Sender>,
}

struct Sender {
    pieces: mpsc::Sender<Seen>,
    missed: Arc<AtomicU64>,
}

/// What a watcher sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The VM sent this.
    Output(Bytes),
    /// The VM sent this on standard error.
    Error(Bytes),
    /// The terminal has another size.
    Resized(u64, u64),
    /// An operation on files, in a line of JSON.
    Operation(String),
    /// The screen as it is now: from nothing, with this output.
    Screen {
        /// Its columns and rows.
        size: (u64, u64),
        /// What makes it.
        output: Vec<u8>,
    },
}

/// Somebody who watches; dropping it ends that.
pub struct Watcher {
    tap: Arc<Tap>,
    pieces: mpsc::Receiver<Seen>,
    missed: Arc<AtomicU64>,
    skipped: u64,
}

/// A channel's place among those that run; dropping it says that it is over.
pub struct Tapped {
    taps: Arc<Taps>,
    lease: LeaseId,
    tap: Arc<Tap>,
}

impl Taps {
    /// A channel begins.
    pub fn open(self: &Arc<Self>, lease: &LeaseId, setup: &Setup) -> Tapped {
        let size = setup.pty.as_ref().map_or((0, 0), |pty| columns_rows(&pty.size));
        let tap = Arc::new(Tap {
            state: Mutex::new(State {
                size,
                recent: VecDeque::new(),
                full_screen: false,
                watchers: Vec::new(),
            }),
            watched: AtomicBool::new(false),
            terminal: setup.pty.is_some(),
            words: Mutex::default(),
            spoken: Notify::new(),
        });
        self.lock().insert(lease.clone(), Arc::clone(&tap));
        Tapped { taps: Arc::clone(self), lease: lease.clone(), tap }
    }

    /// A channel that runs here.
    pub fn find(&self, lease: &LeaseId) -> Option<Arc<Tap>> {
        self.lock().get(lease).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LeaseId, Arc<Tap>>> {
        // No code panics while it holds the lock; if one did, the map is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Tapped {
    fn drop(&mut self) {
        self.taps.lock().remove(&self.lease);
        self.tap.lock().watchers.clear();
    }
}

impl std::fmt::Debug for Tapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tapped({})", self.lease)
    }
}

impl std::ops::Deref for Tapped {
    type Target = Tap;
    fn deref(&self) -> &Tap {
        &self.tap
    }
}

impl Tap {
    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Somebody begins to watch; none if there are too many already.
    pub fn watch(self: &Arc<Self>) -> Option<Watcher> {
        let (pieces, seen) = mpsc::channel(WATCH_PIECES_MAX);
        let missed = Arc::new(AtomicU64::new(0));
        let mut state = self.lock();
        state.watchers.retain(|watcher| !watcher.pieces.is_closed());
        if state.watchers.len() >= WATCHERS_MAX {
            return None;
        }
        if self.terminal && pieces.try_send(state.screen()).is_err() {
            return None;
        }
        state.watchers.push(Sender { pieces, missed: Arc::clone(&missed) });
        self.watched.store(true, Ordering::Release);
        drop(state);
        Some(Watcher { tap: Arc::clone(self), pieces: seen, missed, skipped: 0 })
    }

    /// The VM sent something that the recording has.
    pub(super) fn output(&self, data: &Bytes, is_error: bool) {
        let watched = self.watched.load(Ordering::Acquire);
        if !self.terminal && !watched {
            return;
        }
        let mut state = self.lock();
        if self.terminal {
            state.remember(data);
        }
        if watched {
            let data = data.clone();
            state.show(if is_error { Seen::Error(data) } else { Seen::Output(data) });
        }
    }

    /// The terminal has another size.
    pub(super) fn resized(&self, size: &WindowSize) {
        let mut state = self.lock();
        state.size = columns_rows(size);
        let (columns, rows) = state.size;
        state.show(Seen::Resized(columns, rows));
    }

    /// A line of operations.
    pub(super) fn operation(&self, line: &str) {
        if self.watched.load(Ordering::Acquire) {
            self.lock().show(Seen::Operation(line.to_owned()));
        }
    }

    /// Has a line shown to the operator, if there is a terminal to show it on.
    pub fn tell(&self, words: String) {
        if self.terminal {
            let mut waiting = self.words.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.truncate(WATCHERS_MAX);
            waiting.push_back(words);
            self.spoken.notify_one();
        }
    }

    /// The next such line, when no full-screen program would be disturbed by it.
    pub(super) async fn words(&self) -> String {
        loop {
            if !self.lock().is_full_screen() {
                let mut waiting = self.words.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(words) = waiting.pop_front() {
                    return words;
                }
            }
            let again = tokio::time::sleep(Duration::from_secs(1));
            let quiet = self.words.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            tokio::select! {
                () = self.spoken.notified() => {}
                () = again, if !quiet => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock; if one did, only what is shown would suffer.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remember(&mut self, data: &[u8]) {
        let most = WATCH_RECENT_BYTES_MAX;
        let keep = data.len().min(most);
        let over = (self.recent.len() + keep).saturating_sub(most);
        if over > 0 || keep < data.len() {
            let mut gone: Vec<u8> = self.recent.drain(..over).collect();
            gone.extend_from_slice(&data[..data.len() - keep]);
            self.full_screen = is_full_screen_after(&gone, self.full_screen);
        }
        self.recent.extend(&data[data.len() - keep..]);
    }

    fn is_full_screen(&mut self) -> bool {
        is_full_screen_after(self.recent.make_contiguous(), self.full_screen)
    }

    fn screen(&mut self) -> Seen {
        let recent = self.recent.make_contiguous();
        let mut output = if self.full_screen { b"\x1b[?1049h".to_vec() } else { Vec::new() };
        // Where something was dropped, the first line may be the end of one.
        let is_cut = recent.len() + 1 >= WATCH_RECENT_BYTES_MAX;
        let first = recent.iter().position(|byte| is_cut && *byte == b'\n');
        output.extend_from_slice(&recent[first.map_or(0, |at| at + 1)..]);
        Seen::Screen { size: self.size, output }
    }

    fn show(&mut self, seen: Seen) {
        self.watchers.retain(|watcher| watcher.offer(seen.clone()));
    }
}

impl Sender {
    /// False once nobody listens any more.
    fn offer(&self, seen: Seen) -> bool {
        let bytes = match &seen {
            Seen::Output(data) | Seen::Error(data) => data.len(),
            _ => 0,
        };
        match self.pieces.try_send(seen) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                // At least one: a size or an operation that is missed counts, too.
                self.missed.fetch_add(bytes.max(1) as u64, Ordering::AcqRel);
                true
            }
        }
    }
}

impl Watcher {
    /// What comes next; none when the channel is over.
    pub async fn next(&mut self) -> Option<Seen> {
        if self.missed.load(Ordering::Acquire) > 0 && self.tap.terminal {
            return self.catch_up();
        }
        self.pieces.recv().await
    }

    /// What waits already, without waiting for more.
    pub fn more(&mut self) -> Option<Seen> {
        self.pieces.try_recv().ok()
    }

    /// How much was missed since this was asked last.
    pub fn take_missed(&mut self) -> u64 {
        self.missed.swap(0, Ordering::AcqRel) + std::mem::take(&mut self.skipped)
    }

    /// Everything that waits is part of the screen as it is now.
    fn catch_up(&mut self) -> Option<Seen> {
        let mut state = self.tap.lock();
        while let Ok(seen) = self.pieces.try_recv() {
            if let Seen::Output(data) | Seen::Error(data) = seen {
                self.skipped += data.len() as u64;
            }
        }
        self.skipped += self.missed.swap(0, Ordering::AcqRel);
        Some(state.screen())
    }
}

fn columns_rows(size: &WindowSize) -> (u64, u64) {
    (size.columns.into(), size.rows.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::downstream::{Kind, Lent, Pty};
    use bastion_core::screen::Screen;

    fn tapped(terminal: bool) -> (Arc<Taps>, LeaseId, Tapped) {
        let size = WindowSize { columns: 40, rows: 5, width: 0, height: 0 };
        let pty = terminal.then(|| Pty { term: "xterm".into(), size, modes: Vec::new() });
        let setup =
            Setup { kind: Kind::Shell, pty, env: Vec::new(), notice: None, lent: Lent::default() };
        let (taps, lease) = (Arc::new(Taps::default()), LeaseId::from_entropy([7; 10]));
        let tapped = taps.open(&lease, &setup);
        (taps, lease, tapped)
    }

    fn shown(seen: Seen) -> Vec<String> {
        let Seen::Screen { size: (columns, rows), output } = seen else { panic!("{seen:?}") };
        let mut screen = Screen::new(columns, rows);
        screen.feed(&String::from_utf8_lossy(&output));
        screen.lines()
    }

    #[tokio::test]
    async fn whoever_comes_late_sees_the_screen_as_it_is() {
        let (taps, lease, tapped) = tapped(true);
        tapped.output(&Bytes::from_static(b"one\r\n\x1b[?1049h"), false);
        tapped.output(&Bytes::from(vec![b'x'; 100_000]), false);
        tapped.output(&Bytes::from_static(b"\x1b[2J\x1b[Hin the editor"), false);
        let mut watcher = taps.find(&lease).unwrap().watch().unwrap();
        assert_eq!(shown(watcher.next().await.unwrap()), ["in the editor"]);
        tapped.output(&Bytes::from_static(b"\x1b[?1049lback"), false);
        assert_eq!(
            watcher.next().await,
            Some(Seen::Output(Bytes::from_static(b"\x1b[?1049lback")))
        );
        drop(tapped);
        assert_eq!(watcher.next().await, None);
        assert!(taps.find(&lease).is_none());
    }

    #[tokio::test]
    async fn a_slow_watcher_misses_and_never_delays() {
        let (taps, lease, tapped) = tapped(true);
        let mut watcher = taps.find(&lease).unwrap().watch().unwrap();
        for number in 0..10_000 {
            tapped.output(&Bytes::from(format!("line {number}\r\n")), false);
        }
        let screen = shown(watcher.next().await.unwrap());
        assert_eq!(screen.last().unwrap(), "line 9999");
        assert!(watcher.take_missed() > 100_000);
        assert_eq!(watcher.take_missed(), 0);
        tapped.output(&Bytes::from_static(b"more"), false);
        assert_eq!(watcher.next().await, Some(Seen::Output(Bytes::from_static(b"more"))));
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_a_channel_without_a_terminal_keeps_nothing() {
        let (taps, lease, tapped) = tapped(false);
        tapped.output(&Bytes::from_static(b"before"), false);
        let tap = taps.find(&lease).unwrap();
        let mut watchers: Vec<_> = (0..WATCHERS_MAX).map(|_| tap.watch().unwrap()).collect();
        assert!(tap.watch().is_none());
        watchers.pop();
        assert!(tap.watch().is_some());
        tapped.output(&Bytes::from_static(b"after"), true);
        assert_eq!(watchers[0].more(), Some(Seen::Error(Bytes::from_static(b"after"))));
        assert_eq!(watchers[0].more(), None);
    }
}
