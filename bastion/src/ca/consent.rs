//! The customer's signed consent, as the certificate of a data account carries it.

use crate::{
    args,
    store::{StoreError, Tx},
};
use bastion_core::{
    authorize::Grant,
    carried::CarriedConsent,
    id::{ApproverId, CustomerId},
};

/// What a grant for data rests on: the statement with its signatures, and whose keys count.
pub(super) struct Consent {
    /// The text of the extension.
    pub text: String,
    /// The approvers whose signatures the gateway counted, with their keys.
    pub approvers: Vec<(ApproverId, CustomerId, String)>,
}

impl Consent {
    /// The consent of a grant, read in the change that enters the grant; none where none is needed.
    pub async fn of(tx: &mut Tx, grant: &Grant) -> Result<Option<Self>, StoreError> {
        let Some(used) = grant.consent() else { return Ok(None) };
        let sql = "SELECT statement FROM tickets WHERE id = $1 AND revision = $2";
        let row = tx.row_opt(sql, &args![&used.ticket, used.revision]).await?;
        let row = row.ok_or_else(|| StoreError::Shape("a consent without its ticket".into()))?;
        let statement = row.bytes(0)?;
        let sql = "SELECT signature FROM consent_signatures \
                   WHERE ticket = $1 AND revision = $2 ORDER BY signed_seq";
        let rows = tx.rows(sql, &args![&used.ticket, used.revision]).await?;
        let signatures = rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?;
        let carried = CarriedConsent { statement, signatures };
        let text = carried.to_text();
        Ok(Some(Self {
            text: text.map_err(|bad| StoreError::Shape(bad.to_string()))?,
            approvers: approvers(tx, grant, &used.approvers).await?,
        }))
    }
}

async fn approvers(
    tx: &mut Tx,
    grant: &Grant,
    counted: &[ApproverId],
) -> Result<Vec<(ApproverId, CustomerId, String)>, StoreError> {
    let customer = grant.customer();
    let sql = "SELECT k.subject, k.public_key FROM keys k JOIN approvers a ON a.id = k.subject \
               WHERE k.role = 'approver' AND a.customer = $1 ORDER BY k.fingerprint";
    let mut keys = Vec::new();
    for row in tx.rows(sql, &args![customer]).await? {
        let approver: ApproverId = row.parsed(0)?;
        if counted.contains(&approver) {
            keys.push((approver, customer.clone(), row.text(1)?));
        }
    }
    Ok(keys)
}
