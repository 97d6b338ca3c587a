//! Every bound of the product, with its reason. Units last.

mod backup;
mod erasure;
mod forwards;
mod https;
mod ingress;
mod latency;
mod log;
mod proof;
mod query;
mod recording;
mod vm;
mod witness;

pub use backup::*;
pub use erasure::*;
pub use forwards::*;
pub use https::*;
pub use ingress::*;
pub use latency::*;
pub use log::*;
pub use proof::*;
pub use query::*;
pub use recording::*;
pub use vm::*;
pub use witness::*;

/// A command line: what Linux hands to one `execve` argument (MAX_ARG_STRLEN, 128 KiB).
pub const COMMAND_BYTES_MAX: usize = 128 * 1024;

/// Free text of people (justification, note, reason): a paragraph, not a document.
pub const FREE_TEXT_CHARS_MAX: usize = 500;

/// Seconds of validity of a certificate before now: clocks of VMs may be behind.
pub const CERT_BACKDATE_SECONDS: i64 = 120;

/// Seconds of validity of a certificate after now: it only has to fit one login.
pub const CERT_VALIDITY_SECONDS: i64 = 300;

/// Receipt and consent extensions of a certificate together, in bytes.
pub const CERT_EXTENSIONS_BYTES_MAX: usize = 16 * 1024;

/// The longest consent window, in seconds: 24 hours.
pub const CONSENT_WINDOW_SECONDS_MAX: i64 = 24 * 3600;

/// How long a ticket waits for a decision, in seconds: four days.
pub const CONSENT_PENDING_SECONDS_MAX: i64 = 4 * 24 * 3600;

/// The longest life of a channel whatever its level, in seconds: a working day.
pub const CHANNEL_SECONDS_MAX: i64 = 12 * 3600;

/// A deployment's name: it stands in every statement and checkpoint.
pub const ORIGIN_BYTES_MAX: usize = 100;

/// The path of a Unix socket: `sockaddr_un` holds 108 bytes, its end and a little room included.
pub const SOCKET_PATH_BYTES_MAX: usize = 100;

/// The most that any configured count of connections or channels may be.
pub const CONNECTIONS_MAX: usize = 100_000;

/// Connections to the metrics page at once: a scraper or two.
pub const METRICS_CONNECTIONS_MAX: usize = 8;

/// The head of a request to the metrics page, in bytes.
pub const METRICS_REQUEST_BYTES_MAX: usize = 4096;
/// A command of `ssh bastion …`: the longest free texts, ids and flags of any command, with room.
pub const COMMAND_LINE_BYTES_MAX: usize = 32 * 1024;

/// Words of such a command: a list of source ranges is the longest there is.
pub const COMMAND_WORDS_MAX: usize = 256;

/// What a command reads from its standard input: an armored signature, a PEM key.
pub const COMMAND_INPUT_BYTES_MAX: usize = 32 * 1024;

/// Recorded commands of one person at once before the next one waits.
pub const COMMAND_BURST_MAX: u32 = 200;

/// Milliseconds for which each one after that waits: what one person adds to the log is bounded,
/// and nobody is refused unrecorded for being fast.
pub const COMMAND_REFILL_MILLIS: u64 = 100;

/// People whose bursts are remembered before those who have theirs back are forgotten.
pub const COMMAND_WAITERS_MAX: usize = 10_000;

// ---- the operators' side ----------------------------------------------------------------------

/// Bytes of a client's version line that are looked at (RFC 4253: 255, its end included).
pub const VERSION_BYTES_MAX: usize = 255;

/// Bytes of a client's first proposal that are looked at: OpenSSH's has about 1,500.
pub const PROPOSAL_BYTES_MAX: usize = 16 << 10;

/// How long a client's proposal is waited for before ours is sent, in milliseconds: a near one's is
/// there at once, and a far one should not lose a round trip.
pub const PROPOSAL_MILLIS_MAX: u64 = 20;

