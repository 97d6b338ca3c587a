//! Whether a rule on the direction of files can hold where a policy puts it.
//!
//! `@sftp("upload")` is kept by reading sftp requests. A shell, a command or a forward on the same
//! account is not sftp, and would carry any file any way; so would sftp without the rule. Therefore
//! a policy with such a rule loads only if, for the operators and accounts of the rule,
//!
//! 1. the statement permits sftp alone and forces `internal-sftp` in the certificate (an sftp
//!    channel never has a terminal, and its certificate never permits one);
//! 2. no statement permits any other kind of channel there;
//! 3. a rule under conditions stands beside no permit of sftp that has none.
//!
//! "There" is decided by the scopes of statements, never by their conditions, and in doubt a
//! statement is there: two are apart only if they name two different levels, services, customers,
//! VMs, accounts, teams or operators, of which an access has one each. A `forbid` counts only if it
//! has no condition and covers the scope. This refuses policies that would have been sound; it
//! loads none that is not. (That two accounts share one Unix user is not for a policy to know: the
//! decision looks at it.)

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicySet, PrincipalConstraint,
    ResourceConstraint, Schema,
};
use std::collections::BTreeSet;

/// What is wrong with the rules of a set; nothing if all of them can hold.
pub(super) fn faults(set: &PolicySet, schema: &Schema) -> Vec<String> {
    let actions = channel_actions(schema);
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| policy.id().to_string());
    let mut faults = Vec::new();
    for rule in policies.iter().filter(|policy| policy.annotation("sftp").is_some()) {
        if let Some(fault) = fault_of_itself(rule) {
            faults.push(format!("{}: @sftp: {fault}", rule.id()));
        }
        for other in policies.iter().filter(|other| can_meet(rule, other)) {
            if let Some(fault) = way_round(rule, other, (&actions, &policies)) {
                faults.push(format!("{}: @sftp: `{}` {fault}", rule.id(), other.id()));
            }
        }
    }
    faults
}

/// Every action that opens a channel which is not sftp.
fn channel_actions(schema: &Schema) -> BTreeSet<String> {
    let all = schema.request_envs().map(|env| env.action().id().unescaped().to_owned());
    all.filter(|name| !matches!(name.as_str(), "list" | "reach" | "sftp")).collect()
}

fn fault_of_itself(rule: &Policy) -> Option<&'static str> {
    let forced = rule.annotation("force_command").unwrap_or_default();
    if super::is_internal_sftp(forced) {
        return None;
    }
    Some(
        "put @force_command(\"internal-sftp\") on the same permit, or the VM need not keep to sftp",
    )
}

/// Both can decide about one access, as far as their scopes tell.
fn can_meet(rule: &Policy, other: &Policy) -> bool {
    let differ = |one: Option<EntityUid>, two: Option<EntityUid>| match (one, two) {
        (Some(one), Some(two)) => one.type_name() == two.type_name() && one != two,
        _ => false,
    };
    let apart = differ(place(rule), place(other)) || differ(person(rule), person(other));
    other.effect() == Effect::Permit && rule.id() != other.id() && !apart
}

/// How another statement gets round a rule.
fn way_round(
    rule: &Policy,
    other: &Policy,
    (actions, policies): (&BTreeSet<String>, &[&Policy]),
) -> Option<String> {
    let named = named_actions(other);
    let opens: Vec<&String> = match &named {
        None => actions.iter().collect(),
        // A group of actions, whatever is in it.
        Some(named) if named.iter().any(|name| is_group(name, actions)) => actions.iter().collect(),
        Some(named) => actions.iter().filter(|action| named.contains(*action)).collect(),
    };
    let is_barred = |action: &str| policies.iter().any(|p| bars(p, action, (rule, other)));
    if let Some(action) = opens.into_iter().find(|action| !is_barred(action)) {
        return Some(format!(
            "permits {action} there too, which carries files any way: narrow one of them to \
             another level, service, customer, VM, account, team or operator, or forbid it there"
        ));
    }
    let is_sftp = named.is_none_or(|named| named.iter().any(|name| name == "sftp"));
    if is_sftp && other.annotation("sftp").is_none() && has_conditions(rule) {
        return Some(
            "permits sftp there without a rule when the conditions of this one do not hold: give \
             it @sftp too, or this one no conditions"
                .to_owned(),
        );
    }
    None
}

/// Neither one of the actions that open a channel nor one of those that do not.
fn is_group(name: &str, actions: &BTreeSet<String>) -> bool {
    !actions.contains(name) && !matches!(name, "list" | "reach" | "sftp")
}

/// Whether a statement forbids an action wherever both others apply.
fn bars(policy: &Policy, action: &str, (rule, other): (&Policy, &Policy)) -> bool {
    let covers = |own: Option<EntityUid>, theirs: [Option<EntityUid>; 2]| {
        own.is_none() || theirs.contains(&own)
    };
    let action = named_actions(policy).is_none_or(|named| named.iter().any(|name| name == action));
    policy.effect() == Effect::Forbid
        && action
        && is_plain(policy)
        && covers(place(policy), [place(rule), place(other)])
        && covers(person(policy), [person(rule), person(other)])
        && !has_conditions(policy)
}

/// No `is` in its scope: what such a scope covers is not looked into.
fn is_plain(policy: &Policy) -> bool {
    use PrincipalConstraint as P;
    use ResourceConstraint as R;
    matches!(policy.resource_constraint(), R::Any | R::In(_) | R::Eq(_))
        && matches!(policy.principal_constraint(), P::Any | P::In(_) | P::Eq(_))
}

fn place(policy: &Policy) -> Option<EntityUid> {
    match policy.resource_constraint() {
        ResourceConstraint::In(uid)
        | ResourceConstraint::Eq(uid)
        | ResourceConstraint::IsIn(_, uid) => Some(uid),
        ResourceConstraint::Any | ResourceConstraint::Is(_) => None,
    }
}

fn person(policy: &Policy) -> Option<EntityUid> {
    match policy.principal_constraint() {
        PrincipalConstraint::In(uid)
        | PrincipalConstraint::Eq(uid)
        | PrincipalConstraint::IsIn(_, uid) => Some(uid),
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
    }
}

fn named_actions(policy: &Policy) -> Option<Vec<String>> {
    let names = match policy.action_constraint() {
        ActionConstraint::Any => return None,
        ActionConstraint::Eq(action) => vec![action],
        ActionConstraint::In(actions) => actions,
    };
    Some(names.iter().map(|name| name.id().unescaped().to_owned()).collect())
}

/// Unsure is yes.
fn has_conditions(policy: &Policy) -> bool {
    let json = policy.to_json().ok();
    let conditions = json.as_ref().and_then(|json| json.get("conditions")?.as_array());
    conditions.is_none_or(|conditions| !conditions.is_empty())
}
