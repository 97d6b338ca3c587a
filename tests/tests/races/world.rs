//! One customer, one VM, one of each person, and both sides of the race.

use audit_schema::event::{Actor, ActorKind, ChannelKind, Outcome};
use bastion::args;
use bastion::{
    api::{self, Caller, Invocation},
    app::App,
    ca::{EgressKey, Lease},
    cli::init,
    entropy,
    gate::close::Ended,
};
use bastion_core::{
    id::{AccountName, CustomerId, LeaseId, OperatorId, SessionId, TicketId, VmName},
    request::AccessRequest,
};
use bastion_tests::heard::Heard;
use russh::keys::{
    HashAlg, PrivateKey,
    ssh_key::{
        LineEnding,
        private::{Ed25519Keypair, Ed25519PrivateKey},
    },
};
use std::{io, path::PathBuf, sync::Arc, time::Duration};

const ORIGIN: &str = "bastion.races";

/// A deployment in a folder of its own, without a listener.
pub struct World {
    pub app: Arc<App>,
    officer: Caller,
    approver: Caller,
    operator: Caller,
    approver_key: PrivateKey,
    dir: PathBuf,
}

/// How an opening that raced something ended.
#[derive(Debug)]
pub enum Opened {
    Denied { seq: u64, reason: String },
    Signed { lease: LeaseId, issued: u64 },
}

/// What an invited approver brings: the token, and the signature that proves the key.
fn enrolment(invited: &str, key: &PrivateKey) -> String {
    let invited: serde_json::Value = serde_json::from_str(invited).unwrap();
    let word = |field: &str| invited[field].as_str().unwrap().to_owned();
    let signature = key
        .sign(&word("namespace"), HashAlg::Sha512, word("statement").as_bytes())
        .unwrap()
        .to_pem(LineEnding::LF)
        .unwrap();
    format!("{}\n{signature}", word("token"))
}

