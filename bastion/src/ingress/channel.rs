//! One channel to a VM, from the request to its last entry: the product in one function.
//!
//! Each step takes what the step before it returned, and nothing else makes those values. A grant
//! is [`Recorded`] only when its entry is durable; only such a grant becomes a draft; only a draft
//! whose issuance is durable is signed; only a lease reaches a VM; and nothing is relayed without
//! an open recording. Whoever deletes a line of [`pass`] gets no program, or a failing test.
//!
//! [`Recorded`]: crate::ledger::Recorded

use super::{
    close::{self, Last, Over},
    fault::Fault,
    session::Session,
    start::{Asked, Start},
};
use crate::{
    ca::EgressKey,
    clock,
    egress::Spare,
    entropy,
    metrics::METRICS,
    relay::{
        self, Terms,
        downstream::{Downstream, Kind, Setup},
        recording::ChannelMeta,
    },
};
use bastion_core::{
    authorize::Grant,
    id::{AccountName, LeaseId, OperatorId, VmName},
    limits::EVIDENCE_WAITING_MAX,
    request::AccessRequest,
};
use std::time::Instant;
use tokio::sync::mpsc;

/// Where a channel goes.
pub(super) struct To {
    pub operator: OperatorId,
    pub account: AccountName,
    pub vm: VmName,
}

/// Takes a channel to a VM, and speaks its end.
pub(super) async fn run(session: &Session, to: To, asked: Asked) {
    let Asked { what, pty, env, input, write, handle, spare, held, .. } = asked;
    let setup = Setup { kind: program(&what), pty, env, notice: None };
    let terminal = setup.pty.is_some();
    session.patience().await;
    let running = session.run();
    let asked = match &running {
        Ok(_) => request(session, to, &what, terminal),
        Err(end) => Err(Fault::from(*end)),
    };
    let over = match asked {
        Ok(request) => {
            pass(session, (request, spare), Downstream { input, write, handle, setup }).await
        }
        Err(fault) => Over::spoken(write, &fault),
    };
    over.speak(terminal).await;
    drop(running);
    drop(held);
}

/// The pipeline.
async fn pass(
    session: &Session,
    (request, spare): (AccessRequest, Option<Spare>),
    mut operator: Downstream,
) -> Over {
    let app = &session.app;
    let grant = match step("decide", app.gate.decide(request)).await {
        Ok(Ok(grant)) => grant,
        Ok(Err(denial)) => return Over::denied(session, operator.write, denial.get()),
        Err(error) => return Over::spoken(operator.write, &Fault::from(error)),
    };
    let mut last = Last::of(grant.get());
    operator.setup.notice = operator.setup.pty.is_some().then(|| notice(grant.get()));
    let opened = async {
        let blank = app.recorder.blank(grant.get())?;
        last.recording(blank.id());
        let draft = app.ca.prepare(grant, EgressKey::fresh()?, &blank)?;
        let issuance = step("issue", app.ca.issue(&app.ledger, &draft)).await?;
        let lease = app.ca.sign(draft, issuance)?;
        let vm = step("connect", app.egress.connect(&lease, spare)).await?;
        let meta = ChannelMeta::of(lease.id().clone(), &operator.setup, clock::now());
        let recording = step("record", app.recorder.open(blank, meta)).await?;
        Ok::<_, Fault>((lease, vm, recording))
    };
    match opened.await {
        Ok((lease, vm, recording)) => {
            let (evidence, entered) = mpsc::channel(EVIDENCE_WAITING_MAX);
            let terms = Terms::of(&lease, app.config.ingress.idle);
            let relayed = relay::run(operator, vm, recording, terms, evidence);
            let (closing, ()) = tokio::join!(relayed, close::enter(app, &lease, entered));
            close::ended(app, last, closing).await
        }
        Err(fault) => close::never_began(app, last, operator.write, fault).await,
    }
}

/// Does a step of the pipeline, and keeps its time for the metrics.
async fn step<T>(name: &'static str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = work.await;
    METRICS.step(name, began.elapsed());
    done
}

/// The question for the gate.
fn request(session: &Session, to: To, what: &Start, pty: bool) -> Result<AccessRequest, Fault> {
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
            Start::Shell | Start::Sftp => None,
        },
        destination: None,
    })
}

fn program(what: &Start) -> Kind {
    match what {
        Start::Shell => Kind::Shell,
        Start::Exec(command) => Kind::Exec(command.clone()),
        Start::Sftp => Kind::Sftp,
    }
}

/// What was granted, in one line before the first prompt. Nothing is added to a stream without a
/// terminal.
fn notice(grant: &Grant) -> String {
    let instance = grant.instance();
    let ticket = grant.ticket().map_or("no ticket needed".to_owned(), |t| format!("ticket {t}"));
    format!(
        "bastion: {} ({}) as {} [{}], {ticket}, until {} UTC; this session is recorded\r\n",
        instance.vm,
        instance.id,
        grant.account().name,
        grant.level().as_str(),
        minute(&grant.deadline().to_string()),
    )
}

/// `2026-11-24T09:30` of an entry's time.
fn minute(time: &str) -> &str {
    time.get(..16).unwrap_or(time)
}
