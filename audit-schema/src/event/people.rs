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
    /// A customer's approver is invited to enrol a key, with a one-time token; `statement` is
    /// SHA-256 of what they sign for it. Only while the customer has no approver of this set yet.
    /// Commits: `handle`.
    #[serde(rename = "approver.invited")]
    ApproverInvited { approver: String, expires_at: String, statement: String },
    /// An invitation can be used no more. Commits: none.
    #[serde(rename = "approver.invitation_voided")]
    ApproverInvitationVoided { approver: String },
    /// An approver of a customer. `statement` and `signature` are SHA-256 of what they signed to
    /// enrol, and of the signature that proves that they hold the key. Commits: `handle`.
    #[serde(rename = "approver.added")]
    ApproverAdded {
        approver: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        statement: Option<String>,
    },
    /// An approver decides for this customer no more.
    #[serde(rename = "approver.removed")]
    ApproverRemoved { approver: String },
    /// A new set of approvers waits for the signatures of the present one; `statement` is SHA-256
    /// of the exact bytes.
    #[serde(rename = "approvers.change_proposed")]
    ApproversChangeProposed { change: String, revision: u64, statement: String },
    /// A new set is signed by a key: of a present approver, or (`approver` absent) of somebody who
    /// comes in. `signatures_now` counts present approvers.
    #[serde(rename = "approvers.change_signed")]
    ApproversChangeSigned {
        #[serde(skip_serializing_if = "Option::is_none")]
        approver: Option<String>,
        change: String,
        fingerprint: String,
        signature: String,
        signatures_needed: u64,
        signatures_now: u64,
    },
    /// A new set is not made: an approver dropped it.
    #[serde(rename = "approvers.change_dropped")]
    ApproversChangeDropped { change: String },
    /// The set of approvers is another from here on, by the word of the set before.
    #[serde(rename = "approvers.changed")]
    ApproversChanged { change: String, revision: u64, signatures_needed: u64, statement: String },
    /// Officers want to end the whole set, which happens at `effective_at` unless an approver stops
    /// it. Commits: `justification`.
    #[serde(rename = "approvers.reset_begun")]
    ApproversResetBegun { effective_at: String, reset: String },
    /// The approvers are told again of a reset that waits.
    #[serde(rename = "approvers.reset_reminded")]
    ApproversResetReminded { effective_at: String, reset: String },
    /// A reset is stopped.
    #[serde(rename = "approvers.reset_stopped")]
    ApproversResetStopped { reset: String },
    /// The whole set is ended by officers; who comes after decides nothing about the VM instances
    /// that live now. `epoch` counts the resets of this customer.
    #[serde(rename = "approvers.reset")]
    ApproversReset { epoch: u64, removed: Vec<String>, reset: String },

    } };
}
