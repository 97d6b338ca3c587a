//! Webhooks over https: a certificate authority made by openssl, and a real TLS server.

use super::{World, text};
use crate::notices::{
    Courier, Tried, Tries, Trust, WebhookUrl,
    webhook::{post, signature},
};
use ed25519_dalek::SigningKey;
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

/// A certificate authority, and a certificate of it for `localhost`.
struct Authority(PathBuf);

impl Authority {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let made = Self(folder.to_path_buf());
        std::fs::write(folder.join("san"), "subjectAltName=DNS:localhost\n").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let name = folder.file_name().unwrap().display();
        made.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -subj /CN={name} -days 2"
        ));
        made.openssl(&format!("req {key} -keyout key.pem -out asked -subj /CN=localhost"));
        made.openssl(
            "x509 -req -in asked -CA ca.pem -CAkey ca.key -CAcreateserial -out chain.pem -days 2 \
             -extfile san",
        );
        made
    }

    fn openssl(&self, command: &str) {
        let done = Command::new("openssl").args(command.split(' ')).current_dir(&self.0).output();
        let done = done.expect("openssl is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Trusts this authority beside the machine's.
    fn trust(&self) -> Trust {
        Trust::new(Some(self.0.join("ca.pem"))).unwrap()
    }

    /// Takes one connection, answers its request, and hands over what it got: nothing, if the
    /// handshake failed.
    fn serve(&self, answer: &'static str) -> (u16, JoinHandle<Option<String>>) {
        let chain = CertificateDer::pem_file_iter(self.0.join("chain.pem"))
            .and_then(Iterator::collect)
            .unwrap();
        let key = PrivateKeyDer::from_pem_file(self.0.join("key.pem")).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut got = Vec::new();
            let mut piece = [0; 4096];
            while !super::notices::complete(&got) {
                match stream.read(&mut piece) {
                    Ok(count) if count > 0 => got.extend_from_slice(&piece[..count]),
                    _ => return None,
                }
            }
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").unwrap();
            Some(String::from_utf8(got).unwrap())
        });
        (port, thread)
    }
}

/// Posts to a server of the authority, under a name; what came of it, and whether it arrived.
async fn posted(from: &Authority, trust: &Trust, at: (&str, &'static str)) -> (String, bool) {
    let (host, answer) = at;
    let (port, got) = from.serve(answer);
    let url: WebhookUrl = format!("https://{host}:{port}/consent").parse().unwrap();
    let header = signature(&SigningKey::from_bytes(&[7; 32]), 1, b"{}");
    let result = post(&url, trust, header, b"{}".to_vec()).await;
    (result.err().unwrap_or_default(), got.join().unwrap().is_some())
}

#[tokio::test]
async fn only_a_server_that_can_prove_its_name_gets_a_notice() {
    let world = World::new().await;
    let acme = Authority::new(&world.dir.join("acme"));
    let other = Authority::new(&world.dir.join("other"));
    const FINE: &str = "204 No Content";
    let trust = acme.trust();
    assert_eq!(posted(&acme, &trust, ("localhost", FINE)).await, (String::new(), true));
    let cases = [
        ("no extra roots", Trust::default(), "localhost", "unknown issuer"),
        ("another authority", other.trust(), "localhost", "unknown issuer"),
        ("another name", acme.trust(), "127.0.0.1", "not valid for name"),
    ];
    for (name, trust, host, cause) in cases {
        let (error, arrived) = posted(&acme, &trust, (host, FINE)).await;
        assert!(error.starts_with("webhook: ") && error.contains(cause), "{name}: {error}");
        assert!(!arrived, "{name}: the notice left before the server was known");
    }
    // A redirect is an answer like any other that is not 2xx.
    let moved = "307 Moved\r\nLocation: https://localhost:1/";
    let (error, arrived) = posted(&acme, &trust, ("localhost", moved)).await;
    assert!(error.contains("answered 307") && arrived, "{error}");
}

#[tokio::test]
async fn a_notice_by_https_waits_until_its_server_is_believed() {
    let world = World::new().await;
    let acme = Authority::new(&world.dir.join("acme"));
    let mut courier = Courier {
        ledger: world.app.ledger.clone(),
        key: SigningKey::from_bytes(&[7; 32]),
        hooks: world.dir.join("hooks"),
        trust: Trust::default(),
    };
    let (port, got) = acme.serve("200 OK");
    let notify = format!("customer notify acme --webhook https://localhost:{port}/consent");
    world.officer(&notify, "").await.done();
    world.run(&world.olga, super::notices::ASK, b"").await.done();
    let size = world.size();
    let mut tries = Tries::new();
    courier.sweep(&mut tries).await.unwrap();
    assert_eq!((tries.len(), world.size(), got.join().unwrap()), (1, size, None));

    courier.trust = acme.trust();
    let (port, got) = acme.serve("200 OK");
    let notify = format!("customer notify acme --webhook https://localhost:{port}/consent");
    world.officer(&notify, "").await.done();
    let size = world.size();
    tries.values_mut().for_each(Tried::at_once);
    courier.sweep(&mut tries).await.unwrap();
    let delivered = &world.events(size).await[0];
    assert_eq!(text(delivered, "type"), "notice.delivered");
    assert_eq!(delivered["attempts"], 2);
    let got = got.join().unwrap().expect("arrived").to_lowercase();
    assert!(got.starts_with("post /consent http/1.1\r\n"), "{got}");
    assert!(got.contains("\r\nbastion-signature: t="), "{got}");
}

/// A listener that never says a word of TLS does not hold the notices of others up.
#[tokio::test]
async fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let (give_up, until) = mpsc::channel::<()>();
    let silent = std::thread::spawn(move || {
        let connection = listener.accept();
        until.recv_timeout(Duration::from_secs(60)).unwrap_or_default();
        drop(connection);
    });
    let started = tokio::time::Instant::now();
    let url: WebhookUrl = url.parse().unwrap();
    let world = World::new().await;
    let trust = Authority::new(&world.dir.join("acme")).trust();
    let error = post(&url, &trust, "t".into(), b"{}".to_vec()).await.unwrap_err();
    assert!(error.contains("timeout"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    drop(give_up);
    silent.join().unwrap();
}

#[test]
fn roots_that_are_none_are_found_at_the_start() {
    let folder = std::env::temp_dir().join(format!("bastion-roots-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("roots.pem");
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (content, cause) in [(None, "roots.pem"), (Some(""), "no certificate"), (Some(broken), "")]
    {
        if let Some(content) = content {
            std::fs::write(&file, content).unwrap();
        }
        let error = Trust::new(Some(file.clone())).unwrap_err();
        assert!(error.contains("notices.extra_roots") && error.contains(cause), "{error}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
