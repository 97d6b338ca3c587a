//! What we offer to VMs, and the windows of their channels.

use bastion_core::limits::{
    KEEPALIVE_UNANSWERED_MAX, REKEY_SECONDS, WINDOW_FAR_BYTES, WINDOW_NEAR_BYTES,
    WINDOW_NEAR_MICROS,
};
use russh::{
    Limits, Preferred, cipher, client, compression, kex,
    keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};
use std::{borrow::Cow, sync::Arc, time::Duration};

const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

// AES-GCM takes half the CPU of ChaCha20 wherever there are instructions for it.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];

/// The configurations for VMs near and far.
#[derive(Clone, Debug)]
pub(super) struct Configs {
    near: Arc<client::Config>,
    far: Arc<client::Config>,
}

impl Configs {
    /// A VM that says nothing for `keepalive` is asked whether it still lives; new keys come after
    /// so many bytes in one direction, and after a day.
    pub(super) fn new(keepalive: Duration, rekey_bytes: usize) -> Self {
        let with_window = |window| Arc::new(config(window, keepalive, rekey_bytes));
        Self { near: with_window(WINDOW_NEAR_BYTES), far: with_window(WINDOW_FAR_BYTES) }
    }

    /// The one for a VM whose TCP connection took this long: about a round trip.
    pub(super) fn of(&self, round_trip: Duration) -> Arc<client::Config> {
        let near = Duration::from_micros(WINDOW_NEAR_MICROS);
        Arc::clone(if round_trip > near { &self.far } else { &self.near })
    }
}

/// How long a VM may be silent: asked so many times, and once more to notice.
pub(super) fn silence(keepalive: Duration) -> Duration {
    keepalive * (KEEPALIVE_UNANSWERED_MAX as u32 + 1)
}

fn config(window_size: u32, keepalive: Duration, rekey_bytes: usize) -> client::Config {
    client::Config {
        window_size,
        limits: Limits {
            rekey_write_limit: rekey_bytes,
            rekey_read_limit: rekey_bytes,
            rekey_time_limit: Duration::from_secs(REKEY_SECONDS),
        },
        preferred: Preferred {
            kex: Cow::Borrowed(KEX),
            // Plain keys are offered so that a VM without a certificate is told apart from one
            // that speaks nothing we know; they are refused all the same.
            key: Cow::Borrowed(HOST_KEYS),
            host_key_certificates: Cow::Borrowed(HOST_KEYS),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(MACS),
            compression: Cow::Borrowed(&[compression::NONE]),
        },
        keepalive_interval: Some(keepalive),
        keepalive_max: KEEPALIVE_UNANSWERED_MAX,
        // While russh waits for a socket that takes no bytes it looks at no other clock than this.
        inactivity_timeout: Some(silence(keepalive)),
        nodelay: true,
        ..client::Config::default()
    }
}
