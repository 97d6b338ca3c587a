//! A gateway with nothing but a relay: whoever connects reaches the VM.
//!
//! The product's own ingress asks many questions first; these tests are about what happens to
//! bytes, so their handler is the shortest one that feeds the relay as the product's does.

use crate::vm::Vm;
use audit_schema::event::Level;
use bastion::{
    clock, egress, keyfile,
    relay::{
        self, Closing, Evidence, Quotas, Spools, Terms,
        downstream::{Downstream, Flow, Inbox, Input, Kind, Lent, Pty, Setup, WindowSize},
        recording::{ChannelMeta, Recipient, Recorder},
    },
};
use bastion_core::{consent::RecordingLevel, id::LeaseId, lease::Cause};
use russh::{
    Channel, ChannelId, ChannelWriteHalf, Sig,
    keys::{Certificate, PublicKey, load_secret_key},
    server::{self, Auth, Handler, Msg, Session, VerifiedPublicKey},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::Instant,
};

pub struct Gateway {
    pub port: u16,
    pub private_key: String,
    pub shared: Arc<Shared>,
}

pub struct Shared {
    pub spools: Arc<Spools>,
    pub recorder: Recorder,
    pub end: watch::Sender<Option<Cause>>,
    pub idle: Mutex<Duration>,
    pub evidence: Mutex<Vec<Evidence>>,
    pub ended: Mutex<Vec<Ended>>,
    egress: egress::Egress,
    route: egress::Route,
    user: String,
    key: Arc<russh::keys::PrivateKey>,
    certificate: Certificate,
}

/// How a channel ended, and the recording that it left.
#[derive(Clone, Debug)]
pub struct Ended {
    pub reason: String,
    pub bytes: (u64, u64, u64),
    pub recording: std::path::PathBuf,
    pub wrapped: String,
    pub whole: bool,
}

impl Gateway {
    pub async fn start(vm: &Vm, instance: &str) -> Self {
        Self::within(vm, instance, Quotas::default()).await
    }

    /// The same with other quotas for what waits on disk.
    pub async fn within(vm: &Vm, instance: &str, quotas: Quotas) -> Self {
        let (private_key, public) = keyfile::make_recording_pair().unwrap();
        let provider = Recipient::from_pem(&public).unwrap();
        let authority: PublicKey = vm.text("host-ca.pub").parse().unwrap();
        let (end, _) = watch::channel(None);
        let shared = Arc::new(Shared {
            spools: Spools::within(&vm.folder, quotas),
            recorder: Recorder::start(&vm.folder, provider, 0).unwrap(),
            end,
            idle: Mutex::new(Duration::from_secs(600)),
            evidence: Mutex::default(),
            ended: Mutex::default(),
            egress: egress::Egress::new(vec![authority.key_data().clone()], Duration::from_secs(5)),
            route: egress::Route {
                address: format!("127.0.0.1:{}", vm.port),
                instance: instance.parse().unwrap(),
            },
            user: vm.user.clone(),
            key: Arc::new(load_secret_key(vm.folder.join("operator"), None).unwrap()),
            certificate: Certificate::from_openssh(&vm.text("operator-cert.pub")).unwrap(),
        });
        let config = Arc::new(server::Config {
            keys: vec![load_secret_key(vm.folder.join("host"), None).unwrap()],
            window_size: 2 << 20,
            event_buffer_size: 32,
            auth_rejection_time: Duration::ZERO,
            nodelay: true,
            ..server::Config::default()
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let flow = Flow::new(&accepting.spools);
                let socket = flow.tcp(stream);
                let shared = Arc::clone(&accepting);
                let handler = Operator { flow, shared, channels: HashMap::new() };
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, socket, handler).await {
                        drop(session.await);
                    }
                });
            }
        });
        Self { port, private_key, shared }
    }
}

struct Operator {
    flow: Flow,
    shared: Arc<Shared>,
    channels: HashMap<ChannelId, Waiting>,
}

struct Waiting {
    inbox: Inbox,
    input: Option<(Input, ChannelWriteHalf<Msg>)>,
    pty: Option<Pty>,
    env: Vec<(String, String)>,
}

impl Operator {
    fn begin(&mut self, id: ChannelId, kind: Kind, session: &mut Session) {
        let waiting = self.channels.get_mut(&id).unwrap();
        let (input, write) = waiting.input.take().unwrap();
        let (pty, env) = (waiting.pty.clone(), waiting.env.clone());
        let setup = Setup { kind, pty, env, lent: Lent::default(), notice: None };
        session.channel_success(id).unwrap();
        let handle = session.handle();
        let down = Downstream { input, write, handle, setup, opening: None };
        tokio::spawn(channel(Arc::clone(&self.shared), down));
    }
}

