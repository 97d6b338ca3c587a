//! A VM that lets everybody in, shows a prompt, and echoes.

use russh::{
    Channel, ChannelId, Pty,
    keys::{Certificate, load_secret_key},
    server::{self, Auth, ChannelOpenHandle, Handler, Msg, Session, VerifiedPublicKey},
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::net::TcpListener;

/// Where, and as whom.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    listen: String,
    /// Its host key; the certificate is beside it
    #[arg(long)]
    key: PathBuf,
}

/// Serves until standard input ends.
pub async fn run(args: &Args) {
    let certificate = std::fs::read_to_string(args.key.with_file_name("host-cert.pub")).unwrap();
    let config = Arc::new(server::Config {
        keys: vec![load_secret_key(&args.key, None).unwrap()],
        certificates: vec![Certificate::from_openssh(certificate.trim()).unwrap()],
        auth_rejection_time: Duration::ZERO,
        nodelay: true,
        inactivity_timeout: None,
        ..server::Config::default()
    });
    let listener = TcpListener::bind(&args.listen).await.unwrap();
    println!("ready");
    tokio::select! {
        () = super::standard_input_ends() => {}
        () = serve(listener, config) => {}
    }
}

async fn serve(listener: TcpListener, config: Arc<server::Config>) {
    while let Ok((stream, _)) = listener.accept().await {
        let config = Arc::clone(&config);
        tokio::spawn(async move {
            if let Ok(session) = server::run_stream(config, stream, Host).await {
                session.await.ok();
            }
        });
    }
}

struct Host;

impl Handler for Host {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }
    async fn auth_openssh_certificate(
        &mut self,
        _: &str,
        _: &Certificate,
    ) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }
    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        Ok(())
    }
    async fn pty_request(
        &mut self,
        id: ChannelId,
        _: &str,
        _: u32,
        _: u32,
        _: u32,
        _: u32,
        _: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(id)
    }
    async fn shell_request(
        &mut self,
        id: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_success(id)?;
        session.data(id, "ops@idle:~$ ")
    }
    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.data(id, data.to_vec())
    }
}
