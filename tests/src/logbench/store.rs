//! The log that is measured: a folder with the store, the keys, the mark, the index and the tiles,
//! as a gateway has them.

use super::{
    options::Options,
    story::{OPERATORS, Story},
};
use audit_schema::checkpoint::{self, Vkey};
use bastion::{
    ledger::{
        Ledger, Opening, SigningKey, SubjectKeys,
        mark::{Mark, Remembered},
        projection::Projection,
        publish::{Folder, Publisher},
    },
    store::{Db, Options as StoreOptions},
};
use futures_util::{StreamExt as _, stream};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

/// The log's name.
pub const ORIGIN: &str = "bench.example/log";

/// Stories that one change of the filling appends.
const STORIES_AT_ONCE: u64 = 64;

/// A log in a folder.
#[derive(Clone, Debug)]
pub struct Place(pub PathBuf);

/// The log's key; everybody has it.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

impl Place {
    /// A file or folder of it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.file(name).display())
    }
    /// The folder of tiles.
    pub fn tiles(&self) -> PathBuf {
        self.file("tiles")
    }

    /// Makes an empty one.
    pub async fn create(&self) -> Ledger {
        fs::create_dir_all(&self.0).unwrap();
        let keys = SubjectKeys::create(&self.url("keys.db")).await.unwrap();
        let db = Db::open(&self.url("bastion.db"), StoreOptions::CREATE).await.unwrap();
        Ledger::create(db, ORIGIN, self.marked(Opening::new("gw-1", key(), keys))).await.unwrap()
    }

    /// Opens it as a gateway's start does: the mark and the published tiles tell what it was.
    pub async fn open(&self) -> Ledger {
        let keys = SubjectKeys::open(&self.url("keys.db")).await.unwrap();
        let db = Db::open(&self.url("bastion.db"), StoreOptions::OPEN).await.unwrap();
        let mut opening = self.marked(Opening::new("gw-1", key(), keys));
        if let Some(what) = self.published() {
            opening = opening
                .published_in(&self.tiles(), what.clone())
                .remembered_by("the published checkpoint", what);
        }
        Ledger::open(db, opening).await.unwrap()
    }

    fn marked(&self, opening: Opening) -> Opening {
        opening.marked(Arc::new(Mark::open(&self.file("high-water")).unwrap()))
    }

    fn published(&self) -> Option<Remembered> {
        let note = Folder::at(&self.tiles()).checkpoint().ok()??;
        let vkey = Vkey::new(ORIGIN, key().verifying_key()).unwrap();
        let head = checkpoint::verify(&note, &vkey).unwrap().head();
        Some(Remembered { origin: ORIGIN.into(), head })
    }

    /// Its index.
    pub async fn index(&self, ledger: &Ledger) -> Projection {
        Projection::open(ledger, &self.url("index.db")).await.unwrap()
    }

    /// What its files of these names weigh together; folders with everything in them.
    pub fn bytes(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| weigh(&self.file(name))).sum()
    }
}

fn weigh(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    match found.is_dir() {
        true => fs::read_dir(path).unwrap().map(|entry| weigh(&entry.unwrap().path())).sum(),
        false => found.len(),
    }
}

/// How fast something went.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Entries a second.
    pub rate: f64,
    /// Microseconds of CPU for each entry.
    pub cpu: f64,
    /// How many there were.
    pub entries: u64,
}

/// CPU time of this process so far, in seconds.
pub fn cpu_seconds() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    let used = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| {
        use nix::sys::time::TimeValLike as _;
        time.num_microseconds() as f64 / 1e6
    };
    seconds(used.user_time()) + seconds(used.system_time())
}

/// What the work on so many entries took.
pub async fn paced<T>(work: impl Future<Output = (u64, T)>) -> (Pace, T) {
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let (entries, value) = work.await;
    let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let each = entries.max(1) as f64;
    (Pace { rate: each / took, cpu: cpu * 1e6 / each, entries }, value)
}

/// The filled log: as an earlier run left it, or made now. What is missing of entries, index and
/// tiles is added; answers how fast, where there was any.
pub async fn filled(options: &Options) -> (Place, Filling) {
    let place = Place(options.filled());
    let ledger = match place.file("bastion.db").exists() {
        true => place.open().await,
        false => place.create().await,
    };
    let missing = options.entries.saturating_sub(*ledger.size().borrow());
    let mut filling = Filling::default();
    if missing > 0 {
        let (pace, ()) = paced(async { (missing, fill(&ledger, options.entries).await) }).await;
        println!("filled: {pace:?}");
    }
    let index = place.index(&ledger).await;
    let lag = index.lag();
    let (pace, ()) = paced(async { (lag, catch_up(&index).await) }).await;
    filling.indexed = Some(pace).filter(|pace| pace.entries > 1000);
    let begun = place.published().map_or(0, |what| what.head.size);
    let (pace, ()) = paced(async {
        let folder = Folder::open(&place.tiles()).unwrap();
        let mut publisher = Publisher::open(&ledger, folder).await.unwrap();
        (publisher.round().await.unwrap().size - begun, ())
    })
    .await;
    filling.published = Some(pace).filter(|pace| pace.entries > 1000);
    drop(index);
    ledger.close().await;
    (place, filling)
}

/// How fast the filled log came to be; absent where it was there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling {
    /// Its index.
    pub indexed: Option<Pace>,
    /// Its tiles and bundles.
    pub published: Option<Pace>,
}

/// An entry of each person, as in a deployment that has run for a day: a person's first text makes
/// a key in a store of its own, with flushes of its own.
pub async fn know_everybody(ledger: &Ledger) {
    let mut known = std::collections::HashSet::new();
    let stories = (0..).map(Story).filter(|story| known.insert(story.operator()));
    for story in stories.take(usize::try_from(OPERATORS).unwrap()) {
        ledger.append("warm", story.entries()).await.unwrap();
    }
}

/// Appends stories by the log's own writer until it has so many entries.
async fn fill(ledger: &Ledger, entries: u64) {
    let size = ledger.size();
    // Stories are fewer than entries, so one that goes on tells others than were told before.
    let begun = if *size.borrow() > 1 { *size.borrow() } else { 0 };
    know_everybody(ledger).await;
    let firsts = (0..).map(|number| begun + number * STORIES_AT_ONCE);
    let changes = firsts.take_while(|_| *size.borrow() < entries);
    let done = stream::iter(changes).map(|first| append(ledger.clone(), first)).buffered(4);
    done.for_each(|()| std::future::ready(())).await;
}

async fn append(ledger: Ledger, first: u64) {
    let new = (first..first + STORIES_AT_ONCE).flat_map(|number| Story(number).entries());
    ledger.append("fill", new.collect()).await.unwrap();
}

/// Waits until the index has seen all; a large log takes longer than anybody waits for a query.
async fn catch_up(index: &Projection) {
    while index.lag() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
