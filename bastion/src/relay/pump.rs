//! The relay itself: a channel of an operator and a channel of a VM, joined until one of them, or
//! the lease, is over.
//!
//! ```text
//!            ┌── control: sizes, signals ──────────────▶ VM
//! operator ──┴── upload: Input ─▶ recording ───────────▶ VM
//! operator ◀──── download: recording ◀─ Outbox ◀─ drain ─ VM
//! ```
//!
//! Four loops in one task, so that no lock is ever held across a wait and dropping the task drops
//! all of it. `drain` never waits for the operator, and the handler never waits for `upload`, so
//! neither connection's reading ever parks. A watch stands beside them: the lease's end, the
//! deadline on both clocks, idleness, a recording that cannot be written.

use super::{
    closing::{Closing, Ending, Evidence, Terms},
    downstream::{Control, Downstream, Input, Kind, Piece, WindowSize},
    outbox::{Exit, Next, Outbox, Stream},
    recording::{Moment, Recording},
    scribe::{Scribe, signal_name},
};
use crate::egress::{Gate, Upstream};
use bastion_core::{
    lease::Cause,
    limits::{DRAINED_AT_ONCE_MAX, FINISH_SECONDS, LEFT_GRACE_SECONDS, PARTING_SECONDS},
};
use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client, server};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    task::yield_now,
    time::{sleep, timeout},
};

/// Joins the two sides until the channel is over. Every byte is in the recording's hands before it
/// is passed on; everything worth an entry goes to `evidence`, whose reader may make us wait.
pub async fn run(
    down: Box<Downstream>,
    mut up: Box<Upstream>,
    recording: Recording,
    terms: Terms,
    evidence: mpsc::Sender<Box<Evidence>>,
) -> Closing {
    let mut scribe = Scribe::new(recording, (&down.setup, &terms), evidence);
    let outbox = Outbox::new(down.input.spools(), up.gate.clone(), !is_forward(&down));
    let mut ending = tokio::select! {
        biased;
        ending = watch(&terms, &scribe) => ending,
        why = outbox.overflow() => why.into(),
        why = down.input.overflow() => why.into(),
        ending = scribe.seals() => ending,
        ending = relay(&down, &mut up, &scribe, &outbox) => ending,
    };
    // The VM's session ends now, whatever the operator or the log does; nobody waits for it.
    tokio::spawn(part(up));
    let finish = Box::pin(timeout(Duration::from_secs(FINISH_SECONDS), scribe.finish()));
    match finish.await {
        Ok(Ok(())) => {}
        Ok(Err(worse)) => ending = worse,
        Err(_) => ending = Ending::Cut(Cause::LogUnavailable),
    }
    tracing::debug!(?ending, "a channel is over");
    Closing {
        outcome: ending.outcome(),
        reason: ending.reason(),
        sentence: ending.sentence(),
        exit: outbox.known_exit(),
        bytes_in: scribe.bytes_in.load(Ordering::Relaxed),
        bytes_out: scribe.bytes_out.load(Ordering::Relaxed),
        bytes_err: scribe.bytes_err.load(Ordering::Relaxed),
        commands: scribe.take_commands(),
        recording: scribe.recording,
        write: down.write,
        handle: down.handle,
    }
}

async fn relay(down: &Downstream, up: &mut Upstream, scribe: &Scribe, outbox: &Outbox) -> Ending {
    if let Err(ending) = Box::pin(begin(down, up, scribe)).await {
        return ending;
    }
    let Upstream { read, write, gate, .. } = up;
    // In this order: what `drain` finds, `download` passes on in the same poll.
    let result = tokio::select! {
        biased;
        ended = drain(read, outbox) => ended,
        ended = download(down, scribe, outbox) => ended,
        ended = upload(&down.input, write, (gate, scribe)) => ended,
        ended = control(&down.input, write, scribe) => ended,
        ended = speak(down, scribe) => ended,
    };
    match result {
        Ok(never) => match never {},
        Err(ending) => ending,
    }
}

fn is_forward(down: &Downstream) -> bool {
    matches!(down.setup.kind, Kind::Forward(_))
}

/// Every loop runs until there is a reason to end; what else it could return does not exist.
type Forever = Result<std::convert::Infallible, Ending>;

async fn begin(down: &Downstream, up: &mut Upstream, scribe: &Scribe) -> Result<(), Ending> {
    up.start(&down.setup).await.map_err(Ending::NotStarted)?;
    if down.setup.pty.is_some() {
        up.gate.set_terminal();
    }
    if let Some(notice) = &down.setup.notice {
        say(down, scribe, notice.clone()).await?;
    }
    Ok(())
}

/// What officers and approvers who watch have told to the operator's terminal.
async fn speak(down: &Downstream, scribe: &Scribe) -> Forever {
    loop {
        let words = scribe.told().await;
        Box::pin(say(down, scribe, words)).await?;
    }
}

async fn say(down: &Downstream, scribe: &Scribe, words: String) -> Result<(), Ending> {
    let words = Bytes::from(words);
    scribe.words(&words).await?;
    down.write.data_bytes(words).await.map_err(|_| Ending::OperatorLeft)
}

