//! What a channel is for, and who takes it from here.

use super::{
    channel,
    close::{Mouth, Over},
    command,
    connection::Held,
    login::Login,
    refusal::{self, Refusal},
    session::Session,
};
use crate::app::End;
use crate::egress::Spare;
use crate::relay::downstream::{Flow, Input, Lent, Pty};
use audit_schema::event::ChannelKind;
use bastion_core::destination::Wanted;
use russh::{
    ChannelWriteHalf,
    server::{ChannelOpenHandle, Handle, Msg},
};
use std::sync::Arc;
use tracing::Instrument;

/// The request that says what a channel is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// A shell.
    Shell,
    /// A command, as sent.
    Exec(Vec<u8>),
    /// The sftp subsystem.
    Sftp,
    /// A connection to somewhere that the VM can reach.
    Forward(Wanted),
}

impl Start {
    /// The kind in entries.
    pub fn kind(&self) -> ChannelKind {
        match self {
            Self::Shell => ChannelKind::Shell,
            Self::Exec(_) => ChannelKind::Exec,
            Self::Sftp => ChannelKind::Sftp,
            Self::Forward(wanted) => wanted.kind(),
        }
    }
}

/// A channel with all that was asked of it.
pub(super) struct Asked {
    pub login: Login,
    pub what: Start,
    pub pty: Option<Pty>,
    pub env: Vec<(String, String)>,
    pub input: Input,
    pub write: ChannelWriteHalf<Msg>,
    pub handle: Handle,
    /// The answer to a forward; other channels have theirs.
    pub opening: Option<ChannelOpenHandle>,
    /// The VM, dialled before it was asked for.
    pub spare: Option<Spare>,
    /// Dropped when the channel is over.
    pub held: Held,
    pub also: Also,
}

/// What goes with a session channel.
pub(super) struct Also {
    /// What the VM may use of the operator's, as far as it was asked for and is permitted.
    pub lent: Lent,
    /// Why not the rest, for whoever has a terminal to read it.
    pub notes: Vec<String>,
    /// The pace of the connection, for channels that we open on it.
    pub flow: Flow,
}

/// Takes a channel to its end, in a task of its own. If that panics the session ends: a channel
/// that nobody serves any more must not look alive.
pub(super) fn spawn(session: Arc<Session>, asked: Asked) {
    let kind = asked.what.kind().as_str();
    let is_command = matches!(asked.login, Login::Commands);
    let span = tracing::info_span!("channel", session = %session.id, kind);
    let work = run(session.clone(), Box::new(asked));
    let work = match is_command {
        // Commands read the log and render reports: not on the thread of connections.
        true => session.app.runtime.spawn(work.instrument(span)),
        false => tokio::spawn(work.instrument(span)),
    };
    tokio::spawn(async move {
        if work.await.is_err() {
            session.end(End::Broken);
        }
    });
}

/// What was asked is boxed: it is passed on four times, and each keeps room for it.
async fn run(session: Arc<Session>, asked: Box<Asked>) {
    match (&asked.login, session.identity.operator().cloned()) {
        (Login::Commands, _) => match &asked.what {
            Start::Forward(wanted) => {
                let typed = wanted.to_string();
                Box::pin(refuse(&session, refusal::DESTINATION, &typed, asked)).await;
            }
            _ => Box::pin(command::run(&session, *asked)).await,
        },
        (Login::Vm { account, vm }, Some(operator)) => {
            let to = channel::To { operator, account: account.clone(), vm: vm.clone() };
            Box::pin(channel::run(&session, to, asked)).await;
        }
        (Login::Vm { account, vm }, None) => {
            let typed = format!("{account}+{vm}");
            Box::pin(refuse(&session, refusal::NOT_OPERATOR, &typed, asked)).await;
        }
        (&Login::Malformed(sentence), _) => {
            let refusal = Refusal { code: "login_name_malformed", sentence };
            Box::pin(refuse(&session, refusal, "", asked)).await;
        }
    }
}

/// Enters a refusal and speaks it on the channel.
async fn refuse(session: &Session, refusal: Refusal, typed: &str, asked: Box<Asked>) {
    let kind = asked.what.kind();
    let sentence = match refusal::record(session, kind, refusal, typed).await {
        Ok(()) => refusal.sentence,
        Err(error) => {
            tracing::error!(%error, "a refusal could not be entered");
            End::Log.sentence()
        }
    };
    let terminal = asked.pty.is_some();
    let Asked { write, opening, .. } = *asked;
    let mouth = Mouth { write, opening, kind };
    Over::said(mouth, sentence).speak(terminal).await;
}
