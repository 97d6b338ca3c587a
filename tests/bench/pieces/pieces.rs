//! A certificate, a recording's cipher and digest, and a recording on its way to the disk.

use audit_schema::{event::Level, time::Timestamp};
use bastion::{
    clock, keyfile,
    relay::{
        Page,
        recording::{
            ChannelMeta, ContainerKey, ContainerWriter, Header, Moment, Payload, Recipient,
            Recorder,
        },
    },
};
use bastion_core::{cert::CertContent, id::LeaseId};
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use russh::keys::{PrivateKey, ssh_key::private::Ed25519Keypair};
use std::{fs, hint::black_box};

/// What the relay hands over at a time, at most.
const PIECE: usize = 32 << 10;

/// Drafting and signing the certificate of one channel, its key included.
pub fn certificate(criterion: &mut Criterion) {
    let ca = PrivateKey::from(Ed25519Keypair::from_seed(&[1; 32]));
    let content = CertContent {
        serial: 4711,
        key_id: "acme/acme-pg/i-0123456789/-/l-0123456789".into(),
        principal: "troubleshoot:ops@i-0123456789".into(),
        valid_after: Timestamp::from_seconds(1_800_000_000),
        valid_before: Timestamp::from_seconds(1_800_000_300),
        source_address: "192.0.2.7/32".into(),
        force_command: None,
        permit_pty: true,
        permit_port_forwarding: false,
        permit_agent_forwarding: false,
        permit_x11_forwarding: false,
    };
    criterion.bench_function("certificate", |bench| {
        bench.iter(|| {
            let key = PrivateKey::from(Ed25519Keypair::from_seed(black_box(&[2; 32])));
            let (subject, authority) = (key.public_key().key_data(), ca.public_key().key_data());
            let draft = content.draft(subject, authority, [3; 32]).unwrap();
            draft.sign(&ca, &[]).unwrap()
        });
    });
}

/// AES-256-CTR and SHA-256 over the bytes of a recording, in memory.
pub fn sealing(criterion: &mut Criterion) {
    let header = Header {
        created_at: "2026-01-01T00:00:00Z".into(),
        lease: "l-1".into(),
        payload: "timed-streams-v1".into(),
        recording: "r-1".into(),
    };
    let (plain, mut file) = (vec![7; 256 << 10], Page::default());
    let key = ContainerKey::draw().unwrap();
    let mut writer = ContainerWriter::begin(&header, &key, &mut file).unwrap();
    let mut group = criterion.benchmark_group("sealing");
    group.throughput(Throughput::Bytes(plain.len() as u64));
    group.bench_function("256 KiB", |bench| {
        bench.iter(|| {
            file.clear();
            writer.data(black_box(&plain), &mut file).unwrap();
        });
    });
    group.bench_function("256 KiB, and the segment's seal", |bench| {
        bench.iter(|| {
            file.clear();
            writer.data(black_box(&plain), &mut file).unwrap();
            writer.seal(&mut file)
        });
    });
    group.finish();
}

/// Output taken down by a recording: as the relay sees it, with its writer thread and the disk.
pub fn recorder(criterion: &mut Criterion) {
    let folder = std::env::temp_dir().join(format!("bench-recorder-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let (_, public) = keyfile::make_recording_pair().unwrap();
    let recorder = Recorder::start(&folder, Recipient::from_pem(&public).unwrap(), 0).unwrap();
    let blank = recorder.blank_for(Level::Troubleshoot, "").unwrap();
    let payload = Payload::Streams { command: None };
    let lease = LeaseId::from_entropy([1; 10]);
    let meta = ChannelMeta { lease, payload, now: clock::now() };
    let recording = runtime.block_on(recorder.open(blank, meta)).unwrap();
    let plain = Bytes::from(vec![7; PIECE]);
    let mut group = criterion.benchmark_group("recorder");
    // Each sample adds to the file: enough for a figure, and no full disk.
    group.sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    group.throughput(Throughput::Bytes(8 * PIECE as u64));
    group.bench_function("256 KiB in pieces of 32 KiB", |bench| {
        bench.iter(|| {
            runtime.block_on(async {
                for _ in 0..8 {
                    recording.write(Moment::Output(&plain)).await.unwrap();
                }
            });
        });
    });
    group.finish();
    runtime.block_on(recording.close()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
}
