//! The policy: Cedar files that can refuse more than the hard rules do, never permit more.
//!
//! A policy is loaded whole or not at all: it parses, fits the schema strictly and without a
//! warning, and every statement has an `@id`, which denials and grants name. Each channel asks two
//! questions, `reach` (may this operator be on this account?) and the channel's kind (may this be
//! opened there?); both must be permitted. Cedar skips a `forbid` whose evaluation fails, so any
//! error in an answer refuses.

use crate::{
    consent::{ReasonCode, RecordingLevel},
    file_rule::{FileRule, Ways},
    limits::POLICY_BYTES_MAX,
    operator::Operator,
    vm::{Account, VmInstance},
};
use audit_schema::{
    event::{ChannelKind, Level},
    hash::Hash,
};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicyId, PolicySet, Request, Schema,
};
use serde_json::{Value, json};

mod cases;
mod load;
mod matrix;
mod ways;

pub use cases::{BadCases, CaseFailure, test_cases};
pub use matrix::{World, policy_matrix};

/// A policy in force.
#[derive(Debug)]
pub struct Policy {
    set: PolicySet,
    schema: Schema,
    digest: Hash,
    channel_rules: [Hash; 2],
}

/// What a policy is asked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who.
    pub operator: &'a Operator,
    /// Where.
    pub instance: &'a VmInstance,
    /// As whom.
    pub account: &'a Account,
    /// With which kind of channel.
    pub kind: ChannelKind,
    /// With a terminal?
    pub pty: bool,
    /// The reason code of the live consent that covers this access.
    pub consent: Option<ReasonCode>,
}

/// What a policy permits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// The ids of the deciding statements, sorted.
    pub policies: Vec<String>,
    /// The strictest `@seconds_max` of them.
    pub seconds_max: Option<i64>,
    /// Their `@force_command`.
    pub force_command: Option<String>,
    /// What their `@sftp` permit together.
    pub files: Option<FileRule>,
    /// Digests only if each of those that permit the channel says so.
    pub recording: RecordingLevel,
}

/// Why a policy does not permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No statement permits it.
    NotPermitted,
    /// A statement forbids it.
    Forbidden,
    /// It could not be evaluated: a refusal.
    Failed,
}

/// A refusal and the statements behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub why: Refused,
    /// The ids of the forbidding statements, sorted; empty where nothing permits.
    pub policies: Vec<String>,
    /// What failed, for us, not for the operator.
    pub errors: Vec<String>,
}

/// What is wrong with policy files: all of it, not only the first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct PolicyErrors(pub Vec<String>);

impl Policy {
    /// A policy from its files (name and text) and its schema.
    pub fn load(files: &[(&str, &str)], schema: &str) -> Result<Self, PolicyErrors> {
        let one = |text: String| PolicyErrors(vec![text]);
        let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
        if bytes + schema.len() > POLICY_BYTES_MAX {
            return Err(one("the policy files are larger than 1 MiB together".into()));
        }
        let (parsed, warnings) =
            Schema::from_cedarschema_str(schema).map_err(|e| one(format!("schema: {e}")))?;
        let warnings: Vec<String> = warnings.map(|w| format!("schema: {w}")).collect();
        if !warnings.is_empty() {
            return Err(PolicyErrors(warnings));
        }
        let set = load::read(files)?;
        load::check(&set, &parsed)?;
        Ok(Self {
            digest: load::digest(files, schema),
            channel_rules: [
                load::channel_rules(&set, Level::Troubleshoot).map_err(one)?,
                load::channel_rules(&set, Level::Data).map_err(one)?,
            ],
            set,
            schema: parsed,
        })
    }

    /// The digest over the names and texts of all files.
    pub fn digest(&self) -> Hash {
        self.digest
    }

    /// The digest of the channel and recording rules of a level: what a consent binds to. It
    /// covers every statement that can bear on a channel of that level, as Cedar understands it,
    /// so comments and spacing do not count; and the rules that stand in Rust.
    pub fn channel_rules(&self, level: Level) -> Hash {
        match level {
            Level::Troubleshoot => self.channel_rules[0],
            Level::Data => self.channel_rules[1],
        }
    }

