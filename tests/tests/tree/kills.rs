//! `kill -9` while entries are appended, checkpoints signed and tiles published: nothing that was
//! answered is lost, no size has two roots, and the published folder holds.

use crate::{
    folder::{Temporary, check},
    world::{World, on_both_stores},
};
use audit_schema::merkle::Frontier;
use bastion::ledger::{
    Ledger,
    mark::Mark,
    publish::{Folder, Publisher},
};
use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

on_both_stores!(killed_at_any_moment_nothing_answered_is_lost_and_nothing_signed_is_contradicted);

/// How often: `TREE_KILLS` asks for more.
fn kills() -> u32 {
    std::env::var("TREE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Entries of a log that is read as a whole after each kill.
const WHOLE_EACH_TIME: u64 = 5_000;

async fn killed_at_any_moment_nothing_answered_is_lost_and_nothing_signed_is_contradicted(
    world: World,
) {
    let dir = Temporary::new();
    let (folder, mark) = (dir.path().join("tiles"), dir.path().join("high-water"));
    world.create().await.close().await;
    let mut answered = 0;
    let mut signed = BTreeMap::new();
    let mut published = 0;
    for kill in 0..kills() {
        let lines = run_and_kill(&world, (&folder, &mark), 150 + u64::from(kill % 7) * 37);
        let mut last = 0;
        for line in &lines {
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["entry", seq] => {
                    answered += 1;
                    last = last.max(seq.parse::<u64>().expect("a number"));
                }
                ["signed", size, root] | ["published", size, root] => {
                    let size: u64 = size.parse().expect("a number");
                    let before = signed.insert(size, root.to_owned());
                    assert!(before.is_none_or(|before| before == root), "two roots of {size}");
                }
                _ => panic!("{line}"),
            }
        }
        let mark = Arc::new(Mark::open(&mark).expect("a mark"));
        let opened = world.opening("gw-1").await.marked(mark);
        let ledger = Ledger::open(world.db().await, opened).await.expect("opens");
        assert!(*ledger.size().borrow() > last, "entry {last} was answered and is lost");
        // What stands there after the kill holds as it is, and is gone on from. Reading all of it
        // takes longer as it grows, and is then done after every second kill, every third, …
        let read_all = u64::from(kill) % (1 + last / WHOLE_EACH_TIME) == 0;
        if read_all && folder.join("checkpoint").exists() {
            published = check(&folder, &ledger.vkey()).expect("holds").0.size;
        }
        let root = Folder::open(&folder).expect("a folder");
        let mut publisher = Publisher::open(&ledger, root).await.expect("opens");
        publisher.round().await.expect("publishes");
        if read_all {
            check(&folder, &ledger.vkey()).expect("holds");
        }
        ledger.close().await;
    }
    let ledger = world.open().await.expect("opens");
    let size = ledger.verify().await.expect("holds");
    assert!(size > answered, "{answered} were answered, {size} are there");
    // Every checkpoint that anybody saw is of this log.
    let mut frontier = Frontier::new();
    let mut lines = ledger.lines(0, u64::MAX).await.expect("reads");
    let mut compared = 0;
    while let Some(found) = lines.next().await.expect("holds") {
        frontier.push(found.leaf);
        if let Some(root) = signed.remove(&frontier.size()) {
            assert_eq!(root, frontier.root().to_string(), "size {}", frontier.size());
            compared += 1;
        }
    }
    assert!(signed.is_empty(), "checkpoints of more entries than there are: {signed:?}");
    assert!(compared > 0 && published > 0, "nothing was signed or published before a kill");
    println!("{answered} answered, {compared} checkpoints, {} kills", kills());
    ledger.close().await;
}

/// What it said before it was killed.
fn run_and_kill(
    world: &World,
    (folder, mark): (&std::path::Path, &std::path::Path),
    millis: u64,
) -> Vec<String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tree-crash"))
        .arg(world.url())
        .arg(folder)
        .arg(mark)
        .arg(world.keys())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let reader = std::thread::spawn(move || {
        let mut lines: Vec<String> = Vec::new();
        for line in output.lines() {
            lines.push(line.expect("text"));
        }
        lines
    });
    // Long enough to come to its work on a busy machine, and then at another moment each time.
    std::thread::sleep(Duration::from_millis(700 + millis));
    child.kill().expect("kills");
    child.wait().expect("ends");
    let mut lines = reader.join().expect("reads");
    // The last line may have been cut.
    lines.pop();
    lines
}
