-- The log, and the facts that its decisions read, in one database: one commit, one flush.
-- Times are integer microseconds since 1970 UTC. Columns ending in _json hold canonical JSON.

-- ---- the log -----------------------------------------------------------------------------------
-- Exact bytes; no secondary index (that, not hashing, limits inserts).
CREATE TABLE entries (
    seq  BIGINT PRIMARY KEY,
    line BYTEA NOT NULL CHECK (length(line) BETWEEN 2 AND 65535)
);

-- One row: the size, the last leaf hash, the right edge of the tree, the last entry's time.
CREATE TABLE head (
    id       BIGINT PRIMARY KEY CHECK (id = 1),
    size     BIGINT NOT NULL,
    leaf     BYTEA NOT NULL,
    frontier BYTEA NOT NULL,
    time     BIGINT NOT NULL
);

CREATE TABLE customer_heads (
    customer TEXT PRIMARY KEY,
    seq      BIGINT NOT NULL,
    leaf     BYTEA NOT NULL
);

-- What the commitments of an entry open to. The one part of the log that may be erased.
CREATE TABLE openings (
    seq   BIGINT NOT NULL,
    field TEXT NOT NULL,
    salt  BYTEA NOT NULL CHECK (length(salt) = 32),
    value TEXT NOT NULL,
    PRIMARY KEY (seq, field)
);

CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%', TG_ARGV[0]; END $$;
CREATE FUNCTION entries_gap_free() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT COALESCE(MAX(seq), -1) + 1 - COUNT(*) FROM new_rows) <> (SELECT size FROM head WHERE id = 1)
       AND EXISTS (SELECT 1 FROM new_rows) THEN
        RAISE EXCEPTION 'entries are gap-free';
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION head_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.size <= OLD.size OR NEW.time < OLD.time THEN RAISE EXCEPTION 'the head only grows'; END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION customer_heads_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <= OLD.seq OR NEW.customer <> OLD.customer THEN
        RAISE EXCEPTION 'a customer''s head only grows';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER entries_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON entries
FOR EACH STATEMENT EXECUTE FUNCTION refuse('entries are append-only');
CREATE TRIGGER entries_in_order AFTER INSERT ON entries REFERENCING NEW TABLE AS new_rows
FOR EACH STATEMENT EXECUTE FUNCTION entries_gap_free();
CREATE TRIGGER head_grows BEFORE UPDATE ON head
FOR EACH ROW EXECUTE FUNCTION head_only_grows();
CREATE TRIGGER head_no_delete BEFORE DELETE OR TRUNCATE ON head
FOR EACH STATEMENT EXECUTE FUNCTION refuse('the head only grows');
CREATE TRIGGER customer_heads_grow BEFORE UPDATE ON customer_heads
FOR EACH ROW EXECUTE FUNCTION customer_heads_only_grow();
CREATE TRIGGER customer_heads_no_delete BEFORE DELETE OR TRUNCATE ON customer_heads
FOR EACH STATEMENT EXECUTE FUNCTION refuse('a customer''s head only grows');
CREATE TRIGGER openings_no_update BEFORE UPDATE OR TRUNCATE ON openings
FOR EACH STATEMENT EXECUTE FUNCTION refuse('openings are written once');

-- ---- the deployment ----------------------------------------------------------------------------
CREATE TABLE settings (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- ---- people ------------------------------------------------------------------------------------
CREATE TABLE operators (
    id               TEXT PRIMARY KEY,
    handle           TEXT NOT NULL UNIQUE,
    team             TEXT NOT NULL,
    employing_entity TEXT NOT NULL,
    country          TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('enabled', 'disabled'))
);

CREATE TABLE officers (
    id     TEXT PRIMARY KEY,
    handle TEXT NOT NULL UNIQUE,
    state  TEXT NOT NULL CHECK (state IN ('enabled', 'disabled'))
);

-- Officers' commands that wait for another officer. command_json: the words; with stdin they are
-- what is run. The transaction that sets the state to approved makes the change.
CREATE TABLE proposals (
    id           TEXT PRIMARY KEY,
    officer      TEXT NOT NULL,
    command_json TEXT NOT NULL,
    stdin        TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'refused'))
);
CREATE INDEX proposals_open ON proposals (created_at) WHERE state = 'proposed';

CREATE TABLE approvers (
    id       TEXT PRIMARY KEY,
    handle   TEXT NOT NULL,
    customer TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('enabled', 'disabled')),
    UNIQUE (customer, handle)
);

-- The primary key is what keeps one key from belonging to two roles.
CREATE TABLE keys (
    fingerprint TEXT PRIMARY KEY,
    public_key  TEXT NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('operator', 'officer', 'approver')),
    subject     TEXT NOT NULL,
    added_at    BIGINT NOT NULL,
    removed_at  BIGINT
);

