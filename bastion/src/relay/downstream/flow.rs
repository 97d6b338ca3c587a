//! How fast one operator connection may send: the window policy, and the holds.
//!
//! Russh has one window target for a whole connection, and asks for the next one after each grant.
//! While a channel is stalled the target is 16 bytes: a probe a round trip, which keeps the peer's
//! window machinery alive and costs next to nothing.
//!
//! If another channel is sending meanwhile it must get full grants, and the stalled one must not
//! catch them. The next grant goes to whichever channel's packet comes first, so the moment for a
//! full target is right after a probe of the stalled channel has been answered: its next packet is
//! a whole round trip away, that of the busy channel, which waits already, is nearer. If no probe
//! comes (the stalled channel's operator has paused), the busy channel is served after a few
//! packets of its own.

use super::{Inbox, Input, lane::Lane, socket::Socket};
use crate::relay::{socket, spool::Spools};
use bastion_core::limits::{
    EXIT_HOLD_MILLIS, EXIT_LEAVES_MILLIS, HOLD_MICROS_BUSY_MAX, HOLD_MICROS_MIN,
    HOLD_MICROS_QUIET_MAX, HUNGRY_PROBES_MAX, WINDOW_NARROW_BYTES, WINDOW_NEAR_BYTES,
    WINDOW_PROBE_BYTES,
};
use russh::ChannelId;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// The pace of one operator connection. Cheap to clone; all clones are the same connection.
#[derive(Clone)]
pub struct Flow(Arc<Shared>);

struct Shared {
    lanes: Mutex<Lanes>,
    hold: Arc<Hold>,
    spools: Arc<Spools>,
    /// No window is wider than this.
    widest: AtomicU32,
}

#[derive(Default)]
struct Lanes {
    open: HashMap<ChannelId, Arc<Lane>>,
    /// Probes that busy channels have used up since the last full grant.
    hungry: u32,
}

impl Flow {
    /// The pace of a new connection.
    pub fn new(spools: &Arc<Spools>) -> Self {
        Self(Arc::new(Shared {
            lanes: Mutex::default(),
            hold: Arc::new(Hold::default()),
            spools: Arc::clone(spools),
            widest: AtomicU32::new(u32::MAX),
        }))
    }

    /// Keeps the windows of this connection narrow: it is PuTTY's, inside another one.
    ///
    /// `plink` writes to its proxy and waits until all of it is taken; and the proxy, another
    /// `plink`, neither takes more nor reads its own connection while what it has read is not
    /// taken. So what the outer one sends must always fit into the window around it, as it does
    /// with sshd on both ends; else the two wait for each other for ever.
    pub fn narrow(&self) {
        self.0.widest.store(WINDOW_NARROW_BYTES, Ordering::Relaxed);
    }

    /// The operator's TCP connection, to be given to russh: held while a channel is stalled.
    pub fn tcp(&self, stream: TcpStream) -> Socket<TcpStream> {
        socket::no_delay(&stream);
        Socket::new(stream, Arc::clone(&self.0.hold), socket::quick_ack)
    }

    /// The same over any stream: an inner connection inside a channel, standard input and output.
    pub fn socket<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> Socket<S> {
        Socket::new(stream, Arc::clone(&self.0.hold), |_| ())
    }

    /// A channel of this connection has a terminal.
    pub fn terminal(&self) {
        self.0.hold.terminal.store(true, Ordering::Relaxed);
    }

    /// A new channel: the handler's end and the relay's end.
    pub fn channel(&self, id: ChannelId) -> (Inbox, Input) {
        let (lane, inbox, input) = Lane::open(&self.0.spools, &self.0.hold);
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.open.retain(|_, lane| !lane.is_over());
        lanes.open.insert(id, lane);
        (inbox, input)
    }

    /// For `Handler::adjust_window`: russh has just brought `channel` back to `current` bytes, and
    /// asks for the window that the next grant, whichever channel gets it, shall reach.
    pub fn adjust_window(&self, channel: ChannelId, current: u32) -> u32 {
        self.next_window(channel, current).min(self.0.widest.load(Ordering::Relaxed))
    }

