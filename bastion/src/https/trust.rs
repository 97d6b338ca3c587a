//! Whose word counts for who a server is that we ask: a webhook's, a witness's.
//!
//! Read again whenever somebody is called, so that a root that the machine stops to trust, or a new
//! one of the deployment, counts at once and without a restart.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::path::{Path, PathBuf};

/// The certificate authorities of this machine, and those in a file of the deployment.
#[derive(Clone, Debug)]
pub struct Trust {
    extra: Option<PathBuf>,
    /// What names that file.
    setting: &'static str,
}

impl Default for Trust {
    /// The machine's own.
    fn default() -> Self {
        Self { extra: None, setting: NOTICES }
    }
}

const NOTICES: &str = "notices.extra_roots";

impl Trust {
    /// Trusts the machine's roots and those in `extra`, a PEM file. It is read here once, so that
    /// one that cannot be used is found at the start and not by the first notice.
    pub fn new(extra: Option<PathBuf>) -> Result<Self, String> {
        Self::named(extra, NOTICES)
    }

    /// The same, where another setting names the file.
    pub fn named(extra: Option<PathBuf>, setting: &'static str) -> Result<Self, String> {
        if let Some(file) = &extra {
            read(file, setting)?;
        }
        Ok(Self { extra, setting })
    }

    /// The setting that names more authorities.
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Every root; there is at least one.
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let machine = rustls_native_certs::load_native_certs();
        for error in &machine.errors {
            tracing::debug!(%error, "a certificate of this machine cannot be read");
        }
        let mut roots = machine.certs;
        if let Some(file) = &self.extra {
            roots.extend(read(file, self.setting)?);
        }
        match roots.is_empty() {
            true => Err(format!(
                "this machine trusts no certificate authority: install ca-certificates, or name a \
                 file in `{}`",
                self.setting
            )),
            false => Ok(roots),
        }
    }
}

/// The certificates of a PEM file: at least one, and each can be a root.
fn read(file: &Path, setting: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |cause: &dyn std::fmt::Display| {
        format!("`{setting}`: {}: {cause}; give PEM certificates", file.display())
    };
    let roots: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|cause| wrong(&cause))?;
    if roots.is_empty() {
        return Err(wrong(&"no certificate in it"));
    }
    let mut store = RootCertStore::empty();
    for root in &roots {
        store.add(root.clone()).map_err(|cause| wrong(&cause))?;
    }
    Ok(roots)
}
