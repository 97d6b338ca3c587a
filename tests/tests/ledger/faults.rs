//! Each write of a batch failed, in both ways: undone, and done but answered with an error.

use crate::world::{World, entry_of, on_both_stores, survivor};
use audit_schema::{event::Level, time::Timestamp};
use bastion::{
    ca::Live,
    ledger::{
        Hooks, LedgerError,
        hooks::{Fault, Step},
    },
};
use bastion_core::{lease::Cause, limits::COMMIT_SECONDS_MAX};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

on_both_stores!(
    a_write_that_fails_before_the_commit_refuses_and_loses_nothing,
    a_full_disk_refuses_and_loses_nothing,
    a_commit_of_unknown_outcome_ends_the_writer_unanswered,
    a_clock_behind_the_head_refuses,
    a_process_that_dies_at_any_step_leaves_whole_batches,
);

/// Hooks with one fault, once it is armed, and once only.
fn one_fault(step: Step, fault: Fault) -> (Hooks, Arc<AtomicBool>) {
    let armed = Arc::new(AtomicBool::new(false));
    let trigger = Arc::clone(&armed);
    let hook = move |at| match at == step && trigger.swap(false, Ordering::SeqCst) {
        true => fault,
        false => Fault::None,
    };
    (Hooks { fault: Arc::new(hook), ..survivor().0 }, armed)
}

fn secret() -> Vec<bastion::ledger::NewEntry> {
    vec![entry_of("acme", "x").with("note", "a note")]
}

async fn a_write_that_fails_before_the_commit_refuses_and_loses_nothing(world: World) {
    let steps = [Step::Lock, Step::Entries, Step::Openings, Step::CustomerHeads, Step::Head];
    let mut expected = 1;
    world.create().await.close().await;
    for (step, fault) in steps.into_iter().flat_map(|s| [(s, Fault::Before), (s, Fault::After)]) {
        let (hooks, armed) = one_fault(step, fault);
        let db = world.db().await;
        let opening = bastion::ledger::Opening { hooks, ..world.opening("gw-1").await };
        let ledger = bastion::ledger::Ledger::open(db, opening).await.expect("opens");
        ledger.append("before", secret()).await.expect("appends");
        armed.store(true, Ordering::SeqCst);
        let failed = ledger.append("fails", secret()).await;
        assert!(matches!(failed, Err(LedgerError::Failed(_))), "{step:?} {fault:?}: {failed:?}");
        ledger.append("after", secret()).await.expect("appends again");
        expected += 2;
        assert_eq!(ledger.verify().await, Ok(expected), "{step:?} {fault:?}");
        ledger.close().await;
    }
}

async fn a_full_disk_refuses_and_loses_nothing(world: World) {
    for step in [Step::Entries, Step::Head, Step::Commit] {
        let (hooks, armed) = one_fault(step, Fault::Full);
        let world = world.another().await;
        let ledger = world.create_with(hooks).await;
        armed.store(true, Ordering::SeqCst);
        let failed = ledger.append("fails", secret()).await;
        assert!(matches!(failed, Err(LedgerError::Full)), "{step:?}: {failed:?}");
        assert_eq!(ledger.append("after", secret()).await.expect("appends again").seq(), 1);
        assert_eq!(ledger.verify().await, Ok(2), "{step:?}");
    }
}

