//! A small world to decide about: acme and globex, their VMs, olga (trained) and otto (lapsed), an
//! approver of acme with a real key, and one live consent.
#![allow(clippy::unwrap_used)] // a panic is how a test fails
#![allow(dead_code)] // each test file uses its own part

use audit_schema::{
    event::{Actor, ActorKind, ChannelKind, Level},
    time::Timestamp,
};
use bastion_core::{
    authorize::{ConsentFact, Decision, Denial, Facts, Grant, SignatureFact, authorize},
    consent::{
        ApproverKey, NamedOperator, Nonce, ReasonCode, RecordingLevel, ScopedInstance, Statement,
        Terms, Ticket, TicketState,
    },
    destination::{Destination, Wanted},
    operator::Operator,
    policy::Policy,
    request::{AccessRequest, Beside},
    statement::{Frame, namespace},
    training::TrainingRecord,
    vm::{Account, Service, SourceRanges, VmInstance},
};
use ssh_key::{
    HashAlg, LineEnding, PrivateKey, SshSig,
    private::{Ed25519Keypair, KeypairData},
};

pub const ORIGIN: &str = "bastion.example";

pub const SCHEMA: &str = include_str!("../../../../policies/schema.cedarschema");
pub const FILES: [(&str, &str); 4] = [
    ("access.cedar", include_str!("../../../../policies/access.cedar")),
    ("base.cedar", include_str!("../../../../policies/base.cedar")),
    ("break_glass.cedar", include_str!("../../../../policies/break_glass.cedar")),
    ("channels.cedar", include_str!("../../../../policies/channels.cedar")),
];

pub fn policy() -> Policy {
    Policy::load(&FILES, SCHEMA).unwrap()
}

/// The shipped policy with one more file.
pub fn policy_with(text: &str) -> Policy {
    let mut files = FILES.to_vec();
    files.push(("more.cedar", text));
    Policy::load(&files, SCHEMA).unwrap()
}

/// Seconds after the moment at which everything here happens.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_795_000_000 + seconds)
}

pub fn olga() -> Operator {
    operator("op-olga", "olga")
}

pub fn otto() -> Operator {
    operator("op-otto", "otto")
}

fn operator(id: &str, handle: &str) -> Operator {
    Operator {
        id: id.parse().unwrap(),
        handle: handle.parse().unwrap(),
        team: "databases".into(),
        employing_entity: "Provider GmbH".into(),
        country: "DE".into(),
        enabled: true,
    }
}

pub fn instance(vm: &str, id: &str) -> VmInstance {
    let customer = vm.split_once('.').unwrap().1;
    let account =
        |name: &str, level| Account { name: name.parse().unwrap(), level, unix_user: name.into() };
    VmInstance {
        id: id.parse().unwrap(),
        vm: vm.parse().unwrap(),
        service: format!("{customer}-pg").parse().unwrap(),
        customer: customer.parse().unwrap(),
        region: "eu-1".into(),
        zone: "a".into(),
        address: "192.0.2.10:22".into(),
        accounts: vec![account("ops", Level::Troubleshoot), account("dba", Level::Data)],
    }
}

pub const EXPORTER: &str = "/run/exporter.sock";

/// What the inventory lists for an instance.
pub fn destinations(instance: &str) -> Vec<Destination> {
    let listed = [
        ("database", "tcp:127.0.0.1:5432", Level::Data),
        ("database-socket", "unix:/run/postgresql/.s.PGSQL.5432", Level::Data),
        ("metrics", "tcp:127.0.0.1:9187", Level::Troubleshoot),
        ("exporter", "unix:/run/exporter.sock", Level::Troubleshoot),
        ("back", "listen:9000", Level::Troubleshoot),
        ("editor", "tcp:127.0.0.1:5000-6000", Level::Troubleshoot),
    ];
    let item = |(name, spot, level): (&str, &str, Level)| Destination {
        name: name.parse().unwrap(),
        instance: instance.parse().unwrap(),
        spot: spot.parse().unwrap(),
        level,
        description: String::new(),
    };
    listed.map(item).into()
}

pub fn service(customer: &str) -> Service {
    Service {
        id: format!("{customer}-pg").parse().unwrap(),
        customer: customer.parse().unwrap(),
        sources: SourceRanges::default(),
        recording_key: "pem".into(),
    }
}

pub fn training(operator: &Operator, until: i64) -> TrainingRecord {
    TrainingRecord {
        operator: operator.id.clone(),
        course: "data-handling".into(),
        completed_at: at(-1000),
        valid_until: at(until),
    }
}

pub fn key(seed: u8) -> PrivateKey {
    let pair = Ed25519Keypair::from_seed(&[seed; 32]);
    PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap()
}