// ---- the relay ----------------------------------------------------------------------------------

/// Bytes that one direction of a channel keeps in memory before it takes to disk: what may still
/// come in after [`STALL_BYTES`], in windows of [`WINDOW_FAR_BYTES`].
pub const FIFO_MEMORY_BYTES_MAX: usize = 19 << 19;

/// The smallest buffer of a backlog: packets smaller than this share one.
pub const FIFO_CHUNK_BYTES: usize = 4 << 10;

/// Bytes that one direction of a channel may have on disk.
pub const SPOOL_BYTES_MAX: u64 = 512 << 20;

/// Bytes on disk from which on a direction is held: its sender gets no more than SSH makes us take.
pub const SPOOL_HOLD_BYTES: u64 = 256 << 20;

/// Seconds for which a direction may be held before its channel ends: a receiver that takes
/// nothing in this time has forgotten it.
pub const SPOOL_HOLD_SECONDS: u64 = 30;

/// Bytes on disk up to which a channel is not ended for what others have.
pub const SPOOL_SMALL_BYTES: u64 = 16 << 20;

/// Bytes beyond [`SPOOLS_BYTES_MAX`] that such channels may have together.
pub const SPOOLS_RESERVE_BYTES: u64 = 1 << 30;

/// Bytes that spools take between two looks at how much is free on the disk.
pub const SPOOLS_LOOK_BYTES: u64 = 16 << 20;

/// Bytes that all channels together may have on disk.
pub const SPOOLS_BYTES_MAX: u64 = 4 << 30;

/// Bytes that are read back from disk at once.
pub const SPOOL_PULL_BYTES: usize = 256 << 10;

/// An operator's channel counts as stalled above this backlog towards the VM.
pub const STALL_BYTES: u64 = 3 << 19;

/// … until its backlog has come down to this.
pub const UNSTALL_BYTES: u64 = 1 << 20;

/// The window that a fast operator's channel is brought back to with each grant.
pub const WINDOW_NEAR_BYTES: u32 = 5 << 19;

/// The same where a grant takes longer than [`WINDOW_NEAR_MICROS`] to be used up: a long way off.
/// A sender gets half of it per round trip, and OpenSSH's own window is 2 MiB.
pub const WINDOW_FAR_BYTES: u32 = 5 << 20;

/// Microseconds between two grants from which on a channel counts as far.
pub const WINDOW_NEAR_MICROS: u64 = 5_000;

/// The window while a channel is stalled: 16 bytes a round trip. Russh grants only below half of
/// it, so 1 would never be granted again.
pub const WINDOW_PROBE_BYTES: u32 = 16;

/// The window at which russh's server starts each channel.
pub const WINDOW_INITIAL_BYTES: u32 = 2 << 20;

/// Probes after which a busy channel gets a full grant although no stalled channel has probed.
pub const HUNGRY_PROBES_MAX: u32 = 64;

/// Milliseconds within which the next probe of a stalled channel is expected.
pub const PROBE_DUE_MILLIS: u64 = 100;

/// How long the next read of a connection is held after a probe of a stalled channel: doubling
/// from the first to the second, or to the third when no other channel is active.
pub const HOLD_MICROS_MIN: u64 = 250;
/// See [`HOLD_MICROS_MIN`].
pub const HOLD_MICROS_BUSY_MAX: u64 = 1_000;
/// See [`HOLD_MICROS_MIN`].
pub const HOLD_MICROS_QUIET_MAX: u64 = 10_000;

/// A channel is active for so many milliseconds after its last data.
pub const CHANNEL_ACTIVE_MILLIS: u64 = 2_000;

/// Signals of an operator that wait for the VM; more are dropped, as a terminal would.
pub const SIGNALS_WAITING_MAX: usize = 16;

/// Reads of a VM's connection are gated at this backlog towards the operator.
pub const GATE_CLOSE_BYTES: u64 = 1 << 20;

