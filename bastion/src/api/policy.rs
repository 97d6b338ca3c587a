//! `policy …`: the Cedar files of the deployment, checked, tried and put in force.
//!
//! A change takes effect by `policy reload` alone: what stands in the folder means nothing until
//! it was read whole, found valid, decided all its cases as they say, and stands in the log.

use super::{
    Call, Fault, Reply,
    print::{pairs, shown},
};
use crate::{
    app::policy::{self, Files},
    gate::facts,
};
use audit_schema::{event::Level, hash::Hash};
use bastion_core::policy::{Policy, test_cases};
use clap::Subcommand;
use serde_json::json;
use std::sync::Arc;

/// What an officer does with the policy.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Say whether policy files are valid: those in the deployment's folder, or some of them
    #[command(after_help = "Examples:\n  ssh bastion policy check\n  \
        ssh bastion policy check access.cedar\n  ssh bastion policy check - < access.cedar")]
    Check {
        /// Files of the folder by name, or - for standard input; all of them if none is named.
        #[arg(value_name = "FILE")]
        files: Vec<String>,
    },
    /// Run cases.json: requests and the decisions that they must get
    Test,
    /// Put the files of the folder in force, if they are valid and their cases hold
    Reload {
        /// Only if this is their digest, as `policy check` says it.
        #[arg(long)]
        digest: Option<Hash>,
    },
    /// What is in force
    Show,
}

/// Runs one of them.
pub(crate) async fn run(call: &mut Call<'_>, verb: Verb) -> Result<Reply, Fault> {
    match verb {
        Verb::Check { files } => check(call, &files).await,
        Verb::Test => test(call),
        Verb::Reload { digest } => reload(call, digest).await,
        Verb::Show => show(call),
    }
}

const SCHEMA: &str = "schema.cedarschema";
const CASES: &str = "cases.json";

fn files(call: &Call<'_>) -> Result<Vec<(String, String)>, Fault> {
    call.app.config.policy_files().map_err(|e| {
        let folder = call.app.config.policies.display();
        Fault::Failed(format!("cannot read the policy files in {folder}: {e}"))
    })
}

fn named<'a>(files: &'a Files, name: &str) -> Option<&'a str> {
    files.iter().find(|(file, _)| file == name).map(|(_, text)| text.as_str())
}

/// A policy of these files, or all that is wrong with them.
pub fn load(files: &Files) -> Result<Policy, Fault> {
    policy::load(files).map_err(|errors| Fault::Unverified {
        code: "policy-invalid",
        sentence: errors.to_string(),
    })
}

async fn check(call: &mut Call<'_>, wanted: &[String]) -> Result<Reply, Fault> {
    let all = files(call)?;
    let mut some = Vec::new();
    for name in wanted {
        match (name.as_str(), named(&all, name)) {
            ("-", _) => some.push(("stdin.cedar".into(), call.input("a policy file").await?)),
            (_, Some(text)) => some.push((name.clone(), text.to_owned())),
            _ => return Err(Fault::Usage(format!("the folder has no file `{}`", shown(name)))),
        }
    }
    let checked = if wanted.is_empty() {
        all
    } else {
        some.extend(named(&all, SCHEMA).map(|text| (SCHEMA.to_owned(), text.to_owned())));
        some
    };
    let policy = load(&checked)?;
    let ids = policy.ids();
    Ok(Reply::Said {
        text: format!("valid: {} policies, digest {}\n", ids.len(), policy.digest()),
        json: json!({ "valid": true, "policies": ids, "digest": policy.digest() }),
    })
}

/// Runs the cases; how many there are.
pub fn cases(files: &Files, policy: &Policy) -> Result<usize, Fault> {
    let text = named(files, CASES).unwrap_or("[]");
    let failed = |sentence: String| Fault::Unverified { code: "policy-cases", sentence };
    let (count, failures) = test_cases(policy, text).map_err(|bad| failed(bad.to_string()))?;
    if failures.is_empty() {
        return Ok(count);
    }
    let lines: Vec<String> =
        failures.iter().map(|failure| format!("{}: {}", failure.name, failure.fault)).collect();
    let of = format!("{} of {count} cases do not hold:", failures.len());
    Err(failed(format!("{of}\n{}", lines.join("\n"))))
}

fn test(call: &Call<'_>) -> Result<Reply, Fault> {
    let files = files(call)?;
    let count = cases(&files, &load(&files)?)?;
    let text = match count {
        0 => format!("there are no cases; write some into {CASES}\n"),
        _ => format!("all {count} cases hold\n"),
    };
    Ok(Reply::Said { text, json: json!({ "cases": count, "failed": 0 }) })
}

async fn reload(call: &mut Call<'_>, wanted: Option<Hash>) -> Result<Reply, Fault> {
    let files = files(call)?;
    let policy = Arc::new(load(&files)?);
    let digest = policy.digest();
    if wanted.is_some_and(|wanted| wanted != digest) {
        return Err(Fault::Conflict(format!(
            "the files are another policy, {digest}: look at them with `policy check`"
        )));
    }
    cases(&files, &policy)?;
    // Who approves it later approves these files, not what the folder holds by then.
    let words = ["policy", "reload", "--digest", &digest.to_string()];
    call.restated = Some(words.map(str::to_owned).into());
    let actor = call.actor();
    let change = call.change_if(
        "policy reload",
        move |batch| {
            Box::pin(async move { Ok(facts::policy_in_force(batch.tx()).await? != Some(digest)) })
        },
        move |batch| Box::pin(policy::put(batch, actor, digest)),
    );
    let before = change.await?.into_inner();
    // In force here only now that it stands in the log; other gateways refuse until they reload.
    call.app.policy.swap(policy);
    let text = match before {
        Some(before) if before == digest => format!("the policy {digest} was in force already\n"),
        _ => format!(
            "the policy {digest} is in force; consents signed under other channel rules open \
             nothing until they are signed anew\n"
        ),
    };
    Ok(Reply::Said { text, json: json!({ "digest": digest, "before": before }) })
}

fn show(call: &Call<'_>) -> Result<Reply, Fault> {
    let policy = call.app.policy.current();
    let ids = policy.ids();
    let rules = |level: Level| policy.channel_rules(level).to_string();
    let text = pairs(&[
        ("digest", policy.digest().to_string()),
        ("channel rules, troubleshoot", rules(Level::Troubleshoot)),
        ("channel rules, data", rules(Level::Data)),
        ("folder", shown(&call.app.config.policies.display().to_string())),
        ("policies", ids.join(" ")),
    ]);
    Ok(Reply::Said {
        text,
        json: json!({
            "digest": policy.digest(), "policies": ids,
            "channel_rules": {
                "troubleshoot": rules(Level::Troubleshoot), "data": rules(Level::Data),
            },
        }),
    })
}
