-- The log, and the facts that its decisions read, in one file: one commit, one flush.
-- Times are integer microseconds since 1970 UTC. Columns ending in _json hold canonical JSON.

-- ---- the log -----------------------------------------------------------------------------------
-- Exact bytes; no secondary index (that, not hashing, limits inserts).
CREATE TABLE entries (
    seq  INTEGER PRIMARY KEY,
    line BLOB NOT NULL CHECK (length(line) BETWEEN 2 AND 65535)
) STRICT;

-- One row: the size, the last leaf hash, the right edge of the tree, the last entry's time.
CREATE TABLE head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    size     INTEGER NOT NULL,
    leaf     BLOB NOT NULL,
    frontier BLOB NOT NULL,
    time     INTEGER NOT NULL
) STRICT;

CREATE TABLE customer_heads (
    customer TEXT PRIMARY KEY,
    seq      INTEGER NOT NULL,
    leaf     BLOB NOT NULL
) STRICT;

-- What the commitments of an entry open to. The one part of the log that may be erased.
CREATE TABLE openings (
    seq   INTEGER NOT NULL,
    field TEXT NOT NULL,
    salt  BLOB NOT NULL CHECK (length(salt) = 32),
    value TEXT NOT NULL,
    PRIMARY KEY (seq, field)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER entries_no_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_no_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END;
CREATE TRIGGER entries_in_order BEFORE INSERT ON entries
WHEN NEW.seq <> (SELECT size FROM head WHERE id = 1)
     AND NEW.seq <> (SELECT COALESCE(MAX(seq), -1) + 1 FROM entries)
BEGIN SELECT RAISE(ABORT, 'entries are gap-free'); END;
CREATE TRIGGER head_only_grows BEFORE UPDATE ON head
WHEN NEW.size <= OLD.size OR NEW.time < OLD.time
BEGIN SELECT RAISE(ABORT, 'the head only grows'); END;
CREATE TRIGGER head_no_delete BEFORE DELETE ON head
BEGIN SELECT RAISE(ABORT, 'the head only grows'); END;
CREATE TRIGGER customer_heads_only_grow BEFORE UPDATE ON customer_heads
WHEN NEW.seq <= OLD.seq OR NEW.customer <> OLD.customer
BEGIN SELECT RAISE(ABORT, 'a customer''s head only grows'); END;
CREATE TRIGGER customer_heads_no_delete BEFORE DELETE ON customer_heads
BEGIN SELECT RAISE(ABORT, 'a customer''s head only grows'); END;
CREATE TRIGGER openings_no_update BEFORE UPDATE ON openings
BEGIN SELECT RAISE(ABORT, 'openings are written once'); END;

-- ---- the deployment ----------------------------------------------------------------------------
CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- ---- people ------------------------------------------------------------------------------------
CREATE TABLE operators (
    id               TEXT PRIMARY KEY,
    handle           TEXT NOT NULL UNIQUE,
    team             TEXT NOT NULL,
    employing_entity TEXT NOT NULL,
    country          TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('enabled', 'disabled'))
) STRICT;

CREATE TABLE officers (
    id     TEXT PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    state  TEXT NOT NULL CHECK (state IN ('enabled', 'disabled'))
) STRICT;

-- Officers' commands that wait for another officer. command_json: the words; with stdin they are
-- what is run. The transaction that sets the state to approved makes the change.
CREATE TABLE proposals (
    id           TEXT PRIMARY KEY,
    officer      TEXT NOT NULL,
    command_json TEXT NOT NULL,
    stdin        TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'refused'))
) STRICT;
CREATE INDEX proposals_open ON proposals (created_at) WHERE state = 'proposed';

CREATE TABLE approvers (
    id       TEXT PRIMARY KEY,
    handle   TEXT NOT NULL,
    customer TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    UNIQUE (customer, handle)
) STRICT;

-- The primary key is what keeps one key from belonging to two roles.
CREATE TABLE keys (
    fingerprint TEXT PRIMARY KEY,
    public_key  TEXT NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('operator', 'officer', 'approver')),
    subject     TEXT NOT NULL,
    added_at    INTEGER NOT NULL,
    removed_at  INTEGER
) STRICT;

CREATE TABLE training (
    operator     TEXT NOT NULL,
    course       TEXT NOT NULL,
    completed_at INTEGER NOT NULL,
    valid_until  INTEGER NOT NULL,
    PRIMARY KEY (operator, course, completed_at)
) STRICT;

