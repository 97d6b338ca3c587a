//! Who asks: the provider's person who connects.

use crate::id::{Handle, OperatorId};
use serde::{Deserialize, Serialize};

/// An operator as the inventory knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The pseudonym that entries name.
    pub id: OperatorId,
    /// What people call them; personal data.
    pub handle: Handle,
    /// The provider's team.
    pub team: String,
    /// The company that employs them: a subprocessor shows here.
    pub employing_entity: String,
    /// Where they work, ISO 3166-1 alpha-2.
    pub country: String,
    /// A disabled operator is refused everything.
    pub enabled: bool,
}