pub fn approver_key(name: &str, seed: u8) -> ApproverKey {
    ApproverKey {
        approver: name.parse().unwrap(),
        customer: "acme".parse().unwrap(),
        public_key: key(seed).public_key().to_openssh().unwrap(),
        added_at: at(-5000),
        removed_at: None,
    }
}

pub fn terms() -> Terms {
    Terms {
        account: "dba".parse().unwrap(),
        case: Some("ZD-1042".parse().unwrap()),
        instances: vec![ScopedInstance {
            instance: "i-acme1".parse().unwrap(),
            service: "acme-pg".parse().unwrap(),
            vm: "pg-1.acme".parse().unwrap(),
        }],
        justification: "slow queries since noon".parse().unwrap(),
        level: Level::Data,
        not_after: at(3600),
        not_before: at(-60),
        operators: vec![NamedOperator {
            id: "op-olga".parse().unwrap(),
            handle: "olga".parse().unwrap(),
        }],
        reason: ReasonCode::CustomerRequest,
        recording: RecordingLevel::Full,
        recording_access: false,
        sessions_max: 2,
        team: None,
    }
}

pub fn ticket(terms: Terms) -> Ticket {
    Ticket {
        id: "t-1042".parse().unwrap(),
        customer: "acme".parse().unwrap(),
        revision: 1,
        opened_by: Actor { id: "op-olga".into(), kind: ActorKind::Operator },
        opened_at: at(-120),
        terms,
    }
}

pub fn statement(ticket: &Ticket, policy: &Policy) -> Statement {
    let frame = Frame {
        origin: ORIGIN,
        signatures_needed: 1,
        nonce: Nonce([7; 16]),
        channel_rules: policy.channel_rules(ticket.terms.level),
        policy: policy.digest(),
    };
    Statement::of(ticket, &frame)
}

pub fn sign(statement: &[u8], seed: u8) -> String {
    let sig = SshSig::sign(&key(seed), &namespace(ORIGIN), HashAlg::Sha512, statement).unwrap();
    sig.to_pem(LineEnding::LF).unwrap()
}

/// A granted ticket, signed by the approver of seed 1.
pub fn consent(statement: &Statement) -> ConsentFact {
    let bytes = statement.compose().unwrap();
    let signature = sign(&bytes, 1);
    ConsentFact {
        ticket: statement.ticket.clone(),
        revision: statement.revision,
        state: TicketState::Granted,
        statement: bytes,
        signatures: vec![SignatureFact { signature, decided_at: at(-30) }],
        uses: Vec::new(),
    }
}

/// What the gateway would have read for olga on pg-1.acme: everything is in order.
pub fn facts(policy: &Policy) -> Facts {
    Facts {
        now: at(0),
        origin: ORIGIN.into(),
        operator: Some(olga()),
        training: vec![training(&olga(), 86_400)],
        required_courses: vec!["data-handling".into()],
        instance: Some(instance("pg-1.acme", "i-acme1")),
        service: Some(service("acme")),
        signatures_needed: 1,
        approver_keys: vec![approver_key("ap-anna", 1)],
        consents: vec![consent(&statement(&ticket(terms()), policy))],
        destinations: destinations("i-acme1"),
    }
}

pub fn request(account: &str, kind: ChannelKind) -> AccessRequest {
    AccessRequest {
        lease: "l-1".parse().unwrap(),
        session: "s-1".parse().unwrap(),
        operator: "op-olga".parse().unwrap(),
        source: "198.51.100.7".parse().unwrap(),
        vm: "pg-1.acme".parse().unwrap(),
        account: account.parse().unwrap(),
        kind,
        pty: kind == ChannelKind::Shell,
        command: (kind == ChannelKind::Exec).then(|| b"uptime".to_vec()),
        destination: match kind {
            ChannelKind::ForwardLocal => Wanted::tcp("127.0.0.1", 9187),
            ChannelKind::ForwardStreamlocal => Some(Wanted::Unix { path: EXPORTER.into() }),
            ChannelKind::ForwardRemote => {
                Some(Wanted::Listen { host: "localhost".into(), port: 9000 })
            }
            _ => None,
        },
        beside: Beside::default(),
    }
}

pub fn granted(request: &AccessRequest, facts: &Facts, policy: &Policy) -> Grant {
    match authorize(request, facts, policy) {
        Decision::Granted(grant) => *grant,
        Decision::Denied(denial) => panic!("denied: {} ({:?})", denial.sentence(), denial),
    }
}

pub fn denied(request: &AccessRequest, facts: &Facts, policy: &Policy) -> Denial {
    match authorize(request, facts, policy) {
        Decision::Granted(grant) => panic!("granted: {grant:?}"),
        Decision::Denied(denial) => *denial,
    }
}
