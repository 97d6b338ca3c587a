//! Reading policy files: whole or not at all, and the digests of what was read.

use super::PolicyErrors;
use crate::{channel, consent::RecordingLevel, file_rule::Ways, limits::CHANNEL_SECONDS_MAX};
use audit_schema::{event::Level, hash::Hash};
use cedar_policy::{
    ActionConstraint, Effect, EntityUid, PolicyId, PolicySet, ResourceConstraint, Schema,
    ValidationMode, Validator,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Write as _};

/// One set of all files, each statement under its `@id`.
pub(super) fn read(files: &[(&str, &str)]) -> Result<PolicySet, PolicyErrors> {
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
            "sftp" => (!permit || !is_sftp_alone(policy) || value.parse::<Ways>().is_err())
                .then_some("@sftp stands on a permit of sftp alone, with upload, download or list"),
            "recording" => (!permit || !may_say_recording(policy, value)).then_some(
                "@recording stands on a permit in Level::\"troubleshoot\", with full or digests: \
                 for data the customer says it",
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
    let sftp = super::is_internal_sftp(command);
    let fits = |action: &EntityUid| match action.id().unescaped() {
        "sftp" => sftp,
        "shell" | "exec" => !sftp,
        _ => false,
    };
    let printable = command.bytes().all(|b| (0x20..0x7f).contains(&b));
    printable && !command.is_empty() && command.len() <= 1024 && actions.iter().all(fits)
}

/// A customer's consent says what is recorded of its data; a policy must not.
fn may_say_recording(policy: &cedar_policy::Policy, level: &str) -> bool {
    let troubleshoot = match policy.resource_constraint() {
        ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
            uid.type_name().to_string() == "Level"
                && uid.id().unescaped() == Level::Troubleshoot.as_str()
        }
        _ => false,
    };
    troubleshoot && level.parse::<RecordingLevel>().is_ok()
}

fn is_sftp_alone(policy: &cedar_policy::Policy) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Eq(action) => action.id().unescaped() == "sftp",
        _ => false,
    }
}

pub(super) fn check(set: &PolicySet, schema: &Schema) -> Result<(), PolicyErrors> {
    let result = Validator::new(schema.clone()).validate(set, ValidationMode::Strict);
    let named = |id: &PolicyId, text: String| format!("{id}: {text}");
    let errors = result.validation_errors().map(|e| named(e.policy_id(), e.to_string()));
    let warnings = result.validation_warnings().map(|w| named(w.policy_id(), w.to_string()));
    let mut all: Vec<String> = errors.chain(warnings).collect();
    all.extend(super::ways::faults(set, schema));
    all.sort();
    if all.is_empty() { Ok(()) } else { Err(PolicyErrors(all)) }
}

pub(super) fn digest(files: &[(&str, &str)], schema: &str) -> Hash {
    let mut names: Vec<_> = files.to_vec();
    names.push(("schema.cedarschema", schema));
    names.sort_unstable();
    let mut text = String::new();
    stable(&json!(names), &mut text);
    Hash::of(text.as_bytes())
}

pub(super) fn channel_rules(set: &PolicySet, level: Level) -> Result<Hash, String> {
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
