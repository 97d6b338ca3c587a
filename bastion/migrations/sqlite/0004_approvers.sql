-- Invitations to become an approver of a customer's first set. The id is the approver's to be;
-- token: SHA-256 of the one-time token, which itself is nowhere.
CREATE TABLE invitations (
    approver   TEXT PRIMARY KEY,
    customer   TEXT NOT NULL,
    handle     TEXT NOT NULL,
    token      TEXT NOT NULL UNIQUE,
    statement  BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'used', 'void'))
) STRICT;

-- New sets of approvers that wait for signatures, or did. statement: the exact bytes.
CREATE TABLE set_changes (
    id         TEXT PRIMARY KEY,
    customer   TEXT NOT NULL,
    revision   INTEGER NOT NULL,
    statement  BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'made', 'dropped', 'void'))
) STRICT;

-- Signatures over an enrolment (subject: the approver) or over a new set (subject: the
-- change).
CREATE TABLE approver_signatures (
    subject     TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    approver    TEXT,
    signature   TEXT NOT NULL,
    signed_at   INTEGER NOT NULL,
    PRIMARY KEY (subject, fingerprint)
) STRICT;

-- Officers' resets of a customer's approvers, which wait before they take effect.
CREATE TABLE approver_resets (
    id           TEXT PRIMARY KEY,
    customer     TEXT NOT NULL,
    effective_at INTEGER NOT NULL,
    told_at      INTEGER NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'stopped', 'made'))
) STRICT;
CREATE UNIQUE INDEX approver_resets_waiting ON approver_resets (customer) WHERE state = 'waiting';

-- Which set of approvers is in force (approver_revision), and how many times officers reset it
-- (approver_epoch): an approver decides about instances of the same epoch alone.
ALTER TABLE customers ADD COLUMN approver_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE customers ADD COLUMN approver_epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE approvers ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN approver_epoch INTEGER NOT NULL DEFAULT 0;
