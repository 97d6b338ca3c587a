//! Who takes down what goes through, before it goes through.

use super::{
    banner::Banner,
    closing::Terms,
    closing::{Ending, Evidence},
    downstream::Kind,
    downstream::{Setup, WindowSize},
    outbox::{Exit, Stream},
    recording::{Moment, Recording},
    scp, sftp,
    tap::Tapped,
};
use bastion_core::{
    file_rule::FileRule,
    lease::Cause,
    typed::{Commands, Typed},
};
use bytes::Bytes;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

/// The recording of a channel, what sftp does on it, and its counts.
pub(super) struct Scribe {
    pub(super) recording: Recording,
    observer: Option<Mutex<Observer>>,
    /// Keeps the rule on the direction of files, where there is one.
    filter: Option<Mutex<sftp::Filter>>,
    refused: Notify,
    /// The first bytes of a forward, from the operator and from the VM.
    banners: Option<Mutex<[Banner; 2]>>,
    /// The commands that are typed, where they are looked for.
    typed: Option<Mutex<Typed>>,
    /// For whoever watches.
    tap: Option<Arc<Tapped>>,
    evidence: mpsc::Sender<Box<Evidence>>,
    started: Instant,
    active_at_micros: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) bytes_err: AtomicU64,
}

/// Who follows the protocol of a channel that moves files.
enum Observer {
    Sftp(Box<sftp::Observer>),
    Scp(Box<scp::Observer>),
}

impl Observer {
    fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Sftp => Some(Self::Sftp(Box::default())),
            Kind::Exec(command) => scp::Observer::of(command).map(Box::new).map(Self::Scp),
            Kind::Shell | Kind::Forward(_) => None,
        }
    }
    fn operator_sent(&mut self, data: &[u8]) -> Vec<Evidence> {
        match self {
            Self::Sftp(sftp) => sftp.operator_sent(data),
            Self::Scp(scp) => scp.operator_sent(data),
        }
    }
    fn vm_sent(&mut self, data: &[u8]) -> Vec<Evidence> {
        match self {
            Self::Sftp(sftp) => sftp.vm_sent(data),
            Self::Scp(scp) => scp.vm_sent(data),
        }
    }
    fn finish(&mut self) -> Vec<Evidence> {
        match self {
            Self::Sftp(sftp) => sftp.finish(),
            Self::Scp(scp) => scp.finish(),
        }
    }
}

impl Scribe {
    pub(super) fn new(
        recording: Recording,
        (setup, terms): (&Setup, &Terms),
        evidence: mpsc::Sender<Box<Evidence>>,
    ) -> Self {
        let rule: Option<&FileRule> = terms.files.as_ref();
        let pty = setup.pty.as_ref().filter(|_| terms.finds_commands);
        Self {
            recording,
            observer: Observer::of(&setup.kind).map(Mutex::new),
            filter: rule.map(|rule| Mutex::new(sftp::Filter::new(rule.clone()))),
            refused: Notify::new(),
            banners: matches!(setup.kind, Kind::Forward(_)).then(Mutex::default),
            typed: pty.map(|pty| Mutex::new(Typed::new(pty.size.columns.into()))),
            tap: terms.tap.clone(),
            evidence,
            started: Instant::now(),
            active_at_micros: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            bytes_err: AtomicU64::new(0),
        }
    }

    /// Whether a rule on files holds here.
    pub(super) fn has_rule(&self) -> bool {
        self.filter.is_some()
    }

    /// What of the operator's bytes may go to the VM: all of them, but for a rule on files.
    pub(super) async fn admit(&self, data: Bytes) -> Result<Bytes, Ending> {
        let Some(filter) = &self.filter else { return Ok(data) };
        let (passed, refused) = filtered(filter, |filter| filter.operator_sent(&data))?;
        if !refused.is_empty() {
            let refused = refused.into_iter().map(Evidence::Refused).collect();
            Box::pin(self.found(refused)).await?;
            self.refused.notify_one();
        }
        Ok(passed.into())
    }

