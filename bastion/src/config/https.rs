//! `[https]`: where the HTTPS server listens, and what it shows.

use super::file::Wrong;
use serde::Deserialize;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// The HTTPS server.
#[derive(Clone, Debug)]
pub struct Https {
    /// Where it listens.
    pub listen: SocketAddr,
    /// PEM of its certificate and what vouches for it.
    pub certificate: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
    /// Under which name VMs and approvers reach it, as `https://bastion.example`; no slash at the
    /// end.
    pub url: String,
    /// PEM of whoever vouches for the certificate, for VMs whose own authorities do not.
    pub authority: Option<PathBuf>,
    /// The guard's binary, which VMs fetch.
    pub guard: Option<PathBuf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawHttps {
    listen: Option<String>,
    certificate: PathBuf,
    key: PathBuf,
    url: String,
    authority: Option<PathBuf>,
    guard: Option<PathBuf>,
}

impl RawHttps {
    pub(super) fn check(self, dir: &Path) -> Result<Option<Https>, Wrong> {
        let Some(listen) = self.listen else { return Ok(None) };
        let listen = listen.parse().map_err(|_| {
            let cause = format!("{listen:?} is not an address like 0.0.0.0:443 or [::]:443");
            Wrong("https.listen", cause)
        })?;
        for (setting, file) in [("https.certificate", &self.certificate), ("https.key", &self.key)]
        {
            if file.as_os_str().is_empty() {
                return Err(Wrong(setting, "name a PEM file".into()));
            }
        }
        let host = self.url.strip_prefix("https://").unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            let cause = "give how it is reached, as \"https://bastion.example\", without a path";
            return Err(Wrong("https.url", cause.into()));
        }
        Ok(Some(Https {
            listen,
            certificate: dir.join(self.certificate),
            key: dir.join(self.key),
            url: self.url,
            authority: self.authority.map(|file| dir.join(file)),
            guard: self.guard.map(|file| dir.join(file)),
        }))
    }
}
