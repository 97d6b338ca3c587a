//! `session watch`: a live channel, looked on at by an officer or the customer's approver.
//!
//! That it is watched is entered before the first byte is shown, and that it no longer is, however
//! it ends. Whether the watcher still may is looked at every second. The watcher gets what a screen
//! shows, never the VM's bytes; one who is slow misses some of it and is told how much, since
//! nobody who watches may slow the channel.

use super::access;
use crate::{
    api::{Call, Fault, Reply, change, reading},
    app::App,
    args,
    ledger::{Batch, ChangeError, NewEntry},
    relay::{Seen, Tap, Watcher},
    store::Row,
};
use audit_schema::event::{Actor, ActorKind, Event};
use bastion_core::{
    cast::unfinished,
    escape::terminal_lines,
    id::{CustomerId, LeaseId},
    limits::{WATCH_CHECK_MILLIS, WATCH_STALL_SECONDS_MAX},
    screen::{Screen, paint},
};
use clap::Args;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// `session watch`
#[derive(Debug, Args)]
pub struct Ask {
    /// What to watch: l-…, or s-… where only one channel of it is live
    pub id: String,
    /// Lines of text as they come, instead of the screen
    #[arg(long)]
    pub plain: bool,
}

/// A live channel that this caller may watch now.
#[derive(Clone)]
struct Channel {
    lease: LeaseId,
    customer: CustomerId,
    gateway: String,
    is_data: bool,
    instance: String,
    account: String,
}

pub(super) async fn run(call: &mut Call<'_>, ask: &Ask) -> Result<Reply, Fault> {
    let scope = reading::scope(call, None)?;
    let channel = find(call, &ask.id, scope.as_ref()).await?;
    let here = call.app.ledger.gateway();
    if channel.gateway != here {
        return Err(Fault::Conflict(format!(
            "{} runs on gateway {}, this is {here}: connect to that one to watch it",
            channel.lease, channel.gateway
        )));
    }
    let tap = call.app.taps.find(&channel.lease).ok_or_else(|| not_yet(&channel.lease))?;
    // Its queue is bounded, and nothing of it is shown before the entry.
    let watcher = tap.watch().ok_or_else(|| {
        Fault::Conflict("too many watch this channel already: wait until one of them ends".into())
    })?;
    let mut watching = begin(call, &channel, &tap).await?;
    tap.tell(announcement(call));
    let said = format!("bastion: watching {}, read-only; Ctrl-C ends it\n", channel.lease);
    call.out.err(said.as_bytes()).await?;
    let view = View::new(tap.is_terminal(), ask.plain);
    let ended = show(call, &channel, (watcher, view, &mut watching)).await;
    let words = match &ended {
        Ok(reason) => *reason,
        Err(_) => "watcher_left",
    };
    watching.end(words).await;
    let why = match ended? {
        "channel_ended" => "the channel is over",
        "access_ended" => "you may not watch this any more",
        _ => "nothing was taken for too long",
    };
    call.out.err(format!("\nbastion: {why}\n").as_bytes()).await?;
    Ok(Reply::Written)
}

async fn find(call: &Call<'_>, id: &str, scope: Option<&CustomerId>) -> Result<Channel, Fault> {
    let sql = "SELECT id, customer, gateway, level, instance, account FROM leases \
               WHERE closed_at IS NULL AND (id = $1 OR session = $1) ORDER BY granted_at";
    let mut live = Vec::new();
    for row in call.db().rows(sql, &args![id]).await? {
        let channel = Channel::read(&row)?;
        if scope.is_none_or(|own| *own == channel.customer) {
            live.push(channel);
        }
    }
    match live.as_slice() {
        [] => Err(Fault::refused("unknown", format!("no live session or lease `{id}` here"))),
        [one] => Ok(one.clone()),
        more => {
            let leases: Vec<_> = more.iter().map(|channel| channel.lease.to_string()).collect();
            Err(Fault::Conflict(format!(
                "{id} has more channels: name one of {}",
                leases.join(", ")
            )))
        }
    }
}

impl Channel {
    fn read(row: &Row) -> Result<Self, Fault> {
        Ok(Self {
            lease: row.parsed(0)?,
            customer: row.parsed(1)?,
            gateway: row.text(2)?,
            is_data: row.text(3)? == "data",
            instance: row.text(4)?,
            account: row.text(5)?,
        })
    }

