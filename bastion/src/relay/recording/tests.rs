//! Recordings end to end: made, cut, changed, and opened by us and by the openssl command line.

use super::*;
use crate::keyfile;
use aws_lc_rs::digest;
use bytes::Bytes;
use std::process::Command;

struct World {
    folder: PathBuf,
    private: String,
    recorder: Recorder,
}

fn world(name: &str) -> World {
    let folder = std::env::temp_dir().join(format!("bastion-rec-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (private, public) = keyfile::make_recording_pair().unwrap();
    let recorder = Recorder::start(&folder, Recipient::from_pem(&public).unwrap(), 0).unwrap();
    World { folder, private, recorder }
}

async fn record(world: &World, size: usize) -> (RecordingId, String, Sealed) {
    let blank = world.recorder.blank_for(Level::Troubleshoot, "").unwrap();
    let (id, wrapped) = (blank.id().clone(), blank.wrapped_json().to_owned());
    let meta = ChannelMeta {
        lease: LeaseId::from_entropy([7; 10]),
        payload: Payload::Streams { command: Some(b"cat".to_vec()) },
        now: Timestamp::from_seconds(1_795_507_200),
    };
    let recording = world.recorder.open(blank, meta).await.unwrap();
    recording.write(Moment::Input(&Bytes::from_static(b"hello\n"))).await.unwrap();
    let piece = Bytes::from(vec![b'x'; 32 << 10]);
    for _ in 0..size / piece.len() {
        recording.write(Moment::Output(&piece)).await.unwrap();
    }
    recording.write(Moment::Exit("exit 0")).await.unwrap();
    (id, wrapped, recording.close().await.unwrap())
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    let world = world("back");
    let (id, wrapped, sealed) = record(&world, 70 << 20).await;
    let file = std::fs::read(world.recorder.path(&id)).unwrap();
    assert_eq!((Hash::of(&file), file.len() as u64), (sealed.digest, sealed.bytes));
    let key = unwrap(&wrapped, &world.private).unwrap();
    let (plain, found) = open_container(&file, &key).unwrap();
    assert!(found.fault.is_none(), "{:?}", found.fault);
    assert_eq!(found.whole, Some((sealed.bytes, sealed.digest)));
    assert!(found.segments.len() >= 2, "a segment ends at 64 MiB");
    let text = String::from_utf8(plain[..200].to_vec()).unwrap();
    assert!(text.starts_with("{\"command\":\"cat\",\"timestamp\":1795507200,\"version\":1}\ni "));
    assert!(plain.ends_with(b" 6\nexit 0\n"));
    std::fs::remove_dir_all(&world.folder).unwrap();
}

#[tokio::test]
async fn digests_prove_what_is_not_kept() {
    let world = world("digests");
    let blank = world.recorder.blank_for(Level::Troubleshoot, "").unwrap();
    let (id, wrapped) = (blank.id().clone(), blank.wrapped_json().to_owned());
    let lease = LeaseId::from_entropy([7; 10]);
    let meta = ChannelMeta { lease, payload: Payload::Digests, now: Timestamp::from_seconds(0) };
    let recording = world.recorder.open(blank, meta).await.unwrap();
    let mut segments = recording.segments();
    let piece: Bytes = (0..1_000_003_u32).map(|n| (n % 251) as u8).collect();
    let mut sent = digest::Context::new(&digest::SHA256);
    for _ in 0..70 {
        recording.write(Moment::Output(&piece)).await.unwrap();
        sent.update(&piece);
    }
    let limit = Duration::from_secs(20);
    let sealed = tokio::time::timeout(limit, segments.wait_for(|sealed| !sealed.is_empty())).await;
    assert!(sealed.is_ok(), "64 MiB of contents end a segment, however little is kept of them");
    recording.write(Moment::Exit("exit 0")).await.unwrap();
    let sealed = recording.close().await.unwrap();
    assert!(sealed.bytes < 10_000, "{} bytes", sealed.bytes);
    let file = std::fs::read(world.recorder.path(&id)).unwrap();
    let key = unwrap(&wrapped, &world.private).unwrap();
    let (plain, found) = open_container(&file, &key).unwrap();
    assert!(found.whole.is_some());
    assert_eq!(found.header.payload, "digests-v1");
    let plain = String::from_utf8(plain).unwrap();
    let wanted = container::hex(sent.finish().as_ref());
    let output = plain.lines().find(|l| l.contains("\"end\":true,") && l.contains("\"o\""));
    assert!(output.unwrap().contains(&wanted), "{plain}");
    assert!(plain.contains("\"bytes\":70000210,\"end\":true"), "{plain}");
    assert!(plain.contains("\"segment\":0,") && plain.contains("\"event\":\"exit 0\""), "{plain}");
    std::fs::remove_dir_all(&world.folder).unwrap();
}

#[tokio::test]
async fn every_changed_or_missing_byte_shows() {
    let world = world("change");
    let (id, wrapped, _) = record(&world, 0).await;
    let file = std::fs::read(world.recorder.path(&id)).unwrap();
    let key = unwrap(&wrapped, &world.private).unwrap();
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        let is_whole = open_container(&changed, &key).is_ok_and(|(_, found)| found.whole.is_some());
        assert!(!is_whole, "byte {at} changed unseen");
        let cut = open_container(&file[..at], &key);
        assert!(!cut.is_ok_and(|(_, found)| found.whole.is_some()), "cut at {at} unseen");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(open_container(&longer, &key).unwrap().1.whole.is_none());
    std::fs::remove_dir_all(&world.folder).unwrap();
}

#[tokio::test]
async fn a_cut_tail_leaves_what_was_sealed() {
    let world = world("cut");
    let (id, wrapped, _) = record(&world, 70 << 20).await;
    let file = std::fs::read(world.recorder.path(&id)).unwrap();
    let key = unwrap(&wrapped, &world.private).unwrap();
    let (plain, found) = open_container(&file[..file.len() - 1000], &key).unwrap();
    assert_eq!(found.segments.len(), 1);
    assert!(found.fault.unwrap().contains("stops in a frame"));
    assert!(plain.len() as u64 >= 64 << 20);
    let keyless = verify(&file[..file.len() - 1000], None).unwrap();
    let last = keyless.last().unwrap();
    assert_eq!(Hash::of(&file[..last.bytes as usize]), last.digest);
    std::fs::remove_dir_all(&world.folder).unwrap();
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let world = world("key");
    let (id, wrapped, _) = record(&world, 0).await;
    let (other, _) = keyfile::make_recording_pair().unwrap();
    assert!(matches!(unwrap(&wrapped, &other), Err(KeyError::NotForThisKey)));
    let file = std::fs::read(world.recorder.path(&id)).unwrap();
    let wrong = ContainerKey::draw().unwrap();
    assert!(matches!(open_container(&file, &wrong), Err(BadRecording::Key)));
    std::fs::remove_dir_all(&world.folder).unwrap();
}

#[tokio::test]
async fn the_recipe_in_the_specification_opens_it_with_openssl() {
    let world = world("openssl");
    let (id, wrapped, _) = record(&world, 3 << 20).await;
    let spec = include_str!("../RECORDING.md");
    let script = spec.split_once("```sh\n#!/bin/sh\n").unwrap().1.split_once("```").unwrap().0;
    let at = |name: &str| world.folder.join(name);
    std::fs::write(at("open-recording.sh"), format!("#!/bin/sh\n{script}")).unwrap();
    std::fs::write(at("wrapped.json"), &wrapped).unwrap();
    std::fs::write(at("key.pem"), &world.private).unwrap();
    let run = |file: &Path| {
        let args = [at("open-recording.sh"), file.to_owned(), at("wrapped.json"), at("key.pem")];
        Command::new("sh").args(args).output().unwrap()
    };
    let file = std::fs::read(world.recorder.path(&id)).unwrap();
    let key = unwrap(&wrapped, &world.private).unwrap();
    let plain = open_container(&file, &key).unwrap().0;
    let opened = run(&world.recorder.path(&id));
    let said = String::from_utf8_lossy(&opened.stderr).into_owned();
    assert!(opened.status.success(), "{said}");
    assert!(opened.stdout == plain, "the recipe's plaintext differs: {said}");
    assert!(said.contains("ended in order"), "{said}");

    let mut changed = file.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(at("changed.rec"), &changed).unwrap();
    assert!(!run(&at("changed.rec")).status.success(), "a changed byte must not pass");
    std::fs::write(at("cut.rec"), &file[..file.len() - 5]).unwrap();
    let cut = run(&at("cut.rec"));
    assert!(!cut.status.success());
    assert!(cut.stdout == plain, "what is sealed still opens");
    std::fs::remove_dir_all(&world.folder).unwrap();
}

/// A writer of its own, on a file that cannot be written.
async fn broken(disk: Disk) -> (Recording, std::thread::JoinHandle<()>) {
    let key = ContainerKey::draw().unwrap();
    let header = Header {
        created_at: Timestamp::from_seconds(0).to_string(),
        lease: "l-1".into(),
        payload: "timed-streams-v1".into(),
        recording: "r-1".into(),
    };
    let (mut start, mut sheet) = (Page::default(), Sheet::default());
    let writer = Writer::begin(&header, &key, &mut start).unwrap();
    let encoder = Encoder::begin(&Payload::Streams { command: None }, 0, sheet.text());
    let track = Track::new("r-1".parse().unwrap(), encoder, sheet);
    let (segments, segments_seen) = watch::channel(Vec::new());
    let (failed, failed_seen) = watch::channel(None);
    let (queue, jobs) = mpsc::channel(4);
    let running = std::thread::spawn(move || thread::run(jobs, 1));
    let open = Open {
        track: Arc::clone(&track),
        disk,
        writer,
        digester: None,
        free_bytes_min: 0,
        folder: None,
        start,
        segments,
        failed,
        unsealed_since: None,
        is_busy: false,
    };
    queue.send(Job::Open(Box::new(open))).await.unwrap();
    (Recording { track, queue, segments: segments_seen, failed: failed_seen }, running)
}

#[tokio::test]
async fn a_recording_that_cannot_be_written_says_so_and_waits_for_nobody() {
    let (recording, running) = broken(Disk::full()).await;
    let limit = Duration::from_secs(5);
    let why = tokio::time::timeout(limit, recording.failed()).await.unwrap();
    assert!(why.to_string().contains("No space left"), "{why}");
    let piece = Bytes::from(vec![0; 1 << 20]);
    for _ in 0..3 {
        let write = recording.write(Moment::Output(&piece));
        assert!(tokio::time::timeout(limit, write).await.unwrap().is_err());
    }
    assert!(recording.close().await.is_err());
    running.join().unwrap();
}

#[tokio::test]
async fn a_disk_without_room_raises_the_alarm() {
    let world = world("room");
    let mut recorder = world.recorder.clone();
    recorder.free_bytes_min = u64::MAX;
    // Another test of this process that seals a recording clears it, so look more than once.
    let raised = (0..100).any(|_| {
        assert!(recorder.blank_for(Level::Troubleshoot, "").is_err());
        METRICS.raised().contains(&"recording")
    });
    assert!(raised);
    std::fs::remove_dir_all(&world.folder).unwrap();
}
