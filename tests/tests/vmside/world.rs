//! A deployment that serves https, its officer, and what an officer types.

use crate::https::{Folder, certify};
use audit_schema::event::{Actor, ActorKind, ChannelKind, Event, Outcome};
use bastion::{
    api::{self, Caller, Invocation},
    app::App,
    args,
    cli::init,
    config::Config,
    ledger::NewEntry,
};
use bastion_tests::heard::Heard;
use serde_json::Value;
use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinHandle;

/// The guard, built with these tests.
pub const GUARD: &str = env!("CARGO_BIN_EXE_guard-under-test");

/// The product, built with these tests.
const BASTION: &str = env!("CARGO_BIN_EXE_bastion-under-test");

pub struct World {
    /// Until a gateway of its own takes over.
    app: Option<Arc<App>>,
    pub folder: Folder,
    pub https: u16,
    /// Where the gateway listens for SSH, once it does.
    ssh: u16,
    officer: Caller,
    serving: JoinHandle<()>,
}

/// A gateway process, gone with the value.
pub struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl World {
    /// A deployment with the customer acme, whose VM's sshd is to listen on `port`.
    pub async fn start(label: &str, port: u16) -> Self {
        let folder = Folder::new(label);
        certify(&folder.0, 2);
        let dir = folder.0.join("gateway");
        let ssh = free_port();
        let made = init::make(&init::Args {
            dir: dir.clone(),
            origin: "bastion.vmside".into(),
            gateway: "gw-1".into(),
            listen: format!("127.0.0.1:{ssh}"),
            store: "sqlite:bastion.db".into(),
            metrics: None,
            officer: "odile".parse().unwrap(),
            officer_key: None,
        });
        let made = made.unwrap();
        let known = format!("@cert-authority * {}\n", made.gateway_host_ca);
        fs::write(folder.0.join("gateways"), known).unwrap();
        let config = made.config.file;
        let https = free_port();
        // Without what a debugger reads: it is ten times the program.
        let strip = Command::new("strip").arg("-o").arg(folder.0.join("guard")).arg(GUARD).status();
        assert!(strip.unwrap().success());
        let text = fs::read_to_string(&config).unwrap();
        let section = format!(
            "[https]\nlisten = \"127.0.0.1:{https}\"\nurl = \"https://localhost:{https}\"\n\
             certificate = \"{0}/chain.pem\"\nkey = \"{0}/key.pem\"\n\
             authority = \"{0}/chain.pem\"\n\
             guard = \"{0}/guard\"\n\n[metrics]",
            folder.0.display()
        );
        fs::write(&config, text.replace("[metrics]", &section)).unwrap();
        let app = Arc::new(App::open(Config::load(&config).unwrap()).await.unwrap());
        let row = app.ledger.db().row_opt("SELECT id FROM officers", &[]).await.unwrap().unwrap();
        let officer = Caller {
            actor: Actor { id: row.text(0).unwrap(), kind: ActorKind::Officer },
            customer: None,
            handle: "odile".into(),
            session: None,
            source: None,
        };
        let serving = tokio::spawn(api::web::run(Arc::clone(&app)));
        let world = Self { app: Some(app), folder, https, ssh, officer, serving };
        let (_, pem) = bastion::keyfile::make_recording_pair().unwrap();
        world.says("customer add acme --name Acme", "").await;
        world.says("service add acme-pg --customer acme", &pem).await;
        let add = format!(
            "vm add pg-1.acme --service acme-pg --address 127.0.0.1:{port} \
             --account ops:troubleshoot --account dba:data"
        );
        world.says(&add, "").await;
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(("127.0.0.1", https)).await.is_ok() {
                return world;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("https does not come up");
    }

    pub fn app(&self) -> &Arc<App> {
        self.app.as_ref().expect("a gateway of its own has taken over")
    }

    /// Hands the deployment over to a gateway process, and waits until it listens.
    pub async fn serve(&mut self) -> Gateway {
        self.serving.abort();
        (&mut self.serving).await.ok();
        let app = self.app.take().unwrap();
        let db = app.ledger.db().clone();
        drop(app);
        db.close().await;
        let log = fs::File::create(self.at("gateway.log")).unwrap();
        let child = Command::new(BASTION)
            .args(["serve", "--config"])
            .arg(self.at("gateway/bastion.toml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        let gateway = Gateway(child.unwrap());
        for _ in 0..300 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.ssh)).await.is_ok() {
                return gateway;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{}", fs::read_to_string(self.at("gateway.log")).unwrap());
    }

    /// `ssh LOGIN@gateway WORDS` with a key of this folder.
    pub fn dials(&self, key: &str, login: &str, words: &str, input: &str) -> std::process::Output {
        let mut ssh = Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"])
            .args(["-o", "StrictHostKeyChecking=yes"])
            .args(["-o", &format!("UserKnownHostsFile={}", self.path("gateways"))])
            .args(["-i", &self.path(key), "-p", &self.ssh.to_string()])
            .args([&format!("{login}@127.0.0.1"), words])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing may be gone before it is given anything.
        ssh.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        ssh.wait_with_output().unwrap()
    }

    /// The same, which has to be done; what it printed.
    #[track_caller]
    pub fn dialled(&self, key: &str, login: &str, words: &str, input: &str) -> String {
        let done = self.dials(key, login, words, input);
        assert!(done.status.success(), "{login} {words}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// A trained operator with a key of that name.
    pub async fn operator(&self, name: &str) {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &self.path(name)]);
        let key = fs::read_to_string(self.at(&format!("{name}.pub"))).unwrap();
        let add = format!("operator add {name} --key - --team t --entity e --country DE");
        self.says(&add, &key).await;
        let training = "--course access-101 --completed 2026-01-01 --valid-until 2099-01-01";
        self.says(&format!("operator training {name} {training}"), "").await;
    }

    /// What the officer types, done.
    pub async fn says(&self, line: &str, stdin: &str) -> String {
        let (code, out, err) = self.tries(line, stdin).await;
        assert_eq!(code, 0, "{line}: {err}");
        out
    }

    pub async fn json(&self, line: &str, stdin: &str) -> Value {
        serde_json::from_str(&self.says(&format!("{line} --json"), stdin).await).unwrap()
    }

    pub async fn tries(&self, line: &str, stdin: &str) -> (i32, String, String) {
        let mut heard = Heard::default();
        let input = Box::new(io::Cursor::new(stdin.as_bytes().to_vec()));
        let invocation = Invocation::from_line(self.officer.clone(), line, input).unwrap();
        let code = api::run(self.app(), invocation, &mut heard).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(heard.out), text(heard.err))
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.0.join(name)
    }

    /// An approver of acme with a key of that name.
    pub async fn enrol(&self, name: &str) {
        keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &self.path(name)]);
        let invited = self.json(&format!("approver invite {name} --customer acme"), "").await;
        fs::write(self.at("enrol.json"), invited["statement"].as_str().unwrap()).unwrap();
        let namespace = invited["namespace"].as_str().unwrap();
        fs::remove_file(self.at("enrol.json.sig")).ok();
        let (key, file) = (self.path(name), self.path("enrol.json"));
        keygen(&["-q", "-Y", "sign", "-f", &key, "-n", namespace, &file]);
        let signature = fs::read_to_string(self.at("enrol.json.sig")).unwrap();
        let token = invited["token"].as_str().unwrap();
        self.says("approver enrol", &format!("{token}\n{signature}")).await;
    }

    pub fn path(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// A channel on the VM an hour ago, as the account `dba`, that ended like this.
    pub async fn past(&self, serial: u64, lease: &'static str, outcome: Outcome) {
        let change = self.app().ledger.record("test channel", move |batch| {
            Box::pin(async move {
                let then = batch.now().plus_seconds(-3600);
                let sql = "INSERT INTO leases (id, serial, gateway, session, operator, customer, \
                           service, vm, instance, account, level, kind, source, granted_at, \
                           deadline, closed_at) \
                           SELECT $1, $2, 'gw-1', 's-1', 'op-1', customer, service, vm, id, \
                           'dba', 'data', 'shell', '192.0.2.7', $3, $3, $3 \
                           FROM instances WHERE retired_at IS NULL";
                batch.tx().run(sql, &args![lease, serial, then]).await?;
                let event = Event::ChannelClosed {
                    bytes_err: 0,
                    bytes_in: 0,
                    bytes_out: 0,
                    channel: ChannelKind::Shell,
                    destination: None,
                    duration_ms: 1,
                    exit_signal: None,
                    exit_status: None,
                    lease: lease.into(),
                    outcome,
                    reason: "x".into(),
                    recording: "r-1".into(),
                    recording_bytes: None,
                    recording_digest: None,
                };
                let entry = NewEntry::new(batch.gateway_actor(), event);
                let acme = "acme".parse().unwrap();
                batch.append(entry.of_customer(&acme)).await.map(drop)
            })
        });
        change.await.unwrap().into_inner();
    }

    /// The entries of a type, oldest first.
    pub async fn entries(&self, wanted: &str) -> Vec<Value> {
        let size = *self.app().ledger.size().borrow();
        let mut found = Vec::new();
        for seq in 0..size {
            let entry = self.app().ledger.entry(seq).await.unwrap().unwrap().entry;
            if entry.type_name().unwrap().0 == wanted {
                found.push(serde_json::to_value(&entry.event).unwrap());
            }
        }
        found
    }

    /// A lease on the VM that lost its ground a moment ago, with this serial.
    pub async fn revoked_lease(&self, serial: u64) {
        let change = self.app().ledger.record("test lease", move |batch| {
            Box::pin(async move {
                let now = batch.now();
                let sql = "INSERT INTO leases (id, serial, gateway, session, operator, customer, \
                           service, vm, instance, account, level, kind, source, granted_at, \
                           deadline, revoked_at, revoked_cause, closed_at) \
                           SELECT 'l-' || id, $1, 'gw-1', 's-1', 'op-1', customer, service, vm, \
                           id, 'dba', 'data', 'shell', '192.0.2.7', $2, $2, $2, 'vm_retired', $2 \
                           FROM instances WHERE retired_at IS NULL";
                batch.tx().run(sql, &args![serial, now]).await?;
                let event = Event::GatewayStopped { reason: "a test wrote rows".into() };
                let entry = NewEntry::new(batch.gateway_actor(), event);
                batch.append(entry).await.map(drop)
            })
        });
        change.await.unwrap().into_inner();
    }
}

pub use bastion_tests::postgres::free_port;

pub fn keygen(arguments: &[&str]) -> String {
    let done = Command::new("ssh-keygen").args(arguments).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}