    /// The VM's bytes with the gateway's own answers between them, where a rule refused.
    pub(super) fn answered(&self, stream: Stream, data: Bytes) -> Result<Bytes, Ending> {
        match &self.filter {
            Some(filter) if stream == Stream::Output => {
                filtered(filter, |filter| filter.vm_sent(&data)).map(Bytes::from)
            }
            _ => Ok(data),
        }
    }

    /// Answers to refused requests that need not wait for the VM. For ever, but for these.
    pub(super) async fn refusals(&self) -> Result<Bytes, Ending> {
        loop {
            self.refused.notified().await;
            if let Some(filter) = &self.filter {
                let due = filtered(filter, |filter| Ok(filter.due()))?;
                if !due.is_empty() {
                    return Ok(due.into());
                }
            }
        }
    }

    /// Bytes from the operator, about to be passed on.
    pub(super) async fn input(&self, data: &Bytes) -> Result<(), Ending> {
        self.no_ssh(0, data).await?;
        self.count(&self.bytes_in, data);
        self.recording.write(Moment::Input(data)).await?;
        self.follow(|typed| typed.input(data));
        self.observe(|observer| observer.operator_sent(data)).await
    }

    /// Bytes from the VM, about to be passed on.
    pub(super) async fn output(&self, stream: Stream, data: &Bytes) -> Result<(), Ending> {
        match stream {
            Stream::Output => {
                self.no_ssh(1, data).await?;
                self.count(&self.bytes_out, data);
                self.recording.write(Moment::Output(data)).await?;
                self.show(stream, data);
                self.observe(|observer| observer.vm_sent(data)).await
            }
            Stream::Error => {
                self.count(&self.bytes_err, data);
                self.recording.write(Moment::Error(data)).await?;
                self.show(stream, data);
                Ok(())
            }
        }
    }

    /// A forward that turns out to be SSH is on record up to here, and goes no further.
    async fn no_ssh(&self, direction: usize, data: &Bytes) -> Result<(), Ending> {
        let Some(banners) = &self.banners else { return Ok(()) };
        let is_ssh = {
            // Two counters: whole, whatever happened to a holder.
            let mut banners = banners.lock().unwrap_or_else(PoisonError::into_inner);
            banners[direction].completed_by(data)
        };
        if !is_ssh {
            return Ok(());
        }
        let moment = if direction == 0 { Moment::Input(data) } else { Moment::Output(data) };
        self.recording.write(moment).await?;
        Err(Ending::CarriesSsh)
    }

    /// The gateway's own words on the operator's terminal, about to be said.
    pub(super) async fn words(&self, words: &Bytes) -> Result<(), Ending> {
        self.recording.write(Moment::Output(words)).await?;
        self.show(Stream::Output, words);
        Ok(())
    }

    /// The terminal is about to have another size.
    pub(super) async fn resized(&self, size: &WindowSize) -> Result<(), Ending> {
        let (columns, rows) = (size.columns, size.rows);
        self.recording.write(Moment::Resize { columns, rows }).await?;
        self.follow(|typed| typed.resized(columns.into()));
        if let Some(tap) = &self.tap {
            tap.resized(size);
        }
        Ok(())
    }

    /// What somebody wants to tell the operator. For ever, but for that.
    pub(super) async fn told(&self) -> String {
        match &self.tap {
            Some(tap) => tap.words().await,
            None => std::future::pending().await,
        }
    }

    /// The commands that were seen to be typed.
    pub(super) fn take_commands(&mut self) -> Commands {
        let typed = self.typed.take().map(Mutex::into_inner);
        typed.map_or_else(Commands::default, |typed| {
            typed.unwrap_or_else(PoisonError::into_inner).finish()
        })
    }

