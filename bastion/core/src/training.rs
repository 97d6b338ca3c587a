//! Mandatory training: unknown means lapsed.

use crate::id::OperatorId;
use audit_schema::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Proof that an operator completed a course.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Whose.
    pub operator: OperatorId,
    /// The course's id.
    pub course: String,
    /// When it was completed.
    pub completed_at: Timestamp,
    /// Until when it counts.
    pub valid_until: Timestamp,
}
