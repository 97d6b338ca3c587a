//! The VM that a connection will want, dialled before it asks for it.
//!
//! The login name says which VM, and the offered key says whose connection it would be, so the
//! dial begins with the first offer: while the operator signs, authenticates and opens a channel,
//! the VM's key exchange is under way. An offered key proves nothing. What anybody can cause by
//! showing the public key of an operator is one connection to a VM that this operator may list,
//! once per connection and within [`crate::egress::Egress::ahead`]'s bounds; nobody is logged in
//! over it without a lease.

use super::{login::Login, session::Session};
use crate::{
    app::App,
    authn::Identity,
    egress::{Route, Spare},
};
use bastion_core::id::{OperatorId, VmName};
use std::{net::IpAddr, sync::Arc};

/// What was dialled for one connection.
#[derive(Default)]
pub(super) struct Ahead {
    spare: Option<Spare>,
    offered: bool,
}

impl Ahead {
    /// For the inner connection of `ssh -J`: its operator is known already, and so is the VM.
    pub fn to(session: &Session, route: Route) -> Self {
        let way = std::future::ready(Some(route));
        Self { spare: session.app.egress.ahead(session.source, way), offered: true }
    }

    /// Somebody offers a key; it may be this party's. The first offer counts.
    pub fn offered(&mut self, app: &Arc<App>, source: IpAddr, offer: (&Identity, &Login)) {
        if !std::mem::replace(&mut self.offered, true) {
            self.wanted(app, source, offer);
        }
    }

    /// This party will want the VM of this login name, and nothing is dialled for it.
    pub fn wanted(
        &mut self,
        app: &Arc<App>,
        source: IpAddr,
        (identity, login): (&Identity, &Login),
    ) {
        if self.spare.is_none()
            && let (Some(operator), Login::Vm { vm, .. }) = (identity.operator(), login)
        {
            let way = way(app.clone(), operator.clone(), vm.clone());
            self.spare = app.egress.ahead(source, way);
        }
    }

    /// What was dialled, for whoever needs it first.
    pub fn take(&mut self) -> Option<Spare> {
        self.spare.take()
    }
}

/// Where a VM is, if this operator may know it.
async fn way(app: Arc<App>, operator: OperatorId, vm: VmName) -> Option<Route> {
    match app.gate.may_list(&operator, &vm).await {
        Ok(instance) => instance.as_ref().map(Route::to),
        Err(error) => {
            tracing::debug!(%error, "no VM is dialled ahead");
            None
        }
    }
}
