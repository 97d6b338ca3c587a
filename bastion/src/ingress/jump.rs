//! `ssh -J bastion ops@pg-1.acme`: the connection inside the connection.
//!
//! The client asks for a TCP connection to the VM's SSH port. The gateway answers itself: it
//! speaks SSH inside that channel, shows a host certificate for the VM's name (of the gateway-host
//! CA, never of the one that VMs use), and authenticates the operator once more. From there on it
//! is the first form. Any other destination is refused, entered, and answered alike whether it is
//! unknown or somebody else's.

use super::{
    Shared,
    ahead::Ahead,
    connection::{self, Form, Wire},
    login::vm_name,
    refusal,
    session::Session,
    start::{self, Asked},
};
use crate::egress::Route;
use crate::relay::downstream::Flow;
use bastion_core::vm::VmInstance;
use std::sync::Arc;
use tracing::Instrument;

/// Where a client wants to be connected.
pub(super) struct Wanted {
    pub host: String,
    pub port: u32,
}

/// Answers a wanted connection, in a task of its own.
pub(super) fn spawn(shared: Arc<Shared>, session: Arc<Session>, wanted: Wanted, asked: Asked) {
    let span = tracing::info_span!("jump", session = %session.id);
    tokio::spawn(answer(shared, session, wanted, asked).instrument(span));
}

async fn answer(shared: Arc<Shared>, session: Arc<Session>, wanted: Wanted, asked: Asked) {
    let Some(instance) = destination(&session, &wanted).await else {
        // Somewhere that a VM can reach, if one is named before the `@`; else nowhere.
        return start::spawn(session, asked);
    };
    let Asked { input, write, opening: Some(reply), held, .. } = asked else { return };
    // The operator is known, and will want this VM: it is dialled while they log in once more.
    let ahead = Ahead::to(&session, Route::to(&instance));
    let offers = match shared.host_keys.for_vm(&shared.app, &instance) {
        Ok(offers) => offers,
        Err(error) => {
            tracing::error!(%error, vm = %instance.vm, "no host certificate for a VM");
            let said = "the gateway cannot make a host certificate: tell a security officer";
            return reply.reject(refusal::failure(said)).await;
        }
    };
    reply.accept().await;
    let flow = Flow::new(&shared.app.spools);
    let stream = flow.socket(tokio::io::join(input, Box::pin(write.make_writer())));
    let source = session.source;
    let form = Form::Vm(instance.vm, session);
    connection::serve(Wire { shared, form, source, flow, offers, ahead }, stream).await;
    if write.close().await.is_err() {
        tracing::debug!("the outer connection ended first");
    }
    drop(held);
}

/// The VM that a wanted connection goes to, if this is an operator's and they may know it.
async fn destination(session: &Session, wanted: &Wanted) -> Option<VmInstance> {
    let operator = session.identity.operator()?;
    let vm = vm_name(&wanted.host)?;
    if wanted.port != u32::from(session.app.config.ingress.vm_port) {
        return None;
    }
    match session.app.gate.may_list(operator, &vm).await {
        Ok(instance) => instance,
        Err(error) => {
            tracing::error!(%error, "whether a VM may be reached cannot be told, so it may not");
            None
        }
    }
}
