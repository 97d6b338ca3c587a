//! Events of people: who they are, what they learned, and which keys are theirs.

macro_rules! people_events {
    ([$next:ident $($rest:ident)*] $($before:tt)*) => { $next! { [$($rest)*] $($before)*

    /// An operator is known from here on, with no key and no training yet. Commits: `handle`.
    #[serde(rename = "operator.added")]
    OperatorAdded { country: String, employing_entity: String, operator: String, team: String },
    /// What is known of an operator is this from here on.
    #[serde(rename = "operator.changed")]
    OperatorChanged { country: String, employing_entity: String, operator: String, team: String },
    /// An operator may nothing any more; `leases` are being ended. Commits: `justification`.
    #[serde(rename = "operator.disabled")]
    OperatorDisabled { leases: Vec<String>, operator: String },
    /// An operator who was disabled may be granted access again.
    #[serde(rename = "operator.enabled")]
    OperatorEnabled { operator: String },
    /// An operator completed a course, which counts until `valid_until`.
    #[serde(rename = "training.recorded")]
    TrainingRecorded {
        completed_at: String,
        course: String,
        operator: String,
        /// From this moment on it no longer counts.
        valid_until: String,
    },
    /// A security officer is known from here on. Commits: `handle`.
    #[serde(rename = "officer.added")]
    OfficerAdded { officer: String },
    /// A security officer may command nothing any more.
    #[serde(rename = "officer.removed")]
    OfficerRemoved { officer: String },
    /// A key of an operator, officer or approver (`subject`). Entered for the customer in the case
    /// of an approver.
    #[serde(rename = "key.added")]
    KeyAdded { fingerprint: String, role: ActorKind, subject: String },
    /// A key of an operator, officer or approver identifies nobody any more.
    #[serde(rename = "key.removed")]
    KeyRemoved { fingerprint: String, role: ActorKind, subject: String },
    /// An approver of a customer. Commits: `handle`.
    #[serde(rename = "approver.added")]
    ApproverAdded { approver: String },
    /// An approver decides for this customer no more.
    #[serde(rename = "approver.removed")]
    ApproverRemoved { approver: String },

    } };
}