impl World {
    pub async fn start() -> Self {
        let dir = folder();
        let made = init::make(&init::Args {
            dir: dir.clone(),
            origin: ORIGIN.into(),
            gateway: "gw-1".into(),
            listen: "127.0.0.1:0".into(),
            store: "sqlite:bastion.db".into(),
            metrics: None,
            officer: "odile".parse().unwrap(),
            officer_key: None,
        });
        let app = Arc::new(App::open(made.unwrap().config).await.unwrap());
        let officer =
            caller(&app, ActorKind::Officer, "SELECT id, handle FROM officers", None).await;
        let (operator_key, approver_key) = (key(), key());
        let run = |words: &'static str, input: String| {
            let (app, officer) = (Arc::clone(&app), officer.clone());
            async move { said(&app, &officer, words, &input).await }
        };
        let (_, pem) = bastion::keyfile::make_recording_pair().unwrap();
        run("customer add acme --name Acme", String::new()).await;
        run("service add acme-pg --customer acme", pem).await;
        let invited = run("approver invite ada --customer acme --json", String::new()).await;
        run("approver enrol", enrolment(&invited, &approver_key)).await;
        run(
            "operator add olga --key - --team databases --entity Hosting --country DE",
            public(&operator_key),
        )
        .await;
        run(
            "operator training olga --course access-101 --completed 2026-01-01 \
             --valid-until 2099-01-01",
            String::new(),
        )
        .await;
        run(
            "vm add pg-1.acme --service acme-pg --region r --zone z --address 127.0.0.1:22022 \
             --account ops:troubleshoot:ops --account dba:data:dba",
            String::new(),
        )
        .await;
        let acme: CustomerId = "acme".parse().unwrap();
        let approver =
            caller(&app, ActorKind::Approver, "SELECT id, handle FROM approvers", Some(acme)).await;
        let operator =
            caller(&app, ActorKind::Operator, "SELECT id, handle FROM operators", None).await;
        Self { app, officer, approver, operator, approver_key, dir }
    }

    /// A ticket that the customer has signed.
    pub async fn granted_ticket(&self) -> TicketId {
        let asked = said(
            &self.app,
            &self.operator,
            "request pg-1.acme --account dba --reason CUSTOMER_REQUEST --for 1h --json \
             --note a race",
            "",
        )
        .await;
        let asked: serde_json::Value = serde_json::from_str(&asked).unwrap();
        let ticket = asked["ticket"].as_str().unwrap().to_owned();
        let read = format!("consent statement {ticket}");
        let statement = said(&self.app, &self.approver, &read, "").await;
        let namespace = format!("operator-consent@{ORIGIN}");
        let signature = self
            .approver_key
            .sign(&namespace, HashAlg::Sha512, statement.as_bytes())
            .unwrap()
            .to_pem(LineEnding::LF)
            .unwrap();
        said(&self.app, &self.approver, &format!("consent decide {ticket}"), &signature).await;
        ticket.parse().unwrap()
    }

    /// Takes a consent back; the place of its entry.
    pub async fn withdraw(&self, ticket: &TicketId) -> u64 {
        said(&self.app, &self.approver, &format!("consent withdraw {ticket}"), "").await;
        self.last_of("consent.withdrawn").await
    }

    pub async fn disable_operator(&self) -> u64 {
        said(&self.app, &self.officer, "operator disable olga --reason a race", "").await;
        self.last_of("operator.disabled").await
    }

    pub async fn enable_operator(&self) {
        said(&self.app, &self.officer, "operator enable olga", "").await;
    }

    pub async fn open_data(&self) -> Opened {
        self.open("dba").await.0
    }

    pub async fn open_troubleshoot(&self) -> Opened {
        self.open("ops").await.0
    }

    pub async fn lease_for_data(&self) -> Lease {
        match self.open("dba").await {
            (_, Some(lease)) => lease,
            (opened, None) => panic!("{opened:?}"),
        }
    }

    /// The pipeline up to the signature, as a channel takes it.
    async fn open(&self, account: &str) -> (Opened, Option<Lease>) {
        let app = &self.app;
        let ours = Arc::clone(app);
        let decided = app.gate.decide(self.request(account), move |batch, grant| {
            Box::pin(async move {
                let blank = ours.recorder.blank(grant.get()).unwrap();
                let draft = ours.ca.prepare(grant, EgressKey::fresh().unwrap(), blank).unwrap();
                ours.ca.issue(batch, draft).await
            })
        });
        match decided.await.unwrap() {
            Ok(issuance) => {
                let issued = issuance.seq();
                let lease = app.ca.sign(issuance, &app.ledger).await.unwrap().lease;
                (Opened::Signed { lease: lease.id().clone(), issued }, Some(lease))
            }
            Err(denial) => {
                let reason = denial.get().reason().as_str().to_owned();
                (Opened::Denied { seq: denial.seq(), reason }, None)
            }
        }
    }

    fn request(&self, account: &str) -> AccessRequest {
        AccessRequest {
            lease: LeaseId::from_entropy(entropy::draw().unwrap()),
            session: SessionId::from_entropy(entropy::draw().unwrap()),
            operator: self.operator.actor.id.parse::<OperatorId>().unwrap(),
            source: "127.0.0.1".parse().unwrap(),
            vm: "pg-1.acme".parse::<VmName>().unwrap(),
            account: account.parse::<AccountName>().unwrap(),
            kind: ChannelKind::Shell,
            pty: true,
            command: None,
            destination: None,
            beside: bastion_core::request::Beside::default(),
        }
    }

    /// Has the customer told by a program. It does not exist, so that every notice stays.
    pub async fn tell_the_customer(&self) {
        said(&self.app, &self.officer, "customer notify acme --hook nobody", "").await;
    }

    /// Ends a channel that never carried a byte.
    pub async fn close(&self, lease: &Lease) {
        let ended = Ended {
            outcome: Outcome::Completed,
            reason: "program_ended".into(),
            recording: Some(lease.recording().clone()),
            sealed: None,
            bytes_in: 0,
            bytes_out: 0,
            bytes_err: 0,
            duration_ms: 0,
            exit_status: Some(0),
            exit_signal: None,
            files: Vec::new(),
            commands: bastion_core::typed::Commands::default(),
        };
        self.app.gate.close(lease.grant(), ended).await.unwrap().into_inner();
    }

    /// What the customer is told of a lease, in order.
    pub async fn notices_of(&self, lease: &LeaseId) -> Vec<String> {
        let sql = "SELECT payload_json FROM notices ORDER BY created_at, id";
        let rows = self.app.ledger.db().rows(sql, &[]).await.unwrap();
        let told = rows
            .iter()
            .map(|row| serde_json::from_str::<serde_json::Value>(&row.text(0).unwrap()).unwrap());
        let of_lease = told.filter(|notice| notice["facts"]["lease"] == lease.as_str());
        of_lease.map(|notice| notice["kind"].as_str().unwrap().to_owned()).collect()
    }

    /// Why a lease was revoked, if it was.
    pub async fn cause_of(&self, lease: &LeaseId) -> Option<String> {
        let sql = "SELECT revoked_cause FROM leases WHERE id = $1 AND revoked_at IS NOT NULL";
        let row = self.app.ledger.db().row_opt(sql, &args![lease]).await.unwrap();
        row.and_then(|row| row.opt_text(0).unwrap())
    }

    /// The place of the last entry of a type. Only one party makes such entries here.
    async fn last_of(&self, name: &str) -> u64 {
        let head = *self.app.ledger.size().borrow();
        for seq in (0..head).rev() {
            let entry = self.app.ledger.entry(seq).await.unwrap().unwrap().entry;
            if entry.type_name().unwrap().0 == name {
                return seq;
            }
        }
        panic!("no {name} in the log");
    }

    /// How long each side waits before it starts: the opening's steps are swept, and now and then
    /// it is the opening that comes late.
    pub fn pauses(&self, round: usize) -> (Duration, Duration) {
        let swept = Duration::from_micros((round as u64 * 397) % 12_000);
        if round.is_multiple_of(4) { (swept / 3, Duration::ZERO) } else { (Duration::ZERO, swept) }
    }

    /// The whole chain still holds.
    pub async fn verify(&self) {
        self.app.ledger.verify().await.unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.dir) {
            eprintln!("{}: {error}", self.dir.display());
        }
    }
}

