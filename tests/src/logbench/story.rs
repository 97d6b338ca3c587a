//! What the entries say: the visits of operators to VMs, as the gateway enters them.
//!
//! A story is one connection: its session, for each fourth a ticket, its grant and certificate,
//! the commands typed, its end. One in ten is denied. Each is made from its number alone, so a
//! query can be asked whose answer is known to be there.

use audit_schema::event::{
    Actor, ActorKind, ChannelKind, Event, Level, Outcome, Place, TrainingState,
};
use bastion::ledger::NewEntry;
use bastion_core::id::CustomerId;

/// How many there are of each.
pub const CUSTOMERS: u64 = 200;
/// Of all customers together.
pub const VMS: u64 = 3_000;
/// The people who connect.
pub const OPERATORS: u64 = 200;

/// One connection, by its number.
#[derive(Clone, Copy, Debug)]
pub struct Story(pub u64);

impl Story {
    /// Scattered over customers and people, and always the same.
    fn drawn(self, what: u64, of: u64) -> u64 {
        // The finaliser of splitmix64.
        let mut z = self.0.wrapping_mul(8).wrapping_add(what).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % of
    }
    fn hex(self, what: u64, digits: usize) -> String {
        let mut text = String::new();
        for part in 0..digits.div_ceil(16) as u64 {
            text += &format!("{:016x}", self.drawn(what * 8 + part, u64::MAX));
        }
        text.truncate(digits);
        text
    }
    /// The VM's number; its customer and service follow from it.
    fn vm_number(self) -> u64 {
        self.drawn(1, VMS)
    }
    /// The customer.
    pub fn customer(self) -> String {
        format!("customer-{}", self.vm_number() % CUSTOMERS)
    }
    /// The service.
    pub fn service(self) -> String {
        format!("service-{}", self.vm_number() % (3 * CUSTOMERS))
    }
    /// The VM's name.
    pub fn vm(self) -> String {
        format!("vm-{}", self.vm_number())
    }
    /// The VM's instance.
    pub fn instance(self) -> String {
        format!("i-{:016x}", self.vm_number())
    }
    /// The operator.
    pub fn operator(self) -> String {
        format!("op-{:08x}", self.drawn(2, OPERATORS))
    }
    /// The session.
    pub fn session(self) -> String {
        format!("s-{}", self.hex(3, 32))
    }
    /// The lease.
    pub fn lease(self) -> String {
        format!("l-{}", self.hex(4, 32))
    }
    /// The ticket, where there is one.
    pub fn ticket(self) -> Option<String> {
        self.0.is_multiple_of(4).then(|| format!("t-{}", self.hex(5, 32)))
    }
    /// Whether it is let in.
    pub fn granted(self) -> bool {
        self.drawn(6, 10) > 0
    }
    /// A word that stands in this story's justification and in no other.
    pub fn case(self) -> String {
        format!("incident-{}", self.0)
    }

    /// Its entries, in their order.
    pub fn entries(self) -> Vec<NewEntry> {
        let mut entries = vec![self.opened()];
        entries.extend(self.requested());
        if self.granted() {
            entries.extend([self.access(), self.certificate(), self.commands(), self.channel()]);
        } else {
            entries.push(self.denied());
        }
        let reason = "operator_left".to_owned();
        let closed = Event::SessionClosed { channels: 1, reason, session: self.session() };
        entries.push(NewEntry::new(self.actor(), closed));
        entries
    }

    fn actor(self) -> Actor {
        Actor { id: self.operator(), kind: ActorKind::Operator }
    }

    fn of_customer(self, event: Event) -> NewEntry {
        // `customer-` and a number is an id.
        let customer: CustomerId = self.customer().parse().unwrap();
        NewEntry::new(self.actor(), event).of_customer(&customer)
    }

    fn opened(self) -> NewEntry {
        let event = Event::SessionOpened {
            fingerprint: format!("SHA256:{}", self.hex(7, 43)),
            method: "publickey".into(),
            session: self.session(),
        };
        NewEntry::new(self.actor(), event)
            .with(
                "source",
                format!("192.0.2.{}:{}", self.drawn(8, 250), 1024 + self.drawn(9, 9999)),
            )
            .with("client", "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10")
    }