/// … until it has come down to this.
pub const GATE_OPEN_BYTES: u64 = 512 << 10;

/// Bytes that a closed gate lets through at a time.
pub const TRICKLE_BYTES: usize = 16 << 10;

/// Milliseconds between them: often enough for keepalives and rekeying.
pub const TRICKLE_MILLIS: u64 = 250;

/// Milliseconds between them while data for the VM waits for window: the adjustment may be behind.
pub const TRICKLE_STARVED_MILLIS: u64 = 16;

/// Milliseconds that data for the VM has to wait for window before that counts as starved.
pub const STARVED_MILLIS: u64 = 100;

/// Freed memory that the allocator keeps for what comes next, where it lies at an end: more than
/// the backlog and the recording of a busy channel take.
pub const FREED_BYTES_KEPT: usize = 16 << 20;

/// The read buffer of a socket, at first and at most.
pub const READ_BUFFER_BYTES_MIN: usize = 4 << 10;
/// See [`READ_BUFFER_BYTES_MIN`].
pub const READ_BUFFER_BYTES_MAX: usize = 128 << 10;

/// Plaintext that a recording gathers before it wakes its writer thread.
pub const RECORDING_BUFFER_BYTES: usize = 256 << 10;

/// Plaintext that a recording may be ahead of its file: beyond, the channel waits.
pub const RECORDING_IN_FLIGHT_BYTES_MAX: usize = 1 << 20;

/// The bytes in flight: what may have been delivered, to either side, that the file of the
/// recording does not hold if the process is killed. The buffer above, one piece that was taken
/// down beyond it, and what the writer thread has taken and not written yet.
pub const RECORDING_LOST_BYTES_MAX: usize =
    2 * RECORDING_IN_FLIGHT_BYTES_MAX + 2 * SPOOL_PULL_BYTES;

/// Bytes of one frame of a recording.
pub const RECORDING_FRAME_BYTES_MAX: usize = 1 << 20;

/// Bytes of a recording's first line: four ids and times.
pub const RECORDING_HEADER_BYTES_MAX: usize = 4 << 10;

/// A segment is sealed after so many bytes …
pub const RECORDING_SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// … or so many seconds: that much may be missing after a crash.
pub const RECORDING_SEGMENT_SECONDS_MAX: u64 = 10;

/// Bytes of one recording: days of a busy terminal, or one very large pipe. Beyond, the channel
/// ends.
pub const RECORDING_BYTES_MAX: u64 = 256 << 30;

/// Jobs that wait for a writer thread; one per recording that has something to write.
pub const RECORDING_QUEUE_MAX: usize = 1024;
// ---- the log and its store ----------------------------------------------------------------------

/// Entries that one batch may hold: one flush carries them all, and a batch this large takes about
/// 50 ms, so nobody waits long behind it.
pub const BATCH_ENTRIES_MAX: usize = 1024;

/// How long a batch takes in changes before it is flushed, in milliseconds: changes that read many
/// facts must not keep those that are done from their answers.
pub const BATCH_MILLIS_MAX: u64 = 50;

/// Changes that may wait for the log's writer: a few batches. Beyond that the caller waits.
pub const LEDGER_QUEUE_CHANGES_MAX: usize = 4096;

/// How long a change may wait for its turn before it is refused, in seconds.
pub const APPEND_WAIT_SECONDS_MAX: u64 = 10;

/// How long one change may hold the head of the log, in seconds: it reads facts and writes rows,
/// nothing else.
pub const CHANGE_SECONDS_MAX: u64 = 5;

/// How long the flush of a batch may take, in seconds, before its outcome counts as unknown.
pub const COMMIT_SECONDS_MAX: u64 = 30;

/// How far the clock may be behind the head of the log, or off the database's, in microseconds.
pub const CLOCK_SKEW_MICROS_MAX: i64 = 2_000_000;

