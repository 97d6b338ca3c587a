//! `bastion init`: a deployment that `bastion serve` runs.
//!
//! Keys first, then policies, then the store, and the configuration last: a folder without
//! `bastion.toml` is no deployment, so a crash on the way leaves nothing that could be served by
//! mistake. What must not stay on the gateway lands in `take-away/`, and is said so.

use super::Fault;
use crate::{
    api::make_first_officer,
    app::{App, StartError},
    config::{self, Config},
    keyfile::{self, KeyFileError},
};
use audit_schema::event::{Actor, ActorKind};
use bastion_core::id::Handle;
use russh::keys::{Algorithm, PublicKey};
use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The folder of what must not stay on the gateway.
pub const TAKE_AWAY: &str = "take-away";

/// `bastion init`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bastion init --dir /srv/bastion --origin bastion.example \\
      --officer odile --officer-key ~odile/.ssh/id_ed25519.pub
  bastion serve --config /srv/bastion/bastion.toml
  ssh -p 2222 odile@gateway help")]
pub struct Args {
    /// The folder to make; it must not exist, or be empty
    #[arg(long)]
    pub dir: PathBuf,
    /// The deployment's name in checkpoints and in what customers sign; it never changes
    #[arg(long, default_value = "bastion.example")]
    pub origin: String,
    /// This gateway's name in the log
    #[arg(long, default_value = "gw-1")]
    pub gateway: String,
    /// Where to listen for SSH
    #[arg(long, default_value = "127.0.0.1:2222")]
    pub listen: String,
    /// sqlite:FILE or postgres://USER@HOST/DATABASE
    #[arg(long, default_value = "sqlite:bastion.db")]
    pub store: String,
    /// Where to serve metrics, on loopback; none if left out
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<String>,
    /// The first security officer's name
    #[arg(long, default_value = "officer", value_name = "NAME")]
    pub officer: Handle,
    /// Their public key; a key pair is made in take-away/ if left out
    #[arg(long, value_name = "FILE")]
    pub officer_key: Option<PathBuf>,
}