    fn requested(self) -> Option<NewEntry> {
        let event = Event::ConsentRequested {
            account: "dba".into(),
            instances: vec![self.instance()],
            level: Level::Data,
            reason_code: "incident".into(),
            revision: 1,
            service: self.service(),
            statement: self.hex(10, 64),
            ticket: self.ticket()?,
        };
        let why = format!("replication of {} is behind, {}", self.vm(), self.case());
        Some(self.of_customer(event).with("justification", why).with("case", self.case()))
    }

    fn place(self) -> Place {
        let data = self.ticket().is_some();
        Place {
            account: if data { "dba" } else { "ops" }.into(),
            instance: self.instance(),
            level: if data { Level::Data } else { Level::Troubleshoot },
            service: self.service(),
            vm: self.vm(),
        }
    }

    fn training(self) -> Vec<TrainingState> {
        let valid_until = Some("2027-03-01T00:00:00.000000Z".to_owned());
        vec![TrainingState { course: "privacy".into(), valid_until }]
    }

    fn access(self) -> NewEntry {
        let event = Event::AccessGranted {
            beside: Vec::new(),
            channel: ChannelKind::Shell,
            country: "de".into(),
            deadline: "2026-11-24T12:00:00.000000Z".into(),
            destination: None,
            employing_entity: "provider-gmbh".into(),
            lease: self.lease(),
            operator: self.operator(),
            place: self.place(),
            policies: vec!["base".into()],
            policy_digest: self.hex(11, 64),
            recording_level: None,
            revision: None,
            session: self.session(),
            team: "database".into(),
            ticket: self.ticket(),
            training: self.training(),
        };
        self.of_customer(event).with("source", format!("192.0.2.{}", self.drawn(8, 250)))
    }

    fn denied(self) -> NewEntry {
        let event = Event::AccessDenied {
            place: Some(self.place()),
            channel: ChannelKind::Shell,
            operator: self.operator(),
            policies: Vec::new(),
            policy_digest: self.hex(11, 64),
            reason: "consent_missing".into(),
            session: self.session(),
            training: self.training(),
        };
        self.of_customer(event).with("source", format!("192.0.2.{}", self.drawn(8, 250)))
    }

    fn certificate(self) -> NewEntry {
        self.of_customer(Event::CertificateIssued {
            draft: self.hex(12, 64),
            key_id: format!("{} {}", self.operator(), self.lease()),
            lease: self.lease(),
            principal: format!("{}@{}", self.place().account, self.instance()),
            public_key: format!("SHA256:{}", self.hex(13, 43)),
            recording: format!("r-{}", self.hex(14, 32)),
            serial: self.0,
            valid_after: "2026-11-24T08:00:00.000000Z".into(),
            valid_before: "2026-11-24T12:00:00.000000Z".into(),
        })
    }

    fn commands(self) -> NewEntry {
        let event = Event::ChannelCommands { count: 2, kept: 2, lease: self.lease() };
        let typed = format!("journalctl -u postgresql -n {}\ndf -h", self.drawn(15, 500));
        self.of_customer(event).with("commands", typed)
    }

    fn channel(self) -> NewEntry {
        self.of_customer(Event::ChannelClosed {
            bytes_err: 0,
            bytes_in: self.drawn(16, 4_000),
            bytes_out: self.drawn(17, 400_000),
            channel: ChannelKind::Shell,
            destination: None,
            duration_ms: self.drawn(18, 4_000_000),
            exit_signal: None,
            exit_status: Some(0),
            lease: self.lease(),
            outcome: if self.drawn(19, 50) == 0 { Outcome::Cut } else { Outcome::Completed },
            reason: "exit".into(),
            recording: format!("r-{}", self.hex(14, 32)),
            recording_bytes: Some(self.drawn(17, 400_000)),
            recording_digest: Some(self.hex(20, 64)),
        })
    }
}

/// The entries of stories, one after the other: every `step`th from a number on.
pub fn entries(first: u64, step: usize) -> impl Iterator<Item = NewEntry> + Send {
    (first..).step_by(step).flat_map(|number| Story(number).entries())
}
