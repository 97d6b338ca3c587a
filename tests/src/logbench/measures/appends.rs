//! One append on a log that has nothing else to do: how long, and how many flushes.

use crate::{
    bench::row::percentile,
    logbench::{
        base::Base,
        options::{Mode, Options},
        ourselves,
        report::{Limit, Row},
        store::Place,
        story::Story,
    },
};
use std::{fs, path::Path, process::Command, time::Instant};

/// Appends under strace: fewer than begin a checkpoint of SQLite's log, whose flushes would not
/// be told from the others.
const TRACED: usize = 40;

pub async fn rows(options: &Options) -> Vec<Row> {
    let mut rows = idle(options).await;
    rows.push(flushes(options));
    rows
}

async fn idle(options: &Options) -> Vec<Row> {
    let place = Place(options.scratch().join("idle"));
    let ledger = place.create().await;
    let mut base = Base::new(&place.0);
    let mut waits = Vec::new();
    let count = options.count(1000, 30);
    // One person's: a new person's first text also makes a key, in another file.
    let warm = Story(1).entries();
    ledger.append("warm", warm.clone()).await.unwrap();
    for entry in warm.into_iter().cycle().take(count) {
        base.append();
        let began = Instant::now();
        ledger.append("idle", vec![entry]).await.unwrap();
        waits.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    ledger.close().await;
    let base_p99 = percentile(base.millis(), 99.0).unwrap_or(f64::NAN);
    let base = base.median();
    let most = (1.25 * base).max(base + 0.25);
    let p50 = Row::new("append_p50", "one append, idle, p50", "ms", percentile(&waits, 50.0));
    let p99 = Row::new("append_p99", "one append, idle, p99", "ms", percentile(&waits, 99.0));
    vec![p50.beside(base).limited(Limit::at_most(most)), p99.beside(base_p99)]
}

/// Flushes for each batch that was answered, counted by strace.
fn flushes(options: &Options) -> Row {
    let (folder, file) = (options.scratch().join("traced"), options.scratch().join("strace"));
    let mode = Mode::Appends { folder, count: TRACED };
    let ours = ourselves(&mode);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,fdatasync,sync_file_range,msync,unlink", "-o"]);
    strace.arg(&file).arg(ours.get_program()).args(ours.get_args());
    let row = |value| Row::new("flushes", "flushes for each answered batch, idle", "", value);
    match strace.output() {
        Ok(done) if done.status.success() => {}
        Ok(done) => return row(None).noted(String::from_utf8_lossy(&done.stderr).trim()),
        Err(why) => return row(None).noted(format!("strace: {why}")),
    }
    let flushed = counted(&fs::read_to_string(&file).unwrap());
    // Each waited for the one before, so each was a batch.
    row(flushed.map(|flushed| flushed as f64 / TRACED as f64)).limited(Limit::exactly(1.0))
}

/// Flushes between the marks of [`child`].
fn counted(strace: &str) -> Option<usize> {
    let (_, rest) = strace.split_once("/mark-begin\"")?;
    let (between, _) = rest.split_once("/mark-end\"")?;
    let calls = ["fsync(", "fdatasync(", "sync_file_range(", "msync("];
    let is_call = |line: &&str| calls.iter().any(|call| line.contains(call));
    Some(between.lines().filter(is_call).count())
}

/// Appends so many, one after the other; deletes a file before and after, for strace to see.
pub async fn child(folder: &Path, count: usize) {
    let place = Place(folder.to_path_buf());
    let ledger = place.create().await;
    // What is new once (the person's key, the customer) is no part of it.
    ledger.append("warm", Story(1).entries()).await.unwrap();
    let mark = |name: &str| {
        let file = place.file(name);
        fs::write(&file, "").unwrap();
        fs::remove_file(&file).unwrap();
    };
    mark("mark-begin");
    for entry in Story(1).entries().into_iter().cycle().take(count) {
        ledger.append("traced", vec![entry]).await.unwrap();
    }
    mark("mark-end");
    ledger.close().await;
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn only_what_is_flushed_between_the_marks_counts() {
        let text = "1 fsync(3</x>) = 0\n1 unlink(\"/s/mark-begin\") = 0\n\
                    2 fsync(4</x-wal> <unfinished ...>\n2 <... fsync resumed>) = 0\n\
                    1 fdatasync(4</x-wal>) = 0\n1 unlink(\"/s/mark-end\") = 0\n\
                    1 fsync(3</x>) = 0\n";
        assert_eq!(counted(text), Some(2));
        assert_eq!(counted("1 fsync(3</x>) = 0\n"), None);
    }
}