async fn a_commit_of_unknown_outcome_ends_the_writer_unanswered(world: World) {
    // (where, how, whether the batch is in the log afterwards)
    let cases = [
        (Step::Commit, Fault::Before, false),
        (Step::Commit, Fault::After, true),
        (Step::ReadBack, Fault::Before, true),
        (Step::ReadBack, Fault::After, true),
    ];
    world.create().await.close().await;
    let mut expected = 1;
    for (step, fault, is_there) in cases {
        let (survives, ends) = survivor();
        let (hooks, armed) = one_fault(step, fault);
        let hooks = Hooks { fatal: survives.fatal, ..hooks };
        let opening = bastion::ledger::Opening { hooks, ..world.opening("gw-1").await };
        let db = world.db().await;
        let ledger = bastion::ledger::Ledger::open(db, opening).await.expect("opens");
        armed.store(true, Ordering::SeqCst);
        let unknown = ledger.append("unknown", secret()).await;
        assert!(matches!(unknown, Err(LedgerError::Closed)), "{step:?} {fault:?}: {unknown:?}");
        assert_eq!(ends.load(Ordering::SeqCst), 1, "{step:?} {fault:?}");
        let later = ledger.append("later", secret()).await;
        assert!(matches!(later, Err(LedgerError::Closed)), "{later:?}");
        ledger.close().await;
        let ledger = world.open().await.expect("opens again");
        expected += u64::from(is_there);
        assert_eq!(ledger.verify().await, Ok(expected), "{step:?} {fault:?}");
        ledger.close().await;
    }
}

/// A server that hangs in the middle of a commit: nobody is told anything, and the process ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_without_an_answer_ends_the_writer_in_time() {
    let world = World::postgres();
    let server = world.postgres.clone().expect("a server");
    let (survives, ends) = survivor();
    let armed = Arc::new(AtomicBool::new(false));
    let (trigger, frozen) = (Arc::clone(&armed), Arc::clone(&server));
    let fault = move |at| {
        if at == Step::Commit && trigger.swap(false, Ordering::SeqCst) {
            frozen.freeze();
        }
        Fault::None
    };
    let ledger = world.create_with(Hooks { fault: Arc::new(fault), ..survives }).await;
    armed.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let unknown = ledger.append("unanswered", secret()).await;
    let took = began.elapsed();
    println!("{unknown:?} after {took:.1?}");
    assert!(matches!(unknown, Err(LedgerError::Closed)), "{unknown:?}");
    assert_eq!(ends.load(Ordering::SeqCst), 1);
    let bound = Duration::from_secs(COMMIT_SECONDS_MAX);
    assert!(took >= bound && took < bound + Duration::from_secs(15), "{took:?}");
    server.thaw();
    ledger.close().await;
    // There or not: the next start knows, and goes on.
    let ledger = world.open().await.expect("opens again");
    let found = ledger.verify().await.expect("verifies");
    assert!([1, 2].contains(&found), "{found} entries");
}

async fn a_process_that_dies_at_any_step_leaves_whole_batches(world: World) {
    world.create().await.close().await;
    let mut expected = 1;
    for step in Step::ALL {
        let program = env!("CARGO_BIN_EXE_ledger-crash");
        let mut child = std::process::Command::new(program);
        let output =
            child.args([world.url(), format!("{step:?}"), world.keys()]).output().expect("runs");
        assert_eq!(output.status.code(), None, "{step:?}: {output:?}");
        let answered = String::from_utf8(output.stdout).expect("text");
        assert_eq!(answered.lines().count(), 5, "{step:?}");
        // What was committed is there, answered or not; what was not is not there at all.
        expected += 5 + u64::from(step == Step::ReadBack);
        let ledger = world.open().await.expect("opens");
        assert_eq!(ledger.verify().await, Ok(expected), "{step:?}");
        ledger.close().await;
    }
}

async fn a_clock_behind_the_head_refuses(world: World) {
    let behind = Arc::new(AtomicBool::new(false));
    let is_behind = Arc::clone(&behind);
    let clock = move || {
        let now = Timestamp::from_micros(chrono::Utc::now().timestamp_micros());
        match is_behind.load(Ordering::SeqCst) {
            true => now.plus_seconds(-3),
            false => now,
        }
    };
    let ledger = world.create_with(Hooks { clock: Arc::new(clock), ..Hooks::default() }).await;
    behind.store(true, Ordering::SeqCst);
    let refused = ledger.append("test", secret()).await;
    assert!(matches!(&refused, Err(LedgerError::Unavailable(why)) if why.contains("clock")));
    behind.store(false, Ordering::SeqCst);
    assert_eq!(ledger.append("test", secret()).await.expect("appends").seq(), 1);
}

