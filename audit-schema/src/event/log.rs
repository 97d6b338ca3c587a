//! Events of the log itself and of the gateway that writes it.

macro_rules! log_events {
    ([$next:ident $($rest:ident)*] $($before:tt)*) => { $next! { [$($rest)*] $($before)*

    /// Entry 0: the log's name, its key and its format.
    #[serde(rename = "genesis")]
    Genesis { format: u64, log_key: String, origin: String },
    /// A gateway is about to accept connections. `offline_reads`: the store was read while no
    /// gateway ran since the last stop.
    #[serde(rename = "gateway.started")]
    GatewayStarted { clean: bool, offline_reads: u64, policy_digest: String, version: String },
    /// A gateway ended in an orderly way.
    #[serde(rename = "gateway.stopped")]
    GatewayStopped { reason: String },
    /// Written when nothing else was for a while, so that silence is told from a log that stopped,
    /// and so that each customer can see that its export is whole: `map` is the root of the map of
    /// customers over all entries before this one, `customers` how many it has.
    #[serde(rename = "heartbeat")]
    Heartbeat { customers: u64, map: String },
    /// After a loss the log goes on under another name, never under the old one with fewer entries:
    /// `origin` signs from here on with `log_key`, the entries before this one are those that are
    /// left of `old_origin`, whose checkpoint of `old_size` and `old_root` is the newest known;
    /// entries `lost_from` to `lost_to` of it are not here (equal: none). Commits: `reason`.
    #[serde(rename = "log.epoch")]
    LogEpoch {
        log_key: String,
        lost_from: u64,
        lost_to: u64,
        old_origin: String,
        old_root: String,
        old_size: u64,
        origin: String,
    },
    /// The high-water mark of a gateway was gone and is made anew at a log of this size: what was
    /// answered before and is not here would not be noticed by it. Commits: `reason`.
    #[serde(rename = "log.mark")]
    LogMark { gateway: String, size: u64 },
    /// A backup was made and read back: of the first `entries` of the log with all that stands
    /// beside it (`kind` `log`), or of the keys of data subjects (`keys`, `entries` 0). `digest` is
    /// what it is signed by, `bytes` its size.
    #[serde(rename = "backup.made")]
    BackupMade { backup: String, bytes: u64, digest: String, entries: u64, kind: String },
    /// The store was put back from a backup, of the first `entries` of the log, before this gateway
    /// started: facts and log are those of then. `digest` as its `backup.made` has it.
    #[serde(rename = "backup.restored")]
    BackupRestored { backup: String, digest: String, entries: u64 },
    /// What a crash left open is closed: `lease`, `session` or, where `recording` is named, the
    /// connection that was lent under the lease and that it is of. Of the recording,
    /// `recording_bytes` are whole sealed segments; `recording_missing` of what earlier
    /// entries fixed is not there, or not as it was (absent: nothing); `recording_unsealed` bytes
    /// stand behind the last whole segment and prove nothing.
    #[serde(rename = "recovered")]
    Recovered {
        #[serde(skip_serializing_if = "Option::is_none")]
        lease: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recording: Option<String>,
        /// Bytes of whole sealed segments found; absent when there is no file.
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_bytes: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_digest: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_missing: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        recording_unsealed: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },

    } };
}
