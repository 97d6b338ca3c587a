//! Sources that guess: answered slower and slower, then shut out for a time, and told so.

use crate::{port, steady::Steady, times, wire, world};
use bastion_tests::world::{Answer, Person, World, until};
use russh::{
    client,
    keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, ssh_key},
};
use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// How long a shut-out lasts in these tests.
const OUT_SECONDS: u64 = 8;

fn guessed_at() -> World {
    let out = format!("shut_out_seconds = {OUT_SECONDS}\nshut_out_seconds_max = 3600");
    let never = "never_shut_out = [\"127.0.9.0/24\"]";
    let world = world(&[("[guessing]", &format!("{out}\n{never}"))]);
    let words = ["-q", "-N", "", "-t", "ed25519", "-f", "keys/stranger"];
    world.run("ssh-keygen", &words).exits(0);
    let convert = ["openssh", "dropbear", "keys/stranger", "stranger.dropbear"];
    world.run("dropbearconvert", &convert).exits(0);
    world
}

fn stranger(world: &World, from: &str) -> Answer {
    let port = port(world).to_string();
    let from = format!("BindAddress={from}");
    let place = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"];
    let words = ["-F", "none", "-i", "keys/stranger", "-o", &from, "-p", &port, "127.0.0.1", "id"];
    world.run("ssh", &[&words[..8], &place, &words[8..]].concat())
}

fn olga(world: &World, from: &str) -> Answer {
    let from = format!("BindAddress={from}");
    world.ssh(Person::Olga, &["-o", &from, "bastion", "whoami"])
}

#[test]
fn a_guesser_is_slowed_shut_out_told_and_let_in_again() {
    let world = guessed_at();
    // Somebody's session from the very address that will guess.
    let steady = Steady::begin(&world, "127.0.7.1");
    let began = Instant::now();
    for _ in 0..10 {
        stranger(&world, "127.0.7.1").exits(255).complains("Permission denied (publickey)");
    }
    assert!(began.elapsed() > Duration::from_secs(12), "answers get slower: {:?}", began.elapsed());
    let said = "too many failed logins from your address: try again in";
    stranger(&world, "127.0.7.1").exits(255).complains(said);
    olga(&world, "127.0.7.1").exits(255).complains(said);
    let port_number = port(&world).to_string();
    let other = ["-b", "127.0.7.1", "-y", "-y", "-i", "stranger.dropbear", "-p", &port_number];
    let dropbear = world.run("dbclient", &[&other[..], &["x@127.0.0.1", "id"]].concat());
    // It shows no reason, and exits with 0 as it does for any disconnect.
    dropbear.complains("Disconnect received");
    // Its neighbours get in, and who is inside goes on.
    olga(&world, "127.0.7.2").exits(0);
    steady.goes_on(50);
    until("the shut-out to end", 5 * OUT_SECONDS, || olga(&world, "127.0.7.1").exit == 0);
    let log = world.log();
    let outs = log.events("source.shut_out");
    assert_eq!(outs.len(), 1, "one for each shut-out");
    assert_eq!((outs[0]["count"].as_u64(), outs[0]["failed"].as_u64()), (Some(1), Some(10)));
    let shown = world.bastion(&["doctor", "--offline"]).exits(0);
    shown.says("10 failed logins shut out for 8 to 3600 s").says("127.0.9.0/24 is never shut out");
    println!("{} answers beside the guesser", steady.end());
}

#[test]
fn an_address_that_is_spared_is_only_slowed() {
    let world = guessed_at();
    let guesses = |from: &'static str| {
        let runs = (0..12).map(|_| stranger(&world, from).err);
        runs.filter(|said| said.contains("Permission denied")).count()
    };
    std::thread::scope(|scope| {
        let spared = scope.spawn(|| guesses("127.0.9.1"));
        let other = scope.spawn(|| guesses("127.0.8.1"));
        assert_eq!(spared.join().unwrap(), 12);
        assert!(other.join().unwrap() < 12);
    });
    olga(&world, "127.0.9.1").exits(0);
    assert_eq!(world.log().events("source.shut_out").len(), 1);
}

struct Anybody;

impl client::Handler for Anybody {
    type Error = russh::Error;
    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// One connection with one key that nobody knows; whether it came as far as to be refused.
async fn guess(port: u16, from: Ipv4Addr, key: Arc<PrivateKey>) -> bool {
    let config = Arc::new(client::Config::default());
    let stream = tokio::task::spawn_blocking(move || {
        let stream = wire::connect(port, from);
        stream.set_nonblocking(true).unwrap();
        stream
    });
    let stream = tokio::net::TcpStream::from_std(stream.await.unwrap()).unwrap();
    let Ok(mut handle) = client::connect_stream(config, stream, Anybody).await else {
        return false;
    };
    let key = PrivateKeyWithHashAlg::new(key, None);
    handle.authenticate_publickey("root", key).await.is_ok_and(|answer| !answer.success())
}

/// Thousands of failed logins, from one address and from many: what reaches a key exchange is
/// bounded, the log is not filled, and a session beside them goes on.
#[test]
fn thousands_of_failed_logins_end_on_the_doorstep() {
    let world = guessed_at();
    let port = port(&world);
    let steady = Steady::begin(&world, "127.0.0.1");
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), ssh_key::Algorithm::Ed25519);
    let key = Arc::new(key.unwrap());
    let (guesses, refused) = (400 * times(), Arc::<AtomicUsize>::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut rows = tokio::task::JoinSet::new();
        for row in 0..16_usize {
            let (key, refused) = (key.clone(), refused.clone());
            rows.spawn(async move {
                for number in 0..guesses / 16 {
                    // Half of them from one address, the others from ever new ones of few networks.
                    let number = u8::try_from(number % 250).unwrap();
                    let from = match row {
                        0..8 => Ipv4Addr::new(127, 0, 10, 1),
                        row => Ipv4Addr::new(127, 0, 10 + row as u8, 1 + number),
                    };
                    if guess(port, from, key.clone()).await {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        while rows.join_next().await.is_some() {}
    });
    steady.goes_on(50);
    let reached = refused.load(Ordering::Relaxed);
    println!("{guesses} failed logins; {reached} reached a key exchange");
    assert!(reached > 0);
    olga(&world, "127.0.0.2").exits(0);
    let log = world.log();
    let counted = log.events("auth.failed").len() + log.events("source.shut_out").len();
    assert!(counted < 200, "{counted} entries");
    println!("{} answers beside them", steady.end());
}
