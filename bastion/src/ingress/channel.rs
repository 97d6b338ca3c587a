//! One channel to a VM, from the request to its last entry: the product in one function.
//!
//! Each step takes what the step before it returned, and nothing else makes those values. A grant
//! that has its entry becomes a draft; the draft's issuance is entered in the same change; only an
//! issuance that is [`Recorded`] is signed; only a lease reaches a VM; and nothing is relayed
//! without an open recording. Whoever deletes a line of [`pass`] gets no program, or a failing
//! test.
//!
//! [`Recorded`]: crate::ledger::Recorded

use super::{
    close::{self, Last, Mouth, Over},
    fault::Fault,
    lender::Lender,
    session::Session,
    start::{Also, Asked, Start},
};
use crate::{
    app::App,
    ca::{EgressKey, Issuance, Signed},
    clock,
    egress::Spare,
    entropy,
    ledger::{Batch, ChangeError, Entered},
    metrics::METRICS,
    relay::{
        self, Terms,
        downstream::{Downstream, Flow, Kind, Lent, Setup},
        recording::ChannelMeta,
    },
};
use bastion_core::{
    authorize::Grant,
    consent::RecordingLevel,
    id::{AccountName, LeaseId, OperatorId, VmName},
    limits::EVIDENCE_WAITING_MAX,
    request::{AccessRequest, Beside},
};
use futures_util::future::BoxFuture;
use std::{sync::Arc, time::Instant};
use tokio::sync::mpsc;

/// Where a channel goes.
pub(super) struct To {
    pub operator: OperatorId,
    pub account: AccountName,
    pub vm: VmName,
}

/// Takes a channel to a VM, and speaks its end.
pub(super) async fn run(session: &Session, to: To, asked: Box<Asked>) {
    let Asked { what, pty, env, input, write, handle, opening, spare, held, also, .. } = *asked;
    let Also { lent, notes, flow } = also;
    let kind = what.kind();
    let setup = Setup { kind: program(&what), pty, env, lent, notice: None };
    let terminal = setup.pty.is_some();
    session.patience().await;
    let running = session.run();
    let asked = match &running {
        Ok(_) => request(session, to, (&what, terminal, &setup.lent)),
        Err(end) => Err(Fault::from(*end)),
    };
    let over = match asked {
        Ok(request) => {
            let operator = Box::new(Downstream { input, write, handle, setup, opening });
            Box::pin(pass(session, (request, spare, (flow, notes)), operator)).await
        }
        Err(fault) => Over::spoken(Mouth { write, opening, kind }, &fault),
    };
    Box::pin(over.speak(terminal)).await;
    drop(running);
    drop(held);
}

/// The pipeline.
async fn pass(
    session: &Session,
    (request, spare, (flow, notes)): (AccessRequest, Option<Spare>, (Flow, Vec<String>)),
    mut operator: Box<Downstream>,
) -> Over {
    let app = &session.app;
    let kind = request.kind;
    let drafting = Arc::clone(app);
    let decided = app.gate.decide(request, move |batch, grant| draft(drafting, batch, grant));
    let issuance = match step("decide", decided).await {
        Ok(Ok(granted)) => granted.split(),
        Ok(Err(denial)) => return Over::denied(session, Mouth::of(operator, kind), denial.get()),
        Err(error) => return Over::spoken(Mouth::of(operator, kind), &Fault::from(error)),
    };
    let issuance = match issuance {
        Ok(issuance) => issuance,
        Err(undrafted) => return Box::pin(undrafted.into_inner().end(app, operator)).await,
    };
    let mut last = Box::new(Last::of(issuance.get().grant()));
    operator.setup.lent.keep(issuance.get().grant().beside());
    let has_terminal = operator.setup.pty.is_some();
    operator.setup.notice = has_terminal.then(|| notice(issuance.get().grant(), &notes));
    let opened = async {
        let signed = step("sign", app.ca.sign(issuance, &app.ledger)).await?;
        let Signed { lease, certified, blank } = signed;
        last.recording(lease.recording());
        let vm = step("connect", app.egress.connect((&lease, certified), spare)).await?;
        let recorded = (lease.id().clone(), lease.grant().recording_level());
        let meta = ChannelMeta::of(recorded, &operator.setup, clock::now());
        let recording = step("record", app.recorder.open(blank, meta)).await?;
        Ok::<_, Fault>((Box::new(lease), Box::new(vm), recording))
    };
    match Box::pin(opened).await {
        Ok((lease, vm, recording)) => {
            let (evidence, entered) = mpsc::channel(EVIDENCE_WAITING_MAX);
            let tap = app.taps.open(lease.id(), &operator.setup);
            let terms = Terms::of(&lease, app.config.ingress.idle).watchable(tap);
            operator.accept().await;
            let beside: Vec<_> = lease.grant().beside().kinds().collect();
            let lending = (!beside.is_empty()).then(|| {
                let lender = Lender::of(app, &lease, (operator.handle.clone(), flow));
                lender.start(vm.lend(beside))
            });
            let relayed = Box::pin(relay::run(operator, vm, recording, terms, evidence));
            let entering = Box::pin(close::enter(app, &lease, entered));
            let (closing, ()) = tokio::join!(relayed, entering);
            if let Some(lending) = lending {
                lending.end().await;
            }
            Box::pin(close::ended(app, *last, closing)).await
        }
        Err(fault) => Box::pin(close::never_began(app, *last, operator, fault)).await,
    }
}