    /// The ids of all statements, sorted.
    pub fn ids(&self) -> Vec<String> {
        sorted(self.set.policies().map(|policy| policy.id().to_string()))
    }

    /// May this channel be opened?
    pub fn decide(&self, question: &Question<'_>) -> Result<Permit, Refusal> {
        let entities = entities(question.operator, question.instance);
        let resource = account_uid(question.instance, question.account);
        let context = json!({
            "break_glass": false,
            "consent": question.consent.is_some(),
            "pty": question.pty,
        });
        let mut context = context;
        if let (Some(reason), Some(map)) = (question.consent, context.as_object_mut()) {
            map.insert("reason".into(), reason.as_str().into());
        }
        let principal = ("Operator", question.operator.id.as_str());
        let ask = |action: &str| {
            let resource = ("Account", resource.as_str());
            self.ask((principal, action, resource), &context, &entities)
        };
        let reach = ask("reach")?;
        let channel = ask(question.kind.as_str())?;
        let recording = self.recording_level(&channel);
        let permit = self.permit(reach.into_iter().chain(channel))?;
        Ok(Permit { recording, ..permit })
    }

    /// May this operator know that this VM exists?
    pub fn may_list(
        &self,
        operator: &Operator,
        instance: &VmInstance,
    ) -> Result<Vec<String>, Refusal> {
        let entities = entities(operator, instance);
        let principal = ("Operator", operator.id.as_str());
        let request = (principal, "list", ("Vm", instance.vm.as_str()));
        let ids = self.ask(request, &json!({}), &entities)?;
        Ok(sorted(ids.iter().map(PolicyId::to_string)))
    }

    fn ask(
        &self,
        (principal, action, resource): ((&str, &str), &str, (&str, &str)),
        context: &Value,
        entities: &Value,
    ) -> Result<Vec<PolicyId>, Refusal> {
        let failed = |error: String| Refusal {
            why: Refused::Failed,
            policies: Vec::new(),
            errors: vec![error],
        };
        let action = uid("Action", action).map_err(failed)?;
        let context = Context::from_json_value(context.clone(), Some((&self.schema, &action)))
            .map_err(|e| failed(e.to_string()))?;
        let entities = Entities::from_json_value(entities.clone(), Some(&self.schema))
            .map_err(|e| failed(e.to_string()))?;
        let principal = uid(principal.0, principal.1).map_err(failed)?;
        let resource = uid(resource.0, resource.1).map_err(failed)?;
        let request = Request::new(principal, action, resource, context, Some(&self.schema))
            .map_err(|e| failed(e.to_string()))?;
        self.answer(&request, &entities)
    }

    fn answer(&self, request: &Request, entities: &Entities) -> Result<Vec<PolicyId>, Refusal> {
        let response = Authorizer::new().is_authorized(request, &self.set, entities);
        let diagnostics = response.diagnostics();
        let errors: Vec<String> = diagnostics.errors().map(ToString::to_string).collect();
        let reasons: Vec<PolicyId> = diagnostics.reason().cloned().collect();
        if errors.is_empty() && response.decision() == Decision::Allow {
            return Ok(reasons);
        }
        let forbidden = response.decision() == Decision::Deny && !reasons.is_empty();
        let why = match (errors.is_empty(), forbidden) {
            (false, _) => Refused::Failed,
            (true, true) => Refused::Forbidden,
            (true, false) => Refused::NotPermitted,
        };
        // After an error the reasons may be permits, which refused nothing.
        let policies = if forbidden { reasons } else { Vec::new() };
        Err(Refusal { why, policies: sorted(policies.iter().map(PolicyId::to_string)), errors })
    }

