//! VMs that misbehave, each in its own way: russh servers with certified host keys, raw sockets,
//! and a real sshd of one's own.

use bastion::ingress::severable::{Blade, Severable};
use bastion_tests::world::{Person, World, until};
use russh::{
    Channel, ChannelId, ChannelOpenFailure,
    keys::{Certificate, PrivateKey, ssh_key},
    server::{self, Auth, ChannelOpenHandle, Handler, Msg, Session},
};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream as Plain},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

/// What is wrong with a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    NobodyListens,
    TakesNoConnection,
    Silent,
    Web,
    EndlessLines,
    LongLine,
    PlainKey,
    AnotherInstance,
    RefusesLogin,
    SilentLogin,
    DiesAtLogin,
    RefusesChannel,
    SilentChannel,
    DiesAtChannel,
    RefusesProgram,
    SilentProgram,
    ClosesAtOnce,
    EndsWithoutStatus,
    DiesRunning,
    FreezesRunning,
}

/// What keeps a faulty VM alive.
pub struct Kept {
    _sockets: Vec<Socket>,
    _streams: Vec<Plain>,
}

/// The name of a VM that is wrong in this way.
pub fn name(how: How) -> String {
    format!("{}.acme", format!("{how:?}").to_lowercase())
}

/// Enters a faulty VM into the inventory and starts it.
pub fn start(world: &World, runtime: &Runtime, how: How) -> Kept {
    let mut kept = Kept { _sockets: Vec::new(), _streams: Vec::new() };
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    add(world, &name(how), port, "ops:troubleshoot");
    match how {
        How::NobodyListens => kept._sockets.push(socket),
        How::TakesNoConnection => {
            // A queue that is full drops what else comes, as a firewall does.
            socket.listen(0).unwrap();
            for _ in 0..2 {
                let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
                filler.set_nonblocking(true).unwrap();
                // It says that it is in progress.
                filler.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).ok();
                kept._sockets.push(filler);
            }
            kept._sockets.push(socket);
        }
        _ => {
            socket.listen(16).unwrap();
            socket.set_nonblocking(true).unwrap();
            let certificate_of =
                if how == How::AnotherInstance { "pg-2.acme".into() } else { name(how) };
            let (key, certificate) = host_key(world, &name(how), &certificate_of);
            let config = Arc::new(server::Config {
                keys: vec![key],
                certificates: (how != How::PlainKey).then_some(certificate).into_iter().collect(),
                auth_rejection_time: Duration::ZERO,
                ..server::Config::default()
            });
            let _guard = runtime.enter();
            let listener = TcpListener::from_std(std::net::TcpListener::from(socket)).unwrap();
            runtime.spawn(accept(listener, config, how));
        }
    }
    kept
}

/// Enters a VM.
pub fn add(world: &World, name: &str, port: u16, account: &str) {
    let words = format!("--service acme-pg --address 127.0.0.1:{port} --account {account}");
    world.order(Person::Odile, &format!("vm add {name} {words}"));
}

/// A host key with a certificate of the VM-host CA for the living instance of a VM.
fn host_key(world: &World, file: &str, certified: &str) -> (PrivateKey, Certificate) {
    let path = format!("keys/host-{file}");
    world.run("ssh-keygen", &["-q", "-N", "", "-t", "ed25519", "-f", &path]).exits(0);
    let public = fs::read(world.dir().join(format!("{path}.pub"))).unwrap();
    let certify = ["bastion", &format!("vm certify {certified}")];
    let signed = world.ssh_with(Person::Odile, &certify, &public).exits(0).text();
    fs::write(world.dir().join(format!("{path}-cert.pub")), &signed).unwrap();
    let key = russh::keys::load_secret_key(world.dir().join(path), None).unwrap();
    (key, ssh_key::Certificate::from_openssh(signed.trim()).unwrap())
}

async fn accept(listener: TcpListener, config: Arc<server::Config>, how: How) {
    while let Ok((stream, _)) = listener.accept().await {
        let config = config.clone();
        tokio::spawn(async move {
            match how {
                How::Silent => std::future::pending().await,
                How::Web => say(stream, b"HTTP/1.1 400 Bad Request\r\n\r\n", 1).await,
                How::EndlessLines => say(stream, b"no ssh here\r\n", usize::MAX).await,
                How::LongLine => say(stream, &[b'x'; 4096], usize::MAX).await,
                how => {
                    let (stream, blade) = Severable::new(stream);
                    if let Ok(session) =
                        server::run_stream(config, stream, Faulty { how, blade }).await
                    {
                        // However it ends: the gateway is what is looked at.
                        session.await.ok();
                    }
                }
            }
        });
    }
}

async fn say(mut stream: TcpStream, words: &[u8], times: usize) {
    for _ in 0..times {
        if stream.write_all(words).await.is_err() {
            return;
        }
    }
}

struct Faulty {
    how: How,
    blade: Blade,
}

