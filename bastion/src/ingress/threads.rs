//! The threads that connections live on, one for each processor.
//!
//! What an operator's connection consists of (russh's two loops, the channel's task, the VM's
//! connection, the inner one of `ssh -J`) is a chain: each wakes the next, and waits. On a runtime
//! of several workers a wake is also an invitation to the others to steal the task, which costs a
//! system call, a processor's sleep and the contents of its caches, to run two things at once that
//! cannot run at once. So a connection stays, with everything that it spawns, on the one thread
//! that it was given. What all share (the log, the store, commands, what is published) lives on the
//! runtime that `serve` was started on, and so does whoever may compute or wait for a disk at
//! length: what does so here holds up the others of this thread.

use std::{
    io,
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
};

/// The threads. Those who hold it keep them running; what they run ends with the last of these.
#[derive(Clone)]
pub struct Threads(Arc<[Thread]>);

struct Thread {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    load: Mutex<Load>,
    /// Dropped, it ends the thread.
    _running: watch::Sender<()>,
}

/// What a thread has had to do lately.
struct Load {
    looked_at: Instant,
    busy: Duration,
    /// The share of its time that it was busy for, in percent.
    percent: u128,
}

/// A connection of a thread.
struct Tenancy(Arc<AtomicUsize>);

/// A thread that is busier than another by so much gets no new connection instead of it, however
/// few it has: one transfer is more than a thousand idle terminals.
const BUSIER_PERCENT: u128 = 25;

/// For how long what was seen of a thread's load is taken to be true.
const LOAD_HOLDS: Duration = Duration::from_millis(50);

impl Threads {
    /// One for each processor.
    pub fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZero::get);
        let threads = (0..processors).map(Thread::start);
        Ok(Self(threads.collect::<io::Result<Vec<_>>>()?.into()))
    }

    /// Has a connection live on the thread that has the least to do.
    pub(super) fn spawn<F>(&self, serving: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let idlest = self.0.iter().map(Thread::percent).min().unwrap_or(0);
        let free = self.0.iter().filter(|thread| thread.percent() <= idlest + BUSIER_PERCENT);
        // There is one: the idlest.
        let Some(thread) = free.min_by_key(|thread| thread.connections()) else { return };
        thread.connections.fetch_add(1, Ordering::Relaxed);
        let tenancy = Tenancy(Arc::clone(&thread.connections));
        thread.runtime.spawn(async move {
            serving.await;
            drop(tenancy);
        });
    }
}

impl Thread {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (running, mut stopped) = watch::channel(());
        let body = move || {
            // The sender is never used: an error is its end.
            drop(runtime.block_on(stopped.changed()));
            // What still runs is dropped here; nobody waits for it.
            runtime.shutdown_background();
        };
        thread::Builder::new().name(format!("connections-{number}")).spawn(body)?;
        Ok(Self {
            runtime: handle,
            connections: Arc::default(),
            load: Mutex::new(Load { looked_at: Instant::now(), busy: Duration::ZERO, percent: 0 }),
            _running: running,
        })
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        // Plain numbers, of which none has to fit the others.
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn percent(&self) -> u128 {
        let mut load = self.load();
        let passed = load.looked_at.elapsed();
        if passed >= LOAD_HOLDS {
            let busy = self.runtime.metrics().worker_total_busy_duration(0);
            let lately = busy.saturating_sub(load.busy);
            let percent = lately.as_micros() * 100 / passed.as_micros().max(1);
            *load = Load { looked_at: Instant::now(), busy, percent };
        }
        load.percent
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, thread::ThreadId};
    use tokio::sync::{mpsc, oneshot};

    async fn thread_of(threads: &Threads) -> (ThreadId, oneshot::Sender<()>) {
        let (answer, answered) = oneshot::channel();
        let (end, ended) = oneshot::channel::<()>();
        threads.spawn(async move {
            // What a connection spawns stays with it.
            let own = tokio::spawn(async { thread::current().id() }).await;
            assert_eq!(own.ok(), Some(thread::current().id()));
            answer.send(thread::current().id()).expect("whoever asked waits");
            drop(ended.await);
        });
        (answered.await.expect("it runs"), end)
    }

    #[tokio::test]
    async fn connections_spread_over_the_threads_and_each_stays_on_its_own() {
        let threads = Threads::start().unwrap();
        let all = threads.0.len();
        let mut here = Vec::new();
        for _ in 0..all {
            here.push(thread_of(&threads).await);
        }
        let ids: HashSet<_> = here.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), all, "each has one");
        // The first to become free is the next to get one.
        let (freed, end) = here.swap_remove(0);
        end.send(()).unwrap();
        while threads.0.iter().all(|thread| thread.connections() == 1) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(thread_of(&threads).await.0, freed);
    }

    #[tokio::test]
    async fn a_connection_that_panics_gives_its_place_back_and_its_thread_goes_on() {
        let threads = Threads::start().unwrap();
        for _ in 0..2 * threads.0.len() {
            threads.spawn(async { panic!("on purpose") });
        }
        while threads.0.iter().any(|thread| thread.connections() > 0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        thread_of(&threads).await;
    }

    #[tokio::test]
    async fn what_still_runs_ends_with_the_last_who_holds_the_threads() {
        let threads = Threads::start().unwrap();
        let (alive, mut ended) = mpsc::channel::<()>(1);
        threads.spawn(async move {
            alive.closed().await;
        });
        drop(threads);
        assert_eq!(ended.recv().await, None);
    }

    #[tokio::test]
    async fn a_thread_that_is_busy_gets_nothing_while_another_is_not() {
        let threads = Threads::start().unwrap();
        if threads.0.len() < 2 {
            return;
        }
        // The first has a transfer and no other connection; the others have five, all idle.
        let (first, others) = (&threads.0[0], &threads.0[1..]);
        for thread in others {
            thread.connections.fetch_add(5, Ordering::Relaxed);
        }
        *first.load() = Load {
            looked_at: Instant::now() + Duration::from_secs(60),
            busy: Duration::ZERO,
            percent: 100,
        };
        let (id, _end) = thread_of(&threads).await;
        let first = first.runtime.spawn(async { thread::current().id() }).await.unwrap();
        assert_ne!(first, id);
    }
}
