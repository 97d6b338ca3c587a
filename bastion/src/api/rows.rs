//! Rows into the core's types: what the closures of changes read under the head of the log.

use super::change::unknown;
use crate::{
    args,
    gate::facts,
    ledger::ChangeError,
    store::{Row, StoreError, Tx},
};
use audit_schema::event::Level;
use bastion_core::{
    id::{ApproverId, CustomerId, Handle, OfficerId, OperatorId, ServiceId, VmName},
    operator::Operator,
    vm::{Account, Service, VmInstance},
};

/// A column of canonical JSON as the type that it was written from.
pub fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::failed(e.to_string()))
}

/// The columns of [`operator_of`], in its order.
macro_rules! operator_columns {
    () => {
        "SELECT id, handle, team, employing_entity, country, state FROM operators "
    };
}
pub(super) use operator_columns;

/// An operator's row.
pub fn operator_of(row: &Row) -> Result<Operator, StoreError> {
    Ok(Operator {
        id: row.parsed(0)?,
        handle: row.parsed(1)?,
        team: row.text(2)?,
        employing_entity: row.text(3)?,
        country: row.text(4)?,
        enabled: row.text(5)? == "enabled",
    })
}

/// The operator of a name.
pub async fn operator(tx: &mut Tx, handle: &Handle) -> Result<Operator, ChangeError> {
    let sql = concat!(operator_columns!(), "WHERE handle = $1");
    let row = tx.row_opt(sql, &args![handle.as_str()]).await?;
    let row = row.ok_or_else(|| unknown("operator", handle.as_str()))?;
    Ok(operator_of(&row)?)
}

/// The operator of an id.
pub async fn operator_by_id(tx: &mut Tx, id: &OperatorId) -> Result<Operator, ChangeError> {
    facts::operator(tx, id).await?.ok_or_else(|| unknown("operator", id.as_str()))
}

/// The officer of a name, enabled or not.
pub async fn officer(tx: &mut Tx, handle: &Handle) -> Result<Option<OfficerId>, ChangeError> {
    let sql = "SELECT id FROM officers WHERE handle = $1";
    let row = tx.row_opt(sql, &args![handle.as_str()]).await?;
    Ok(row.map(|row| row.parsed(0)).transpose()?)
}

/// The approver of a name at a customer, enabled or not.
pub async fn approver(
    tx: &mut Tx,
    customer: &CustomerId,
    handle: &Handle,
) -> Result<Option<ApproverId>, ChangeError> {
    let sql = "SELECT id FROM approvers WHERE customer = $1 AND handle = $2";
    let row = tx.row_opt(sql, &args![customer.as_str(), handle.as_str()]).await?;
    Ok(row.map(|row| row.parsed(0)).transpose()?)
}

/// How many approvers of a customer have to sign.
pub async fn signatures_needed(tx: &mut Tx, customer: &CustomerId) -> Result<u64, ChangeError> {
    let sql = "SELECT signatures_needed FROM customers WHERE id = $1";
    let row = tx.row_opt(sql, &args![customer.as_str()]).await?;
    Ok(row.ok_or_else(|| unknown("customer", customer.as_str()))?.u64(0)?)
}

/// A service.
pub async fn service(tx: &mut Tx, id: &ServiceId) -> Result<Service, ChangeError> {
    facts::service(tx, id).await?.ok_or_else(|| unknown("service", id.as_str()))
}

/// A row of id, VM, service, customer, region, zone and address; accounts are read apart.
pub fn instance_of(row: &Row) -> Result<VmInstance, StoreError> {
    Ok(VmInstance {
        id: row.parsed(0)?,
        vm: row.parsed(1)?,
        service: row.parsed(2)?,
        customer: row.parsed(3)?,
        region: row.text(4)?,
        zone: row.text(5)?,
        address: row.text(6)?,
        accounts: Vec::new(),
    })
}

/// Name, level and Unix user, from a column on.
pub fn account_at(row: &Row, column: usize) -> Result<Account, StoreError> {
    let level = match row.text(column + 1)?.as_str() {
        "troubleshoot" => Level::Troubleshoot,
        // What is not known to be harmless is not.
        _ => Level::Data,
    };
    Ok(Account { name: row.parsed(column)?, level, unix_user: row.text(column + 2)? })
}

/// The VM of a name in its present life.
pub async fn live_instance(tx: &mut Tx, vm: &VmName) -> Result<Option<VmInstance>, ChangeError> {
    Ok(facts::live_instance(tx, vm).await?)
}

/// The VMs of a service in their present lives.
pub async fn live_instances(
    tx: &mut Tx,
    service: &ServiceId,
) -> Result<Vec<VmInstance>, ChangeError> {
    let sql = "SELECT vm FROM instances WHERE service = $1 AND retired_at IS NULL ORDER BY vm";
    let mut instances = Vec::new();
    for row in tx.rows(sql, &args![service]).await? {
        instances.extend(facts::live_instance(tx, &row.parsed(0)?).await?);
    }
    Ok(instances)
}

/// A value as the text of a `_json` column.
pub fn to_json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::failed(e.to_string()))
}
