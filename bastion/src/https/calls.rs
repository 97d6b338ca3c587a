//! Calling others: what leaves this machine goes over HTTPS, to whom a trusted authority names.

use super::trust::Trust;
use bastion_core::limits::WEBHOOK_URL_BYTES_MAX;
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

/// Where something is posted: `https://` to any host, or `http://` to an address on loopback, where
/// nobody listens on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    /// The address as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the server has to show a certificate.
    fn is_tls(&self) -> bool {
        self.0.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
    }
}

impl FromStr for Url {
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

/// How long somebody may take to answer, and how much is read of the head.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All of it, in seconds.
    pub seconds: u64,
    /// Looking up the name, connecting and TLS, each in seconds.
    pub connect_seconds: u64,
    /// The answer's head in bytes.
    pub head_bytes: usize,
}

/// What speaks HTTP to an address. Redirects are not followed and no proxy is asked: what is said
/// goes where somebody decided that it goes, or nowhere.
pub fn agent(url: &Url, trust: &Trust, bounds: Bounds) -> Result<Agent, String> {
    let connect = Some(Duration::from_secs(bounds.connect_seconds));
    let mut config = Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(bounds.seconds)))
        .timeout_resolve(connect)
        .timeout_connect(connect)
        .max_response_header_size(bounds.head_bytes)
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
pub fn failure(error: &ureq::Error, trust: &Trust) -> String {
    use rustls::{CertificateError::UnknownIssuer, Error::InvalidCertificate};
    let cause = match error {
        ureq::Error::Rustls(cause) => Some(cause),
        ureq::Error::Io(cause) => cause.get_ref().and_then(|cause| cause.downcast_ref()),
        _ => None,
    };
    match cause {
        Some(InvalidCertificate(UnknownIssuer)) => format!(
            "the server's certificate is of an unknown issuer: put its CA into the file that \
             `{}` names, or have it send the whole chain",
            trust.setting()
        ),
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_leaves_the_machine_by_https_alone() {
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
            assert_eq!(good.parse::<Url>().expect(good).as_str(), good);
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
            assert!(bad.parse::<Url>().is_err(), "{bad}");
        }
    }
}
