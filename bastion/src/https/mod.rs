//! The HTTPS server, for whatever has to be asked without an SSH login; and calling others'
//! ([`agent`]).
//!
//! It serves one [`Site`]: a function from a request of bounded size to an answer. What a site
//! says rests on what it is shown (a one-time token, a signature), never on the connection, so
//! nothing here knows who anybody is. TLS is rustls with the one provider, the parser is hyper's,
//! HTTP/1.1 alone; a connection has a place, a source's share of them, and a time to be over.
//!
//! ```text
//! accept ─▶ place ─▶ TLS handshake ─▶ head, body (bounded) ─▶ Site::answer ─▶ answer
//! ```

mod calls;
mod places;
mod tls;
mod trust;

pub use calls::{Bounds, Url, agent, failure};
pub use hyper::{Method, StatusCode, body::Bytes};
pub use tls::{Tls, TlsError};
pub use trust::Trust;

use bastion_core::limits::{
    HTTPS_BODY_BYTES_MAX, HTTPS_CONNECTION_SECONDS, HTTPS_HANDSHAKE_SECONDS, HTTPS_HEAD_BYTES_MAX,
    HTTPS_HEAD_SECONDS, HTTPS_HEADERS_MAX,
};
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::Incoming,
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use places::Places;
use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// A request, read whole.
#[derive(Clone, Debug)]
pub struct Asked {
    /// GET, POST or PUT; a site answers others with [`Answer::not_found`].
    pub method: Method,
    /// The path, without what follows a `?`.
    pub path: String,
    /// The body, at most [`HTTPS_BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
    /// From where it comes.
    pub source: SocketAddr,
}

/// What a site says.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The content type.
    pub kind: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// Text for people: a refusal, a word. Ends in a line break.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: Bytes::from(text.into()) }
    }

    /// Bytes as they are.
    pub fn bytes(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, kind, body: body.into() }
    }

    /// Nothing is here.
    pub fn not_found() -> Self {
        Self::text(StatusCode::NOT_FOUND, "nothing is here\n")
    }
}

/// What is served.
pub trait Site: Send + Sync + 'static {
    /// Answers one request. Never panics on what it is given.
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer>;
}

/// Serves a site until the task is dropped, and with it every connection.
pub async fn serve(listener: TcpListener, tls: Tls, site: Arc<dyn Site>) -> io::Result<()> {
    accept(listener, Some(tls), site).await
}

/// The same without TLS: on loopback alone, where nobody listens on the way and a proxy of the
/// same machine may stand before it.
pub async fn serve_plain(listener: TcpListener, site: Arc<dyn Site>) -> io::Result<()> {
    match listener.local_addr()?.ip().is_loopback() {
        true => accept(listener, None, site).await,
        false => Err(io::Error::other("without a certificate it listens on loopback alone")),
    }
}

async fn accept(listener: TcpListener, tls: Option<Tls>, site: Arc<dyn Site>) -> io::Result<()> {
    let places = Places::default();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let (stream, source) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(cause) => {
                // Out of descriptors, most likely: wait instead of spinning.
                tracing::warn!(%cause, "cannot accept an HTTPS connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Some(place) = places.take(source.ip()) else {
            tracing::debug!(%source, "no place for an HTTPS connection");
            continue;
        };
        let acceptor = tls.as_ref().map(Tls::acceptor);
        let site = Arc::clone(&site);
        connections.spawn(async move {
            let most = Duration::from_secs(HTTPS_CONNECTION_SECONDS);
            let over = tokio::time::timeout(most, connection(stream, source, acceptor, site));
            if let Ok(Err(cause)) = over.await {
                tracing::debug!(%cause, %source, "an HTTPS connection broke off");
            }
            drop(place);
        });
    }
}

async fn connection(
    stream: TcpStream,
    source: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    site: Arc<dyn Site>,
) -> Result<(), Broken> {
    stream.set_nodelay(true)?;
    let Some(acceptor) = acceptor else { return speak(stream, source, site).await };
    let most = Duration::from_secs(HTTPS_HANDSHAKE_SECONDS);
    let stream = tokio::time::timeout(most, acceptor.accept(stream)).await??;
    speak(stream, source, site).await
}

type Broken = Box<dyn std::error::Error + Send + Sync>;

async fn speak(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    source: SocketAddr,
    site: Arc<dyn Site>,
) -> Result<(), Broken> {
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(answer(request, source, &*site).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HTTPS_HEAD_SECONDS))
        .max_buf_size(HTTPS_HEAD_BYTES_MAX)
        .max_headers(HTTPS_HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn answer(
    request: Request<Incoming>,
    source: SocketAddr,
    site: &dyn Site,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let said = match Limited::new(body, HTTPS_BODY_BYTES_MAX).collect().await {
        Ok(body) => {
            let (method, path) = (head.method, head.uri.path().to_owned());
            site.answer(Asked { method, path, body: body.to_bytes(), source }).await
        }
        Err(_) => Answer::text(StatusCode::PAYLOAD_TOO_LARGE, "too long: send less\n"),
    };
    let mut response = Response::new(Full::new(said.body));
    *response.status_mut() = said.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(said.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