    fn next_window(&self, channel: ChannelId, current: u32) -> u32 {
        let now = Instant::now();
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let Lanes { open, hungry } = &mut *lanes;
        let Some(lane) = open.get(&channel) else { return current.max(WINDOW_NEAR_BYTES) };
        let full = lane.window_at_grant(now);
        if !open.values().any(|lane| lane.is_stalled()) {
            *hungry = 0;
            return full;
        }
        if current != WINDOW_PROBE_BYTES {
            // A full grant has been taken, by whomever.
            *hungry = 0;
            return WINDOW_PROBE_BYTES;
        }
        if !lane.is_stalled() {
            *hungry += 1;
            let probe_is_due = open.values().any(|lane| lane.is_stalled() && lane.probed(now));
            let is_patient = probe_is_due && *hungry < HUNGRY_PROBES_MAX;
            return if is_patient { WINDOW_PROBE_BYTES } else { full };
        }
        if *hungry > 0 {
            return full;
        }
        let others_active = open.iter().any(|(id, other)| *id != channel && other.is_active(now));
        self.0.hold.after_probe(now, others_active);
        WINDOW_PROBE_BYTES
    }
}

/// Until when the next read of a connection waits.
#[derive(Default)]
pub(super) struct Hold {
    state: Mutex<HoldState>,
    /// The operator has a terminal, so their client does not wait for acknowledgements.
    terminal: AtomicBool,
}

#[derive(Default)]
struct HoldState {
    until: Option<Instant>,
    /// For an exit status that must go out before the peer's close is read.
    exit_until: Option<Instant>,
    /// A probe has just been answered.
    probed: bool,
    step: Duration,
    waker: Option<Waker>,
}

