//! Which algorithms the gateway speaks with operators.
//!
//! Post-quantum key exchange first, AES-GCM before ChaCha20 (half the processor time on machines
//! with AES instructions), encrypt-then-MAC only, SHA-1 nowhere, no compression. As the client's
//! order counts, a client that is known to have AES-GCM is offered it alone ([`super::greeting`]).

use super::doorstep::VERSION;
use crate::{authn, config::Ingress};
use bastion_core::limits::{
    AUTHENTICATION_ATTEMPTS_MAX, AUTHENTICATION_REJECTION_MILLIS, KEEPALIVE_UNANSWERED_MAX,
    REKEY_SECONDS, WINDOW_NARROW_BYTES,
};
use russh::{
    Limits, MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex,
    keys::{PrivateKey, ssh_key::Certificate},
    mac, server,
};
use std::{borrow::Cow, sync::Arc, time::Duration};

/// The receive window of a channel, in bytes; `relay::downstream` moves its target, up to less than
/// twice this.
const WINDOW_BYTES: u32 = 3 << 20;

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// The same without what a quantum computer may read one day from what was recorded today. OpenSSH
/// has mlkem768x25519 since 9.9; Debian 12's own client and most others do not yet.
const KEX_POST_QUANTUM: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

const GCM_CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::AES_128_GCM];

const MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// New keys after this many bytes in one direction, and after a day.
///
/// Russh ends a connection on which more than two windows come in between our wish for new keys and
/// the peer's answer. One busy channel stays below that ([`WINDOW_BYTES`]), several may not: so the
/// wish is left to the clients (all of them have it, OpenSSH as late as sshd has), and ours comes
/// as late as sshd's.
fn rekeying(bytes: usize) -> Limits {
    Limits {
        rekey_write_limit: bytes,
        rekey_read_limit: bytes,
        rekey_time_limit: Duration::from_secs(REKEY_SECONDS),
    }
}

/// What a server that shows one host key offers.
#[derive(Clone)]
pub struct Offers {
    all: Arc<server::Config>,
    gcm: Arc<server::Config>,
    narrow: Arc<server::Config>,
}

impl Offers {
    /// A server's offers with this host key, and its certificate first.
    pub fn new(limits: &Ingress, host_key: &PrivateKey, certificate: Option<&Certificate>) -> Self {
        let with = |ciphers| server_config(limits, (host_key, certificate), ciphers);
        let narrow = server::Config { window_size: WINDOW_NARROW_BYTES, ..with(CIPHERS) };
        let [all, gcm, narrow] = [with(CIPHERS), with(GCM_CIPHERS), narrow].map(Arc::new);
        Self { all, gcm, narrow }
    }

    /// What a client is offered, by whether it is known to have AES-GCM.
    pub fn to(&self, has_gcm: bool) -> Arc<server::Config> {
        Arc::clone(if has_gcm { &self.gcm } else { &self.all })
    }

    /// The same with windows that are kept narrow (`Flow::narrow`).
    pub fn narrow(&self) -> Arc<server::Config> {
        Arc::clone(&self.narrow)
    }
}

/// How long a client may say nothing before it is asked whether it is there, and how often that may
/// stay unanswered. It is not asked during the login grace: a client that still asks its operator
/// for a passphrase would show that as an error. Where the grace is long, fewer questions are
/// enough.
fn questions(keepalive: Duration, login_grace: Duration) -> (Duration, usize) {
    let interval = keepalive.max(login_grace);
    let patience = keepalive * (KEEPALIVE_UNANSWERED_MAX as u32 + 1);
    let enough = |asked: &usize| interval * (*asked as u32 + 1) >= patience;
    (interval, (1..KEEPALIVE_UNANSWERED_MAX).find(enough).unwrap_or(KEEPALIVE_UNANSWERED_MAX))
}

fn server_config(
    limits: &Ingress,
    (host_key, certificate): (&PrivateKey, Option<&Certificate>),
    ciphers: &'static [cipher::Name],
) -> server::Config {
    let (keepalive_interval, keepalive_max) = questions(limits.keepalive, limits.login_grace);
    server::Config {
        server_id: SshId::Standard(Cow::Borrowed(VERSION)),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::from_millis(AUTHENTICATION_REJECTION_MILLIS),
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: AUTHENTICATION_ATTEMPTS_MAX,
        keys: vec![host_key.clone()],
        certificates: certificate.cloned().into_iter().collect(),
        window_size: WINDOW_BYTES,
        channel_buffer_size: 100,
        event_buffer_size: 32,
        preferred: Preferred {
            kex: Cow::Borrowed(if limits.post_quantum_only { KEX_POST_QUANTUM } else { KEX }),
            key: Cow::Borrowed(authn::ALGORITHMS),
            host_key_certificates: Cow::Borrowed(&[]),
            cipher: Cow::Borrowed(ciphers),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        // russh's one clock for a socket that takes nothing and for a client that says nothing: an
        // idle one must be asked, and answer, before it runs out.
        inactivity_timeout: Some(limits.takes_nothing.max(keepalive_interval * 2)),
        keepalive_interval: Some(keepalive_interval),
        keepalive_max,
        nodelay: true,
        limits: rekeying(limits.rekey_bytes),
        ..server::Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_says_nothing_is_given_up_as_soon_as_the_grace_allows() {
        let cases =
            [((15, 60), (60, 1)), ((15, 20), (20, 2)), ((15, 5), (15, 3)), ((2, 3), (3, 2))];
        for ((keepalive, grace), (interval, asked)) in cases {
            let [keepalive, grace, interval] =
                [keepalive, grace, interval].map(Duration::from_secs);
            assert_eq!(questions(keepalive, grace), (interval, asked));
        }
    }
}