    /// The ticket under which this caller may watch it, where one is needed.
    async fn permitted(
        &self,
        batch: &mut Batch,
        origin: &str,
        actor: &Actor,
    ) -> Result<Option<String>, ChangeError> {
        // The customer's own approver needs nobody's leave.
        if !self.is_data || actor.kind == ActorKind::Approver {
            return Ok(None);
        }
        let place = (self.instance.clone(), self.account.clone());
        access::ensure(batch, origin, &self.customer, place).await.map(Some)
    }
}

fn not_yet(lease: &LeaseId) -> Fault {
    Fault::Conflict(format!("{lease} has not begun, or is over: try again in a moment"))
}

/// What the operator reads on a terminal.
fn announcement(call: &Call<'_>) -> String {
    let who = match call.caller.actor.kind {
        ActorKind::Approver => "the customer",
        _ => "a security officer",
    };
    format!("\r\nbastion: {who} watches this session from now on\r\n")
}

/// Somebody who watches, as the log knows it. However it ends, that is entered.
struct Watching {
    app: Option<Arc<Ending>>,
    skipped: u64,
}

struct Ending {
    ledger: crate::ledger::Ledger,
    actor: Actor,
    channel: Channel,
    since: Instant,
}

async fn begin(call: &Call<'_>, channel: &Channel, tap: &Tap) -> Result<Watching, Fault> {
    let (actor, told) = (call.actor(), tap.is_terminal());
    let (origin, entered) = (call.app.config.origin.clone(), channel.clone());
    let change = call.change("watch started", move |batch| {
        Box::pin(async move {
            let ticket = entered.permitted(batch, &origin, &actor).await?;
            let lease = entered.lease.to_string();
            let event = Event::WatchStarted { lease, ticket, told };
            batch.append(NewEntry::new(actor, event).of_customer(&entered.customer)).await?;
            Ok(())
        })
    });
    change.await?.into_inner();
    let ending = Ending {
        ledger: call.app.ledger.clone(),
        actor: call.actor(),
        channel: channel.clone(),
        since: Instant::now(),
    };
    Ok(Watching { app: Some(Arc::new(ending)), skipped: 0 })
}

impl Ending {
    async fn enter(&self, reason: &str, skipped: u64) {
        let event = Event::WatchEnded {
            duration_ms: u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
            lease: self.channel.lease.to_string(),
            reason: reason.to_owned(),
            skipped,
        };
        let entry = NewEntry::new(self.actor.clone(), event).of_customer(&self.channel.customer);
        if let Err(error) = self.ledger.append("watch ended", vec![entry]).await {
            tracing::error!(%error, "the end of a watch was not recorded");
        }
    }
}

impl Watching {
    async fn end(mut self, reason: &'static str) {
        if let Some(ending) = self.app.take() {
            ending.enter(reason, self.skipped).await;
        }
    }
}

impl Drop for Watching {
    /// The command was interrupted: its connection is gone, or Ctrl-C was typed.
    fn drop(&mut self) {
        if let Some(ending) = self.app.take() {
            let skipped = self.skipped;
            tokio::spawn(async move { ending.enter("watcher_left", skipped).await });
        }
    }
}

/// Until there is a reason to end.
async fn show(
    call: &mut Call<'_>,
    channel: &Channel,
    (mut watcher, mut view, watching): (Watcher, View, &mut Watching),
) -> Result<&'static str, Fault> {
    let mut check = interval(Duration::from_millis(WATCH_CHECK_MILLIS));
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let seen = tokio::select! {
            seen = watcher.next() => seen,
            _ = check.tick() => {
                if !may_still(call.app, &call.caller.actor, channel).await {
                    return Ok("access_ended");
                }
                continue;
            }
        };
        let mut out = String::new();
        let Some(seen) = seen else {
            view.last(&mut out);
            call.out.out(out.as_bytes()).await?;
            return Ok("channel_ended");
        };
        view.take(seen, &mut out);
        // One picture for all that has come meanwhile; not without end, though.
        for _ in 0..MORE_MAX {
            tokio::task::yield_now().await;
            match watcher.more() {
                Some(seen) => view.take(seen, &mut out),
                None => break,
            }
        }
        let missed = watcher.take_missed();
        watching.skipped += missed;
        view.picture(missed, &mut out);
        let within = Duration::from_secs(WATCH_STALL_SECONDS_MAX);
        match timeout(within, call.out.out(out.as_bytes())).await {
            Ok(written) => written?,
            Err(_) => return Ok("stalled"),
        }
    }
}