/// Runs a command that must be done, and returns what it said.
async fn said(app: &App, caller: &Caller, words: &str, input: &str) -> String {
    let mut heard = Heard::default();
    let stdin = Box::new(io::Cursor::new(input.as_bytes().to_vec()));
    let invocation = Invocation::from_line(caller.clone(), words, stdin).unwrap();
    let code = api::run(app, invocation, &mut heard).await;
    assert_eq!(code, 0, "{words}: {}", String::from_utf8_lossy(&heard.err));
    String::from_utf8(heard.out).unwrap()
}

async fn caller(
    app: &App,
    kind: ActorKind,
    sql: &'static str,
    customer: Option<CustomerId>,
) -> Caller {
    let row = app.ledger.db().row_opt(sql, &[]).await.unwrap().unwrap();
    let (id, handle) = (row.text(0).unwrap(), row.text(1).unwrap());
    Caller { actor: Actor { id, kind }, customer, handle, session: None, source: None }
}

fn key() -> PrivateKey {
    let seed = Ed25519PrivateKey::from_bytes(&entropy::draw().unwrap());
    PrivateKey::from(Ed25519Keypair::from(seed))
}

fn public(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}

fn folder() -> PathBuf {
    let name: [u8; 8] = entropy::draw().unwrap();
    let name = name.map(|byte| format!("{byte:02x}")).concat();
    std::env::temp_dir().join(format!("bastion-races-{name}"))
}