impl Hold {
    fn lock(&self) -> MutexGuard<'_, HoldState> {
        // Plain fields, each set in one step.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.terminal.load(Ordering::Relaxed)
    }

    /// Whether a probe has been answered since this was last asked.
    pub(super) fn take_probed(&self) -> bool {
        std::mem::take(&mut self.lock().probed)
    }

    pub(super) fn after_probe(&self, now: Instant, others_active: bool) {
        let max = if others_active { HOLD_MICROS_BUSY_MAX } else { HOLD_MICROS_QUIET_MAX };
        let mut state = self.lock();
        state.probed = true;
        let doubled = (state.step * 2).max(Duration::from_micros(HOLD_MICROS_MIN));
        state.step = doubled.min(Duration::from_micros(max));
        state.until = Some(now + state.step);
    }

    /// A stall has cleared: read on at once, and begin gently the next time.
    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.until = None;
        state.step = Duration::ZERO;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// An exit status is due, and the peer's close must not be read before it has been told.
    pub(super) fn await_exit(&self, now: Instant) {
        let mut state = self.lock();
        state.exit_until = Some(now + Duration::from_millis(EXIT_HOLD_MILLIS));
    }

    /// It has been told, or never will be. Russh has it in a queue, and reads on in a moment.
    pub(super) fn exit_told(&self, now: Instant) {
        let mut state = self.lock();
        if state.exit_until.is_some() {
            state.exit_until = Some(now + Duration::from_millis(EXIT_LEAVES_MILLIS));
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }

    /// Until when even what has arrived must wait.
    pub(super) fn until_exit(&self, now: Instant, waker: &Waker) -> Option<Instant> {
        let mut state = self.lock();
        state.exit_until = state.exit_until.filter(|until| *until > now);
        if state.exit_until.is_some() {
            state.waker = Some(waker.clone());
        }
        state.exit_until
    }

    /// Until when to wait, if at all; the waker is called should that change.
    pub(super) fn until(&self, now: Instant, waker: &Waker) -> Option<Instant> {
        let mut state = self.lock();
        let until = state.until.filter(|until| *until > now);
        if until.is_some() {
            state.waker = Some(waker.clone());
        } else {
            state.until = None;
        }
        until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bastion_core::limits::{STALL_BYTES, WINDOW_FAR_BYTES};

    const FULL: u32 = WINDOW_NEAR_BYTES;
    const PROBE: u32 = WINDOW_PROBE_BYTES;

    struct Pair {
        flow: Flow,
        stuck: (ChannelId, Inbox, Input),
        busy: (ChannelId, Inbox, Input),
    }

    /// russh keeps a channel's number to itself; its own tests make them from the wire, as we do.
    fn channel(flow: &Flow, number: u32) -> (ChannelId, Inbox, Input) {
        use russh::keys::ssh_encoding::Decode as _;
        let id = ChannelId::decode(&mut &number.to_be_bytes()[..]).unwrap();
        let (inbox, input) = flow.channel(id);
        (id, inbox, input)
    }

    fn pair() -> Pair {
        let flow = Flow::new(&Spools::new(&std::env::temp_dir()));
        let (stuck, busy) = (channel(&flow, 1), channel(&flow, 2));
        Pair { flow, stuck, busy }
    }

    fn stall(inbox: &Inbox) {
        inbox.data(&vec![0; STALL_BYTES as usize + 1]);
    }

    fn held(flow: &Flow) -> bool {
        flow.0.hold.until(Instant::now(), Waker::noop()).is_some()
    }

    #[test]
    fn nothing_stalled_means_full_windows_and_no_holds() {
        let Pair { flow, busy: (busy, ..), .. } = pair();
        assert_eq!(flow.adjust_window(busy, FULL), FULL);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(flow.adjust_window(busy, FULL), WINDOW_FAR_BYTES, "a grant lasted long");
        assert!(!held(&flow));
    }

    #[test]
    fn a_narrow_connection_fits_into_the_one_around_it() {
        let Pair { flow, busy: (busy, ..), .. } = pair();
        flow.narrow();
        assert_eq!(flow.adjust_window(busy, FULL), WINDOW_NARROW_BYTES);
        // The next grant around it comes at the latest when half of the window is used up.
        const { assert!(WINDOW_NARROW_BYTES < WINDOW_NEAR_BYTES / 2) };
        const { assert!((WINDOW_NARROW_BYTES as u64) < STALL_BYTES) };
    }

    #[tokio::test]
    async fn a_stalled_channel_gets_probes_and_holds_until_the_vm_has_caught_up() {
        let Pair { flow, stuck: (stuck, inbox, mut input), .. } = pair();
        stall(&inbox);
        assert_eq!(flow.adjust_window(stuck, FULL), PROBE);
        assert!(!held(&flow), "the full grant is still coming in");
        assert_eq!(flow.adjust_window(stuck, PROBE), PROBE);
        assert!(held(&flow));
        while let crate::relay::downstream::Piece::Data(data) = input.next().await.unwrap() {
            if data.len() as u64 > STALL_BYTES {
                break;
            }
        }
        assert!(!held(&flow), "released at once");
        assert_ne!(flow.adjust_window(stuck, PROBE), PROBE);
    }

    #[test]
    fn a_busy_channel_is_served_right_after_a_probe_of_the_stalled_one() {
        let Pair { flow, stuck: (stuck, inbox, _input), busy: (busy, busy_inbox, _busy) } = pair();
        stall(&inbox);
        busy_inbox.data(b"x");
        assert_eq!(flow.adjust_window(busy, PROBE), PROBE, "the other's probe is due first");
        assert!(flow.adjust_window(stuck, PROBE) >= FULL, "now the busy one is nearer");
        assert_eq!(flow.adjust_window(busy, FULL), PROBE, "and it alone");
    }

    #[test]
    fn a_busy_channel_does_not_wait_for_a_stalled_one_that_has_paused() {
        let Pair { flow, stuck: (_, inbox, _input), busy: (busy, ..) } = pair();
        stall(&inbox);
        std::thread::sleep(Duration::from_millis(bastion_core::limits::PROBE_DUE_MILLIS + 20));
        assert!(flow.adjust_window(busy, PROBE) >= FULL);
    }

    #[test]
    fn a_channel_that_is_gone_stalls_nobody() {
        let Pair { flow, stuck: (_, inbox, input), busy: (busy, ..) } = pair();
        stall(&inbox);
        drop(input);
        assert!(flow.adjust_window(busy, PROBE) >= FULL);
    }
}
