//! The demo's gateway: the same code that `bastion serve` runs, in this process.

use super::{
    error::{DemoError, Doing as _},
    people::ODILE,
    place::{Place, SETUP},
};
use crate::{cli::init, config::Config, serve};
use bastion_core::id::Handle;
use std::{fs, io, net::Ipv4Addr, net::SocketAddr, time::Duration};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// The deployment's name: what customers of the demo sign for.
pub const ORIGIN: &str = "bastion.demo";

/// How long the gateway may take until it answers: a database may have to be migrated.
const START_SECONDS_MAX: u64 = 60;

/// Makes the deployment as `bastion init` does.
pub fn make(place: &Place, port: u16, store: Option<&str>) -> Result<(), DemoError> {
    // A constant of ours that is a valid name; a test of `people` would fail otherwise.
    let officer: Handle = ODILE.handle.parse().map_err(|e| DemoError::Gateway(format!("{e}")))?;
    let args = init::Args {
        dir: place.at(SETUP),
        origin: ORIGIN.to_owned(),
        gateway: "gw-1".to_owned(),
        listen: format!("127.0.0.1:{port}"),
        store: store.unwrap_or("sqlite:bastion.db").to_owned(),
        metrics: None,
        officer,
        officer_key: None,
    };
    init::make(&args).map_err(|error| DemoError::Gateway(error.to_string()))?;
    move_up(place)?;
    let file = place.at("bastion.toml");
    let text = fs::read_to_string(&file).doing(format!("read {file:?}"))?;
    // Everybody comes from 127.0.0.1 here, where a real source would be one office or one person.
    let text = text.replace(
        "#x connections_before_login_per_source_max = 10",
        "connections_before_login_per_source_max = 100",
    );
    super::files::write(&file, &text, 0o600)
}

/// All paths of a deployment are relative to its folder, so it can move as a whole; `init` takes
/// none but an empty folder, and a visitor may keep something in the demo's.
fn move_up(place: &Place) -> Result<(), DemoError> {
    let made = place.at(SETUP);
    for item in fs::read_dir(&made).doing(format!("list {made:?}"))? {
        let item = item.doing(format!("list {made:?}"))?;
        let to = place.dir().join(item.file_name());
        fs::rename(item.path(), &to).doing(format!("make {to:?}"))?;
    }
    fs::remove_dir(&made).doing(format!("remove {made:?}"))
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Gateway {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), String>>,
}

impl Gateway {
    /// Starts it and waits until it speaks SSH.
    pub async fn start(place: &Place, port: u16) -> Result<Self, DemoError> {
        let config = Config::load(&place.at("bastion.toml"))
            .map_err(|error| DemoError::Gateway(error.to_string()))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let stopped = async move {
                // A dropped sender says stop as well.
                stopped.await.unwrap_or_default();
            };
            serve::run(config, serve::Serving::default(), stopped)
                .await
                .map_err(|error| error.to_string())
        });
        let gateway = Self { stop: Some(stop), task };
        let give_up = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while !speaks_ssh(port).await {
            if gateway.task.is_finished() {
                return Err(gateway.end().await.err().unwrap_or_else(ended_early));
            }
            if Instant::now() > give_up {
                let sentence = format!("the gateway does not answer on port {port}");
                return Err(DemoError::Gateway(sentence));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(gateway)
    }

    /// Resolves when it ends by itself, which it should not.
    pub async fn ended(&mut self) -> DemoError {
        match (&mut self.task).await {
            Ok(Err(sentence)) => DemoError::Gateway(sentence),
            Ok(Ok(())) => ended_early(),
            Err(panic) => DemoError::Gateway(format!("the gateway failed: {panic}")),
        }
    }

    /// Ends it in order, and says how that went.
    pub async fn end(mut self) -> Result<(), DemoError> {
        drop(self.stop.take());
        match self.task.await {
            Ok(done) => done.map_err(DemoError::Gateway),
            Err(panic) => Err(DemoError::Gateway(format!("the gateway failed: {panic}"))),
        }
    }
}

fn ended_early() -> DemoError {
    DemoError::Gateway("the gateway ended by itself; its log is gateway.log".to_owned())
}

async fn speaks_ssh(port: u16) -> bool {
    let banner = async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect(address).await?;
        let mut banner = [0_u8; 8];
        stream.read_exact(&mut banner).await?;
        Ok::<_, io::Error>(&banner == b"SSH-2.0-")
    };
    matches!(timeout(Duration::from_secs(1), banner).await, Ok(Ok(true)))
}
