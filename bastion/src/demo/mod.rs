//! `bastion demo`: a whole bastion on loopback, with VMs that are real sshd processes.
//!
//! The story in order: a folder is taken ([`place`]), a deployment is made in it as `bastion init`
//! would and its gateway started ([`gateway`]), three VMs are laid out ([`vm`]) and entered into
//! the inventory by the commands that an officer would type ([`world`]), they boot, and the files
//! that a visitor needs are written ([`visit`]). [`walk`] then tells what the product does, with
//! the real `ssh` and `ssh-keygen`. All that was started ends with us ([`child`]).

mod child;
mod disk;
mod error;
mod files;
mod gateway;
mod guard;
mod people;
mod place;
mod port;
mod separation;
mod visit;
mod vm;
mod walk;
mod world;

use crate::cli::Fault;
use child::Child;
pub use error::DemoError;
use error::Doing as _;
use gateway::Gateway;
use place::{Place, State, VmState};
use port::Reserved;
use separation::Separation;
use std::{fs, path::PathBuf, process::ExitCode, sync::Mutex};
use tokio::signal::unix::{SignalKind, signal};
use vm::{Site, Vm};

/// `bastion demo`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bastion demo --walk
  bastion demo --dir /tmp/demo --ready-file /tmp/demo.ready
  bastion demo --dir /tmp/demo --store postgres://me@127.0.0.1/bastion")]
pub struct Args {
    /// The folder of everything; new, empty, or of an earlier demo, which goes on
    #[arg(long, required_unless_present = "walk")]
    pub dir: Option<PathBuf>,
    /// Is made when all listen
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Where the gateway listens on 127.0.0.1; a free port if left out
    #[arg(long, value_name = "N")]
    pub port: Option<u16>,
    /// sqlite:FILE or postgres://USER@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Tell the whole story with the real ssh and ssh-keygen, then end
    #[arg(long)]
    pub walk: bool,
}

