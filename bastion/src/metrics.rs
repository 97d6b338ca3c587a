//! What the process counts, for Prometheus on loopback.
//!
//! Numbers only: no id of a person, customer or VM is ever a label. The counters are one per
//! process, so that any place may count without being handed anything; what must not be missed
//! stands in the log, never only here.

use bastion_core::limits;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// The process's counters.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// What a gateway cannot do without; each is an alarm while it does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// Entries cannot be appended.
    Log,
    /// Checkpoints or certificates cannot be signed.
    Signing,
    /// The signer's process has ended, or has run for less than a minute since.
    Signer,
    /// The high-water mark cannot be written.
    Mark,
    /// The log is not published.
    Publishing,
    /// No heartbeat is entered.
    Heartbeat,
    /// Recordings cannot be written.
    Recording,
    /// The query index does not follow the log.
    Projection,
    /// Notices to approvers do not go out.
    Notices,
    /// A VM's own log and ours differ.
    Reconciliation,
    /// Too few witnesses cosign, or one says that the log is not the one it saw.
    Witnessing,
}

impl Alarm {
    const ALL: [Self; 11] = [
        Self::Log,
        Self::Signing,
        Self::Signer,
        Self::Mark,
        Self::Publishing,
        Self::Heartbeat,
        Self::Recording,
        Self::Projection,
        Self::Notices,
        Self::Reconciliation,
        Self::Witnessing,
    ];
    fn as_str(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Signing => "signing",
            Self::Signer => "signer",
            Self::Mark => "mark",
            Self::Publishing => "publishing",
            Self::Heartbeat => "heartbeat",
            Self::Recording => "recording",
            Self::Projection => "projection",
            Self::Notices => "notices",
            Self::Reconciliation => "reconciliation",
            Self::Witnessing => "witnessing",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LoginLabels {
    method: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AlarmLabel {
    of: &'static str,
}

/// A witness, by its name in the policy file: a party of its own, no person.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WitnessLabel {
    witness: String,
}

/// The counters; see [`METRICS`].
pub struct Metrics {
    registry: Registry,
    logins: Family<LoginLabels, Counter>,
    sources: Family<OutcomeLabel, Counter>,
    turned_away: Family<ReasonLabel, Counter>,
    denials: Family<ReasonLabel, Counter>,
    leases: Gauge,
    steps: Family<StepLabel, Histogram, fn() -> Histogram>,
    append: Histogram,
    batch: Histogram,
    entries: Counter,
    lag: Gauge,
    unpublished: Gauge,
    uncosigned: Family<WitnessLabel, Gauge>,
    recorded: Counter,
    alarms: Family<AlarmLabel, Gauge>,
}

impl Metrics {
    fn new() -> Self {
        let mut new = Self {
            registry: Registry::with_prefix("bastion"),
            logins: Family::default(),
            sources: Family::default(),
            turned_away: Family::default(),
            denials: Family::default(),
            leases: Gauge::default(),
            steps: Family::new_with_constructor(seconds),
            append: seconds(),
            batch: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
            entries: Counter::default(),
            lag: Gauge::default(),
            unpublished: Gauge::default(),
            uncosigned: Family::default(),
            recorded: Counter::default(),
            alarms: Family::default(),
        };
        for alarm in Alarm::ALL {
            new.alarm(alarm, false);
        }
        new.register();
        new
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("logins", "SSH logins by method and outcome", self.logins.clone());
        let help = "Sources with too many failed logins: shut out, or spared by the configuration";
        r.register("guessing_sources", help, self.sources.clone());
        let help = "Connections refused before a login: shut_out, or no place";
        r.register("turned_away", help, self.turned_away.clone());
        r.register("denials", "Denied channels by reason", self.denials.clone());
        r.register("live_leases", "Leases that are live now", self.leases.clone());
        r.register_with_unit(
            "pipeline_step",
            "Time of each step from request to open channel",
            Unit::Seconds,
            self.steps.clone(),
        );
        r.register_with_unit(
            "ledger_append",
            "Time from asking for an entry to its being durable",
            Unit::Seconds,
            self.append.clone(),
        );
        r.register("ledger_batch_entries", "Entries in one commit", self.batch.clone());
        r.register("ledger_entries", "Entries appended", self.entries.clone());
        r.register(
            "projection_lag_entries",
            "Entries that the query index has not seen yet",
            self.lag.clone(),
        );
        let help = "Entries that are not published as tiles yet";
        r.register("publishing_lag_entries", help, self.unpublished.clone());
        let help = "Entries that a witness has not cosigned yet";
        r.register("witness_lag_entries", help, self.uncosigned.clone());
        r.register_with_unit(
            "recording",
            "Sealed bytes of recordings written",
            Unit::Bytes,
            self.recorded.clone(),
        );
        r.register("alarm", "1 while something does not work", self.alarms.clone());
    }

    /// A login that was accepted or refused.
    pub fn login(&self, method: &'static str, accepted: bool) {
        let outcome = if accepted { "accepted" } else { "refused" };
        self.logins.get_or_create(&LoginLabels { method, outcome }).inc();
    }
    /// A source failed too often: it is `shut_out`, or `spared` since it is configured so.
    pub fn shut_out(&self, outcome: &'static str) {
        self.sources.get_or_create(&OutcomeLabel { outcome }).inc();
    }
    /// A connection was refused before any login: `shut_out`, or `no_place`.
    pub fn turned_away(&self, reason: &'static str) {
        self.turned_away.get_or_create(&ReasonLabel { reason }).inc();
    }
    /// A channel was denied for a reason, by its stable code.
    pub fn denial(&self, reason: &'static str) {
        self.denials.get_or_create(&ReasonLabel { reason }).inc();
    }
    /// How many leases are live now.
    pub fn live_leases(&self, now: usize) {
        self.leases.set(i64::try_from(now).unwrap_or(i64::MAX));
    }
    /// A step of the pipeline took this long: `gate`, `issue`, `sign`, `egress`, `record`.
    pub fn step(&self, step: &'static str, took: Duration) {
        self.steps.get_or_create(&StepLabel { step }).observe(took.as_secs_f64());
    }
    /// A caller's change became durable after this long.
    pub fn appended(&self, took: Duration) {
        self.append.observe(took.as_secs_f64());
    }
    /// A commit held this many entries.
    pub fn batch(&self, entries: usize) {
        // A batch holds at most thousands of entries: exact in a float.
        self.batch.observe(entries as f64);
        self.entries.inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }
    /// How many entries the query index has not seen yet.
    pub fn projection_lag(&self, entries: u64) {
        self.lag.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
    /// How many entries are not published yet.
    pub fn publishing_lag(&self, entries: u64) {
        self.unpublished.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
    /// How many entries a witness has not cosigned yet.
    pub fn witness_lag(&self, witness: &str, entries: u64) {
        let label = WitnessLabel { witness: witness.to_owned() };
        self.uncosigned.get_or_create(&label).set(i64::try_from(entries).unwrap_or(i64::MAX));
    }
    /// Bytes written to recordings.
    pub fn recorded(&self, bytes: u64) {
        self.recorded.inc_by(bytes);
    }
    /// Raises or clears an alarm.
    pub fn alarm(&self, alarm: Alarm, raised: bool) {
        let of = alarm.as_str();
        self.alarms.get_or_create(&AlarmLabel { of }).set(i64::from(raised));
    }
    /// The alarms that are raised.
    pub fn raised(&self) -> Vec<&'static str> {
        let names = Alarm::ALL.map(Alarm::as_str).into_iter();
        let is_raised = |of: &&'static str| {
            let label = AlarmLabel { of };
            self.alarms.get_or_create(&label).get() != 0
        };
        names.filter(is_raised).collect()
    }
    /// All of it in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Writing into a String cannot fail; an empty page would say so if it did.
            Err(_) => String::new(),
        }
    }
}

