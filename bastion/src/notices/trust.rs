//! Whose word counts for who a webhook's server is.
//!
//! Read again for every notice, so that a root that the machine stops to trust, or a new one of the
//! deployment, counts at once and without a restart.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use std::path::{Path, PathBuf};

/// The certificate authorities of this machine, and those in a file of the deployment.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    extra: Option<PathBuf>,
}

impl Trust {
    /// Trusts the machine's roots and those in `extra`, a PEM file. It is read here once, so that
    /// one that cannot be used is found at the start and not by the first notice.
    pub fn new(extra: Option<PathBuf>) -> Result<Self, String> {
        if let Some(file) = &extra {
            read(file)?;
        }
        Ok(Self { extra })
    }

    /// Every root; there is at least one.
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let machine = rustls_native_certs::load_native_certs();
        for error in &machine.errors {
            tracing::debug!(%error, "a certificate of this machine cannot be read");
        }
        let mut roots = machine.certs;
        if let Some(file) = &self.extra {
            roots.extend(read(file)?);
        }
        match roots.is_empty() {
            true => Err("this machine trusts no certificate authority: install ca-certificates, \
                         or name a file in `notices.extra_roots`"
                .into()),
            false => Ok(roots),
        }
    }
}

/// The certificates of a PEM file: at least one, and each can be a root.
fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |cause: &dyn std::fmt::Display| {
        format!("`notices.extra_roots`: {}: {cause}; give PEM certificates", file.display())
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