/// VM to outbox. Never waits for the operator.
async fn drain(read: &mut ChannelReadHalf, outbox: &Outbox) -> Forever {
    let mut pieces = 0_usize;
    let clean = loop {
        pieces += 1;
        if pieces.is_multiple_of(DRAINED_AT_ONCE_MAX) {
            yield_now().await;
        }
        match read.wait().await {
            Some(ChannelMsg::Data { data }) => outbox.push(Stream::Output, data)?,
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => outbox.push(Stream::Error, data)?,
            Some(ChannelMsg::ExitStatus { exit_status }) => outbox.exit(Exit::Status(exit_status)),
            Some(ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, lang_tag }) => {
                outbox.exit(Exit::Signal {
                    name: signal_name,
                    core: core_dumped,
                    message: error_message,
                    language: lang_tag,
                });
            }
            Some(ChannelMsg::Eof) => outbox.eof(),
            Some(ChannelMsg::Close) => break true,
            None => break false,
            Some(_) => {}
        }
    };
    outbox.over(clean);
    // What has gathered is still on its way; `download` ends the relay after it.
    std::future::pending().await
}

/// Outbox to operator, at the operator's pace.
async fn download(down: &Downstream, scribe: &Scribe, outbox: &Outbox) -> Forever {
    let write = &down.write;
    loop {
        let next = tokio::select! {
            biased;
            next = outbox.next(|| down.input.has_ended()) => next?,
            answers = scribe.refusals() => Next::Ours(answers?),
        };
        let passed = match next {
            Next::Ours(answers) => write.data_bytes(answers).await,
            Next::Data(stream, data) => {
                scribe.output(stream, &data).await?;
                let data = scribe.answered(stream, data)?;
                match stream {
                    Stream::Output => write.data_bytes(data).await,
                    Stream::Error => write.extended_data_bytes(1, data).await,
                }
            }
            Next::Exit(exit) => {
                scribe.exit(&exit).await?;
                let told = Box::pin(tell_exit(write, &down.handle, exit)).await;
                down.input.exit_was_told();
                told
            }
            Next::Eof => {
                if outbox.known_exit().is_none() {
                    down.input.exit_is_due();
                }
                Box::pin(write.eof()).await
            }
            Next::Over { clean } => {
                let is_end = clean || outbox.known_exit().is_some();
                return Err(match (is_end, is_forward(down)) {
                    (true, false) => Ending::ProgramEnded,
                    (true, true) => Ending::FarEndClosed,
                    (false, _) => Ending::VmLost,
                });
            }
        };
        passed.map_err(|_| Ending::OperatorLeft)?;
    }
}

async fn tell_exit(
    write: &ChannelWriteHalf<server::Msg>,
    handle: &server::Handle,
    exit: Exit,
) -> Result<(), russh::Error> {
    match exit {
        Exit::Status(status) => write.exit_status(status).await,
        Exit::Signal { name, core, message, language } => handle
            .exit_signal_request(write.id(), name, core, message, language)
            .await
            .map_err(|()| russh::Error::SendError),
    }
}

/// Operator to VM, at the VM's pace.
async fn upload(
    input: &Input,
    write: &ChannelWriteHalf<client::Msg>,
    (gate, scribe): (&Gate, &Scribe),
) -> Forever {
    loop {
        let passed = match std::future::poll_fn(|cx| input.poll_piece(cx)).await? {
            Piece::Data(data) => {
                let data = if scribe.has_rule() { scribe.admit(data).await? } else { data };
                if data.is_empty() {
                    continue;
                }
                scribe.input(&data).await?;
                gate.set_upload_waits(Some(Instant::now()));
                let passed = Box::pin(write.data_bytes(data)).await;
                gate.set_upload_waits(None);
                passed
            }
            Piece::Eof => {
                scribe.recording.write(Moment::InputEnd).await?;
                Box::pin(write.eof()).await
            }
            // In order: everything before it has been passed on.
            Piece::Closed => return Err(Ending::OperatorLeft),
        };
        if passed.is_err() {
            // The VM's side is gone: `drain` knows more, and its output may still be on its way.
            return std::future::pending().await;
        }
    }
}

/// What overtakes the operator's bytes. What is rare is boxed: a channel keeps the room of the
/// largest thing that it may ever wait for.
async fn control(input: &Input, write: &ChannelWriteHalf<client::Msg>, scribe: &Scribe) -> Forever {
    loop {
        let passed = match input.control().await {
            Control::Resize(size) => {
                scribe.resized(&size).await?;
                let WindowSize { columns, rows, width, height } = size;
                Box::pin(write.window_change(columns, rows, width, height)).await
            }
            Control::Signal(signal) => {
                scribe.recording.write(Moment::Signal(&signal_name(&signal))).await?;
                Box::pin(write.signal(signal)).await
            }
            Control::Closed => {
                // What the operator sent last is still passed on, unless the VM does not take it.
                sleep(Duration::from_secs(LEFT_GRACE_SECONDS)).await;
                return Err(Ending::OperatorLeft);
            }
        };
        if passed.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Returns when the channel may live no longer.
async fn watch(terms: &Terms, scribe: &Scribe) -> Ending {
    tokio::select! {
        cause = terms.over() => Ending::Cut(cause),
        () = idleness(terms.idle, scribe) => Ending::Cut(Cause::Idle),
        why = scribe.recording.failed() => Ending::Unrecorded(why),
    }
}

async fn idleness(limit: Duration, scribe: &Scribe) {
    loop {
        let left = limit.saturating_sub(scribe.quiet());
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

/// Closes the VM's side.
async fn part(mut up: Box<Upstream>) {
    up.gate.set_closed(false);
    up.gate.set_held(false);
    let closed = timeout(Duration::from_secs(PARTING_SECONDS), up.write.close()).await;
    if closed.is_err() {
        up.gate.cut();
    }
    tracing::debug!(?closed, "closed a VM's channel");
    up.leave().await;
}