/// Why no deployment was made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something is there already.
    #[error("{0} is not empty; name a folder that does not exist")]
    NotEmpty(String),
    /// A file cannot be read or written.
    #[error("{file}: {cause}")]
    Io {
        /// Which file.
        file: String,
        /// Why not.
        cause: io::Error,
    },
    /// A key cannot be written.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// The machine's random numbers failed.
    #[error("the system's random numbers failed; nothing can be made without them")]
    Random,
    /// The officer's key is not a public key, or too weak.
    #[error("{file}: {cause}")]
    OfficerKey {
        /// Which file.
        file: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// What was asked does not make a valid configuration.
    #[error("{0}")]
    Config(#[from] config::ConfigError),
    /// The store cannot be made.
    #[error("{0}")]
    Start(#[from] StartError),
    /// The first officer cannot be entered.
    #[error("the first officer: {0}")]
    Officer(crate::api::Fault),
    /// The part that makes the store ended early.
    #[error("the store was not made; remove the folder and try again")]
    Broken,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The deployment.
    pub config: Config,
    /// The public line of the gateway-host CA: for known_hosts.
    pub gateway_host_ca: String,
    /// The public line of the officer's key.
    pub officer_key: String,
}

/// Makes a deployment and says what to do next.
pub fn run(args: &Args) -> Result<ExitCode, Fault> {
    let made = make(args).map_err(Fault::failed)?;
    print!("{}", next_steps(args, &made));
    Ok(ExitCode::SUCCESS)
}

/// Makes a deployment; the demo and the tests start here too.
pub fn make(args: &Args) -> Result<Made, InitError> {
    refuse_what_is_there(&args.dir)?;
    let text = config_text(args);
    let dir = std::path::absolute(&args.dir).map_err(|cause| at(&args.dir, cause))?;
    // Checked before anything is made: a typo costs nothing.
    let config = Config::parse(&dir.join(config::FILE_NAME), &text)?;
    let officer = args.officer_key.as_deref().map(read_officer_key).transpose()?;
    for made in ["", "keys", "run", "recordings", TAKE_AWAY] {
        keyfile::make_private_dir(&dir.join(made))?;
    }
    let gateway_host_ca = make_keys(&config)?;
    let officer_key = match officer {
        Some(key) => key,
        None => keyfile::make_ssh(&dir.join(TAKE_AWAY).join("officer"), seed()?, "officer")?,
    };
    make_policies(&config.policies)?;
    make_store(&config, &args.officer, &officer_key)?;
    keyfile::write_private(&config.file, text.as_bytes())?;
    Ok(Made { config, gateway_host_ca, officer_key })
}

/// The built-in policies, as files that the provider makes their own.
fn make_policies(dir: &Path) -> Result<(), InitError> {
    fs::create_dir_all(dir).map_err(|cause| at(dir, cause))?;
    for (name, text) in POLICIES {
        keyfile::write_public(&dir.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// The log with its genesis and first policy, and the first officer in it. On a thread of its own,
/// so that this works within a runtime and without one.
fn make_store(config: &Config, officer: &Handle, key: &str) -> Result<(), InitError> {
    let (config, officer, key) = (config.clone(), officer.clone(), key.to_owned());
    let making = std::thread::spawn(move || -> Result<(), InitError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| at(Path::new("tokio"), cause))?;
        runtime.block_on(async {
            let app = App::create(config).await?;
            let uid = nix::unistd::getuid().as_raw();
            let actor = Actor { kind: ActorKind::Local, id: uid.to_string() };
            let entered = make_first_officer(&app.ledger, actor, officer, &key).await;
            entered.map_err(InitError::Officer)?.into_inner();
            let db = app.ledger.db().clone();
            drop(app);
            db.close().await;
            Ok(())
        })
    });
    making.join().map_err(|_| InitError::Broken)?
}

const POLICIES: [(&str, &str); 7] = [
    ("README.md", include_str!("../../../policies/README.md")),
    ("cases.json", include_str!("../../../policies/cases.json")),
    ("schema.cedarschema", include_str!("../../../policies/schema.cedarschema")),
    ("base.cedar", include_str!("../../../policies/base.cedar")),
    ("access.cedar", include_str!("../../../policies/access.cedar")),
    ("break_glass.cedar", include_str!("../../../policies/break_glass.cedar")),
    ("channels.cedar", include_str!("../../../policies/channels.cedar")),
];

fn refuse_what_is_there(dir: &Path) -> Result<(), InitError> {
    match fs::read_dir(dir) {
        Ok(mut items) => match items.next() {
            None => Ok(()),
            Some(_) => Err(InitError::NotEmpty(dir.display().to_string())),
        },
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(at(dir, cause)),
    }
}

/// The template with its blanks filled in.
fn config_text(args: &Args) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let metrics = match &args.metrics {
        Some(address) => format!("listen = {}", quoted(address)),
        None => "#x listen = \"127.0.0.1:9317\"".into(),
    };
    config::TEMPLATE
        .replace("\"@ORIGIN@\"", &quoted(&args.origin))
        .replace("\"@GATEWAY@\"", &quoted(&args.gateway))
        .replace("@LISTEN@", &quoted(&args.listen))
        .replace("\"@STORE@\"", &quoted(&args.store))
        .replace("@METRICS@", &metrics)
}

/// Every key of a deployment; returns the public line of the gateway-host CA.
fn make_keys(config: &Config) -> Result<String, InitError> {
    let keys = &config.keys;
    keyfile::make_log_key(&keys.log, seed()?)?;
    keyfile::make_log_key(&keys.notices, seed()?)?;
    keyfile::make_ssh(&keys.user_ca, seed()?, "user-ca")?;
    keyfile::make_ssh(&keys.vm_host_ca, seed()?, "vm-host-ca")?;
    keyfile::make_ssh(&keys.gateway_host, seed()?, &config.gateway)?;
    let gateway_host_ca = keyfile::make_ssh(&keys.gateway_host_ca, seed()?, "gateway-host-ca")?;
    let (private, public) = keyfile::make_recording_pair().map_err(|_| InitError::Random)?;
    keyfile::write_public(&config.recordings.provider_key, public.as_bytes())?;
    let away = config.dir.join(TAKE_AWAY).join("provider-recording.pem");
    keyfile::write_private(&away, private.as_bytes())?;
    Ok(gateway_host_ca)
}

/// A public key that may belong to an officer, as its one-line form.
fn read_officer_key(file: &Path) -> Result<String, InitError> {
    let wrong = |cause| InitError::OfficerKey { file: file.display().to_string(), cause };
    let text = fs::read_to_string(file).map_err(|cause| at(file, cause))?;
    let key = PublicKey::from_openssh(text.trim())
        .map_err(|_| wrong("not a public key; name the file that ends in .pub"))?;
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::SkEd25519 => {}
        Algorithm::Ecdsa { .. } | Algorithm::SkEcdsaSha2NistP256 => {}
        Algorithm::Rsa { .. } => {
            let bits = key.key_data().rsa().map_or(0, |rsa| rsa.key_size());
            if bits < 3072 {
                return Err(wrong("an RSA key needs 3072 bits; use an ed25519 key"));
            }
        }
        _ => return Err(wrong("not an ed25519, ECDSA or RSA key")),
    }
    key.to_openssh().map_err(|_| wrong("cannot be written as one line"))
}

fn seed() -> Result<[u8; 32], InitError> {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| InitError::Random)?;
    Ok(bytes)
}

fn at(file: &Path, cause: io::Error) -> InitError {
    InitError::Io { file: file.display().to_string(), cause }
}

fn next_steps(args: &Args, made: &Made) -> String {
    let dir = made.config.dir.display();
    let mut text = format!(
        "\
A deployment is in {dir}.

Take away, to where no gateway is, and delete here:
  {dir}/{TAKE_AWAY}/provider-recording.pem   opens recordings of troubleshoot channels
"
    );
    if args.officer_key.is_none() {
        text += &format!("  {dir}/{TAKE_AWAY}/officer                  {}'s key\n", args.officer);
    }
    text += &format!(
        "
Operators, approvers and officers put into known_hosts:
  @cert-authority * {}

Next:
  bastion serve --config {}
  ssh -p {} {}@{} help
",
        made.gateway_host_ca,
        made.config.file.display(),
        made.config.listen[0].port(),
        args.officer,
        made.config.listen[0].ip(),
    );
    text
}
