//! The certificate that the server shows, read again when its file changes: whoever renews it
//! (certbot, say) replaces the files, and nothing has to be restarted.

use bastion_core::limits::HTTPS_CHAIN_MAX;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use tokio_rustls::TlsAcceptor;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{0}: {1}; name PEM files in `https.certificate` and `https.key`")]
    File(PathBuf, String),
    /// The two do not make a server.
    #[error("the certificate and the key of `https` do not fit: {0}")]
    Pair(#[from] rustls::Error),
}

/// A certificate chain and its key.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    changed: Changed,
    acceptor: TlsAcceptor,
}

/// When the two files were last written.
type Changed = [SystemTime; 2];

impl Tls {
    /// Reads both files once, so that what cannot be used is found at the start.
    pub fn new(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let changed = changed(certificate, key)?;
        let loaded = Mutex::new(Loaded { changed, acceptor: load(certificate, key)? });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), loaded })
    }

    /// What takes the next connection. Files that are half replaced leave the pair before in use.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match changed(&self.certificate, &self.key) {
            Ok(now) if now != loaded.changed => match load(&self.certificate, &self.key) {
                Ok(acceptor) => *loaded = Loaded { changed: now, acceptor },
                Err(error) => tracing::warn!(%error, "the HTTPS certificate stays as it was"),
            },
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the HTTPS certificate stays as it was"),
        }
        loaded.acceptor.clone()
    }
}

fn changed(certificate: &Path, key: &Path) -> Result<Changed, TlsError> {
    let at = |file: &Path| {
        let modified = fs::metadata(file).and_then(|meta| meta.modified());
        modified.map_err(|cause: io::Error| TlsError::File(file.to_owned(), cause.to_string()))
    };
    Ok([at(certificate)?, at(key)?])
}

fn load(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let unreadable = |file: &Path, cause: String| TlsError::File(file.to_owned(), cause);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|cause| unreadable(certificate, cause.to_string()))?;
    if chain.is_empty() || chain.len() > HTTPS_CHAIN_MAX {
        return Err(unreadable(certificate, "not a chain of PEM certificates".into()));
    }
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|cause| unreadable(key, cause.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
