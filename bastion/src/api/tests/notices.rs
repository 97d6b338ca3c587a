//! What approvers are told: a hook and a webhook of this machine, real processes and sockets.

use super::{World, text};
use crate::notices::{Courier, Tries, Trust};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use ed25519_dalek::{Signature, SigningKey, Verifier as _};
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    thread::JoinHandle,
};

pub const ASK: &str = "request pg-1.acme --account dba --reason SECURITY_REVIEW --for 1h --note x";

fn courier(world: &World) -> Courier {
    Courier {
        ledger: world.app.ledger.clone(),
        key: SigningKey::from_bytes(&[7; 32]),
        hooks: world.dir.join("hooks"),
        trust: Trust::default(),
    }
}

fn hook(world: &World, name: &str, script: &str) {
    let folder = world.dir.join("hooks");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
}

/// A web server that takes one request, answers it, and hands over what it got.
fn server(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut got = Vec::new();
        let mut piece = [0; 4096];
        while !complete(&got) {
            let count = stream.read(&mut piece).unwrap();
            assert_ne!(count, 0, "the request broke off");
            got.extend_from_slice(&piece[..count]);
        }
        write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .unwrap();
        String::from_utf8(got).unwrap()
    });
    (port, thread)
}

/// Whether the head and as many bytes of the body as it says are there.
pub fn complete(got: &[u8]) -> bool {
    let text = String::from_utf8_lossy(got).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(usize::MAX)
}

#[tokio::test]
async fn a_hook_gets_the_notice_and_the_log_says_that_it_was_delivered() {
    let world = World::new().await;
    hook(&world, "keep", "cat > told.json");
    world.officer("customer notify acme --hook keep", "").await.done();
    world.run(&world.olga, ASK, b"").await.done();
    let size = world.size();
    assert!(!courier(&world).sweep(&mut Tries::new()).await.unwrap());
    let told = std::fs::read_to_string(world.dir.join("hooks/told.json")).unwrap();
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(text(&told, "kind"), "consent.requested");
    assert_eq!(text(&told, "origin"), "bastion.example");
    assert!(text(&told["facts"], "summary").contains("pg-1.acme"));
    let events = world.events(size).await;
    assert_eq!(text(&events[0], "type"), "notice.delivered");
    assert_eq!(text(&events[0], "notice"), text(&told, "id"));
    // It left the outbox.
    let size = world.size();
    courier(&world).sweep(&mut Tries::new()).await.unwrap();
    assert_eq!(world.size(), size);
}

#[tokio::test]
async fn a_webhook_gets_it_signed() {
    let world = World::new().await;
    let (port, got) = server("204 No Content");
    let notify = format!("customer notify acme --webhook http://127.0.0.1:{port}/consent?x=1");
    world.officer(&notify, "").await.done();
    world.run(&world.olga, ASK, b"").await.done();
    let size = world.size();
    courier(&world).sweep(&mut Tries::new()).await.unwrap();
    assert_eq!(text(&world.events(size).await[0], "type"), "notice.delivered");
    let got = got.join().unwrap();
    assert!(got.starts_with("POST /consent?x=1 HTTP/1.1\r\n"), "{got}");
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let header = head.lines().find(|line| line.to_lowercase().starts_with("bastion-signature: "));
    let (time, signature) = header.unwrap()[19..].split_once(",ed25519=").unwrap();
    let signed = format!("{}.{body}", time.strip_prefix("t=").unwrap());
    let bytes: [u8; 64] = BASE64.decode(signature).unwrap().try_into().unwrap();
    let key = SigningKey::from_bytes(&[7; 32]).verifying_key();
    key.verify(signed.as_bytes(), &Signature::from_bytes(&bytes)).unwrap();
}

#[tokio::test]
async fn what_fails_is_tried_again_alarms_and_is_never_lost() {
    let world = World::new().await;
    hook(&world, "broken", "exit 1");
    world.officer("customer notify acme --hook broken", "").await.done();
    world.run(&world.olga, ASK, b"").await.done();
    let mut tries = Tries::new();
    let mut late = Vec::new();
    for _ in 0..4 {
        late.push(courier(&world).sweep(&mut tries).await.unwrap());
        tries.values_mut().for_each(crate::notices::Tried::at_once);
    }
    assert_eq!(late, [false, false, true, true]);
    let (port, got) = server("500 Oops");
    let notify = format!("customer notify acme --webhook http://127.0.0.1:{port}/");
    world.officer(&notify, "").await.done();
    courier(&world).sweep(&mut tries).await.unwrap();
    got.join().unwrap();
    assert_eq!(tries.len(), 1, "a refusal of the server is no delivery");
    // A hook that works now still gets it.
    hook(&world, "keep", "cat > told.json");
    world.officer("customer notify acme --hook keep", "").await.done();
    tries.values_mut().for_each(crate::notices::Tried::at_once);
    courier(&world).sweep(&mut tries).await.unwrap();
    assert!(world.dir.join("hooks/told.json").exists());
}
