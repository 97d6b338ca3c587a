//! `bastion serve`: from an opened log to the last entry.
//!
//! In order: recover what a crash left open, check that the policy is the one in force, enter the
//! start, and only then listen. At the end: no new connections, every channel ended and entered,
//! and the stop is the last entry. A crash anywhere before that is what the next start recovers.

use crate::{
    api::{self, socket::Socket},
    app::{App, StartError, log, policy},
    config::Config,
    ingress::{ListenError, Listener, Visitor},
    keyfile,
    ledger::{heartbeat, publish, witnessed},
    metrics::{self, Alarm, METRICS},
    notices::{self, Courier, Trust, alarms::Bell},
};
use bastion_core::limits::{VISITOR_TAKEN_MILLIS, VISITORS_WAITING_MAX};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

/// What `bastion serve` may be told besides its configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serving {
    /// Put the policy files in force if they are not.
    pub accept_policy: bool,
    /// Listen on no port: only visitors come (`--stdio`), and the end waits for the last of them.
    pub visitors_only: bool,
}

/// Why a gateway does not run, or did not end in order.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The deployment.
    #[error(transparent)]
    Open(#[from] StartError),
    /// The ports.
    #[error(transparent)]
    Listen(#[from] ListenError),
}

/// Runs the gateway of a deployment until `stop` resolves.
pub async fn run(
    config: Config,
    serving: Serving,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    raise_descriptors();
    let app = Arc::new(App::open_to_serve(config).await?);
    check_policy(&app, serving).await?;
    let socket = Socket::bind(&app.config.socket)
        .await
        .map_err(|error| StartError::Io(app.config.socket.clone(), error))?;
    let (door, visitors) = mpsc::channel(VISITORS_WAITING_MAX);
    let ports = if serving.visitors_only { &[][..] } else { &app.config.listen };
    let listener = Listener::bind(Arc::clone(&app), ports, visitors).await?;
    announce(&app).await?;

    // The pool of the store may hold connections that were opened on one of these.
    let threads = listener.threads();
    let visiting = listener.visiting();
    let (stopping, stopped) = watch::channel(false);
    let mut tasks = background(&app, (socket, door), courier(&app)?);
    tasks.spawn(notices::alarms::run(bell(&app)?));
    let mut listening = tokio::spawn(listener.serve(stopped));
    tokio::select! {
        () = stopping_time(&app, (serving, visiting), stop) => tracing::info!("stopping"),
        _ = &mut listening => tracing::error!("the listener ended by itself"),
    }
    stopping.send_replace(true);
    if !listening.is_finished() && listening.await.is_err() {
        tracing::error!("the listener did not end in order");
    }
    tasks.shutdown().await;
    // The last entry: whoever reads the log sees an orderly end.
    app.ledger.stopped("asked to stop").await.map_err(StartError::from)?.into_inner();
    drop(threads);
    Ok(())
}

/// Resolves when it is time to stop.
async fn stopping_time(
    app: &App,
    (serving, mut visiting): (Serving, watch::Receiver<usize>),
    stop: impl Future<Output = ()>,
) {
    stop.await;
    if !serving.visitors_only {
        return;
    }
    // From here on nobody finds us. Who did before has a moment to be taken, and all of them leave
    // before we do.
    if let Err(error) = fs::remove_file(&app.config.socket) {
        tracing::debug!(%error, "the socket was gone already");
    }
    tokio::time::sleep(Duration::from_millis(VISITOR_TAKEN_MILLIS)).await;
    // A sender that is gone means that nobody is there.
    let last = visiting.wait_for(|here| *here == 0).await.is_ok();
    tracing::debug!(last, "the last visitor has left");
}

/// Takes as many descriptors as the system lets us have: a channel needs two, and the usual limit
/// is 1,024.
fn raise_descriptors() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}

/// What tells the approvers.
fn courier(app: &App) -> Result<Courier, StartError> {
    Ok(Courier {
        ledger: app.ledger.clone(),
        key: keyfile::read_log_key(&app.config.keys.notices)?,
        hooks: app.config.hooks.clone(),
        trust: Trust::new(app.config.extra_roots.clone()).map_err(StartError::Trust)?,
    })
}

