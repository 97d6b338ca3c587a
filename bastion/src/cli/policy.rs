//! `bastion policy check` and `test`: what policy files say, before anybody puts them in force.
//!
//! Files are read and nothing else: there is no entry, and no gateway is asked. Putting them in
//! force is an officer's command over SSH.

use super::Fault;
use crate::{
    api::{self, policy},
    config::{self, Config},
};
use clap::Subcommand;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

/// `bastion policy …`
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Validate policy files strictly against their schema; exit 4 if one is wrong
    #[command(after_help = "Examples:\n  bastion policy check --dir policies\n  \
        bastion policy check --config /srv/bastion/bastion.toml")]
    Check {
        /// The folder; that of the deployment if left out.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Run cases.json: each request must get its decision; exit 4 if one does not
    #[command(after_help = "Example:\n  bastion policy test --dir policies")]
    Test {
        /// The folder; that of the deployment if left out.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// Checks or tests, and says what was found.
pub fn run(config: Option<&Path>, verb: &Verb, json: bool) -> Result<ExitCode, Fault> {
    let (Verb::Check { dir } | Verb::Test { dir }) = verb;
    let folder = match dir {
        Some(dir) => dir.clone(),
        None => Config::locate(config).map_err(Fault::usage)?.policies,
    };
    let files = config::policy_files(&folder)
        .map_err(|error| Fault::failed(format!("{}: {error}", folder.display())))?;
    let policy = policy::load(&files).map_err(fault)?;
    let (text, value) = match verb {
        Verb::Check { .. } => {
            let ids = policy.ids();
            (
                format!("valid: {} policies, digest {}", ids.len(), policy.digest()),
                serde_json::json!({"valid": true, "policies": ids, "digest": policy.digest()}),
            )
        }
        Verb::Test { .. } => {
            let count = policy::cases(&files, &policy).map_err(fault)?;
            (format!("all {count} cases hold"), serde_json::json!({ "cases": count }))
        }
    };
    println!("{}", if json { value.to_string() } else { text });
    Ok(ExitCode::SUCCESS)
}

fn fault(fault: api::Fault) -> Fault {
    match fault.exit() {
        api::fault::EXIT_UNVERIFIED => Fault::unverified(fault),
        _ => Fault::failed(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies")
    }

    #[test]
    fn the_shipped_policies_are_valid_and_their_cases_hold() {
        for verb in [Verb::Check { dir: Some(shipped()) }, Verb::Test { dir: Some(shipped()) }] {
            assert!(run(None, &verb, true).is_ok(), "{verb:?}");
        }
    }

    #[test]
    fn a_wrong_policy_and_a_case_that_does_not_hold_exit_4() {
        let dir = std::env::temp_dir().join(format!("bastion-policy-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for item in std::fs::read_dir(shipped()).unwrap() {
            let from = item.unwrap().path();
            std::fs::copy(&from, dir.join(from.file_name().unwrap())).unwrap();
        }
        // Without its permits, what the cases promise is denied.
        std::fs::remove_file(dir.join("access.cedar")).unwrap();
        let failed = run(None, &Verb::Test { dir: Some(dir.clone()) }, false).unwrap_err();
        assert_eq!(failed.exit, 4, "{failed:?}");
        std::fs::write(dir.join("access.cedar"), "permit (principal, action, nothing);").unwrap();
        let wrong = run(None, &Verb::Check { dir: Some(dir.clone()) }, false).unwrap_err();
        assert_eq!(wrong.exit, 4, "{wrong:?}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
