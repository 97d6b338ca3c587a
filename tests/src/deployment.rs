//! A deployment of either kind whose people type commands, without the SSH around them.

use crate::{folder::new_folder, heard::Heard, postgres::Cluster};
use audit_schema::event::{Actor, ActorKind};
use bastion::{
    api::{self, Caller, Invocation},
    app::App,
    cli::init,
    config::Config,
    keyfile,
};
use serde_json::Value;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A deployment, removed at the end of its test.
pub struct World {
    /// Its folder.
    pub dir: PathBuf,
    /// Its configuration.
    pub config: Config,
    /// Its server, if it has one.
    pub postgres: Option<Cluster>,
    /// The first officer.
    pub odile: Caller,
    /// The second officer.
    pub omar: Caller,
}

/// Somebody who types commands.
pub fn caller(kind: ActorKind, id: &str, handle: &str) -> Caller {
    let actor = Actor { id: id.into(), kind };
    Caller { actor, customer: None, handle: handle.into(), session: None, source: None }
}

impl World {
    /// Two officers, a customer with a VM, and a minimum retention of nothing.
    pub async fn new(postgres: Option<Cluster>) -> (Self, App) {
        let dir = new_folder("deployment");
        let store = postgres.as_ref().map_or("sqlite:bastion.db".into(), Cluster::url);
        let mut config = init::make(&init::Args {
            dir: dir.clone(),
            origin: "bastion.example".into(),
            gateway: "gw-1".into(),
            listen: "127.0.0.1:2222".into(),
            store,
            metrics: None,
            officer: "odile".parse().expect("a name"),
            officer_key: None,
        })
        .expect("a deployment")
        .config;
        config.erasure.retention_days_min = 0;
        let app = App::open(config.clone()).await.expect("opens");
        let row = app.ledger.db().row_opt("SELECT id FROM officers", &[]).await.expect("reads");
        let id = row.expect("an officer").text(0).expect("an id");
        let odile = caller(ActorKind::Officer, &id, "odile");
        let nobody = caller(ActorKind::Gateway, "nobody", "nobody");
        let mut world = Self { dir, config, postgres, odile, omar: nobody };
        world.done(&app, "customer add acme --name Acme Ltd", "").await;
        let (_, pem) = keyfile::make_recording_pair().expect("a pair");
        world.done(&app, "service add acme-pg --customer acme", &pem).await;
        let vm = "vm add pg-1.acme --service acme-pg --address 127.0.0.1:1 \
                  --account ops:troubleshoot --account dba:data:postgres";
        world.done(&app, vm, "").await;
        let omar = world.person(&app, "officer", "omar", "").await;
        world.omar = omar;
        (world, app)
    }

    /// Takes on somebody; what loosens is approved by the second officer, where there is one.
    pub async fn person(&self, app: &App, role: &str, handle: &str, more: &str) -> Caller {
        let seed = bastion::entropy::draw().expect("randomness");
        let file = self.dir.join(format!("key-{handle}"));
        let key = keyfile::make_ssh(&file, seed, handle).expect("a key");
        for half in [file.clone(), file.with_extension("pub")] {
            fs::remove_file(half).ok();
        }
        let line = format!("{role} add {handle} --key - {more} --json");
        let json = self.both(app, &line, &key).await;
        let kind = match role {
            "officer" => ActorKind::Officer,
            _ => ActorKind::Operator,
        };
        caller(kind, json[role].as_str().expect("an id"), handle)
    }

    /// Runs a command of the first officer, and the second one's approval where it waits.
    pub async fn both(&self, app: &App, line: &str, stdin: &str) -> Value {
        let json: Value = serde_json::from_str(&self.done(app, line, stdin).await).expect("JSON");
        match json["proposal"].as_str() {
            None => json,
            Some(id) => {
                let line = format!("change approve {id} --json");
                let (code, out, err) = run(app, &self.omar, &line, "").await;
                assert_eq!((code, err.as_str()), (0, ""), "{out}");
                serde_json::from_str::<Value>(&out).expect("JSON")["answer"].clone()
            }
        }
    }

    /// Runs a command of the first officer, which must succeed.
    pub async fn done(&self, app: &App, line: &str, stdin: &str) -> String {
        let (code, out, err) = run(app, &self.odile, line, stdin).await;
        assert_eq!((code, err.as_str()), (0, ""), "{line}: {out}");
        out
    }

    /// Runs a command of the first officer, which must fail so.
    pub async fn fails(&self, app: &App, line: &str, code: i32, words: &str) {
        let (found, out, err) = run(app, &self.odile, line, "").await;
        assert_eq!(found, code, "{line}: {out}{err}");
        assert!(err.contains(words), "{line}: {err}");
    }

    /// Every folder that the store has files in.
    pub fn folders(&self) -> Vec<PathBuf> {
        let data = self.postgres.as_ref().map(Cluster::data);
        std::iter::once(self.dir.clone()).chain(data).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// Runs a command: exit code, output, complaints.
pub async fn run(app: &App, who: &Caller, line: &str, stdin: &str) -> (i32, String, String) {
    let stdin = Box::new(io::Cursor::new(stdin.as_bytes().to_vec()));
    let invocation = Invocation::from_line(who.clone(), line, stdin).expect("a line");
    let mut said = Heard::default();
    let code = api::run(app, invocation, &mut said).await;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code, text(said.out), text(said.err))
}

/// The files below a folder that hold some bytes.
pub fn files_with(folder: &Path, needle: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).expect("a folder") {
            let path = item.expect("an item").path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path)
                && bytes.windows(needle.len()).any(|found| found == needle.as_bytes())
            {
                found.push(path);
            }
        }
    }
    found
}
