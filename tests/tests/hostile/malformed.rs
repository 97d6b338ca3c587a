//! What is no SSH, or the wrong SSH, before anybody has logged in: each ends its own connection
//! within the login grace, and nothing else.

use crate::{port, steady::Steady, times, wire, world};
use bastion_tests::world::Person::Olga;
use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// The login grace of this test, and what a loaded machine may take to notice.
pub const GRACE: u64 = 6;
pub const SLACK: Duration = Duration::from_secs(24);

const VERSION: &[u8] = b"SSH-2.0-hostile\r\n";

fn after_version(bytes: &[u8]) -> Vec<u8> {
    [VERSION, bytes].concat()
}

fn with_length(length: u32) -> Vec<u8> {
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend([4; 4096]);
    after_version(&packet)
}

fn message(payload: &[u8]) -> Vec<u8> {
    after_version(&wire::packet(payload))
}

/// After a KEXINIT that can be agreed to.
fn agreed(payload: &[u8]) -> Vec<u8> {
    let more = wire::packet(payload);
    after_version(&[wire::packet(&wire::good_kexinit()), more].concat())
}

fn before_the_version() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("nothing", Vec::new()),
        ("64 KiB without a line end", vec![b'A'; 64 << 10]),
        ("64 KiB of empty lines", b"\r\n".repeat(32 << 10)),
        ("a version line of 64 KiB", [b"SSH-2.0-", &[b'x'; 64 << 10][..], b"\r\n"].concat()),
        ("SSH 1", b"SSH-1.5-old\r\n".to_vec()),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: bastion\r\n\r\n".to_vec()),
        ("TLS", [&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3][..], &[9; 512]].concat()),
        ("zeroes", vec![0; 4096]),
        ("bytes that are no text", (0..=255).cycle().take(4096).collect()),
    ]
}

fn packets() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a version and nothing", VERSION.to_vec()),
        ("length 0", with_length(0)),
        ("length 1", with_length(1)),
        ("length 11, no multiple", with_length(11)),
        ("length 300,000", with_length(300_000)),
        ("length 2^31", with_length(1 << 31)),
        ("length 2^32 - 1", with_length(u32::MAX)),
        ("a length and not that much", after_version(&[0, 0, 64, 0, 4, 20])),
        ("padding longer than the packet", after_version(&[0, 0, 0, 12, 255, 20, 1, 2, 3, 4, 5])),
        ("no padding", after_version(&[0, 0, 0, 12, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])),
        ("an empty payload", after_version(&[0, 0, 0, 12, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
    ]
}

fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let named = |code: u8, name: &[u8]| [&[code][..], &wire::string(name)].concat();
    let huge = vec![b'a'; 200 << 10];
    let offer = wire::kexinit([b"none", b"none", b"none", b"none", b"none"]);
    let long = wire::kexinit([&huge, b"ssh-ed25519", b"aes256-ctr", b"hmac-sha1", b"none"]);
    let mut lying = wire::good_kexinit();
    lying[17..21].copy_from_slice(&u32::MAX.to_be_bytes());
    let login = [named(50, b"root"), wire::string(b"ssh-connection"), wire::string(b"none")];
    vec![
        ("KEXINIT without anything in it", message(&[20])),
        ("KEXINIT of garbage", message(&[&[20][..], &[0xa5; 800]].concat())),
        ("KEXINIT whose list is 2^32 - 1 long", message(&lying)),
        ("KEXINIT with nothing in common", message(&offer)),
        ("KEXINIT with a list of 200 KiB", message(&long)),
        ("NEWKEYS first", message(&[21])),
        ("a key exchange without KEXINIT", message(&named(30, &[9; 32]))),
        ("a service request before keys", message(&named(5, b"ssh-userauth"))),
        ("a login before keys", message(&login.concat())),
        ("a channel before keys", message(&named(90, b"session"))),
        ("data before keys", message(&[&[94, 0, 0, 0, 0][..], &wire::string(b"rm")].concat())),
        ("message 255", message(&[255; 64])),
        ("KEXINIT twice", agreed(&wire::good_kexinit())),
        ("a public key of zeroes", agreed(&named(30, &[0; 32]))),
        ("a public key of 31 bytes", agreed(&named(30, &[9; 31]))),
        ("a public key of 100 KiB", agreed(&named(30, &[9; 100 << 10]))),
        ("NEWKEYS in the key exchange", agreed(&[21])),
        ("a login in the key exchange", agreed(&login.concat())),
    ]
}

#[test]
fn malformed_before_login_ends_its_own_connection_and_nothing_else() {
    let world = world(&[("[ingress]", &format!("login_grace_seconds = {GRACE}"))]);
    let port = port(&world);
    let steady = Steady::begin(&world, "127.0.0.1");
    let cases = [before_the_version(), packets(), messages()].concat();
    for round in 0..times() {
        std::thread::scope(|scope| {
            for (number, (what, bytes)) in cases.iter().enumerate() {
                // From a network of its own, so that none of them is shut out for another.
                let from = Ipv4Addr::new(127, 30 + (round % 200) as u8, number as u8, 1);
                scope.spawn(move || ends(what, bytes, wire::connect(port, from)));
            }
        });
        steady.goes_on(20);
    }
    world.ssh(Olga, &["bastion", "whoami"]).exits(0);
    println!("{} answers beside {} cases", steady.end(), cases.len() * times());
}

#[track_caller]
fn ends(what: &str, bytes: &[u8], mut stream: TcpStream) {
    // The gateway may close before it has taken everything: that is the point.
    wire::send(&mut stream, bytes);
    let (said, took) = wire::to_the_end(&mut stream);
    assert!(took < Duration::from_secs(GRACE) + SLACK, "{what}: {took:?}");
    let text = String::from_utf8_lossy(&said).into_owned();
    assert!(text.is_empty() || text.starts_with("SSH-2.0-bastion\r\n"), "{what}: {text:?}");
}

/// Names that no machine has, from somebody whose key nobody knows: refused as any other.
#[test]
fn huge_login_names_of_strangers_are_refused() {
    let world = world(&[]);
    let steady = Steady::begin(&world, "127.0.0.1");
    let words = ["-q", "-N", "", "-t", "ed25519", "-f", "keys/stranger"];
    world.run("ssh-keygen", &words).exits(0);
    for length in [256, 4096, 100_000] {
        let name = "a".repeat(length);
        let words = ["-F", "ssh_config", "-o", "IdentitiesOnly=yes", "-l", &name, "bastion"];
        world.run("ssh", &words).exits(254).complains("too long");
        let from = format!("BindAddress=127.60.{}.1", length % 251);
        let strange = ["-F", "none", "-i", "keys/stranger", "-o", &from];
        let place = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
        let port = port(&world).to_string();
        let to = ["-p", &port, "-l", &name, "127.0.0.1"];
        let refused = world.run("ssh", &[&strange[..], &place, &to].concat());
        // With a name this long ssh has no room for its own "Permission denied".
        refused.exits(255);
    }
    steady.end();
}
