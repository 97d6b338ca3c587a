-- Invitations to become an approver of a customer's first set. The id is the approver's to be;
-- token: SHA-256 of the one-time token, which itself is nowhere.
CREATE TABLE invitations (
    approver   TEXT PRIMARY KEY,
    customer   TEXT NOT NULL,
    handle     TEXT NOT NULL,
    token      TEXT NOT NULL UNIQUE,
    statement  BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'used', 'void'))
);

-- New sets of approvers that wait for signatures, or did. statement: the exact bytes.
CREATE TABLE set_changes (
    id         TEXT PRIMARY KEY,
    customer   TEXT NOT NULL,
    revision   BIGINT NOT NULL,
    statement  BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'made', 'dropped', 'void'))
);

-- Signatures over an enrolment (subject: the approver) or over a new set (subject: the
-- change).
CREATE TABLE approver_signatures (
    subject     TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    approver    TEXT,
    signature   TEXT NOT NULL,
    signed_at   BIGINT NOT NULL,
    PRIMARY KEY (subject, fingerprint)
);

-- Officers' resets of a customer's approvers, which wait before they take effect.
CREATE TABLE approver_resets (
    id           TEXT PRIMARY KEY,
    customer     TEXT NOT NULL,
    effective_at BIGINT NOT NULL,
    told_at      BIGINT NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('waiting', 'stopped', 'made'))
);
CREATE UNIQUE INDEX approver_resets_waiting ON approver_resets (customer) WHERE state = 'waiting';

-- Which set of approvers is in force (approver_revision), and how many times officers reset it
-- (approver_epoch): an approver decides about instances of the same epoch alone.
ALTER TABLE customers ADD COLUMN approver_revision BIGINT NOT NULL DEFAULT 0;
ALTER TABLE customers ADD COLUMN approver_epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE approvers ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0;
ALTER TABLE instances ADD COLUMN approver_epoch BIGINT NOT NULL DEFAULT 0;
