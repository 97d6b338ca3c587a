//! A signed POST to where a customer listens.
//!
//! ```text
//! Bastion-Signature: t=1795507320,ed25519=<base64 of 64 bytes>
//! ```
//!
//! The signature is over `<t>.<body>`, with the deployment's notice key (`ca show` prints it), so
//! whoever receives it knows who sent it and when, and refuses what is old. Redirects are not
//! followed and no proxy is asked: a notice goes where an officer said, or nowhere.

use super::trust::Trust;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bastion_core::limits::{
    NOTICE_SECONDS_MAX, WEBHOOK_ANSWER_HEAD_BYTES_MAX, WEBHOOK_CONNECT_SECONDS_MAX,
    WEBHOOK_URL_BYTES_MAX,
};
use ed25519_dalek::{Signer as _, SigningKey};
use rustls::pki_types::ServerName;
use std::{
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};
use ureq::{
    Agent,
    http::{Uri, uri::Authority},
    tls::{Certificate, RootCerts, TlsConfig},
};

/// Where notices are posted: `https://` to any host, or `http://` to an address on loopback, where
/// nobody listens on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the server has to show a certificate.
    fn is_tls(&self) -> bool {
        self.0.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }
}

impl FromStr for WebhookUrl {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "write https://HOST[:PORT]/PATH, or http://127.0.0.1:PORT/PATH for a \
                             listener on the gateway itself";
        if text.len() > WEBHOOK_URL_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(WRONG);
        }
        let uri: Uri = text.parse().map_err(|_| WRONG)?;
        let host = uri.authority().and_then(host).ok_or(WRONG)?;
        let good = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => matches!(host, Host::Ip(ip) if ip.is_loopback()),
            _ => false,
        };
        // Whoever writes a fragment expects it to arrive; it never would.
        if good && !text.contains('#') { Ok(Self(text.to_owned())) } else { Err(WRONG) }
    }
}

/// Whom a certificate has to name.
enum Host {
    Ip(IpAddr),
    Name,
}

/// The host of `HOST[:PORT]`. A name and password in an address would stand in the log and in
/// lists, so there may be none.
fn host(authority: &Authority) -> Option<Host> {
    let host = authority.host();
    let port = authority.as_str().strip_prefix(host)?;
    if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
        return None;
    }
    if let Some(bare) = host.strip_prefix('[') {
        let ip: Ipv6Addr = bare.strip_suffix(']')?.parse().ok()?;
        return Some(Host::Ip(ip.into()));
    }
    match ServerName::try_from(host).ok()? {
        ServerName::IpAddress(ip) => Some(Host::Ip(ip.into())),
        ServerName::DnsName(_) => Some(Host::Name),
        _ => None,
    }
}

/// 1 to 65535, written as people write it.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port != 0 && port.to_string() == text)
}

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
        let answer = agent(&url, &trust)?
            .post(url.as_str())
            .header("Content-Type", "application/json")
            .header("Bastion-Signature", &header)
            .send(&body[..])
            .map_err(|error| failure(&error))?;
        // Only the head of the answer is read: nothing in its body would change anything.
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("answered {status}")) }
    });
    let posted = posted.await.map_err(|_| "webhook: the posting thread failed".to_owned())?;
    posted.map_err(|cause| format!("webhook: {cause}"))
}

/// What speaks HTTP for one notice. Looking up the name, connecting and TLS have a time of their
/// own, so that a dead host does not use up what a slow answer may take.
fn agent(url: &WebhookUrl, trust: &Trust) -> Result<Agent, String> {
    let connect = Some(Duration::from_secs(WEBHOOK_CONNECT_SECONDS_MAX));
    let mut config = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(NOTICE_SECONDS_MAX)))
        .timeout_resolve(connect)
        .timeout_connect(connect)
        .max_response_header_size(WEBHOOK_ANSWER_HEAD_BYTES_MAX)
        .max_redirects(0)
        .proxy(None);
    if url.is_tls() {
        let roots = trust.roots()?;
        let roots = roots.iter().map(|root| Certificate::from_der(root).to_owned());
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(
                rustls::crypto::aws_lc_rs::default_provider(),
            ))
            .root_certs(RootCerts::from(roots));
        config = config.https_only(true).tls_config(tls.build());
    }
    Ok(config.build().into())
}

/// Why nothing was posted, and what helps where that is not plain.
fn failure(error: &ureq::Error) -> String {
    use rustls::{CertificateError::UnknownIssuer, Error::InvalidCertificate};
    let cause = match error {
        ureq::Error::Rustls(cause) => Some(cause),
        ureq::Error::Io(cause) => cause.get_ref().and_then(|cause| cause.downcast_ref()),
        _ => None,
    };
    match cause {
        Some(InvalidCertificate(UnknownIssuer)) => {
            "the server's certificate is of an unknown issuer: put its CA into the file that \
             `notices.extra_roots` names, or have it send the whole chain"
                .into()
        }
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_leave_the_machine_by_https_alone() {
        for good in [
            "http://127.0.0.1:8080/a?b=c",
            "http://[::1]:8080/",
            "https://acme.example/consent",
            "https://acme.example:8443/consent?x=1",
            "https://acme.example",
            "https://192.0.2.7/",
            "https://[2001:db8::7]:8443/",
            "https://localhost/",
        ] {
            assert_eq!(good.parse::<WebhookUrl>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            "acme.example",
            "acme.example:443",
            "/consent",
            "http://acme.example/",
            "http://localhost/",
            "http://127.0.0.1.example/",
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "https://user:secret@acme.example/",
            "https://user@acme.example/",
            "https://acme.example/#x",
            "https:///x",
            "https://:443/",
            "https://acme.example:/",
            "https://acme.example:0/",
            "https://acme.example:0443/",
            "https://acme.example:65536/",
            "https://acme..example/",
            "https://-acme.example/",
            "https://192.0.2/",
            "https://0300.0.2.7/",
            "https://[127.0.0.1]/",
            "https://[fe80::1%eth0]/",
            "https://acme%2eexample/",
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
