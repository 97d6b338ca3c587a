//! A page of fifty rows of the filled log's index, by every filter.

use crate::{
    bench::row::percentile,
    logbench::{
        options::Options,
        report::{Limit, Row},
        store::filled,
        story::Story,
    },
};
use audit_schema::time::Timestamp;
use bastion::ledger::{
    Ledger,
    projection::{Cursor, Filter, Order, Projection},
};
use std::time::{Duration, Instant};

/// A filter by its name: what it asks for in a story, and a moment within the log.
type Asked = (&'static str, fn(Story, &Span) -> Filter);

/// When the log's entries are from.
struct Span {
    from: i64,
    to: i64,
}

impl Span {
    async fn of(ledger: &Ledger) -> Self {
        let size = *ledger.size().borrow();
        let first = ledger.entry(0).await.unwrap().unwrap().entry.time;
        let last = ledger.entry(size - 1).await.unwrap().unwrap().entry.time;
        Self { from: first.micros(), to: last.micros() }
    }
    /// A moment in it, the same for one story each time.
    fn moment(&self, story: Story) -> Timestamp {
        let part = story.0.wrapping_mul(2_654_435_761) % 1000;
        Timestamp::from_micros(self.from + (self.to - self.from) / 1000 * part.cast_signed())
    }
}

/// Every filter that there is, and some together.
const FILTERS: [Asked; 17] = [
    ("none", |_, _| Filter::default()),
    ("customer", |story, _| Filter { customer: Some(story.customer()), ..none() }),
    ("service", |story, _| Filter { service: Some(story.service()), ..none() }),
    ("vm", |story, _| Filter { vm: Some(story.vm()), ..none() }),
    ("instance", |story, _| Filter { vm: Some(story.instance()), ..none() }),
    ("operator", |story, _| Filter { operator: Some(story.operator()), ..none() }),
    ("event", |_, _| Filter { event: Some("access.denied".into()), ..none() }),
    ("event, its beginning", |_, _| Filter { event: Some("consent.".into()), ..none() }),
    ("lease", |story, _| Filter { lease: Some(story.lease()), ..none() }),
    ("session", |story, _| Filter { session: Some(story.session()), ..none() }),
    ("ticket", |story, _| Filter { ticket: Story(story.0 & !3).ticket(), ..none() }),
    ("outcome", |_, _| Filter { outcome: Some("cut".into()), ..none() }),
    ("since", |story, span| Filter { since: Some(span.moment(story)), ..none() }),
    ("until", |story, span| Filter { until: Some(span.moment(story)), ..none() }),
    ("text", |story, _| Filter { text: Story(story.0 & !3).case().parse().ok(), ..none() }),
    ("customer and outcome", |story, _| Filter {
        customer: Some(story.customer()),
        outcome: Some("granted".into()),
        ..none()
    }),
    ("vm and operator", |story, span| Filter {
        vm: Some(story.vm()),
        operator: Some(story.operator()),
        since: Some(span.moment(story)),
        ..none()
    }),
];

fn none() -> Filter {
    Filter::default()
}

/// What one filter came to, in milliseconds.
struct Times {
    name: &'static str,
    p50: f64,
    p99: f64,
    rows: usize,
}

pub async fn rows(options: &Options) -> Vec<Row> {
    let (place, _) = filled(options).await;
    let ledger = place.open().await;
    let index = place.index(&ledger).await;
    let span = Span::of(&ledger).await;
    let size = *ledger.size().borrow();
    let mut all = Vec::new();
    for (name, filter) in FILTERS {
        let asked = |story| filter(story, &span);
        all.push(times(options, &index, (name, size), asked).await);
    }
    drop(index);
    ledger.close().await;
    told(size, &all)
}

async fn times(
    options: &Options,
    index: &Projection,
    (name, size): (&'static str, u64),
    asked: impl Fn(Story) -> Filter,
) -> Times {
    /// A filter that is slow is not asked as often.
    const LONGEST: Duration = Duration::from_secs(8);
    let (mut millis, mut rows) = (Vec::new(), 0);
    let start = Instant::now();
    for number in 0..options.count(300, 6) as u64 {
        // A story has at most seven entries, so all of these are there.
        let filter = asked(Story(number * 982_451_653 % (size / 8).max(1)));
        let order = if number % 3 == 2 { Order::Oldest } else { Order::Newest };
        let after = (number % 3 == 1).then(|| Cursor::beyond(number * 7_368_787 % size));
        let filter = Filter { order, after, limit: 50, ..filter };
        let began = Instant::now();
        rows += index.query(&filter).await.unwrap().rows.len();
        millis.push(began.elapsed().as_secs_f64() * 1000.0);
        if start.elapsed() > LONGEST {
            break;
        }
    }
    let at = |percent| percentile(&millis, percent).unwrap_or(f64::NAN);
    Times { name, p50: at(50.0), p99: at(99.0), rows: rows / millis.len() }
}

fn told(size: u64, all: &[Times]) -> Vec<Row> {
    let worst = |of: fn(&Times) -> f64| all.iter().max_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
    let (p50, p99) = (worst(|times| times.p50), worst(|times| times.p99));
    let title = format!("a page of 50 from {size} entries, slowest filter");
    let each: Vec<_> = all
        .iter()
        .map(|Times { name, p50, p99, rows }| format!("{name} {p50:.2} / {p99:.2} ({rows})"))
        .collect();
    vec![
        Row::new("page_p50", format!("{title} ({}), p50", p50.name), "ms", p50.p50)
            .limited(Limit::at_most(1.0))
            .noted(format!("p50 / p99 in ms (rows on average): {}", each.join(", ")))
            .noted("first pages from both ends and pages in the middle, asked in turn"),
        Row::new("page_p99", format!("{title} ({}), p99", p99.name), "ms", p99.p99)
            .limited(Limit::at_most(15.0)),
    ]
}