/// Runs a demo until it is told to end.
pub fn run(args: &Args) -> Result<ExitCode, Fault> {
    let runtime = tokio::runtime::Runtime::new().map_err(Fault::failed)?;
    let done = match &args.dir {
        Some(dir) => runtime.block_on(demo(args, dir.clone())),
        None => {
            let dir = std::env::temp_dir().join(format!("bastion-demo-{}", std::process::id()));
            let done = runtime.block_on(demo(args, dir.clone()));
            // A walk that went wrong leaves its folder: the gateway's log is in it.
            match &done {
                Ok(true) => fs::remove_dir_all(&dir).map_err(Fault::failed)?,
                _ => eprintln!("bastion: what happened is in {}", dir.display()),
            }
            done
        }
    };
    match done.map_err(Fault::failed)? {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// Whether all was as promised.
async fn demo(args: &Args, dir: PathBuf) -> Result<bool, DemoError> {
    for (program, name) in [("/usr/sbin/sshd", "sshd"), ("/usr/bin/ssh-keygen", "ssh-keygen")] {
        if !fs::exists(program).unwrap_or(false) {
            return Err(DemoError::Missing(name));
        }
    }
    if let Some(file) = &args.ready_file {
        remove_if_there(file)?;
    }
    let mut interrupt = signal(SignalKind::interrupt()).doing("listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).doing("listen for SIGTERM")?;
    let mut demo = tokio::select! {
        demo = Demo::start(args, &dir) => demo?,
        _ = interrupt.recv() => return Ok(true),
        _ = terminate.recv() => return Ok(true),
    };
    if let Some(file) = &args.ready_file {
        files::write(file, "ready\n", 0o644)?;
    }
    let held = tokio::select! {
        held = show(&demo.stage, &demo.invitation, args.walk) => held,
        error = demo.gateway.ended() => return Err(error),
        _ = interrupt.recv() => Ok(!args.walk),
        _ = terminate.recv() => Ok(!args.walk),
    };
    if let Some(file) = &args.ready_file {
        remove_if_there(file)?;
    }
    demo.end().await?;
    held
}

/// A demo that runs.
struct Demo {
    gateway: Gateway,
    stage: walk::Stage,
    invitation: String,
    vms: Vec<Child>,
    /// Last, so that the folder stays ours until all else has ended.
    _place: Place,
}

impl Demo {
    async fn start(args: &Args, dir: &std::path::Path) -> Result<Self, DemoError> {
        let place = Place::open(dir)?;
        let separation = Separation::probe();
        let before = place.state()?;
        let ports = match &before {
            Some(state) => again(args, &place, state)?,
            None => first(args, &place)?,
        };
        trace_to(&place)?;
        let vms = lay_vms(&place, &ports, &separation)?;
        let gateway = Gateway::start(&place, ports.port.number()?).await?;
        let gateway_host_ca = place.at("keys/gateway-host-ca.pub");
        let ca = fs::read_to_string(&gateway_host_ca).doing(format!("read {gateway_host_ca:?}"))?;
        visit::lay_out(&place, ports.port.number()?, &ca)?;
        if before.is_none() {
            // ssh is waited for: not on a thread that the gateway needs.
            tokio::task::block_in_place(|| world::set_up(&place, &vms, &separation))?;
            place.keep(&ports.kept(args)?)?;
        }
        vms.iter().try_for_each(Vm::listen)?;
        let running =
            tokio::task::block_in_place(|| vms.iter().map(Vm::boot).collect::<Result<_, _>>())?;
        let stage = walk::Stage::new(&place, &vms[0], &separation);
        let invitation = visit::invitation(&place, &separation.sentence(), &vms[0].data_file());
        Ok(Self { gateway, stage, invitation, vms: running, _place: place })
    }

    async fn end(self) -> Result<(), DemoError> {
        let ended = self.gateway.end().await;
        drop(self.vms);
        ended
    }
}

/// Walks, or invites and waits.
async fn show(stage: &walk::Stage, invitation: &str, walk: bool) -> Result<bool, DemoError> {
    if walk {
        let stage = stage.clone();
        let told = tokio::task::spawn_blocking(move || walk::tell(&stage)).await;
        return told.map_err(|panic| DemoError::Gateway(panic.to_string()))?;
    }
    print!("{invitation}");
    std::future::pending().await
}

/// The ports of a demo, held until their listeners take them.
struct Ports {
    port: Reserved,
    vms: Vec<(String, Reserved)>,
}

impl Ports {
    fn kept(&self, args: &Args) -> Result<State, DemoError> {
        let vm = |(name, port): &(String, Reserved)| {
            Ok(VmState { name: name.clone(), port: port.number()? })
        };
        Ok(State {
            port: self.port.number()?,
            store: args.store.clone(),
            vms: self.vms.iter().map(vm).collect::<Result<_, DemoError>>()?,
        })
    }
}

/// A deployment and keys in a new folder.
fn first(args: &Args, place: &Place) -> Result<Ports, DemoError> {
    let port = match args.port {
        Some(port) => Reserved::this(port)?,
        None => Reserved::any()?,
    };
    gateway::make(place, port.number()?, args.store.as_deref())?;
    world::take_over_officer_key(place)?;
    for person in people::EVERYBODY.iter().filter(|person| **person != people::ODILE) {
        person.make_key(place)?;
    }
    let vm = |(name, _, _): (&str, &str, &str)| Ok((name.to_owned(), Reserved::any()?));
    let vms = world::VMS.into_iter().map(vm).collect::<Result<_, DemoError>>()?;
    Ok(Ports { port, vms })
}

/// What an earlier demo left here; it goes on where it was.
fn again(args: &Args, place: &Place, state: &State) -> Result<Ports, DemoError> {
    let refused = |why: String| DemoError::Folder { dir: place.dir().to_owned(), why };
    if args.port.is_some_and(|port| port != state.port) {
        return Err(refused(format!(
            "its gateway listens on port {}; leave --port out",
            state.port
        )));
    }
    if args.store.is_some() && args.store != state.store {
        return Err(refused("it was set up with another --store; leave --store out".to_owned()));
    }
    let vm = |vm: &VmState| Ok((vm.name.clone(), Reserved::this(vm.port)?));
    let vms = state.vms.iter().map(vm).collect::<Result<_, DemoError>>()?;
    Ok(Ports { port: Reserved::this(state.port)?, vms })
}

fn lay_vms(place: &Place, ports: &Ports, separation: &Separation) -> Result<Vec<Vm>, DemoError> {
    let mut vms = Vec::new();
    for (index, (name, port)) in (0_u32..).zip(&ports.vms) {
        let folder = place.dir().to_owned();
        let site = Site { folder, index, name: name.clone(), port: port.number()? };
        vms.push(Vm::lay(site, separation)?);
    }
    Ok(vms)
}

/// The gateway's own words go to a file: the screen is for the visitor.
fn trace_to(place: &Place) -> Result<(), DemoError> {
    let file = place.at("gateway.log");
    let mut open = fs::OpenOptions::new();
    let log = open.create(true).append(true).open(&file).doing(format!("open {file:?}"))?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let to_file = tracing_subscriber::fmt().with_ansi(false).with_env_filter(filter);
    if to_file.with_writer(Mutex::new(log)).try_init().is_err() {
        tracing::debug!("tracing was started before");
    }
    Ok(())
}

fn remove_if_there(file: &std::path::Path) -> Result<(), DemoError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).doing(format!("remove {file:?}"))
        }
        _ => Ok(()),
    }
}
