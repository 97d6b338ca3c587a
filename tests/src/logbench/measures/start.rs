//! From nothing in memory to the first entry answered, on the filled log.

use crate::{
    bench::row::percentile,
    logbench::{
        options::{Mode, Options},
        ourselves,
        report::{Limit, Row},
        store::{Place, filled},
        story::Story,
    },
};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::{
    fs::{self, File},
    path::Path,
    time::Instant,
};

pub async fn rows(options: &Options) -> Vec<Row> {
    let (place, _) = filled(options).await;
    let mode = Mode::Start { folder: place.0.clone() };
    let mut millis = Vec::new();
    let mut said = String::new();
    for _ in 0..options.count(5, 1) {
        forget(&place.0);
        let began = Instant::now();
        let done = ourselves(&mode).output().unwrap();
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        said = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    }
    let row = Row::new("start", "cold start", "ms", percentile(&millis, 50.0));
    vec![row.limited(Limit::at_most(1000.0)).noted(format!(
        "a process that opens store, keys, mark, tiles and index, checks the log's end, answers \
         one entry and closes; its files are not in memory before; the last one: {said}"
    ))]
}

/// Asks the kernel to forget what it has in memory of the log's files; the bundles are never read.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true if path.ends_with("tile/entries") => {}
            true => forget(&path),
            false => {
                let file = File::open(&path).unwrap();
                file.sync_all().unwrap();
                posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
            }
        }
    }
}

/// Opens it, appends, and says how long each took.
pub async fn child(folder: &Path) {
    let place = Place(folder.to_path_buf());
    let began = Instant::now();
    let ledger = place.open().await;
    let opened = began.elapsed();
    ledger.append("first", Story(1).entries()).await.unwrap();
    let answered = began.elapsed();
    let index = place.index(&ledger).await;
    let indexed = began.elapsed();
    println!("opened in {opened:.1?}, answered by {answered:.1?}, index open by {indexed:.1?}");
    drop(index);
    ledger.close().await;
}
