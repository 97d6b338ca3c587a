//! The second half of the story: what the log tells, and why it can be believed.

use super::{
    super::{
        error::{DemoError, Doing as _},
        people::{ACME, OLGA},
    },
    stage::{Stage, Step},
};
use chrono::{Days, Utc};
use std::fs;

/// All that happened is in the log, for the provider's auditor and for the customer.
pub fn queries(stage: &Stage, ticket: &str) -> Result<(), DemoError> {
    stage.chapter("The log tells all of it");
    stage.step(Step {
        proves: "every login, refusal, request, signature and withdrawal of this customer is there",
        command: "bastion audit query --customer acme --oldest",
        exit: 0,
        says: &[
            "access.granted",
            "access.denied",
            "certificate.issued",
            "channel.closed",
            "consent.requested",
            "consent.granted",
            "consent.withdrawn",
        ],
    })?;
    stage.step(Step {
        proves: "the customer asks the same gateway about its own ticket",
        command: &format!("{} bastion audit query --ticket {ticket}", stage.ssh(ACME)),
        exit: 0,
        says: &["consent.withdrawn"],
    })?;
    Ok(())
}

/// The log holds, and a changed byte is found.
pub fn verification(stage: &Stage) -> Result<(), DemoError> {
    stage.chapter("Nobody changes it unseen");
    stage.step(Step {
        proves: "chain, tree and signed checkpoint hold, from the first entry to the last",
        command: "bastion audit verify",
        exit: 0,
        says: &[],
    })?;
    stage.step(Step {
        proves: "an export verifies offline, against the signed checkpoint alone",
        command: "bastion audit export > log.jsonl && bastion audit checkpoint > checkpoint && \
                  cat checkpoint && bastion audit verify --file log.jsonl --checkpoint checkpoint",
        exit: 0,
        says: &[],
    })?;
    stage.step(Step {
        proves: "no program of ours is needed for that: sha256sum, jq and openssl find the same",
        command: "jq -r 'select(.seq == 0).event.log_key' log.jsonl > log.vkey && \
                  sh bin/verify.sh log.jsonl checkpoint log.vkey",
        exit: 0,
        says: &[],
    })?;
    stage.step(Step {
        proves: "that one certificate stands in the log is proven without the rest of it, offline",
        command: "issued='select(.event.type == \"certificate.issued\").seq' && \
                  n=$(jq \"$issued\" log.jsonl | head -1) && \
                  bastion audit prove $n > issued.tlog-proof && \
                  sed -n $((n + 1))p log.jsonl > issued.json && \
                  sh bin/verify.sh --proof issued.tlog-proof log.vkey issued.json",
        exit: 0,
        says: &["unwitnessed"],
    })?;
    let victim = forge(stage)?;
    stage.step(Step {
        proves: "one changed character of one entry is found, and the entry is named",
        command: "vm() { grep -o '\"vm\":\"[^\"]*\"' $1; }; \
                  diff <(vm log.jsonl) <(vm forged.jsonl); \
                  bastion audit verify --file forged.jsonl --checkpoint checkpoint",
        exit: 4,
        says: &[&victim.to_string()],
    })?;
    Ok(())
}

/// Lets the log say that another VM was reached; returns the entry's place in the log.
fn forge(stage: &Stage) -> Result<u64, DemoError> {
    let file = stage.dir().join("log.jsonl");
    let text = fs::read_to_string(&file).doing(format!("read {file:?}"))?;
    let is_victim = |line: &&str| line.contains("\"access.granted\"") && line.contains("pg-1.acme");
    let Some((seq, line)) = text.lines().enumerate().find(|(_, line)| is_victim(line)) else {
        return Err(stage.broken("bastion audit export", "a grant for pg-1.acme", &text));
    };
    let forged = text.replacen(line, &line.replacen("pg-1.acme", "pg-2.acme", 1), 1);
    let file = stage.dir().join("forged.jsonl");
    fs::write(&file, forged).doing(format!("write {file:?}"))?;
    Ok(seq as u64)
}

/// The recording of the first login, opened with the provider's key.
pub fn replay(stage: &Stage) -> Result<(), DemoError> {
    stage.chapter("What the operator did, as they saw it");
    let olga = stage.ssh(OLGA);
    // An sshd of an ordinary user may not own a terminal on every machine.
    let (terminal, says, proves): (_, &[&str], _) = match stage.separated {
        true => (
            "-tt",
            &["looking around", "recorded"],
            "on a terminal, the operator is told before the first prompt that it is recorded",
        ),
        false => ("-T", &["looking around"], "one more command, recorded as all are"),
    };
    stage.step(Step {
        proves,
        command: &format!("{olga} {terminal} ops@pg-1.acme 'echo looking around; sleep 0.2'"),
        exit: 0,
        says,
    })?;
    let leases = stage.run("bastion session list --json")?;
    let lease = last_lease(&leases.text)
        .ok_or_else(|| stage.broken("bastion session list --json", "a lease", &leases.text))?;
    stage.step(Step {
        proves: "the recording was sealed, its digest is in the log, and it plays",
        command: &format!(
            "bastion session replay {lease} --speed 100 --key take-away/provider-recording.pem"
        ),
        exit: 0,
        says: &["looking around"],
    })?;
    Ok(())
}

/// What an auditor takes home.
pub fn report(stage: &Stage) -> Result<(), DemoError> {
    stage.chapter("The report");
    let today = Utc::now().date_naive();
    let until = today.checked_add_days(Days::new(1)).unwrap_or(today);
    let from = today.checked_sub_days(Days::new(1)).unwrap_or(today);
    stage.step(Step {
        proves: "who was where, when, why and by whose leave, with a manifest of digests",
        command: &format!(
            "bastion report --customer acme --from {from} --to {until} --format html --out report \
             && (cd report && sha256sum --check SHA256SUMS)"
        ),
        exit: 0,
        says: &["report.html: OK"],
    })?;
    Ok(())
}

/// The newest lease in the JSON answer of `session list`.
fn last_lease(answer: &str) -> Option<String> {
    let at = answer.find("\"l-")? + 1;
    let lease: String = answer[at..].chars().take_while(|c| *c != '"').collect();
    Some(lease)
}