impl Faulty {
    async fn vanish<T>(&self) -> Result<T, russh::Error> {
        self.blade.cut();
        Err(russh::Error::Disconnect)
    }
}

impl Handler for Faulty {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        _: &str,
        _: &Certificate,
    ) -> Result<Auth, Self::Error> {
        match self.how {
            How::RefusesLogin => Ok(Auth::reject()),
            How::SilentLogin => std::future::pending().await,
            How::DiesAtLogin => self.vanish().await,
            _ => Ok(Auth::Accept),
        }
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.how {
            How::RefusesChannel => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            How::SilentChannel => std::mem::forget(reply),
            How::DiesAtChannel => self.vanish().await?,
            _ => reply.accept().await,
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.how {
            How::RefusesProgram => return session.channel_failure(id),
            How::SilentProgram => return Ok(()),
            How::ClosesAtOnce => return session.close(id),
            _ => session.channel_success(id)?,
        }
        session.data(id, "part\n")?;
        match self.how {
            How::EndsWithoutStatus => {
                session.eof(id)?;
                session.close(id)?;
            }
            How::DiesRunning => {
                let blade = self.blade.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    blade.cut();
                });
            }
            _ => {}
        }
        Ok(())
    }

    async fn data(&mut self, _: ChannelId, _: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        if self.how == How::FreezesRunning {
            // Neither reads nor answers from here on, and its kernel still acknowledges.
            std::future::pending().await
        }
        Ok(())
    }
}

/// A real sshd whose operators are the user who runs the test.
pub struct Sshd {
    child: Child,
    pub port: u16,
    principal: String,
    unix_user: String,
}

impl Sshd {
    /// Enters it under a name, with more lines for its configuration; `unix_user` is the account.
    pub fn start(world: &World, name: &str, unix_user: &str, more: &str) -> Self {
        let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = reserved.local_addr().unwrap().port();
        drop(reserved);
        add(world, name, port, &format!("ops:troubleshoot:{unix_user}"));
        host_key(world, name, name);
        let at = |file: &str| world.dir().join(file).display().to_string();
        let listed = world.order(Person::Odile, "vm list --json").text();
        let instance = instance_of(&listed, name);
        let principals = format!("principals-{name}");
        let principal = format!("troubleshoot:ops@{instance}");
        fs::write(at(&principals), format!("{principal}\n")).unwrap();
        let (host, ca) = (at(&format!("keys/host-{name}")), at("keys/user-ca.pub"));
        let ca = if more.contains("TrustedUserCAKeys") {
            String::new()
        } else {
            format!("TrustedUserCAKeys {ca}\n")
        };
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {host}\nHostCertificate {host}-cert.pub\n{ca}\
             AuthorizedPrincipalsFile {}\nAuthorizedKeysFile none\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
             PermitRootLogin prohibit-password\n{more}\n",
            at(&principals)
        );
        let config = at(&format!("sshd-{name}"));
        fs::write(&config, text).unwrap();
        let log = fs::File::create(at(&format!("sshd-{name}.log"))).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", &config]).stdin(Stdio::null()).stderr(log);
        let child = sshd.spawn().unwrap();
        until("sshd to listen", 20, || Plain::connect(("127.0.0.1", port)).is_ok());
        Self { child, port, principal, unix_user: unix_user.to_owned() }
    }

    /// `ssh` to it without the gateway, with a certificate such as the gateway makes.
    pub fn straight(&self, world: &World, command: &str) -> Command {
        let key = ["-q", "-N", "", "-t", "ed25519", "-f", "keys/straight"];
        world.run("ssh-keygen", &key).exits(0);
        let sign = ["-q", "-s", "keys/user-ca", "-I", "straight", "-n", &self.principal];
        world.run("ssh-keygen", &[&sign[..], &["keys/straight.pub"]].concat()).exits(0);
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-i", "keys/straight"])
            .args(["-p", &self.port.to_string(), "-l", &self.unix_user, "127.0.0.1", command])
            .current_dir(world.dir());
        ssh
    }

    /// The processes of its sessions.
    pub fn sessions(&self) -> Vec<i32> {
        let out = crate::output("pgrep", &["-P", &self.child.id().to_string()]);
        let of = |parent: &str| crate::output("pgrep", &["-P", parent]);
        let mut all: Vec<String> = out.lines().map(str::to_owned).collect();
        let below: Vec<String> = all
            .iter()
            .flat_map(|pid| of(pid).lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        all.extend(below);
        all.iter().filter_map(|pid| pid.parse().ok()).collect()
    }
}

fn instance_of(listed: &str, name: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(listed).unwrap();
    let all = json["vms"].as_array().expect("a list of VMs");
    let vm = all.iter().map(|vm| &vm["vm"]).find(|vm| vm["vm"] == name).expect("it is listed");
    vm["id"].as_str().expect("an instance").to_owned()
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for pid in self.sessions() {
            // It may have ended already.
            nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            )
            .ok();
        }
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}
