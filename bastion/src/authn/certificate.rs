//! Certificates of operator CAs: where an identity provider with a second factor plugs in.
//!
//! russh has seen that the certificate's own signature fits the CA key inside it, that it is not
//! expired, and that the peer holds the certified key. Everything else is checked here and in
//! [`bastion_core::operator_cert`]: that this CA is one of ours, the type, the principals, the
//! validity, every critical option. Only operators come this way: officers and approvers decide
//! what an identity provider must not be able to forge.

use super::{Identity, Method, Who, keys};
use crate::{
    args,
    config::OperatorCa,
    store::{Db, StoreError},
};
use audit_schema::time::Timestamp;
use bastion_core::{
    id::{Handle, OperatorId},
    limits::CERTIFICATE_PRINCIPALS_MAX,
    operator_cert::{OperatorCheck, check},
};
use russh::keys::ssh_key::{Certificate, PublicKey};
use std::net::IpAddr;

/// The operator that a certificate names, if everything about it holds.
pub(super) async fn operator(
    db: &Db,
    cas: &[OperatorCa],
    (certificate, source, now): (&Certificate, IpAddr, Timestamp),
) -> Result<Option<Identity>, StoreError> {
    if !plausible(certificate, cas) {
        return Ok(None);
    }
    let Some((id, handle)) = named(db, certificate).await? else {
        return Ok(None);
    };
    let authorities: Vec<_> = cas.iter().map(|ca| ca.public_key.key_data().clone()).collect();
    let names = [handle.as_str(), id.as_str()];
    let asked =
        OperatorCheck { certificate, authorities: &authorities, names: &names, source, now };
    match check(&asked) {
        Ok(held) => Ok(Some(Identity {
            who: Who::Operator(id),
            handle,
            fingerprint: held.fingerprint,
            method: Method::Certificate,
        })),
        Err(error) => {
            tracing::info!(operator = %id, %error, "an operator certificate was refused");
            Ok(None)
        }
    }
}

/// What can be told without the inventory: one of our CAs, not longer valid than that CA may make
/// it, a strong key, and a bounded list of principals.
fn plausible(certificate: &Certificate, cas: &[OperatorCa]) -> bool {
    let signer = certificate.signature_key();
    let Some(ca) = cas.iter().find(|ca| ca.public_key.key_data() == signer) else {
        return false;
    };
    let lasts = certificate.valid_before().saturating_sub(certificate.valid_after());
    let key = PublicKey::from(certificate.public_key().clone());
    lasts <= ca.validity_seconds_max
        && certificate.valid_principals().len() <= CERTIFICATE_PRINCIPALS_MAX
        && keys::long_enough(&key)
}

/// The one enabled operator whose id or handle is among the principals. A certificate that names
/// two operators names nobody.
async fn named(
    db: &Db,
    certificate: &Certificate,
) -> Result<Option<(OperatorId, Handle)>, StoreError> {
    let sql =
        "SELECT id, handle FROM operators WHERE (id = $1 OR handle = $1) AND state = 'enabled'";
    let mut found: Option<(OperatorId, Handle)> = None;
    for principal in certificate.valid_principals() {
        for row in db.rows(sql, &args![principal]).await? {
            let operator = (row.parsed(0)?, row.parsed(1)?);
            if found.as_ref().is_some_and(|earlier| *earlier != operator) {
                return Ok(None);
            }
            found = Some(operator);
        }
    }
    Ok(found)
}
