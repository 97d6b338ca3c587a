//! A signed POST to where a customer listens.
//!
//! ```text
//! Bastion-Signature: t=1795507320,ed25519=<base64 of 64 bytes>
//! ```
//!
//! The signature is over `<t>.<body>`, with the deployment's notice key (`ca show` prints it), so
//! whoever receives it knows who sent it and when, and refuses what is old. Redirects are not
//! followed and no proxy is asked: a notice goes where an officer said, or nowhere.

use crate::https::{Bounds, Trust, agent, failure};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bastion_core::limits::{
    NOTICE_SECONDS_MAX, WEBHOOK_ANSWER_HEAD_BYTES_MAX, WEBHOOK_CONNECT_SECONDS_MAX,
};
use ed25519_dalek::{Signer as _, SigningKey};

pub use crate::https::Url as WebhookUrl;

/// Looking up the name, connecting and TLS have a time of their own, so that a dead host does not
/// use up what a slow answer may take.
const BOUNDS: Bounds = Bounds {
    seconds: NOTICE_SECONDS_MAX,
    connect_seconds: WEBHOOK_CONNECT_SECONDS_MAX,
    head_bytes: WEBHOOK_ANSWER_HEAD_BYTES_MAX,
};

/// The header's value for a body at a time, in seconds since 1970 UTC.
pub fn signature(key: &SigningKey, seconds: i64, body: &[u8]) -> String {
    let mut signed = format!("{seconds}.").into_bytes();
    signed.extend_from_slice(body);
    let signature = BASE64.encode(key.sign(&signed).to_bytes());
    format!("t={seconds},ed25519={signature}")
}

/// Posts a notice; whatever is not a 2xx answer in time has failed.
pub async fn post(
    url: &WebhookUrl,
    trust: &Trust,
    header: String,
    body: Vec<u8>,
) -> Result<(), String> {
    let (url, trust) = (url.clone(), trust.clone());
    let posted = tokio::task::spawn_blocking(move || {
        let answer = agent(&url, &trust, BOUNDS)?
            .post(url.as_str())
            .header("Content-Type", "application/json")
            .header("Bastion-Signature", &header)
            .send(&body[..])
            .map_err(|error| failure(&error, &trust))?;
        // Only the head of the answer is read: nothing in its body would change anything.
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
    });
    let posted = posted.await.map_err(|_| "webhook: the posting thread failed".to_owned())?;
    posted.map_err(|cause| format!("webhook: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_over_the_time_and_the_body() {
        use ed25519_dalek::{Signature, Verifier as _};
        let key = SigningKey::from_bytes(&[7; 32]);
        let header = signature(&key, 1_795_507_320, b"{}");
        let encoded = header.strip_prefix("t=1795507320,ed25519=").unwrap();
        let bytes: [u8; 64] = BASE64.decode(encoded).unwrap().try_into().unwrap();
        let signature = Signature::from_bytes(&bytes);
        key.verifying_key().verify(b"1795507320.{}", &signature).unwrap();
    }
}
