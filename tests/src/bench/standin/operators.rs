//! Operators who log in, look at their prompt, and wait.

use russh::{
    Channel, ChannelMsg,
    client::{self, Handle, Msg},
    keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key},
};
use std::{path::PathBuf, sync::Arc};
use tokio::{net::TcpStream, task::JoinSet};

/// How many log in at once.
const AT_ONCE: usize = 16;

/// How many, and how they come in.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    count: usize,
    #[arg(long)]
    key: PathBuf,
    #[arg(long)]
    account: String,
    /// The gateway's or jump host's address
    #[arg(long)]
    through: String,
    /// The name that it is given
    #[arg(long)]
    login: String,
    /// Open a forward to there first, and log in inside it
    #[arg(long, value_name = "HOST:PORT")]
    inside: Option<String>,
    /// Open the forward, and leave it at that
    #[arg(long)]
    forward_only: bool,
    /// Log in, and leave it at that
    #[arg(long)]
    login_only: bool,
}

struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// What an idle operator holds: dropping any of it would end the session.
type Held = (Handle<Anybody>, Option<Handle<Anybody>>, Option<Channel<Msg>>);

/// Logs all of them in, says so, and holds them until standard input ends.
pub async fn run(args: &Args) {
    let args = Arc::new(args.clone());
    let mut coming = JoinSet::new();
    let mut held: Vec<Held> = Vec::with_capacity(args.count);
    let mut started = 0;
    while held.len() < args.count {
        while started < args.count && coming.len() < AT_ONCE {
            started += 1;
            let args = Arc::clone(&args);
            coming.spawn(async move { come_in(&args).await });
        }
        match coming.join_next().await {
            Some(Ok(Ok(one))) => held.push(one),
            Some(Ok(Err(why))) => return println!("operator {}: {why}", held.len()),
            Some(Err(panic)) => return println!("operator {}: {panic}", held.len()),
            None => return println!("nobody is left to come in"),
        }
    }
    println!("ready");
    super::standard_input_ends().await;
}

async fn come_in(args: &Args) -> Result<Held, russh::Error> {
    let stream = TcpStream::connect(&args.through).await?;
    stream.set_nodelay(true)?;
    let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
    let mut outer = client::connect_stream(Arc::clone(&config), stream, Anybody).await?;
    log_in(&mut outer, &args.login, args).await?;
    if args.login_only {
        return Ok((outer, None, None));
    }
    let Some(inside) = &args.inside else {
        let channel = terminal(&outer).await?;
        return Ok((outer, None, Some(channel)));
    };
    let (host, port) = inside.rsplit_once(':').unwrap_or((inside, "22"));
    let port = port.parse().unwrap_or(22);
    let forward = outer.channel_open_direct_tcpip(host, port, "127.0.0.1", 1).await?;
    if args.forward_only {
        return Ok((outer, None, Some(forward)));
    }
    let mut inner = client::connect_stream(config, forward.into_stream(), Anybody).await?;
    log_in(&mut inner, &args.account, args).await?;
    let channel = terminal(&inner).await?;
    Ok((inner, Some(outer), Some(channel)))
}

async fn log_in(
    handle: &mut Handle<Anybody>,
    login: &str,
    args: &Args,
) -> Result<(), russh::Error> {
    let key = load_secret_key(&args.key, None)?;
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    match handle.authenticate_publickey(login, key).await?.success() {
        true => Ok(()),
        false => Err(russh::Error::NotAuthenticated),
    }
}

/// A shell behind a terminal, as soon as its prompt is there.
async fn terminal(handle: &Handle<Anybody>) -> Result<Channel<Msg>, russh::Error> {
    let mut channel = handle.channel_open_session().await?;
    channel.request_pty(false, "xterm-256color", 80, 24, 0, 0, &[]).await?;
    channel.request_shell(false).await?;
    let mut seen = Vec::new();
    while !seen.ends_with(b"$ ") {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => seen.extend_from_slice(&data),
            Some(ChannelMsg::Close) | None => return Err(russh::Error::Disconnect),
            Some(_) => {}
        }
    }
    Ok(channel)
}
