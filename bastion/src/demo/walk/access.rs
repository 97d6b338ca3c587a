//! The first half of the story: who gets where, and by whose leave.

use super::{
    super::{
        error::DemoError,
        gateway::ORIGIN,
        people::{ACME, GLOBEX, OLGA, OTTO},
    },
    stage::{Stage, Step},
};
use std::time::{Duration, Instant};

/// What the customer was promised: withdrawn means gone, within a second.
const WITHDRAWAL_SECONDS_MAX: f64 = 1.0;

/// Without customer data: a trained operator gets in, and nobody else anywhere.
pub fn troubleshooting(stage: &Stage) -> Result<(), DemoError> {
    let (olga, otto) = (stage.ssh(OLGA), stage.ssh(OTTO));
    stage.chapter("An operator troubleshoots a VM");
    stage.step(Step {
        proves: "a stock ssh client reaches the VM, on a certificate for this channel alone",
        command: &format!("{olga} ops@pg-1.acme 'hostname; id -un; uptime'"),
        exit: 0,
        says: &["load average"],
    })?;
    stage.step(Step {
        proves: "the other form, for clients that cannot jump, reaches the same gate",
        command: &format!("{olga} ops+pg-1.acme@bastion 'exit 7'"),
        exit: 7,
        says: &[],
    })?;
    if stage.separated {
        stage.step(Step {
            proves: "on the VM, too, the troubleshooting account does not reach customer data",
            command: &format!("{olga} ops@pg-1.acme cat {}", stage.data_file),
            exit: 1,
            says: &["Permission denied"],
        })?;
    }
    stage.chapter("What is refused, and says what to do next");
    stage.step(Step {
        proves: "the data account is refused: no customer has consented",
        command: &format!("{olga} dba@pg-1.acme cat {}", stage.data_file),
        exit: 254,
        says: &["consent", "request"],
    })?;
    stage.step(Step {
        proves: "an operator whose mandatory training has lapsed gets no certificate",
        command: &format!("{otto} ops@pg-1.acme id"),
        exit: 254,
        says: &["training"],
    })?;
    Ok(())
}

/// A request, the customer's signature, and what it opens. Returns the ticket.
pub fn consent(stage: &Stage) -> Result<String, DemoError> {
    let (olga, acme, globex) = (stage.ssh(OLGA), stage.ssh(ACME), stage.ssh(GLOBEX));
    stage.chapter("The operator asks, the customer decides");
    let request = format!(
        "{olga} bastion request pg-1.acme --account dba --reason CUSTOMER_REQUEST --case ZD-1042 \
         --for 1h --json --note customer asks why its order query is slow"
    );
    let step = Step {
        proves: "a ticket is open; it opens nothing yet",
        command: &request,
        exit: 0,
        says: &["\"ticket\""],
    };
    let asked = stage.step(step)?;
    let ticket = ticket_of(&asked).ok_or_else(|| stage.broken(&request, "a ticket", &asked))?;
    stage.step(Step {
        proves: "another customer's approver is told that there is no such ticket",
        command: &format!("{globex} bastion consent show {ticket}"),
        exit: 3,
        says: &[],
    })?;
    stage.step(Step {
        proves: "the customer reads what it is asked, as the exact bytes that it will sign",
        command: &format!("{acme} bastion consent statement {ticket} > s.json && jq . s.json"),
        exit: 0,
        says: &["\"summary\"", &ticket, ORIGIN],
    })?;
    let key = ACME.key;
    stage.step(Step {
        proves: "the customer signs with stock ssh-keygen, on its own machine",
        command: &format!("ssh-keygen -Y sign -f keys/{key} -n operator-consent@{ORIGIN} s.json"),
        exit: 0,
        says: &["Signing file s.json"],
    })?;
    stage.step(Step {
        proves: "the gateway verified the signature over the bytes that it stored",
        command: &format!("{acme} bastion consent decide {ticket} < s.json.sig"),
        exit: 0,
        says: &[&ticket],
    })?;
    stage.step(Step {
        proves: "now, and for as long as the consent lives, the data account opens",
        command: &format!("{olga} dba@pg-1.acme cat {}", stage.data_file),
        exit: 0,
        says: &["Ada Lindqvist"],
    })?;
    stage.step(Step {
        proves: "the consent names pg-1.acme: the VM beside it stays shut",
        command: &format!("{olga} dba@pg-2.acme id"),
        exit: 254,
        says: &["consent"],
    })?;
    Ok(ticket)
}

/// The customer takes its consent back while a channel is open.
pub fn withdrawal(stage: &Stage, ticket: &str) -> Result<(), DemoError> {
    let (olga, acme) = (stage.ssh(OLGA), stage.ssh(ACME));
    stage.chapter("The customer withdraws while the operator is at work");
    let work = format!("{olga} dba@pg-1.acme 'echo at work; sleep 30; echo never seen'");
    let running = stage.start(&work, "at work")?;
    let withdraw = format!("{acme} bastion consent withdraw {ticket} --reason enough seen");
    let step =
        Step { proves: "the withdrawal is recorded", command: &withdraw, exit: 0, says: &[ticket] };
    let since = Instant::now();
    stage.step(step)?;
    let ended = stage.end(running, Duration::from_secs(5))?;
    let seconds = since.elapsed().as_secs_f64();
    if seconds > WITHDRAWAL_SECONDS_MAX || ended.exit == 0 || ended.text.contains("never seen") {
        let promised = format!("to be cut within a second, and took {seconds:.2} s");
        return Err(stage.broken(&work, &promised, &ended.text));
    }
    if !ended.text.contains("withdr") {
        return Err(stage.broken(&work, "to say that the consent was withdrawn", &ended.text));
    }
    stage.proved(&format!("the channel was cut {seconds:.2} s after, and the operator read why"));
    stage.step(Step {
        proves: "and the data account is shut again",
        command: &format!("{olga} dba@pg-1.acme id"),
        exit: 254,
        says: &["consent"],
    })?;
    Ok(())
}

/// Somebody has the CA's private key, and signs a certificate that the log knows nothing of.
pub fn stolen_key(stage: &Stage) -> Result<(), DemoError> {
    let (port, user) = &stage.vm;
    stage.chapter("Somebody steals the key of the certificate authority");
    stage.step(Step {
        proves: "a certificate of the right CA, for the right VM and its data account",
        command: "instance=$(jq -r .instance vms/pg-1.acme/etc-ssh/guard.json) && \
                  rm -f stolen* && ssh-keygen -q -t ed25519 -N '' -f stolen && \
                  ssh-keygen -q -s keys/user-ca -I by-night -n data:dba@$instance -V +5m -z 7 \
                  stolen.pub && ssh-keygen -L -f stolen-cert.pub",
        exit: 0,
        says: &["data:dba@i-"],
    })?;
    stage.step(Step {
        proves: "and the VM itself refuses it: it carries no proof that it stands in the log",
        command: &format!(
            "ssh -F none -i stolen -o IdentitiesOnly=yes -o BatchMode=yes -p {port} \
             -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
             {user}@127.0.0.1 cat {} ; code=$?; tail -n 1 vms/pg-1.acme/guard.log; exit $code",
            stage.data_file
        ),
        exit: 255,
        says: &["Permission denied", "carries no receipt"],
    })?;
    Ok(())
}

/// The ticket in the JSON answer of `request`.
fn ticket_of(answer: &str) -> Option<String> {
    let line = answer.lines().find(|line| line.starts_with('{'))?;
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some(value.get("ticket")?.as_str()?.to_owned())
}
