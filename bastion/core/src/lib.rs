//! The decisions, pure: no clock, no disk, no socket, no randomness.
//!
//! In the order in which one channel meets them: who asks ([`operator`], [`operator_cert`]), for
//! what ([`request`], [`channel`]), where ([`vm`]), with which training ([`training`]) and whose
//! consent ([`consent`]), under which policy ([`policy`]) with which rule on files ([`file_rule`]);
//! [`authorize`] makes a grant or a denial of it, [`cert`] the certificate of a grant, [`hostcert`]
//! checks the VM that it goes to, [`lease`] says why a channel ends, [`cast`] what is recorded of
//! it, and [`report`] what all of it was. [`warrant`] is the other side: from a certificate alone
//! ([`cert_blob`], with the consent that it [carries](carried)) and what is [revoked](revocation),
//! whether the log and the customer permitted it.

pub mod algorithm;
pub mod approver_set;
#[cfg(feature = "policy")]
pub mod authorize;
pub mod carried;
pub mod cast;
pub mod cert;
pub mod cert_blob;
pub mod channel;
mod code;
pub mod consent;
pub mod destination;
pub mod escape;
pub mod file_rule;
pub mod hostcert;
pub mod id;
pub mod krl;
pub mod lease;
pub mod limits;
pub mod operator;
pub mod operator_cert;
pub mod playback;
#[cfg(feature = "policy")]
pub mod policy;
pub mod reconcile;
pub mod report;
pub mod request;
pub mod revocation;
#[cfg(feature = "screen")]
pub mod screen;
#[cfg(feature = "screen")]
pub mod search;
pub mod sql;
pub mod sshsig;
pub mod statement;
pub mod text;
pub mod training;
pub mod typed;
pub mod vm;
pub mod warrant;
pub mod words;