    /// What the recording has, for those who only look: none of them can hold it up.
    fn show(&self, stream: Stream, data: &Bytes) {
        self.follow(|typed| typed.output(data));
        if let Some(tap) = &self.tap {
            tap.output(data, stream == Stream::Error);
        }
    }

    fn follow(&self, follow: impl FnOnce(&mut Typed)) {
        if let Some(typed) = &self.typed {
            // It is total; were it not, a poisoned lock would only cost commands.
            follow(&mut typed.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// How the program ended.
    pub(super) async fn exit(&self, exit: &Exit) -> Result<(), Ending> {
        let how = match exit {
            Exit::Status(status) => format!("exit {status}"),
            Exit::Signal { name, .. } => format!("signal {}", signal_name(name)),
        };
        Ok(self.recording.write(Moment::Exit(&how)).await?)
    }

    /// No more will go through: what sftp left unfinished is evidence, too.
    pub(super) async fn finish(&self) -> Result<(), Ending> {
        self.observe(Observer::finish).await
    }

    /// Passes the recording's seals on to the log, for ever.
    pub(super) async fn seals(&self) -> Ending {
        let mut segments = self.recording.segments();
        let mut told = 0;
        while segments.changed().await.is_ok() {
            let sealed = segments.borrow_and_update().get(told..).unwrap_or_default().to_vec();
            told += sealed.len();
            for segment in sealed {
                if let Err(ending) = Box::pin(self.tell(Evidence::Segment(segment))).await {
                    return ending;
                }
            }
        }
        // The writer thread has given this recording up; `recording.failed()` says why.
        std::future::pending().await
    }

    /// How long nothing has gone through.
    pub(super) fn quiet(&self) -> Duration {
        let active = Duration::from_micros(self.active_at_micros.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(active)
    }

    fn count(&self, counter: &AtomicU64, data: &[u8]) {
        counter.fetch_add(data.len() as u64, Ordering::Relaxed);
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.active_at_micros.store(micros, Ordering::Relaxed);
    }

    async fn observe(
        &self,
        see: impl FnOnce(&mut Observer) -> Vec<Evidence>,
    ) -> Result<(), Ending> {
        let Some(observer) = &self.observer else { return Ok(()) };
        // An observer is total: it panics on no input, so a poisoned lock is as good as new.
        let seen = see(&mut observer.lock().unwrap_or_else(PoisonError::into_inner));
        // Rare, and dearer in room than all that is not.
        if seen.is_empty() { Ok(()) } else { Box::pin(self.found(seen)).await }
    }

    async fn found(&self, seen: Vec<Evidence>) -> Result<(), Ending> {
        for evidence in seen {
            let line = match &evidence {
                Evidence::Transferred(transfer) => transfer.line(),
                Evidence::Changed(change) => change.line(),
                Evidence::Refused(refused) => refused.line(),
                Evidence::Segment(_) => continue,
            };
            self.recording.write(Moment::Operation(&line)).await?;
            if let Some(tap) = &self.tap {
                tap.operation(&line);
            }
            self.tell(evidence).await?;
        }
        Ok(())
    }

    async fn tell(&self, evidence: Evidence) -> Result<(), Ending> {
        let told = self.evidence.send(Box::new(evidence)).await;
        told.map_err(|_| Ending::Cut(Cause::LogUnavailable))
    }
}

/// What a filter says, or the end of its channel.
fn filtered<T>(
    filter: &Mutex<sftp::Filter>,
    ask: impl FnOnce(&mut sftp::Filter) -> Result<T, sftp::Lost>,
) -> Result<T, Ending> {
    // Nothing in a filter panics; a poisoned lock would be as good as new.
    let mut filter = filter.lock().unwrap_or_else(PoisonError::into_inner);
    ask(&mut filter).map_err(|lost| Ending::Lost(lost, filter.rule().clone()))
}

/// `TERM`, as it stands in SSH's messages.
pub(super) fn signal_name(signal: &russh::Sig) -> String {
    match signal {
        russh::Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    }
}
