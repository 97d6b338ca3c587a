//! `ssh -R`: a port on the VM's loopback whose connections go to the operator.
//!
//! The same pipeline as a channel's, for a login that has no channel of the operator's: a grant for
//! the listed port, a certificate, a lease, a login, and then the VM is asked to listen. What
//! connects there is served by the [`Lender`]. It ends when the operator takes it back or goes, or
//! with the lease.

use super::{
    channel::{self, To},
    close::{self, Last},
    connection::Held,
    fault::Fault,
    lender::Lender,
    session::Session,
    start::Start,
};
use crate::{
    app::App,
    ca::{Lease, Signed},
    clock,
    egress::Upstream,
    relay::{
        Terms,
        downstream::{Flow, Kind, Lent, Setup},
        recording::{ChannelMeta, Recording},
    },
};
use audit_schema::event::{ChannelKind, Outcome};
use bastion_core::{destination::Wanted, request::AccessRequest};
use russh::server::Handle;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::Instrument as _;

/// A port that an operator wants to be listened on.
pub(super) struct Listen {
    pub wanted: Wanted,
    pub operator: (Handle, Flow),
    /// Told the port when the VM listens; dropped when it does not.
    pub listening: oneshot::Sender<u16>,
    /// Resolves when the operator takes it back or is gone.
    pub taken_back: oneshot::Receiver<()>,
    pub held: Held,
}

/// Listens, in a task of its own.
pub(super) fn spawn(session: Arc<Session>, to: To, listen: Listen) {
    let span = tracing::info_span!("listen", session = %session.id);
    tokio::spawn(async move { run(&session, to, listen).await }.instrument(span));
}

async fn run(session: &Session, to: To, listen: Listen) {
    let Ok(running) = session.run() else { return };
    let what = Start::Forward(listen.wanted.clone());
    match channel::request(session, to, (&what, false, &Lent::default())) {
        Ok(request) => pass(session, request, listen).await,
        Err(fault) => tracing::error!(reason = fault.reason, "a port cannot be asked for"),
    }
    drop(running);
}

/// The pipeline, as in [`channel`].
async fn pass(session: &Session, request: AccessRequest, listen: Listen) {
    let app = &session.app;
    let drafting = Arc::clone(app);
    let decided =
        app.gate.decide(request, move |batch, grant| channel::draft(drafting, batch, grant)).await;
    let issuance = match decided {
        Ok(Ok(granted)) => granted.split(),
        // A global request's failure has no words: the log does.
        Ok(Err(denial)) => return close::count_denial(session, denial.get()),
        Err(error) => return drop(Fault::from(error)),
    };
    let issuance = match issuance {
        Ok(issuance) => issuance,
        Err(undrafted) => return undrafted.into_inner().end_alone(app).await,
    };
    let mut last = Last::of(issuance.get().grant());
    let opened = async {
        let Signed { lease, certified, blank } = app.ca.sign(issuance, &app.ledger).await?;
        last.recording(lease.recording());
        let vm = app.egress.connect((&lease, certified), None).await?;
        let recorded = (lease.id().clone(), lease.grant().recording_level());
        let meta = ChannelMeta::of(recorded, &setup(&listen.wanted), clock::now());
        let recording = app.recorder.open(blank, meta).await?;
        Ok::<_, Fault>((lease, vm, recording))
    };
    match opened.await {
        Ok((lease, vm, recording)) => attend(app, last, (lease, vm, recording), listen).await,
        Err(fault) => close::alone(app, last, (fault.outcome, fault.reason, (0, 0)), None).await,
    }
}

/// Has the VM listen, and stays until there is a reason to end.
async fn attend(
    app: &Arc<App>,
    last: Last,
    (lease, mut vm, recording): (Lease, Upstream, Recording),
    listen: Listen,
) {
    let Listen { wanted, operator, listening, taken_back, held } = listen;
    let Wanted::Listen { host, port } = wanted else { return };
    // The door is open before the VM listens: nobody who connects at once is turned away. Until the
    // port is known it waits.
    let knocks = vm.lend(vec![ChannelKind::ForwardRemote]);
    let chosen = match vm.listen(&host, port).await {
        Ok(chosen) => chosen,
        Err(error) => {
            vm.leave().await;
            let fault = Fault::from(error);
            let end = (fault.outcome, fault.reason, (0, 0));
            return close::alone(app, last, end, Some(recording)).await;
        }
    };
    let lending = Lender::of(app, &lease, operator).listening(&host, chosen).start(knocks);
    let (outcome, reason) = if listening.send(chosen).is_ok() {
        reason_to_end(&Terms::of(&lease, app.config.ingress.idle), &mut vm, taken_back).await
    } else {
        (Outcome::Completed, "operator_left".to_owned())
    };
    vm.leave().await;
    let bytes = lending.end().await;
    close::alone(app, last, (outcome, reason, bytes), Some(recording)).await;
    drop(held);
}

async fn reason_to_end(
    terms: &Terms,
    vm: &mut Upstream,
    taken_back: oneshot::Receiver<()>,
) -> (Outcome, String) {
    tokio::select! {
        cause = terms.over() => (Outcome::Cut, cause.as_str().to_owned()),
        () = vm.lost() => (Outcome::Failed, "vm_connection_lost".to_owned()),
        // Taken back, or the sender is gone with the operator's connection.
        _ = taken_back => (Outcome::Completed, "operator_left".to_owned()),
    }
}

fn setup(wanted: &Wanted) -> Setup {
    let kind = Kind::Forward(wanted.to_string());
    Setup { kind, pty: None, env: Vec::new(), lent: Lent::default(), notice: None }
}
