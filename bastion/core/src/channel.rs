//! What a channel may carry: kinds, requests, environment, signals. The rest is refused by name.
//!
//! These rules are the same for everybody and stand in Rust. What a *level* may use of them is
//! policy (`policies/channels.cedar`). Both together are what a consent binds to: see
//! [`crate::policy::Policy::channel_rules`].

use crate::{
    consent::RecordingLevel,
    limits::{ENV_VALUE_BYTES_MAX, ENV_VARIABLES_MAX},
};
use audit_schema::event::{ChannelKind, Level};
use serde_json::{Value, json};

/// Every kind of channel, in the order of tables.
pub const KINDS: [ChannelKind; 8] = [
    ChannelKind::Shell,
    ChannelKind::Exec,
    ChannelKind::Sftp,
    ChannelKind::ForwardLocal,
    ChannelKind::ForwardStreamlocal,
    ChannelKind::ForwardRemote,
    ChannelKind::ForwardAgent,
    ChannelKind::ForwardX11,
];

/// Whether a kind opens a way for other programs' bytes: off unless policy permits it.
pub fn is_forward(kind: ChannelKind) -> bool {
    !matches!(kind, ChannelKind::Shell | ChannelKind::Exec | ChannelKind::Sftp)
}

/// What is answered to a channel, a channel request or a global request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The gateway serves it (policy may still refuse).
    Served,
    /// Refused, with the sentence for the operator.
    Refused(&'static str),
}

/// The answer to the opening of a channel of this SSH type.
pub fn answer_open(channel_type: &str) -> Answer {
    match channel_type {
        "session" | "direct-tcpip" | "direct-streamlocal@openssh.com" => Answer::Served,
        "tun@openssh.com" => Answer::Refused("tunnels are not offered"),
        _ => Answer::Refused("this kind of channel is not offered"),
    }
}

/// The answer to a request on a session channel.
pub fn answer_request(request: &str) -> Answer {
    match request {
        "pty-req"
        | "shell"
        | "exec"
        | "subsystem"
        | "env"
        | "window-change"
        | "signal"
        | "eow@openssh.com"
        | "auth-agent-req@openssh.com"
        | "x11-req" => Answer::Served,
        "break" => Answer::Refused("a break cannot be sent through the bastion"),
        _ => Answer::Refused("this request is not offered"),
    }
}

/// The answer to a global request.
pub fn answer_global(request: &str) -> Answer {
    match request {
        "keepalive@openssh.com"
        | "no-more-sessions@openssh.com"
        | "tcpip-forward"
        | "cancel-tcpip-forward" => Answer::Served,
        "streamlocal-forward@openssh.com" => {
            Answer::Refused("a socket on a VM is not forwarded to you: use a port")
        }
        _ => Answer::Refused("this request is not offered"),
    }
}

/// The channel kind of a subsystem; only sftp exists.
pub fn subsystem_kind(name: &str) -> Option<ChannelKind> {
    (name == "sftp").then_some(ChannelKind::Sftp)
}

/// Whether an environment variable may pass to the VM. `already` counts those that passed on this
/// channel before.
pub fn env_passes(name: &str, value: &[u8], already: usize) -> bool {
    let locale = |rest: &str| {
        !rest.is_empty()
            && rest.len() <= 32
            && rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    let listed = ENV_NAMES.contains(&name) || name.strip_prefix(ENV_PREFIX).is_some_and(locale);
    let plain = value.iter().all(|&b| b.is_ascii_graphic());
    listed && plain && value.len() <= ENV_VALUE_BYTES_MAX && already < ENV_VARIABLES_MAX
}

/// Whether a signal may be sent to the program on the VM: the names of RFC 4254 §6.10.
pub fn signal_passes(name: &str) -> bool {
    SIGNALS.contains(&name)
}

/// These rules as a value, for the digest that a consent binds to.
pub fn rules(level: Level) -> Value {
    json!({
        "env": { "names": ENV_NAMES, "prefix": ENV_PREFIX },
        "kinds": KINDS.map(ChannelKind::as_str),
        "level": level.as_str(),
        "recording": RecordingLevel::ALL,
        "signals": SIGNALS,
        "subsystems": ["sftp"],
    })
}

const ENV_NAMES: &[&str] = &["LANG", "TERM"];
const ENV_PREFIX: &str = "LC_";
const SIGNALS: &[&str] = &[
    "ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1",
    "USR2",
];