/// A disk that is really full: whatever is refused is not there, whatever is answered is, what
/// is open can still be closed, and the log goes on when there is room again. (As root only: it
/// takes a small disk.)
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_really_full_still_closes_what_is_open() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: needs root to mount a small disk");
        return;
    }
    let world = World::sqlite();
    let disk = world.file().parent().expect("a folder").to_owned();
    let run = |program: &str, words: &[&str]| {
        let done = std::process::Command::new(program).args(words).arg(&disk).status();
        assert!(done.expect(program).success(), "{program} {words:?}");
    };
    run("mount", &["-t", "tmpfs", "-o", "size=52m", "small"]);
    let ledger = world.create().await;
    ledger.append("before", secret()).await.expect("appends");
    // Leaves about a megabyte: the log fills it, and is not always at the same step when it does.
    std::fs::write(disk.join("filler"), vec![1; 35 << 20]).expect("fills");
    let mut recorded = 2;
    let mut refused = 0;
    for round in 0..2000_usize {
        let text = "x".repeat(1 + 97 * (round % 400));
        let calls = (0..4).map(|_| {
            let (ledger, entry) = (ledger.clone(), entry_of("acme", &text));
            tokio::spawn(async move { ledger.append("fills", vec![entry]).await })
        });
        for call in calls.collect::<Vec<_>>() {
            match call.await.expect("ends") {
                Ok(_) => recorded += 1,
                Err(LedgerError::Full) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        if refused > 20 {
            break;
        }
    }
    assert!(refused > 20, "the disk was never full");
    for _ in 0..500 {
        let closing = ledger.record_closing("closing", |batch| {
            Box::pin(async move { batch.append(entry_of("acme", "closed")).await })
        });
        closing.await.expect("what is open is closed");
        recorded += 1;
    }
    assert_eq!(ledger.verify().await, Ok(recorded), "full");
    std::fs::remove_file(disk.join("filler")).expect("frees");
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    ledger.append("after", secret()).await.expect("appends again");
    recorded += 1;
    ledger.close().await;
    let ledger = world.open().await.expect("opens again");
    assert_eq!(ledger.verify().await, Ok(recorded), "opened again");
    ledger.close().await;
    run("umount", &[]);
}

/// Disks and servers come back; until then no data channel goes on, and the others not for long.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_cuts_data_channels_at_once() {
    let (hooks, armed) = one_fault(Step::Commit, Fault::Full);
    let world = World::sqlite();
    let ledger = world.create_with(hooks).await;
    let live = Arc::new(Live::default());
    let (watched, log) = (Arc::clone(&live), ledger.clone());
    let watch = tokio::spawn(async move { watched.watch(&log).await });
    let mut data = live.register(&"l-data".parse().expect("a lease"), Level::Data);
    let shell = live.register(&"l-ops".parse().expect("a lease"), Level::Troubleshoot);
    ledger.append("well", secret()).await.expect("appends");
    assert_eq!((*data.borrow(), *shell.borrow()), (None, None));
    armed.store(true, Ordering::SeqCst);
    assert!(matches!(ledger.append("fails", secret()).await, Err(LedgerError::Full)));
    let within = std::time::Duration::from_secs(1);
    let cut = tokio::time::timeout(within, data.wait_for(Option::is_some)).await;
    assert_eq!(*cut.expect("within a second").expect("is told"), Some(Cause::LogUnavailable));
    // The disk has room again, which the writer finds out by itself.
    let mut trouble = ledger.trouble();
    let well = tokio::time::timeout(within * 3, trouble.wait_for(Option::is_none)).await;
    well.expect("within three seconds").expect("is told");
    assert_eq!(*shell.borrow(), None, "it was within its grace");
    watch.abort();
}
