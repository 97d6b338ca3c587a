//! The policy: Cedar files that can refuse more than the hard rules do, never permit more.
//!
//! A policy is loaded whole or not at all: it parses, fits the schema strictly and without a
//! warning, and every statement has an `@id`, which denials and grants name. Each channel asks two
//! questions, `reach` (may this operator be on this account?) and the channel's kind (may this be
//! opened there?); both must be permitted. Cedar skips a `forbid` whose evaluation fails, so any
//! error in an answer refuses.

use crate::{
    channel,
    consent::ReasonCode,
    limits::{CHANNEL_SECONDS_MAX, POLICY_BYTES_MAX},
    operator::Operator,
    vm::{Account, VmInstance},
};
use audit_schema::{
    event::{ChannelKind, Level},
    hash::Hash,
};
use cedar_policy::{
    ActionConstraint, Authorizer, Context, Decision, Effect, Entities, EntityUid, PolicyId,
    PolicySet, Request, ResourceConstraint, Schema, ValidationMode, Validator,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

mod cases;
mod matrix;

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
        let set = read(files)?;
        check(&set, &parsed)?;
        Ok(Self {
            digest: digest(files, schema),
            channel_rules: [
                channel_rules(&set, Level::Troubleshoot).map_err(one)?,
                channel_rules(&set, Level::Data).map_err(one)?,
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
        self.permit(reach.into_iter().chain(channel))
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
        Ok(permit)
    }
}

fn sorted(ids: impl Iterator<Item = String>) -> Vec<String> {
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    ids.dedup();
    ids
}

/// One set of all files, each statement under its `@id`.
fn read(files: &[(&str, &str)]) -> Result<PolicySet, PolicyErrors> {
    let mut set = PolicySet::new();
    let mut errors = Vec::new();
    for (name, text) in files {
        let parsed: PolicySet = match text.parse() {
            Ok(parsed) => parsed,
            Err(error) => {
                errors.push(format!("{name}: {error:?}"));
                continue;
            }
        };
        if parsed.templates().next().is_some() {
            errors.push(format!("{name}: templates are not used here"));
        }
        // By place in the file, so that errors come in the order in which people read.
        let place = |id: &PolicyId| {
            let id = id.to_string();
            id.trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
        };
        let mut policies: Vec<_> = parsed.policies().collect();
        policies.sort_by_key(|policy| place(policy.id()));
        for policy in policies {
            match named(policy) {
                Ok(id) => {
                    if let Err(error) = set.add(policy.new_id(PolicyId::new(&id))) {
                        errors.push(format!("{name}: {id}: {error}"));
                    }
                }
                Err(error) => errors.push(format!("{name}: {error}")),
            }
        }
    }
    if errors.is_empty() { Ok(set) } else { Err(PolicyErrors(errors)) }
}

/// The `@id` of a statement, if all its annotations make sense.
fn named(policy: &cedar_policy::Policy) -> Result<String, String> {
    let place = || {
        let text = policy.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    };
    let id = policy.annotation("id").unwrap_or_default();
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if id.is_empty() || id.len() > 63 || !id.bytes().all(good) {
        return Err(format!("`{}`: give it an @id of a-z, 0-9, '-' and '.'", place()));
    }
    for (key, value) in policy.annotations() {
        let permit = policy.effect() == Effect::Permit;
        let fault = match key {
            "id" => None,
            "seconds_max" => {
                let good = |s: i64| (1..=CHANNEL_SECONDS_MAX).contains(&s);
                (!permit || !value.parse().is_ok_and(good))
                    .then_some("@seconds_max stands on a permit, with 1 to 43200 seconds")
            }
            "force_command" => (!permit || !forceable(policy, value)).then_some(
                "@force_command stands on a permit of shell, exec or sftp; internal-sftp goes \
                 with sftp and nothing else",
            ),
            _ => Some("unknown annotation"),
        };
        if let Some(fault) = fault {
            return Err(format!("{id}: @{key}: {fault}"));
        }
    }
    Ok(id.to_owned())
}

/// Whether a command can be forced where a statement wants it. Only a forced `internal-sftp` keeps
/// an sftp channel an sftp channel on the VM too, and it makes no sense anywhere else.
fn forceable(policy: &cedar_policy::Policy, command: &str) -> bool {
    let actions = match policy.action_constraint() {
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
        ActionConstraint::Any => return false,
    };
    let sftp = command.split(' ').next() == Some("internal-sftp");
    let fits = |action: &EntityUid| match action.id().unescaped() {
        "sftp" => sftp,
        "shell" | "exec" => !sftp,
        _ => false,
    };
    let printable = command.bytes().all(|b| (0x20..0x7f).contains(&b));
    printable && !command.is_empty() && command.len() <= 1024 && actions.iter().all(fits)
}

fn check(set: &PolicySet, schema: &Schema) -> Result<(), PolicyErrors> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let named = |id: &PolicyId, text: String| format!("{id}: {text}");
    let errors = result.validation_errors().map(|e| named(e.policy_id(), e.to_string()));
    let warnings = result.validation_warnings().map(|w| named(w.policy_id(), w.to_string()));
    let mut all: Vec<String> = errors.chain(warnings).collect();
    all.sort();
    if all.is_empty() { Ok(()) } else { Err(PolicyErrors(all)) }
}

fn digest(files: &[(&str, &str)], schema: &str) -> Hash {
    let mut names: Vec<_> = files.to_vec();
    names.push(("schema.cedarschema", schema));
    names.sort_unstable();
    let mut text = String::new();
    stable(&json!(names), &mut text);
    Hash::of(text.as_bytes())
}

fn channel_rules(set: &PolicySet, level: Level) -> Result<Hash, String> {
    let mut policies = BTreeMap::new();
    for policy in set.policies().filter(|policy| bears_on(policy, level)) {
        let json = policy.to_json().map_err(|error| error.to_string())?;
        policies.insert(policy.id().to_string(), json);
    }
    let mut text = String::new();
    stable(&json!({ "policies": policies, "rules": channel::rules(level) }), &mut text);
    Ok(Hash::of(text.as_bytes()))
}

/// Whether a statement can decide about a channel on an account of this level. Unsure is yes.
fn bears_on(policy: &cedar_policy::Policy, level: Level) -> bool {
    let channels = |action: &EntityUid| !matches!(action.id().unescaped(), "list" | "reach");
    let action = match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => channels(&action),
        ActionConstraint::In(actions) => actions.iter().any(channels),
    };
    let other = match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            uid.type_name().to_string() == "Level" && uid.id().unescaped() != level.as_str()
        }
        _ => false,
    };
    action && !other
}

/// JSON with sorted keys, whatever order the map of this build keeps.
fn stable(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            out.push('{');
            let sorted: BTreeMap<_, _> = map.iter().collect();
            for (key, item) in sorted {
                stable(&json!(key), out);
                out.push(':');
                stable(item, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                stable(item, out);
                out.push(',');
            }
            out.push(']');
        }
        // Writing to a String cannot fail.
        other => write!(out, "{other}").unwrap_or_default(),
    }
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
    let bare = |kind: &str, name: &str, parents: Value| json!({ "uid": id(kind, name), "attrs": {}, "parents": parents });
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
