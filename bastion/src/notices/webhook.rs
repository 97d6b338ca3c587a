//! A signed POST to an address on this machine.
//!
//! ```text
//! Bastion-Signature: t=1795507320,ed25519=<base64 of 64 bytes>
//! ```
//!
//! The signature is over `<t>.<body>`, with the deployment's notice key (`ca show` prints it), so
//! whoever receives it knows who sent it and when, and refuses what is old. Redirects are not
//! followed: a notice goes where an officer said, or nowhere.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bastion_core::limits::{NOTICE_SECONDS_MAX, WEBHOOK_URL_BYTES_MAX};
use ed25519_dalek::{Signer as _, SigningKey};
use std::{net::IpAddr, str::FromStr, time::Duration};

/// Where notices are posted: `http://` to an address on loopback. This program speaks no TLS to
/// webhooks yet; what has to leave the machine goes through a hook, which may be one line of curl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WebhookUrl {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write http://127.0.0.1:PORT/PATH; for https use a hook that runs curl";
        if text.len() > WEBHOOK_URL_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(WRONG);
        }
        let uri: ureq::http::Uri = text.parse().map_err(|_| WRONG)?;
        let authority = uri.authority().ok_or(WRONG)?;
        // A name and password in an address would stand in the log and in lists.
        if authority.as_str().contains('@') || text.contains('#') || authority.host().is_empty() {
            return Err(WRONG);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let is_loopback = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match uri.scheme_str() {
            Some("http") if is_loopback => Ok(Self(text.to_owned())),
            _ => Err(WRONG),
        }
    }
}

/// The header's value for a body at a time, in seconds since 1970 UTC.
pub fn signature(key: &SigningKey, seconds: i64, body: &[u8]) -> String {
    let mut signed = format!("{seconds}.").into_bytes();
    signed.extend_from_slice(body);
    let signature = BASE64.encode(key.sign(&signed).to_bytes());
    format!("t={seconds},ed25519={signature}")
}

/// Posts a notice; whatever is not a 2xx answer in time has failed.
pub async fn post(url: &WebhookUrl, header: String, body: Vec<u8>) -> Result<(), String> {
    let url = url.as_str().to_owned();
    let posted = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(NOTICE_SECONDS_MAX)))
            .max_redirects(0)
            .proxy(None)
            .build()
            .into();
        let answer = agent
            .post(&url)
            .header("Content-Type", "application/json")
            .header("Bastion-Signature", &header)
            .send(&body[..])
            .map_err(|error| format!("webhook: {error}"))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("webhook: answered {status}")) }
    });
    posted.await.map_err(|_| "webhook: the posting thread failed".to_owned())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_are_posted_on_this_machine_alone() {
        for good in ["http://127.0.0.1:8080/a?b=c", "http://[::1]:8080/"] {
            assert_eq!(good.parse::<WebhookUrl>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "acme.example",
            "http://acme.example/",
            "https://acme.example/consent",
            "http://localhost/",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/",
            "https://user:secret@acme.example/",
            "https://acme.example/#x",
            "https:///x",
            "ftp://acme.example/",
            "file:///etc/passwd",
            "https://acme.example/\u{202e}",
            "https://acme.example/a b",
            "javascript:alert(1)",
        ] {
            assert!(bad.parse::<WebhookUrl>().is_err(), "{bad}");
        }
    }

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