/// Entries at the end of the log that are verified at each start.
pub const TAIL_ENTRIES_CHECKED: u64 = 4096;

/// Lines read at once when the log is streamed.
pub const LINES_READ_AT_ONCE: u64 = 512;

/// Entries folded into the query index by one transaction.
pub const INDEX_ROWS_AT_ONCE: u64 = 512;

/// Leases, tickets, sessions and instances that the feeder of the index keeps in memory.
pub const INDEX_CONTEXTS_MAX: usize = 10_000;

/// Rows of one page of a query.
pub const QUERY_ROWS_MAX: usize = 1000;

/// Room on the disk of an SQLite log that is kept for closing what is open, in bytes: some ten
/// thousand closing entries with their openings.
pub const LOG_RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// How often a full disk is looked at again, in milliseconds.
pub const LOG_FULL_RETRY_MILLIS: u64 = 1000;

/// How often a log that could not be written is tried while nobody asks, in milliseconds.
pub const LOG_PROBE_MILLIS: u64 = 500;

/// How long SQLite waits for a lock, in seconds.
pub const SQLITE_BUSY_SECONDS_MAX: u64 = 5;

/// Connections that read an SQLite file at once: each is a thread.
pub const SQLITE_READERS_MAX: u32 = 4;

/// What remains of SQLite's write-ahead log after it was reset, in bytes.
pub const SQLITE_WAL_KEPT_BYTES: u64 = 16 * 1024 * 1024;

/// From this size on, the write-ahead log is moved into the database between batches, in bytes.
pub const SQLITE_WAL_CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;

/// A write-ahead log of this size means that a reader is stuck, in bytes: worth an alarm.
pub const SQLITE_WAL_ALARM_BYTES: u64 = 256 * 1024 * 1024;

/// How long to wait for a connection of a pool, in seconds.
pub const STORE_WAIT_SECONDS_MAX: u64 = 5;

/// Connections to PostgreSQL of one gateway.
pub const POSTGRES_CONNECTIONS_MAX: u32 = 10;

/// How long PostgreSQL may work on one statement, in seconds.
pub const POSTGRES_STATEMENT_SECONDS_MAX: u64 = 10;

/// How long a gateway may hold a transaction without a word, in seconds: one that froze must not
/// keep the head of the log from the others.
pub const POSTGRES_IDLE_TRANSACTION_SECONDS_MAX: u64 = 6;
/// The most sessions that one consent may allow: more is a standing right, not a ticket.
pub const CONSENT_SESSIONS_MAX: u32 = 100;

/// The most VM instances in one consent: what a person can read before they sign.
pub const CONSENT_INSTANCES_MAX: usize = 64;

/// The most operators named in one consent: what a person can read before they sign.
pub const CONSENT_OPERATORS_MAX: usize = 32;

/// The most distinct signatures that a customer may ask for.
pub const CONSENT_SIGNATURES_MAX: u64 = 16;

/// A statement in bytes: all lists at their longest fit.
pub const STATEMENT_BYTES_MAX: usize = 64 * 1024;

/// An armored SSH signature in bytes: RSA of 16,384 bits with its key fits twice.
pub const SIGNATURE_BYTES_MAX: usize = 16 * 1024;

/// The smallest RSA modulus that may sign anything here, in bits.
pub const RSA_BITS_MIN: u32 = 3072;

/// The largest RSA modulus that we verify with, in bits: more only burns our time.
pub const RSA_BITS_MAX: u32 = 16_384;

/// All policy files together, in bytes.
pub const POLICY_BYTES_MAX: usize = 1024 * 1024;

/// Validity of a host certificate that a gateway shows to operators, in seconds.
pub const SHOWN_CERT_SECONDS: i64 = 24 * 3600;

/// Host keys that a gateway shows for VMs (`ssh -J`), kept in memory at once.
pub const SHOWN_KEYS_MAX: usize = 4096;