fn seconds() -> Histogram {
    // 0.1 ms to 26 s.
    Histogram::new(exponential_buckets(0.000_1, 2.0, 19))
}

/// Serves `GET /metrics` and `GET /health` until the task is dropped.
pub async fn serve(listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let places = Arc::new(Semaphore::new(limits::METRICS_CONNECTIONS_MAX));
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(cause) => {
                // Out of descriptors, most likely: wait instead of spinning.
                tracing::warn!(%cause, "cannot accept a connection for metrics");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        tokio::spawn(async move {
            let answered = tokio::time::timeout(Duration::from_secs(5), answer(stream)).await;
            if let Ok(Err(cause)) = answered {
                tracing::debug!(%cause, "a metrics connection broke off");
            }
            drop(place);
        });
    }
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut piece).await?;
        if read == 0 || request.len() + read > limits::METRICS_REQUEST_BYTES_MAX {
            return Ok(());
        }
        request.extend(&piece[..read]);
    }
    let (status, kind, body) = if request.starts_with(b"GET /metrics ") {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ("200 OK", kind, METRICS.text())
    } else if request.starts_with(b"GET /health ") {
        match METRICS.raised() {
            raised if raised.is_empty() => ("200 OK", "text/plain", "ok\n".into()),
            raised => ("503 Service Unavailable", "text/plain", raised.join("\n") + "\n"),
        }
    } else {
        let body = "GET /metrics or GET /health\n".into();
        ("404 Not Found", "text/plain", body)
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_counted_is_in_the_text() {
        let metrics = Metrics::new();
        metrics.login("publickey", true);
        metrics.shut_out("spared");
        metrics.turned_away("no_place");
        metrics.denial("no_consent");
        metrics.live_leases(3);
        metrics.step("gate", Duration::from_millis(2));
        metrics.appended(Duration::from_millis(2));
        metrics.batch(7);
        metrics.projection_lag(1);
        metrics.recorded(4096);
        metrics.alarm(Alarm::Recording, true);
        let text = metrics.text();
        for line in [
            r#"bastion_logins_total{method="publickey",outcome="accepted"} 1"#,
            r#"bastion_guessing_sources_total{outcome="spared"} 1"#,
            r#"bastion_turned_away_total{reason="no_place"} 1"#,
            r#"bastion_denials_total{reason="no_consent"} 1"#,
            "bastion_live_leases 3",
            r#"bastion_pipeline_step_seconds_count{step="gate"} 1"#,
            "bastion_ledger_append_seconds_count 1",
            "bastion_ledger_entries_total 7",
            "bastion_projection_lag_entries 1",
            "bastion_recording_bytes_total 4096",
            r#"bastion_alarm{of="recording"} 1"#,
            r#"bastion_alarm{of="log"} 0"#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(metrics.raised(), ["recording"]);
    }
}
