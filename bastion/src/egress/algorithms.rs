//! What we offer to VMs, and the windows of their channels.

use bastion_core::limits::{
    EGRESS_KEEPALIVE_SECONDS, KEEPALIVE_UNANSWERED_MAX, WINDOW_FAR_BYTES, WINDOW_NEAR_BYTES,
    WINDOW_NEAR_MICROS,
};
use russh::{
    Preferred, cipher, client, compression, kex,
    keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg},
    mac,
};
use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

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

static NEAR: LazyLock<Arc<client::Config>> = LazyLock::new(|| with_window(WINDOW_NEAR_BYTES));
static FAR: LazyLock<Arc<client::Config>> = LazyLock::new(|| with_window(WINDOW_FAR_BYTES));

/// The configuration for a VM whose TCP connection took this long: about a round trip.
pub(super) fn config(round_trip: Duration) -> Arc<client::Config> {
    let near = Duration::from_micros(WINDOW_NEAR_MICROS);
    Arc::clone(if round_trip > near { &FAR } else { &NEAR })
}

fn with_window(window_size: u32) -> Arc<client::Config> {
    Arc::new(client::Config {
        window_size,
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
        keepalive_interval: Some(Duration::from_secs(EGRESS_KEEPALIVE_SECONDS)),
        keepalive_max: KEEPALIVE_UNANSWERED_MAX,
        nodelay: true,
        ..client::Config::default()
    })
}
