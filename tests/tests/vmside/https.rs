//! The HTTPS server, asked by curl and openssl.

use bastion::https::{Answer, Asked, Site, StatusCode, Tls, serve};
use futures_util::future::BoxFuture;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Says what it was asked.
struct Echo;

impl Site for Echo {
    fn answer(&self, asked: Asked) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            if asked.path == "/none" {
                return Answer::not_found();
            }
            let body = String::from_utf8_lossy(&asked.body).into_owned();
            let said = format!("{} {} {} {body}", asked.method, asked.path, asked.body.len());
            Answer::text(StatusCode::OK, said)
        })
    }
}

/// A folder with a certificate for localhost, gone with the value.
pub struct Folder(pub PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl Folder {
    pub fn new(label: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vmside-{label}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

/// Makes `chain.pem` and `key.pem` for localhost, their own authority.
pub fn certify(folder: &Path, days: u32) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-keyout", "key.pem", "-out", "chain.pem", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days"])
        .arg(days.to_string())
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

pub fn curl(folder: &Path, port: u16, path: &str, more: &[&str]) -> Output {
    Command::new("curl")
        .args(["-sS", "--max-time", "20", "--cacert", "chain.pem"])
        .args(more)
        .arg(format!("https://localhost:{port}{path}"))
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(done: &Output) -> String {
    String::from_utf8_lossy(&done.stdout).into_owned()
}

async fn start(label: &str) -> (Folder, u16, JoinHandle<std::io::Result<()>>) {
    let folder = Folder::new(label);
    certify(&folder.0, 2);
    let tls = Tls::new(&folder.0.join("chain.pem"), &folder.0.join("key.pem")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (folder, port, tokio::spawn(serve(listener, tls, Arc::new(Echo))))
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_is_answered_over_tls_and_what_is_too_long_is_refused() {
    let (folder, port, server) = start("curl").await;
    let dir = &folder.0;
    let said = curl(dir, port, "/a/b?c=d", &[]);
    assert_eq!(text(&said), "GET /a/b 0 ", "{said:?}");
    let said = curl(dir, port, "/x", &["-T", "-", "-H", "Transfer-Encoding: chunked"]);
    assert_eq!(text(&said), "PUT /x 0 ", "{said:?}");
    let said = curl(dir, port, "/x", &["--data-binary", "hello"]);
    assert_eq!(text(&said), "POST /x 5 hello", "{said:?}");
    let said = curl(dir, port, "/none", &["-w", "%{http_code}"]);
    assert_eq!(text(&said), "nothing is here\n404");
    std::fs::write(dir.join("big"), vec![b'x'; 70_000]).unwrap();
    for chunked in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
        let more = [&["-T", "big", "-o", "/dev/null", "-w", "%{http_code}"], chunked].concat();
        assert_eq!(text(&curl(dir, port, "/x", &more)), "413");
    }
    let plain = Command::new("curl")
        .args(["-sS", "--max-time", "20", &format!("http://localhost:{port}/")])
        .output()
        .unwrap();
    assert!(!plain.status.success(), "plain text must not be answered: {plain:?}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let (folder, port, server) = start("renewed").await;
    let before = std::fs::read(folder.0.join("chain.pem")).unwrap();
    // A key that does not fit its certificate leaves the pair before in use.
    let good = std::fs::read(folder.0.join("key.pem")).unwrap();
    std::fs::write(folder.0.join("key.pem"), "half written").unwrap();
    assert_eq!(text(&curl(&folder.0, port, "/", &[])), "GET / 0 ");
    std::fs::write(folder.0.join("key.pem"), good).unwrap();
    certify(&folder.0, 3);
    assert_ne!(before, std::fs::read(folder.0.join("chain.pem")).unwrap());
    assert_eq!(text(&curl(&folder.0, port, "/", &[])), "GET / 0 ");
    std::fs::write(folder.0.join("chain.pem"), before).unwrap();
    let refused = curl(&folder.0, port, "/", &[]);
    assert!(!refused.status.success(), "curl must see the new certificate: {refused:?}");
    server.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_loses_its_place_and_others_are_answered() {
    let (folder, port, server) = start("silent").await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let began = Instant::now();
    assert_eq!(text(&curl(&folder.0, port, "/", &[])), "GET / 0 ");
    assert!(began.elapsed() < Duration::from_secs(5));
    // No TLS handshake: cut after ten seconds.
    let mut first = silent.swap_remove(0);
    first.write_all(b"\x16").await.unwrap();
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(15), first.read(&mut byte)).await;
    assert!(matches!(read, Ok(Ok(0) | Err(_))), "{read:?}");
    server.abort();
}