/// How long the channels of a connection that is gone may take to write their last entries, in
/// milliseconds, before the session's own last entry.
pub const CHANNELS_END_MILLIS: u64 = 5000;

/// Principals of an operator's certificate that are looked up.
pub const CERTIFICATE_PRINCIPALS_MAX: usize = 16;

/// Seconds that a VM may take to answer our certificate: PAM may be slow.
pub const EGRESS_LOGIN_SECONDS: u64 = 30;

/// Seconds that a VM may take to open a channel.
pub const EGRESS_OPEN_SECONDS: u64 = 15;

/// Seconds that a VM may take to start a shell, a command or sftp.
pub const EGRESS_START_SECONDS: u64 = 30;

/// Seconds without a byte from a VM after which it is asked whether it still lives, unless the
/// configuration says otherwise.
pub const EGRESS_KEEPALIVE_SECONDS: u64 = 15;

/// One frame on the Unix socket of local commands: a command line fits, and memory stays small.
pub const SOCKET_FRAME_BYTES_MAX: usize = 256 * 1024;

/// Local commands at once.
pub const SOCKET_CONNECTIONS_MAX: usize = 16;

/// Bytes of standard input that wait for a local command to read them.
pub const SOCKET_INPUT_BYTES_MAX: usize = 64 * 1024;
/// How often a gateway looks whether its live leases still stand, in milliseconds: a withdrawal
/// must end a channel on every gateway within a second.
pub const WATCH_TICK_MILLIS: u64 = 200;

/// How long a gateway may fail to confirm its live leases before data channels end, in
/// milliseconds.
pub const CONFIRM_MILLIS_MAX: u64 = 500;

/// How long the other channels go on unconfirmed, still recorded locally, in milliseconds.
pub const GRACE_MILLIS_MAX: u64 = 30_000;

/// Validity of a certificate of the gateway-host CA, in seconds: a day; it is made anew at start
/// and for each VM name when it is shown.
pub const GATEWAY_HOST_CERT_SECONDS: i64 = 24 * 3600;

/// Validity of a VM's host certificate, in seconds: a year, or the VM's life if that is shorter
/// (the instance in it is worth nothing afterwards).
pub const VM_HOST_CERT_SECONDS: i64 = 365 * 24 * 3600;
/// How long the end of output waits for the exit status that usually follows, in milliseconds.
pub const EOF_HOLD_MILLIS: u64 = 250;

/// Changes between output and error output whose order is kept while they wait.
pub const OUTBOX_RUNS_MAX: usize = 16 << 10;

/// Seconds in which the VM may take what an operator sent before leaving.
pub const LEFT_GRACE_SECONDS: u64 = 5;

/// Seconds in which the log may take what is known of files when a channel ends.
pub const FINISH_SECONDS: u64 = 10;

/// Seconds in which a VM may take our good-bye.
pub const PARTING_SECONDS: u64 = 5;

/// Evidence that waits to become entries before the channel waits.
pub const EVIDENCE_WAITING_MAX: usize = 64;

/// Requests of one sftp session that are followed at once; OpenSSH sends 64.
pub const SFTP_REQUESTS_MAX: usize = 1024;

/// Files of one sftp session that are followed at once.
pub const SFTP_FILES_MAX: usize = 512;

/// Sizes of paths that one sftp session remembers.
pub const SFTP_SIZES_MAX: usize = 64;

/// A file handle of sftp: the protocol's own bound.
pub const SFTP_HANDLE_BYTES_MAX: usize = 256;

/// A path of sftp that stands in the log: Linux has no longer ones.
pub const SFTP_PATH_BYTES_MAX: usize = 4096;

/// A line of the scp protocol: a mode, a size and a name.
pub const SCP_LINE_BYTES_MAX: usize = 8 << 10;

/// Folders within folders that one scp is followed into.
pub const SCP_DEPTH_MAX: usize = 256;