/// A grant of which nothing came: it stands in the log, and its end has to.
pub(super) struct Undrafted(Arc<Grant>, Fault);

impl Undrafted {
    /// The end where nobody waits for words.
    pub async fn end_alone(self, app: &App) {
        let Self(grant, fault) = self;
        let end = (fault.outcome, fault.reason, (0, 0));
        close::alone(app, Last::of(&grant), end, None).await;
    }

    async fn end(self, app: &App, operator: Box<Downstream>) -> Over {
        close::never_began(app, Last::of(&self.0), operator, self.1).await
    }
}

/// What follows from a grant in its own change: a key, a recording's key, the certificate's draft,
/// and the entry that it is issued. Where one of these fails, the grant stands alone.
pub(super) fn draft(
    app: Arc<App>,
    batch: &mut Batch,
    grant: Entered<Grant>,
) -> BoxFuture<'_, Result<Result<Issuance, Undrafted>, ChangeError>> {
    Box::pin(async move {
        let granted = grant.get().clone();
        let prepare = || {
            let blank = app.recorder.blank(grant.get())?;
            Ok(app.ca.prepare(grant, EgressKey::fresh()?, blank)?)
        };
        Ok(match prepare() {
            Ok(draft) => Ok(app.ca.issue(batch, draft).await?),
            Err(fault) => Err(Undrafted(Arc::new(granted), fault)),
        })
    })
}

/// Does a step of the pipeline, and keeps its time for the metrics. What the step needs is given
/// back with it: a channel that is idle for hours should not keep the room of its own beginning.
fn step<T>(name: &'static str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let work = Box::pin(work);
    async move {
        let began = Instant::now();
        let done = work.await;
        METRICS.step(name, began.elapsed());
        done
    }
}

/// The question for the gate.
pub(super) fn request(
    session: &Session,
    to: To,
    (what, pty, lent): (&Start, bool, &Lent),
) -> Result<AccessRequest, Fault> {
    Ok(AccessRequest {
        lease: LeaseId::from_entropy(entropy::draw()?),
        session: session.id.clone(),
        operator: to.operator,
        source: session.source,
        vm: to.vm,
        account: to.account,
        kind: what.kind(),
        pty,
        command: match what {
            Start::Exec(command) => Some(command.clone()),
            Start::Shell | Start::Sftp | Start::Forward(_) => None,
        },
        destination: match what {
            Start::Forward(wanted) => Some(wanted.clone()),
            Start::Shell | Start::Exec(_) | Start::Sftp => None,
        },
        beside: Beside { agent: lent.agent, x11: lent.x11.is_some() },
    })
}

fn program(what: &Start) -> Kind {
    match what {
        Start::Shell => Kind::Shell,
        Start::Exec(command) => Kind::Exec(command.clone()),
        Start::Sftp => Kind::Sftp,
        Start::Forward(wanted) => Kind::Forward(wanted.to_string()),
    }
}

/// What was granted, in one line before the first prompt. Nothing is added to a stream without a
/// terminal.
fn notice(grant: &Grant, notes: &[String]) -> String {
    let instance = grant.instance();
    let ticket = grant.ticket().map_or("no ticket needed".to_owned(), |t| format!("ticket {t}"));
    let mut text = format!(
        "bastion: {} ({}) as {} [{}], {ticket}, until {} UTC; this session is recorded{}\r\n",
        instance.vm,
        instance.id,
        grant.account().name,
        grant.level().as_str(),
        minute(&grant.deadline().to_string()),
        match grant.recording_level() {
            RecordingLevel::Full => "",
            RecordingLevel::Digests => " (digests only)",
        },
    );
    for note in notes {
        text += &format!("bastion: {note}\r\n");
    }
    text
}

/// `2026-11-24T09:30` of an entry's time.
fn minute(time: &str) -> &str {
    time.get(..16).unwrap_or(time)
}
