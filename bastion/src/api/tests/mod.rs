//! Commands against a real deployment in a temporary folder: real keys, a real log on SQLite, and
//! the `ssh-keygen` of this machine where something is signed.

mod approvers;
mod consent;
mod dual;
mod https;
mod inventory;
mod malformed;
mod notices;
mod people;

use super::{Caller, Invocation, Output, make_first_officer, run};
use crate::{
    app::App,
    cli::init,
    keyfile,
    ledger::{Batch, ChangeError, NewEntry},
    store::{Query, Row},
};
use audit_schema::event::{Actor, ActorKind, Event};
use futures_util::future::BoxFuture;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// What a command printed.
#[derive(Default)]
struct Said {
    out: Vec<u8>,
    err: Vec<u8>,
}

impl Output for Said {
    fn out<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.out.extend_from_slice(bytes);
        Box::pin(async { Ok(()) })
    }
    fn err<'a>(&'a mut self, bytes: &'a [u8]) -> BoxFuture<'a, io::Result<()>> {
        self.err.extend_from_slice(bytes);
        Box::pin(async { Ok(()) })
    }
    fn file<'a>(&'a mut self, name: &'a str, _: Vec<u8>) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async move { Err(io::Error::other(format!("no place for {name}"))) })
    }
}

/// A command's end.
#[derive(Debug)]
pub struct Answer {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Answer {
    /// Done; what it printed.
    #[track_caller]
    pub fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }
    /// Done; what it printed as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.done()).unwrap()
    }
    /// Not done, with this exit code and these words.
    #[track_caller]
    pub fn fails(self, code: i32, words: &str) {
        assert_eq!(self.code, code, "{} {}", self.out, self.err);
        assert!(self.err.contains(words), "{:?} does not say {words:?}", self.err);
        assert_eq!(self.out, "");
    }
}

/// A deployment with the people and VMs of the demo.
pub struct World {
    pub app: App,
    dir: PathBuf,
    pub odile: Caller,
    pub olga: Caller,
    pub otto: Caller,
    /// Acme's approver.
    pub ada: Caller,
    /// Globex's approver.
    pub gus: Caller,
    /// A public RSA key of 3072 bits in PEM.
    pub pem: String,
}

impl Drop for World {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// Whoever has this id.
pub fn caller(kind: ActorKind, id: &str, handle: &str) -> Caller {
    Caller {
        actor: Actor { id: id.into(), kind },
        customer: None,
        handle: handle.into(),
        session: Some("s-0123456789".parse().unwrap()),
        source: Some([127, 0, 0, 1].into()),
    }
}

/// A new folder for one test.
fn folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("bastion-api-{}-{number}", std::process::id()))
}

impl World {
    /// A deployment with its first officer alone.
    async fn empty() -> Self {
        let dir = folder();
        let made = init::make(&init::Args {
            dir: dir.clone(),
            origin: "bastion.example".into(),
            gateway: "gw-1".into(),
            listen: "127.0.0.1:2222".into(),
            store: "sqlite:bastion.db".into(),
            metrics: None,
            officer: "odile".parse().unwrap(),
            officer_key: None,
        })
        .unwrap();
        let app = App::open(made.config).await.unwrap();
        let row = app.ledger.db().row_opt("SELECT id FROM officers", &[]).await.unwrap();
        let id = row.unwrap().text(0).unwrap();
        let odile = caller(ActorKind::Officer, &id, "odile");
        let nobody = || caller(ActorKind::Gateway, "nobody", "nobody");
        let (_, pem) = keyfile::make_recording_pair().unwrap();
        Self { app, dir, odile, olga: nobody(), otto: nobody(), ada: nobody(), gus: nobody(), pem }
    }

