//! What is served over https: enrolment by one-time tokens, and the lists of what is revoked.
//!
//! ```text
//! GET  /v1/approver/TOKEN            the statement that an invited approver signs
//! POST /v1/approver/TOKEN            their signature: enrols the key that made it
//! POST /v1/enrol/TOKEN               a VM's public host key: answers its host certificate
//! GET  /v1/vm/INSTANCE/krl           the KRL for its sshd, under a signature
//! GET  /v1/vm/INSTANCE/revocations   the signed list for its guard
//! GET  /v1/guard                     the guard's binary; its digest stands in the bootstrap
//! ```
//!
//! Nobody is known here. A token speaks for itself, once; what is handed out without one is signed,
//! and says nothing that a VM of that customer must not know. An instance's id is known to whoever
//! was shown it, so it is a name and no secret.

use super::{Fault, approvers::invite, provision};
use crate::{
    app::App,
    https::{Answer, Asked, Method, Site, StatusCode, Tls, serve},
};
use bastion_core::limits::GUARD_BINARY_BYTES_MAX;
use futures_util::future::BoxFuture;
use std::{fs, io, path::Path, sync::Arc};
use tokio::net::TcpListener;

/// The gateway's site.
struct Gateway(Arc<App>);

impl Site for Gateway {
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            match route(&self.0, &asked).await {
                Ok(answer) => answer,
                Err(fault) => refusal(&fault),
            }
        })
    }
}

/// Serves it for the life of the gateway, where the configuration has `[https]`.
pub async fn run(app: Arc<App>) {
    let Some(https) = app.config.https.clone() else { return std::future::pending().await };
    let opened = async {
        let tls = Tls::new(&https.certificate, &https.key).map_err(io::Error::other)?;
        let listener = TcpListener::bind(https.listen).await?;
        serve(listener, tls, Arc::new(Gateway(app))).await
    };
    if let Err(error) = opened.await {
        tracing::error!(%error, listen = %https.listen, "https is not served");
    }
}

async fn route(app: &App, asked: &Asked) -> Result<Answer, Fault> {
    let path: Vec<&str> = asked.path.trim_start_matches('/').split('/').collect();
    let get = asked.method == Method::GET;
    let post = asked.method == Method::POST;
    match path.as_slice() {
        ["v1", "approver", token] if get => {
            let statement = invite::statement(app, token).await?;
            Ok(statement
                .map_or_else(Answer::not_found, |bytes| Answer::bytes("application/json", bytes)))
        }
        ["v1", "approver", token] if post => {
            let said = invite::bring(app, token, text(asked)?).await?;
            Ok(Answer::text(StatusCode::OK, said))
        }
        ["v1", "enrol", token] if post => {
            let certificate = provision::enrol(app, token, &text(asked)?).await?;
            Ok(Answer::text(StatusCode::OK, certificate))
        }
        ["v1", "vm", instance, list] if get => {
            let Ok(instance) = instance.parse() else { return Ok(Answer::not_found()) };
            let found = match *list {
                "krl" => provision::krl_for(app, &instance).await?,
                "revocations" => provision::revocations_for(app, &instance).await?,
                _ => None,
            };
            Ok(found.map_or_else(Answer::not_found, |text| Answer::text(StatusCode::OK, text)))
        }
        ["v1", "guard"] if get => {
            Ok(match app.config.https.as_ref().and_then(|h| h.guard.clone()) {
                Some(file) => Answer::bytes("application/octet-stream", binary(&file)?),
                None => Answer::not_found(),
            })
        }
        _ => Ok(Answer::not_found()),
    }
}

fn text(asked: &Asked) -> Result<String, Fault> {
    let text = String::from_utf8(asked.body.to_vec());
    text.map_err(|_| Fault::Usage("this is no text: send the file as it is".into()))
}

/// The guard's binary, whole.
pub(super) fn binary(file: &Path) -> Result<Vec<u8>, Fault> {
    let failed = |error: io::Error| Fault::Failed(format!("{}: {error}", file.display()));
    let size = fs::metadata(file).map_err(failed)?.len();
    if size > GUARD_BINARY_BYTES_MAX {
        return Err(Fault::Failed(format!("{}: too large to be the guard", file.display())));
    }
    fs::read(file).map_err(failed)
}

/// A stranger learns whether what they brought counts, and nothing of what is wrong with us.
fn refusal(fault: &Fault) -> Answer {
    let (status, sentence) = match fault {
        Fault::Usage(sentence) => (StatusCode::BAD_REQUEST, sentence.as_str()),
        Fault::Unverified { sentence, .. } | Fault::Refused { sentence, .. } => {
            (StatusCode::FORBIDDEN, sentence.as_str())
        }
        Fault::Conflict(sentence) => (StatusCode::CONFLICT, sentence.as_str()),
        other => {
            tracing::error!(error = %other, "an https request failed");
            (StatusCode::INTERNAL_SERVER_ERROR, "this failed here: try again later")
        }
    };
    Answer::text(status, format!("{sentence}\n"))
}
