//! `cases.json`: requests and the decisions that they must get, in the form of `cedar run-tests`,
//! so that the same file runs here and with the cedar command line.

use super::{Policy, sorted};
use cedar_policy::{Authorizer, Context, Decision, Entities, EntityUid, PolicyId, Request};
use serde::Deserialize;
use serde_json::Value;

/// A file that holds no cases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cases.json: {0}")]
pub struct BadCases(String);

/// A case that did not come out as it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFailure {
    /// The case.
    pub name: String,
    /// What was wanted and what came.
    pub fault: String,
}

/// Runs all cases: how many there are, and those that failed.
pub fn test_cases(policy: &Policy, cases: &str) -> Result<(usize, Vec<CaseFailure>), BadCases> {
    let cases: Vec<Case> = serde_json::from_str(cases).map_err(|e| BadCases(e.to_string()))?;
    let mut failures = Vec::new();
    for case in &cases {
        if let Err(fault) = run(policy, case) {
            failures.push(CaseFailure { name: case.name.clone(), fault });
        }
    }
    Ok((cases.len(), failures))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    request: CaseRequest,
    entities: Value,
    decision: Expected,
    reason: Vec<String>,
    num_errors: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRequest {
    principal: String,
    action: String,
    resource: String,
    context: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expected {
    Allow,
    Deny,
}

fn run(policy: &Policy, case: &Case) -> Result<(), String> {
    let request = &case.request;
    let uid = |text: &str| text.parse::<EntityUid>().map_err(|e| format!("`{text}`: {e}"));
    let action = uid(&request.action)?;
    let context =
        Context::from_json_value(request.context.clone(), Some((&policy.schema, &action)))
            .map_err(|e| format!("context: {e}"))?;
    let (principal, resource) = (uid(&request.principal)?, uid(&request.resource)?);
    let request = Request::new(principal, action, resource, context, Some(&policy.schema))
        .map_err(|e| format!("request: {e}"))?;
    let entities = Entities::from_json_value(case.entities.clone(), Some(&policy.schema))
        .map_err(|e| format!("entities: {e}"))?;
    let response = Authorizer::new().is_authorized(&request, &policy.set, &entities);

    let decision = match response.decision() {
        Decision::Allow => Expected::Allow,
        Decision::Deny => Expected::Deny,
    };
    let reasons = sorted(response.diagnostics().reason().map(PolicyId::to_string));
    if decision != case.decision {
        let by = reasons.join(", ");
        return Err(format!("wanted {:?}, came {decision:?} by [{by}]", case.decision));
    }
    if let Some(missing) = case.reason.iter().find(|wanted| !reasons.contains(wanted)) {
        return Err(format!("`{missing}` did not decide; [{}] did", reasons.join(", ")));
    }
    let errors = response.diagnostics().errors().count();
    if errors != case.num_errors {
        return Err(format!("wanted {} error(s), came {errors}", case.num_errors));
    }
    Ok(())
}