    /// The demo's world, entered by the commands that an officer would type.
    pub async fn new() -> Self {
        let mut world = Self::empty().await;
        for (customer, approver) in [("acme", "ada"), ("globex", "gus")] {
            let add = format!("customer add {customer} --name {customer} Ltd");
            world.officer(&add, "").await.done();
            let add = format!("service add {customer}-pg --customer {customer}");
            let pem = world.pem.clone();
            world.officer(&add, &pem).await.done();
            let person = world.enrol(approver, customer).await;
            match approver {
                "ada" => world.ada = person,
                _ => world.gus = person,
            }
        }
        for (name, until) in [("olga", "2126-01-01"), ("otto", "2025-06-01")] {
            let key = world.key(name);
            let add = format!(
                "operator add {name} --key - --team databases --entity Hosting GmbH --country DE \
                 --json"
            );
            let json = world.officer(&add, &key).await.json();
            let person = caller(ActorKind::Operator, text(&json, "operator"), name);
            let record = format!(
                "operator training {name} --course access-101 --completed 2025-01-01 \
                 --valid-until {until}"
            );
            world.officer(&record, "").await.done();
            match name {
                "olga" => world.olga = person,
                _ => world.otto = person,
            }
        }
        for (vm, port) in [("pg-1.acme", 1), ("pg-2.acme", 2), ("pg-1.globex", 3)] {
            let service = format!("{}-pg", &vm[5..]);
            let add = format!(
                "vm add {vm} --service {service} --address 127.0.0.1:{port} \
                 --account ops:troubleshoot --account dba:data:postgres"
            );
            world.officer(&add, "").await.done();
        }
        world
    }

    /// Makes a key, is invited with it and enrols it.
    pub async fn enrol(&self, approver: &str, customer: &str) -> Caller {
        self.key(approver);
        let brought = self.invited(approver, customer).await;
        let json = self.officer("approver enrol --json", &brought).await.json();
        let mut person = caller(ActorKind::Approver, text(&json, "approver"), approver);
        person.customer = Some(customer.parse().unwrap());
        person
    }

    /// What somebody brings who was invited: the token, and a signature by the key of that name.
    pub async fn invited(&self, approver: &str, customer: &str) -> String {
        let invite = format!("approver invite {approver} --customer {customer} --json");
        let json = self.officer(&invite, "").await.json();
        let (namespace, statement) = (text(&json, "namespace"), text(&json, "statement"));
        let signature = self.sign(approver, namespace, statement.as_bytes());
        format!("{}\n{signature}", text(&json, "token"))
    }

    /// Makes a key pair; the public line.
    pub fn key(&self, name: &str) -> String {
        let seed = crate::entropy::draw().unwrap();
        keyfile::make_ssh(&self.key_file(name), seed, name).unwrap()
    }