    /// Restrictions of the deciding permits, merged: the shortest life; forced commands must agree.
    fn permit(&self, ids: impl Iterator<Item = PolicyId>) -> Result<Permit, Refusal> {
        let mut permit = Permit::default();
        for id in ids {
            permit.files = self.file_rule(&id, permit.files);
            let seconds = self.set.annotation(&id, "seconds_max").and_then(|s| s.parse().ok());
            permit.seconds_max = match (permit.seconds_max, seconds) {
                (Some(a), Some(b)) => Some(i64::min(a, b)),
                (a, b) => a.or(b),
            };
            let command = self.set.annotation(&id, "force_command").map(str::to_owned);
            if permit.force_command.is_some()
                && command.is_some()
                && permit.force_command != command
            {
                return Err(Refusal {
                    why: Refused::Failed,
                    policies: vec![id.to_string()],
                    errors: vec!["two statements force different commands".into()],
                });
            }
            permit.force_command = permit.force_command.or(command);
            permit.policies.push(id.to_string());
        }
        permit.policies = sorted(permit.policies.into_iter());
        // The loader saw to it; a rule that cannot hold must not look as if it did.
        let forced = permit.force_command.as_deref().unwrap_or_default();
        match &permit.files {
            Some(rule) if !is_internal_sftp(forced) => Err(Refusal {
                why: Refused::Failed,
                policies: rule.policies.clone(),
                errors: vec!["a rule on the direction of files without internal-sftp".into()],
            }),
            _ => Ok(permit),
        }
    }

    /// Everything is recorded unless all the deciding statements ask for less.
    fn recording_level(&self, channel: &[PolicyId]) -> RecordingLevel {
        let digests = |id: &PolicyId| {
            self.set.annotation(id, "recording") == Some(RecordingLevel::Digests.as_str())
        };
        if !channel.is_empty() && channel.iter().all(digests) {
            RecordingLevel::Digests
        } else {
            RecordingLevel::Full
        }
    }

    /// The rule so far, with that of one more statement.
    fn file_rule(&self, id: &PolicyId, so_far: Option<FileRule>) -> Option<FileRule> {
        let Some(word) = self.set.annotation(id, "sftp") else { return so_far };
        // A word that the loader let pass is one of them; anything else permits the least.
        let ways: Ways = word.parse().unwrap_or(Ways::List);
        let before = so_far.unwrap_or(FileRule { ways, policies: Vec::new() });
        let policies = sorted(before.policies.into_iter().chain([id.to_string()]));
        Some(FileRule { ways: before.ways.and(ways), policies })
    }
}

/// Whether a forced command is sshd's own sftp, with or without options.
fn is_internal_sftp(command: &str) -> bool {
    command.split(' ').next() == Some("internal-sftp")
}

fn sorted(ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids.dedup();
    ids
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    EntityUid::from_json(json!({ "type": kind, "id": id })).map_err(|error| error.to_string())
}

fn account_uid(instance: &VmInstance, account: &Account) -> String {
    format!("{}@{}", account.name, instance.id)
}

/// The entities of one question: the operator, and the VM with all its accounts.
fn entities(operator: &Operator, instance: &VmInstance) -> Value {
    let id = |kind: &str, id: &str| json!({ "type": kind, "id": id });
    let bare = |kind: &str, name: &str, parents: Value| {
        let uid = id(kind, name);
        json!({ "uid": uid, "attrs": {}, "parents": parents })
    };
    let mut all = vec![
        json!({
            "uid": id("Operator", operator.id.as_str()),
            "attrs": {
                "country": operator.country,
                "employing_entity": operator.employing_entity,
                "team": operator.team,
            },
            "parents": [id("Team", &operator.team)],
        }),
        bare("Team", &operator.team, json!([])),
        bare("Customer", instance.customer.as_str(), json!([])),
        bare(
            "Service",
            instance.service.as_str(),
            json!([id("Customer", instance.customer.as_str())]),
        ),
        json!({
            "uid": id("Vm", instance.vm.as_str()),
            "attrs": {
                "instance": instance.id.as_str(),
                "region": instance.region,
                "zone": instance.zone,
            },
            "parents": [id("Service", instance.service.as_str())],
        }),
    ];
    all.extend(instance.accounts.iter().map(|account| {
        json!({
            "uid": id("Account", &account_uid(instance, account)),
            "attrs": { "level": account.level.as_str(), "name": account.name.as_str() },
            "parents": [id("Vm", instance.vm.as_str()), id("Level", account.level.as_str())],
        })
    }));
    Value::Array(all)
}