-- ---- inventory ---------------------------------------------------------------------------------
CREATE TABLE customers (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    signatures_needed INTEGER NOT NULL CHECK (signatures_needed BETWEEN 1 AND 16),
    webhook_url       TEXT,
    hook_command      TEXT
) STRICT;

-- recording_key: PEM of the RSA key to which recordings of data channels are sealed.
CREATE TABLE services (
    id            TEXT PRIMARY KEY,
    customer      TEXT NOT NULL,
    sources_json  TEXT NOT NULL,
    recording_key TEXT NOT NULL
) STRICT;

CREATE TABLE instances (
    id         TEXT PRIMARY KEY,
    vm         TEXT NOT NULL,
    service    TEXT NOT NULL,
    customer   TEXT NOT NULL,
    region     TEXT NOT NULL,
    zone       TEXT NOT NULL,
    address    TEXT NOT NULL,
    added_at   INTEGER NOT NULL,
    retired_at INTEGER
) STRICT;
CREATE UNIQUE INDEX instances_live ON instances (vm) WHERE retired_at IS NULL;

CREATE TABLE accounts (
    instance  TEXT NOT NULL,
    name      TEXT NOT NULL,
    level     TEXT NOT NULL CHECK (level IN ('troubleshoot', 'data')),
    unix_user TEXT NOT NULL,
    PRIMARY KEY (instance, name)
) STRICT;

-- ---- consent -----------------------------------------------------------------------------------
-- scope_json is the ticket as core::consent::Ticket; statement the exact bytes that are signed.
CREATE TABLE tickets (
    id         TEXT PRIMARY KEY,
    customer   TEXT NOT NULL,
    revision   INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN
               ('pending', 'granted', 'refused', 'withdrawn', 'ended')),
    scope_json TEXT NOT NULL,
    statement  BLOB NOT NULL,
    not_after  INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tickets_customer ON tickets (customer, created_at);

CREATE TABLE consent_signatures (
    ticket      TEXT NOT NULL,
    revision    INTEGER NOT NULL,
    approver    TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    statement   BLOB NOT NULL,
    signature   TEXT NOT NULL,
    signed_seq  INTEGER NOT NULL,
    decided_at  INTEGER NOT NULL,
    PRIMARY KEY (ticket, revision, approver)
) STRICT;

-- One row a session that used the ticket: what `sessions at most` counts.
CREATE TABLE ticket_uses (
    ticket   TEXT NOT NULL,
    revision INTEGER NOT NULL,
    session  TEXT NOT NULL,
    PRIMARY KEY (ticket, revision, session)
) STRICT;

-- ---- what is live ------------------------------------------------------------------------------
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    gateway    TEXT NOT NULL,
    role       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    source     TEXT NOT NULL,
    opened_at  INTEGER NOT NULL,
    closed_at  INTEGER
) STRICT;
CREATE INDEX sessions_open ON sessions (gateway) WHERE closed_at IS NULL;

-- revoked_at is set by the transaction that takes the ground away; closed_at by the channel's end.
CREATE TABLE leases (
    id            TEXT PRIMARY KEY,
    serial        INTEGER NOT NULL,
    gateway       TEXT NOT NULL,
    session       TEXT NOT NULL,
    operator      TEXT NOT NULL,
    customer      TEXT NOT NULL,
    service       TEXT NOT NULL,
    vm            TEXT NOT NULL,
    instance      TEXT NOT NULL,
    account       TEXT NOT NULL,
    level         TEXT NOT NULL,
    kind          TEXT NOT NULL,
    ticket        TEXT,
    revision      INTEGER,
    source        TEXT NOT NULL,
    recording     TEXT,
    granted_at    INTEGER NOT NULL,
    deadline      INTEGER NOT NULL,
    revoked_at    INTEGER,
    revoked_cause TEXT,
    closed_at     INTEGER
) STRICT;
CREATE INDEX leases_live ON leases (gateway) WHERE closed_at IS NULL;

-- The wrapped keys of recordings: deleting a row erases every copy of the file.
CREATE TABLE recording_keys (
    recording    TEXT PRIMARY KEY,
    lease        TEXT NOT NULL,
    wrapped_json TEXT NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

-- Notices to approvers that still have to go out; written with the event that causes them.
CREATE TABLE notices (
    id           TEXT PRIMARY KEY,
    customer     TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    gateway      TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    done_at      INTEGER
) STRICT;
CREATE INDEX notices_waiting ON notices (created_at) WHERE done_at IS NULL;