    pub fn key_file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("key-{name}"))
    }

    /// Runs a command as somebody.
    pub async fn run(&self, caller: &Caller, line: &str, stdin: &[u8]) -> Answer {
        let stdin = Box::new(io::Cursor::new(stdin.to_vec()));
        let invocation = Invocation::from_line(caller.clone(), line, stdin).unwrap();
        let mut said = Said::default();
        let code = run(&self.app, invocation, &mut said).await;
        Answer {
            code,
            out: String::from_utf8(said.out).unwrap(),
            err: String::from_utf8(said.err).unwrap(),
        }
    }

    pub async fn officer(&self, line: &str, stdin: &str) -> Answer {
        self.run(&self.odile, line, stdin.as_bytes()).await
    }

    /// Signs a statement with the real ssh-keygen.
    pub fn sign(&self, key: &str, namespace: &str, statement: &[u8]) -> String {
        use std::io::Write as _;
        let mut child = Command::new("ssh-keygen")
            .args(["-Y", "sign", "-n", namespace, "-f"])
            .arg(self.key_file(key))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(statement).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success());
        String::from_utf8(done.stdout).unwrap()
    }

    /// Everything that the store holds, table by table, but for the log itself.
    pub async fn tables(&self) -> BTreeMap<&'static str, Vec<String>> {
        let mut tables = BTreeMap::new();
        for (name, sql) in TABLES {
            let rows = self.app.ledger.db().query(&Query::new(sql)).await.unwrap();
            let mut rows: Vec<String> = rows.iter().map(spelled).collect();
            rows.sort();
            tables.insert(*name, rows);
        }
        tables
    }

    /// The types of the log's entries from a place on.
    pub async fn events(&self, from: u64) -> Vec<Value> {
        let size = *self.app.ledger.size().borrow();
        let mut lines = self.app.ledger.lines(from, size).await.unwrap();
        let mut events = Vec::new();
        while let Some(verified) = lines.next().await.unwrap() {
            events.push(serde_json::to_value(&verified.entry.event).unwrap());
        }
        events
    }

    pub fn size(&self) -> u64 {
        *self.app.ledger.size().borrow()
    }

    /// A live lease of olga's on pg-1.acme, as the gate would have written it.
    pub async fn lease(&self, id: &'static str, ticket: Option<&str>) {
        let (olga, ticket) = (self.olga.actor.id.clone(), ticket.map(str::to_owned));
        let written = self.app.ledger.record("test lease", move |batch| {
            Box::pin(async move {
                let sql = "INSERT INTO leases (id, serial, gateway, session, operator, customer, \
                           service, vm, instance, account, level, kind, ticket, revision, source, \
                           granted_at, deadline) SELECT $1, 1, 'gw-1', 's-1', $2, customer, \
                           service, vm, id, 'dba', 'data', 'shell', $3, 1, '192.0.2.7', 1, 2 \
                           FROM instances WHERE vm = 'pg-1.acme' AND retired_at IS NULL";
                batch.tx().run(sql, &crate::args![id, olga, ticket]).await?;
                entered(batch).await
            })
        });
        written.await.unwrap().into_inner();
    }

    /// Why a lease was revoked, if it was.
    pub async fn cause(&self, lease: &str) -> Option<String> {
        let sql = "SELECT revoked_cause FROM leases WHERE id = $1";
        let row = self.app.ledger.db().row_opt(sql, &crate::args![lease]).await.unwrap();
        row.unwrap().opt_text(0).unwrap()
    }
}

pub fn text<'a>(json: &'a Value, field: &str) -> &'a str {
    json[field].as_str().unwrap_or_else(|| panic!("no {field} in {json}"))
}

const TABLES: &[(&str, &str)] = &[
    ("settings", "SELECT * FROM settings"),
    ("operators", "SELECT * FROM operators"),
    ("officers", "SELECT * FROM officers"),
    ("proposals", "SELECT * FROM proposals"),
    ("approvers", "SELECT * FROM approvers"),
    ("invitations", "SELECT * FROM invitations"),
    ("set_changes", "SELECT * FROM set_changes"),
    ("approver_signatures", "SELECT * FROM approver_signatures"),
    ("approver_resets", "SELECT * FROM approver_resets"),
    ("keys", "SELECT * FROM keys"),
    ("training", "SELECT * FROM training"),
    ("customers", "SELECT * FROM customers"),
    ("services", "SELECT * FROM services"),
    ("instances", "SELECT * FROM instances"),
    ("accounts", "SELECT * FROM accounts"),
    ("tickets", "SELECT * FROM tickets"),
    ("consent_signatures", "SELECT * FROM consent_signatures"),
    ("ticket_uses", "SELECT * FROM ticket_uses"),
    ("leases", "SELECT * FROM leases"),
    ("notices", "SELECT * FROM notices"),
];

/// Rows are written with an entry or not at all: one for what a test puts there.
async fn entered(batch: &mut Batch) -> Result<(), ChangeError> {
    let entry = NewEntry::new(
        batch.gateway_actor(),
        Event::GatewayStopped { reason: "a test wrote rows".into() },
    );
    batch.append(entry).await.map(drop)
}

/// A row, whatever its columns are.
fn spelled(row: &Row) -> String {
    let columns = row.columns();
    let cell = |index: usize| {
        let text = row.opt_text(index).map(|cell| format!("{cell:?}"));
        let number = || row.opt_i64(index).map(|cell| format!("{cell:?}"));
        let bytes = || row.bytes(index).map(|cell| format!("{cell:?}"));
        text.or_else(|_| number()).or_else(|_| bytes()).unwrap()
    };
    (0..columns.len()).map(cell).collect::<Vec<_>>().join("|")
}