/// The head of an sftp packet that is read; larger ones are listings, and pass.
pub const SFTP_PACKET_BYTES_MAX: usize = 64 << 10;
/// What an entry keeps of the words of a refused command, in characters.
pub const REFUSED_ARGUMENTS_CHARS_MAX: usize = 500;

/// Leases that one entry names: 100 ids are 2 KiB of the 4 KiB that an entry should have.
pub const LEASES_LISTED_MAX: usize = 100;

/// Keys of one person at once: laptop, token, spare.
pub const KEYS_PER_PERSON_MAX: u64 = 16;

/// A line of a `.pub` file: RSA of 16,384 bits and a comment.
pub const PUBLIC_KEY_BYTES_MAX: usize = 8 * 1024;

/// A Unix user's name, as useradd has it.
pub const UNIX_USER_BYTES_MAX: usize = 32;

/// Source ranges of one service.
pub const SOURCE_RANGES_MAX: usize = 64;

/// Accounts of one VM instance.
pub const ACCOUNTS_PER_VM_MAX: usize = 16;

/// The address of a customer's webhook.
pub const WEBHOOK_URL_BYTES_MAX: usize = 500;

/// A notice to approvers: ids, counts and a summary of a ticket.
pub const NOTICE_BYTES_MAX: usize = 64 * 1024;

/// Seconds that a webhook or a hook may take for one notice.
pub const NOTICE_SECONDS_MAX: u64 = 10;

/// Seconds that looking up a webhook's name, and then connecting with TLS, may take each: half of
/// what the notice may take in all.
pub const WEBHOOK_CONNECT_SECONDS_MAX: u64 = 5;

/// The head of a webhook's answer; its body is not read.
pub const WEBHOOK_ANSWER_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Attempts after which the gateway raises an alarm.
pub const NOTICE_ALARM_ATTEMPTS: u64 = 3;

/// Attempts after which a notice is given up, in the log: with the pauses about four days.
pub const NOTICE_ATTEMPTS_MAX: u64 = 107;

/// The longest pause between two attempts, in seconds.
pub const NOTICE_PAUSE_SECONDS_MAX: u64 = 3600;

/// Seconds after which another gateway delivers what the one that wrote it did not.
pub const NOTICE_TAKEOVER_SECONDS: i64 = 300;

/// Notices that one look at the outbox takes up.
pub const NOTICES_PER_SWEEP_MAX: u64 = 256;

/// Milliseconds between two looks at the outbox.
pub const NOTICE_SWEEP_MILLIS: u64 = 500;

/// Tickets that one look ends; the next look is half a second later.
pub const TICKETS_PER_SWEEP_MAX: u64 = 100;

/// Milliseconds between two looks for tickets that ran out.
pub const TICKET_SWEEP_MILLIS: u64 = 500;

/// Tickets that one list shows: newest first; the log has all.
pub const TICKETS_LISTED_MAX: u64 = 1000;

/// Refusals of one party in a row before its next attempt has to wait.
pub const REFUSAL_BURST_MAX: u32 = 60;

/// How long one refusal counts, in milliseconds: a party adds at most one entry in this time.
pub const REFUSAL_REFILL_MILLIS: u64 = 1000;

/// Parties whose refusals are remembered; those whose time is over are forgotten first.
pub const PATIENCE_PARTIES_MAX: usize = 10_000;

/// VMs that `bastion doctor` tries to reach: it is a look, not a monitor.
pub const DOCTOR_VMS_MAX: usize = 100;

/// How long a proposed change waits for another officer: a working day, nights included.
pub const PROPOSAL_SECONDS_MAX: i64 = 24 * 3600;

/// Proposed changes that wait at once: more than anybody can look at means that something floods.
pub const PROPOSALS_OPEN_MAX: u64 = 200;