/// Looks again, as when it began: a consent may be withdrawn, an officer removed.
async fn may_still(app: &App, actor: &Actor, channel: &Channel) -> bool {
    let (origin, actor, channel) = (app.config.origin.clone(), actor.clone(), channel.clone());
    let caller = crate::api::Caller {
        actor: actor.clone(),
        customer: None,
        handle: String::new(),
        session: None,
        source: None,
    };
    if change::check_standing(app.ledger.db(), &caller).await.is_err() {
        return false;
    }
    if !channel.is_data || actor.kind == ActorKind::Approver {
        return true;
    }
    let now = crate::clock::now();
    let looked = app.ledger.db().read(move |tx| {
        Box::pin(async move {
            let place = (channel.instance, channel.account);
            access::ticket(tx, (now, &origin), &channel.customer, place).await
        })
    });
    matches!(looked.await, Ok(Some(_)))
}

/// How a channel is shown to a watcher.
struct View {
    plain: bool,
    screen: Option<Screen>,
    shown: Vec<String>,
    /// Lines of the screen, from its top, that were said already.
    said: usize,
    /// The beginning of a character whose rest comes with the next piece.
    part: Vec<u8>,
}

impl View {
    fn new(terminal: bool, plain: bool) -> Self {
        Self {
            plain,
            screen: terminal.then(|| Screen::new(0, 0)),
            shown: Vec::new(),
            said: 0,
            part: Vec::new(),
        }
    }

    fn text(&mut self, data: &[u8]) -> String {
        let mut whole = std::mem::take(&mut self.part);
        whole.extend_from_slice(data);
        self.part = whole.split_off(whole.len() - unfinished(&whole));
        String::from_utf8_lossy(&whole).into_owned()
    }

    fn take(&mut self, seen: Seen, out: &mut String) {
        let gone = match seen {
            Seen::Screen { size: (columns, rows), output } => {
                if !self.plain {
                    // Ours, not the channel's: a clear screen to begin with.
                    out.push_str("\x1b[0m\x1b[2J");
                    self.shown.clear();
                }
                self.part.clear();
                let text = self.text(&output);
                let mut fresh = Screen::new(columns, rows);
                let gone = fresh.feed(&text);
                self.screen = Some(fresh);
                gone
            }
            Seen::Output(data) | Seen::Error(data) => {
                let text = self.text(&data);
                match &mut self.screen {
                    Some(screen) => screen.feed(&text),
                    None => {
                        out.push_str(&terminal_lines(&text));
                        Vec::new()
                    }
                }
            }
            Seen::Resized(columns, rows) => {
                self.screen.as_mut().map_or_else(Vec::new, |screen| screen.resize(columns, rows))
            }
            Seen::Operation(line) => vec![terminal_lines(&line)],
        };
        if self.plain || self.screen.is_none() {
            self.say(&gone, false, out);
        }
    }

    /// Lines that have left the screen, and those on it that the cursor has left: each once.
    fn say(&mut self, gone: &[String], to_the_end: bool, out: &mut String) {
        let mut say = |lines: &[String]| {
            lines.iter().for_each(|line| *out += &format!("{line}\n"));
        };
        say(gone.get(self.said..).unwrap_or_default());
        self.said = self.said.saturating_sub(gone.len());
        let Some(screen) = self.screen.as_ref().filter(|screen| !screen.is_full_screen()) else {
            return;
        };
        let lines = screen.lines();
        let whole = if to_the_end { lines.len() } else { lines.len().saturating_sub(1) };
        say(lines.get(self.said..whole).unwrap_or_default());
        self.said = self.said.max(whole);
    }

    /// The channel is over: what is left on the screen.
    fn last(&mut self, out: &mut String) {
        if self.plain {
            self.say(&[], true, out);
        }
    }

    fn picture(&mut self, missed: u64, out: &mut String) {
        if missed > 0 && (self.plain || self.screen.is_none()) {
            *out += &format!("[{missed} bytes skipped]\n");
        }
        let Some(screen) = self.screen.as_ref().filter(|_| !self.plain) else { return };
        let mut rows = screen.painted();
        if missed > 0 {
            rows.push(format!("[{missed} bytes skipped]"));
        }
        *out += &paint(&rows, &self.shown, screen.cursor());
        self.shown = rows;
    }
}

/// Pieces that one picture takes in.
const MORE_MAX: usize = 32;