CREATE TABLE training (
    operator     TEXT NOT NULL,
    course       TEXT NOT NULL,
    completed_at BIGINT NOT NULL,
    valid_until  BIGINT NOT NULL,
    PRIMARY KEY (operator, course, completed_at)
);

-- ---- inventory ---------------------------------------------------------------------------------
CREATE TABLE customers (
    id                TEXT PRIMARY KEY,
    name              TEXT NOT NULL,
    signatures_needed BIGINT NOT NULL CHECK (signatures_needed BETWEEN 1 AND 16),
    webhook_url       TEXT,
    hook_command      TEXT
);

-- recording_key: PEM of the RSA key to which recordings of data channels are sealed.
CREATE TABLE services (
    id            TEXT PRIMARY KEY,
    customer      TEXT NOT NULL,
    sources_json  TEXT NOT NULL,
    recording_key TEXT NOT NULL
);

CREATE TABLE instances (
    id         TEXT PRIMARY KEY,
    vm         TEXT NOT NULL,
    service    TEXT NOT NULL,
    customer   TEXT NOT NULL,
    region     TEXT NOT NULL,
    zone       TEXT NOT NULL,
    address    TEXT NOT NULL,
    added_at   BIGINT NOT NULL,
    retired_at BIGINT
);
CREATE UNIQUE INDEX instances_live ON instances (vm) WHERE retired_at IS NULL;

CREATE TABLE accounts (
    instance  TEXT NOT NULL,
    name      TEXT NOT NULL,
    level     TEXT NOT NULL CHECK (level IN ('troubleshoot', 'data')),
    unix_user TEXT NOT NULL,
    PRIMARY KEY (instance, name)
);

-- ---- consent -----------------------------------------------------------------------------------
-- scope_json is the ticket as core::consent::Ticket; statement the exact bytes that are signed.
CREATE TABLE tickets (
    id         TEXT PRIMARY KEY,
    customer   TEXT NOT NULL,
    revision   BIGINT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN
               ('pending', 'granted', 'refused', 'withdrawn', 'ended')),
    scope_json TEXT NOT NULL,
    statement  BYTEA NOT NULL,
    not_after  BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX tickets_customer ON tickets (customer, created_at);

CREATE TABLE consent_signatures (
    ticket      TEXT NOT NULL,
    revision    BIGINT NOT NULL,
    approver    TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    statement   BYTEA NOT NULL,
    signature   TEXT NOT NULL,
    signed_seq  BIGINT NOT NULL,
    decided_at  BIGINT NOT NULL,
    PRIMARY KEY (ticket, revision, approver)
);

-- One row a session that used the ticket: what `sessions at most` counts.
CREATE TABLE ticket_uses (
    ticket   TEXT NOT NULL,
    revision BIGINT NOT NULL,
    session  TEXT NOT NULL,
    PRIMARY KEY (ticket, revision, session)
);

-- ---- what is live ------------------------------------------------------------------------------
CREATE TABLE sessions (
    id         TEXT PRIMARY KEY,
    gateway    TEXT NOT NULL,
    role       TEXT NOT NULL,
    subject    TEXT NOT NULL,
    source     TEXT NOT NULL,
    opened_at  BIGINT NOT NULL,
    closed_at  BIGINT
);
CREATE INDEX sessions_open ON sessions (gateway) WHERE closed_at IS NULL;

-- revoked_at is set by the transaction that takes the ground away; closed_at by the channel's end.
CREATE TABLE leases (
    id            TEXT PRIMARY KEY,
    serial        BIGINT NOT NULL,
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
    revision      BIGINT,
    source        TEXT NOT NULL,
    recording     TEXT,
    granted_at    BIGINT NOT NULL,
    deadline      BIGINT NOT NULL,
    revoked_at    BIGINT,
    revoked_cause TEXT,
    closed_at     BIGINT
);
CREATE INDEX leases_live ON leases (gateway) WHERE closed_at IS NULL;

-- The wrapped keys of recordings: deleting a row erases every copy of the file.
CREATE TABLE recording_keys (
    recording    TEXT PRIMARY KEY,
    lease        TEXT NOT NULL,
    wrapped_json TEXT NOT NULL,
    created_at   BIGINT NOT NULL
);

-- Notices to approvers that still have to go out; written with the event that causes them.
CREATE TABLE notices (
    id           TEXT PRIMARY KEY,
    customer     TEXT NOT NULL,
    payload_json TEXT NOT NULL,
    gateway      TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    done_at      BIGINT
);
CREATE INDEX notices_waiting ON notices (created_at) WHERE done_at IS NULL;