/// Proposed changes that a list shows, the newest first.
pub const PROPOSALS_LISTED_MAX: u64 = 1000;

// ---- VMs dialled ahead --------------------------------------------------------------------------

/// Connections to VMs that were dialled before their lease, in all: what a flood of half-finished
/// logins may cost the VMs together.
pub const SPARES_MAX: usize = 256;

/// The same for one source prefix: a team behind one address, all connecting at once.
pub const SPARES_PER_SOURCE_MAX: usize = 32;

/// How long such a connection is kept, in seconds: longer than a login takes that asks nobody
/// anything, shorter than sshd's patience (LoginGraceTime) and than a passphrase.
pub const SPARE_SECONDS_MAX: u64 = 15;
/// How long the erasure of a recording's keys waits for readers of the database to step aside.
pub const SCRUB_SECONDS_MAX: u64 = 10;
/// A message of sftp: OpenSSH's own bound, past which its server gives up.
pub const SFTP_MESSAGE_BYTES_MAX: usize = 256 << 10;

/// Requests of one sftp channel that a rule on the direction of files refuses before the channel
/// ends: each costs an entry, and a client that goes on has not understood.
pub const SFTP_REFUSALS_MAX: usize = 1000;

/// Columns of a screen that is watched, replayed or searched: wider ones are cut. A few bytes can
/// clear all of it, so its cells bound what they cost.
pub const SCREEN_COLUMNS_MAX: usize = 500;

/// Rows of a screen that is watched, replayed or searched.
pub const SCREEN_ROWS_MAX: usize = 200;

/// One line of a recording's plaintext: a frame of bytes, each spelled in up to six characters.
pub const PLAYBACK_LINE_BYTES_MAX: usize = 32 << 20;
/// Seconds after which a connection gets new keys if nobody wanted them before.
pub const REKEY_SECONDS: u64 = 24 * 3600;

/// Seconds for which the end of output waits for the exit status when the operator's input has
/// ended too: some clients close at once when both have, and a status after that is lost.
pub const EOF_HOLD_ENDED_SECONDS: u64 = 10;

/// Milliseconds for which an operator's connection is not read after its input has ended on a
/// channel whose output had ended before: the exit status goes ahead of the client's close.
pub const EXIT_HOLD_MILLIS: u64 = 300;

/// Milliseconds in which russh takes an exit status out of its queue.
pub const EXIT_LEAVES_MILLIS: u64 = 10;

/// Commands of a channel that are kept as they were typed; the others are counted.
pub const TYPED_COMMANDS_MAX: usize = 50;

/// Characters of a typed command that are kept.
pub const TYPED_COMMAND_CHARS_MAX: usize = 300;

/// Rows of a line that is typed: what is longer is cut.
pub const TYPED_ROWS_MAX: usize = 32;

/// Output of a terminal that is kept for whoever begins to watch it: a few full screens.
pub const WATCH_RECENT_BYTES_MAX: usize = 32 << 10;

/// Pieces that wait for one watcher; a slower one is told what it missed.
pub const WATCH_PIECES_MAX: usize = 128;

/// Watchers of one channel.
pub const WATCHERS_MAX: usize = 8;

/// How long a watcher may take nothing before it is let go.
pub const WATCH_STALL_SECONDS_MAX: u64 = 60;

/// How often it is looked whether a watcher still may.
pub const WATCH_CHECK_MILLIS: u64 = 1000;

/// Hits of a search in one recording: more say that the text is everywhere.
pub const SEARCH_HITS_MAX: usize = 200;

/// Channels that one search looks at, the newest first.
pub const SEARCH_CHANNELS_MAX: u64 = 1000;
/// Connections that `bastion serve --stdio` passed on and nobody has taken yet.
pub const VISITORS_WAITING_MAX: usize = 16;

/// Milliseconds in which a gateway that ends takes a visitor that found it just before.
pub const VISITOR_TAKEN_MILLIS: u64 = 100;