/// What tells the provider's own people.
fn bell(app: &App) -> Result<Bell, StartError> {
    let config = &app.config;
    let wrong = |setting: &str, why| StartError::Alarms(format!("alarms.{setting}: {why}"));
    let hook = config.alarms.hook.as_deref().map(str::parse).transpose();
    let webhook = config.alarms.webhook.as_deref().map(str::parse).transpose();
    Ok(Bell {
        origin: config.origin.clone(),
        gateway: config.gateway.clone(),
        hooks: config.hooks.clone(),
        hook: hook.map_err(|why| wrong("hook", why))?,
        webhook: webhook.map_err(|why| wrong("webhook", why))?,
        trust: Trust::new(config.extra_roots.clone()).map_err(StartError::Trust)?,
        key: keyfile::read_log_key(&config.keys.notices)?,
    })
}

/// What runs beside the listener for the life of the gateway.
fn background(
    app: &Arc<App>,
    (socket, door): (Socket, mpsc::Sender<Visitor>),
    courier: Courier,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    tasks.spawn(socket.serve(Arc::clone(app), door));
    let watching = Arc::clone(app);
    tasks.spawn(async move { watching.live.watch(&watching.ledger).await });
    if app.ledger.db().is_postgres() {
        let watching = Arc::clone(app);
        tasks.spawn(async move { watching.sessions.watch(&watching.ledger).await });
    }
    tasks.spawn(api::sweep(Arc::clone(app)));
    tasks.spawn(api::web::run(Arc::clone(app)));
    tasks.spawn(notices::run(courier));
    tasks.spawn(api::revocations::keep(Arc::clone(app)));
    tasks.spawn(index(Arc::clone(app)));
    tasks.spawn(heartbeat::run(app.ledger.clone(), app.config.provable.heartbeat));
    match log::published_folder(&app.config, &app.ledger) {
        Some(folder) => drop(tasks.spawn(publish::run(app.ledger.clone(), folder))),
        None if app.ledger.panel().is_some() => {
            tasks.spawn(witnessed::run(app.ledger.clone()));
        }
        None => {}
    }
    if let Some(address) = app.config.metrics {
        tasks.spawn(async move {
            if let Err(error) = metrics::serve(address).await {
                tracing::error!(%error, "metrics are not served");
            }
        });
    }
    tasks
}

/// Feeds the query index for the life of the gateway, and says how far behind it is.
async fn index(app: Arc<App>) {
    loop {
        match app.projection().await {
            Ok(index) => {
                METRICS.alarm(Alarm::Projection, false);
                METRICS.projection_lag(index.lag());
            }
            Err(error) => {
                METRICS.alarm(Alarm::Projection, true);
                tracing::warn!(%error, "the query index cannot be opened; audit query will fail");
            }
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn check_policy(app: &App, serving: Serving) -> Result<(), StartError> {
    let found = app.policy.current().digest();
    match policy::in_force(app.ledger.db()).await? {
        Some(digest) if digest == found => Ok(()),
        Some(_) if serving.accept_policy => {
            policy::adopt(&app.ledger, found).await?.into_inner();
            Ok(())
        }
        in_force => Err(StartError::PolicyChanged {
            folder: app.config.policies.clone(),
            found,
            in_force: in_force.map_or_else(|| "none".into(), |digest| digest.to_string()),
        }),
    }
}

/// Enters the start, with how often the store was read while no gateway ran.
async fn announce(app: &App) -> Result<(), StartError> {
    let file = offline_reads_file(&app.config);
    let reads = match fs::read_to_string(&file) {
        Ok(text) => text.lines().count() as u64,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(StartError::Io(file, error)),
    };
    let digest = app.policy.current().digest().to_string();
    app.ledger.started(&digest, reads).await?.into_inner();
    if reads > 0 {
        // If we crash before this, the next start counts them again: too many, never too few.
        fs::remove_file(&file).map_err(|error| StartError::Io(file, error))?;
    }
    Ok(())
}

/// One line for each time that the store was read without being able to enter it.
pub fn offline_reads_file(config: &Config) -> PathBuf {
    config.dir.join("run/offline-reads")
}