async fn channel(shared: Arc<Shared>, down: Downstream) {
    let handle = down.handle.clone();
    let id = down.write.id();
    if let Err(why) = try_channel(&shared, down).await {
        let said = format!("gateway: {why}\r\n").into_bytes();
        drop(handle.extended_data(id, 1, said).await);
        handle.exit_status_request(id, 254).await.ok();
        handle.close(id).await.ok();
    }
}

async fn try_channel(shared: &Shared, down: Downstream) -> Result<(), String> {
    let dialled = shared.egress.dial(&shared.route).await.map_err(|why| why.to_string())?;
    let who = egress::Credentials {
        unix_user: shared.user.clone(),
        certificate: shared.certificate.clone(),
        key: Arc::clone(&shared.key),
    };
    let up = dialled.log_in(who).await.map_err(|why| why.to_string())?;
    let blank = shared.recorder.blank_for(Level::Troubleshoot, "").unwrap();
    let (path, wrapped) = (shared.recorder.path(blank.id()), blank.wrapped_json().to_owned());
    let meta = ChannelMeta::of(
        (LeaseId::from_entropy([1; 10]), RecordingLevel::Full),
        &down.setup,
        clock::now(),
    );
    let recording = shared.recorder.open(blank, meta).await.unwrap();
    let terms = Terms {
        deadline: Instant::now() + Duration::from_secs(3600),
        deadline_at: clock::now().plus_seconds(3600),
        deadline_cause: Cause::Deadline,
        end: shared.end.subscribe(),
        idle: *shared.idle.lock().unwrap(),
        files: None,
        tap: None,
        finds_commands: false,
    };
    let (evidence, mut found) = mpsc::channel(64);
    let run = relay::run(Box::new(down), Box::new(up), recording, terms, evidence);
    let gather = async {
        while let Some(evidence) = found.recv().await {
            shared.evidence.lock().unwrap().push(*evidence);
        }
    };
    let (closing, ()) = tokio::join!(run, gather);
    let Closing { reason, sentence, bytes_in, bytes_out, bytes_err, .. } = &closing;
    if let Some(sentence) = sentence {
        let said = format!("{sentence}\r\n").into_bytes();
        let say = closing.write.extended_data_bytes(1, said);
        drop(tokio::time::timeout(Duration::from_millis(250), say).await);
    }
    let ended = (reason.to_string(), (*bytes_in, *bytes_out, *bytes_err));
    drop(closing.write.close().await);
    let whole = closing.recording.close().await.is_ok();
    let (reason, bytes) = ended;
    shared.ended.lock().unwrap().push(Ended { reason, bytes, recording: path, wrapped, whole });
    Ok(())
}

impl Handler for Operator {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }
    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let id = channel.id();
        let (inbox, input) = self.flow.channel(id);
        let (_, write) = channel.split();
        let waiting = Waiting { inbox, input: Some((input, write)), pty: None, env: Vec::new() };
        self.channels.insert(id, waiting);
        reply.accept().await;
        Ok(())
    }
    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let size = WindowSize { columns, rows, width, height };
        let pty = Pty { term: term.into(), size, modes: modes.to_vec() };
        self.channels.get_mut(&id).unwrap().pty = Some(pty);
        session.channel_success(id)
    }
    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.get_mut(&id).unwrap().env.push((name.into(), value.into()));
        session.channel_success(id)
    }
    async fn shell_request(&mut self, id: ChannelId, s: &mut Session) -> Result<(), Self::Error> {
        self.begin(id, Kind::Shell, s);
        Ok(())
    }
    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.begin(id, Kind::Exec(command.to_vec()), session);
        Ok(())
    }
    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        assert_eq!(name, "sftp");
        self.begin(id, Kind::Sftp, session);
        Ok(())
    }
    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        let size = WindowSize { columns, rows, width, height };
        self.channels[&id].inbox.window_change(size);
        Ok(())
    }
    async fn signal(
        &mut self,
        id: ChannelId,
        signal: Sig,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels[&id].inbox.signal(signal);
        Ok(())
    }
    async fn data(
        &mut self,
        id: ChannelId,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(waiting) = self.channels.get(&id) {
            waiting.inbox.data(data);
        }
        Ok(())
    }
    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(waiting) = self.channels.get(&id) {
            waiting.inbox.eof();
        }
        Ok(())
    }
    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(waiting) = self.channels.remove(&id) {
            waiting.inbox.closed();
        }
        Ok(())
    }
    fn adjust_window(&mut self, id: ChannelId, current: u32) -> u32 {
        self.flow.adjust_window(id, current)
    }
}
