//! Thousands of connections that never log in: places are limited for a network and in all, each
//! place comes back by itself, and a session that runs notices nothing.

use crate::{port, steady::Steady, times, wire, world};
use bastion_tests::world::{Person::Olga, World, until};
use std::{
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

/// What a peer sends that never gets to a login.
const HALVES: [&[u8]; 4] =
    [b"", b"SSH-2.0-", b"SSH-2.0-half\r\n", b"SSH-2.0-half\r\n\0\0\x01\0\x05\x14"];

fn flood(port: u16, networks: u8, each: u8) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for network in 0..networks {
        for number in 0..each {
            let from = Ipv4Addr::new(127, 100, network, 1 + number);
            let mut stream = wire::connect(port, from);
            wire::send(&mut stream, HALVES[usize::from(number) % HALVES.len()]);
            streams.push(stream);
        }
    }
    streams
}

fn open(streams: &mut [TcpStream]) -> usize {
    streams.iter_mut().map(wire::is_closed).filter(|closed| !closed).count()
}

fn login_from(world: &World, from: &str) -> bool {
    let from = format!("BindAddress={from}");
    world.ssh(Olga, &["-o", &from, "-o", "ConnectTimeout=20", "bastion", "whoami"]).exit == 0
}

#[test]
fn half_open_handshakes_take_their_places_and_no_more() {
    let world = world(&[("[ingress]", "login_grace_seconds = 20")]);
    let port = port(&world);
    let steady = Steady::begin(&world, "127.0.0.1");

    // One network: 200 connections, 50 places. Others get in beside them.
    let mut streams = flood(port, 1, 200);
    steady.goes_on(20);
    until("the ones without a place to be closed", 20, || open(&mut streams) <= 50);
    assert!(login_from(&world, "127.0.0.2"), "another network's operator gets in");
    assert!(!login_from(&world, "127.100.0.250"), "there is no place for this network now");
    drop(streams);

    // Many networks: all places are taken, and all come back.
    let mut streams = flood(port, 40, 50);
    println!("{} half-open connections", streams.len());
    steady.goes_on(50);
    until("the ones without a place to be closed", 30, || open(&mut streams) <= 250);
    until("the others to be closed in turn", 60, || open(&mut streams) == 0);
    steady.goes_on(20);
    until("an operator to get in", 30, || login_from(&world, "127.0.0.3"));

    for _ in 1..times() {
        let streams = flood(port, 200, 50);
        steady.goes_on(200);
        drop(streams);
    }
    println!("{} answers beside the floods", steady.end());
}

/// A byte at a time: the version has to stand within 15 seconds, whatever trickles.
#[test]
fn a_version_that_trickles_is_cut_off() {
    let world = world(&[]);
    let port = port(&world);
    let steady = Steady::begin(&world, "127.0.0.1");
    let line = b"SSH-2.0-slow_as_can_be_and_then_some_more_to_say\r\n";
    let trickling: Vec<_> = (0..20_u8)
        .map(|number| {
            let mut stream = wire::connect(port, Ipv4Addr::new(127, 101, number, 1));
            std::thread::spawn(move || {
                let sent = line.iter().position(|&byte| {
                    std::thread::sleep(Duration::from_millis(700));
                    wire::is_closed(&mut stream) || !wire::send(&mut stream, &[byte])
                });
                sent.expect("cut off before the line was out")
            })
        })
        .collect();
    steady.goes_on(20);
    for trickle in trickling {
        let sent = trickle.join().unwrap();
        assert!(sent > 5, "only {sent} bytes were awaited");
    }
    steady.end();
}
