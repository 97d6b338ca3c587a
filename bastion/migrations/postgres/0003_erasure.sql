-- What the commitments of an entry open to, each sealed under the key of the person that it belongs
-- to (`key` names it); the keys stand in a store of their own. The one part of the log that may be
-- erased. Openings that stood here in clear are not taken over: no release wrote any.
DROP TABLE openings;
CREATE TABLE openings (
    seq    BIGINT NOT NULL,
    field  TEXT NOT NULL,
    key    BIGINT NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (seq, field)
);
CREATE TRIGGER openings_no_update BEFORE UPDATE OR TRUNCATE ON openings
FOR EACH STATEMENT EXECUTE FUNCTION refuse('openings are written once');

-- Whom an erasure concerned, and which keys it destroyed: a start that finds one of them finishes
-- what a crash cut off.
CREATE TABLE erasures (
    seq       BIGINT PRIMARY KEY,
    subject   TEXT NOT NULL,
    keys_json TEXT NOT NULL,
    erased_at BIGINT NOT NULL
);

-- What must not be erased now: everything of a person, or of a customer, or (both null) all.
CREATE TABLE holds (
    id       TEXT PRIMARY KEY,
    subject  TEXT,
    customer TEXT,
    officer  TEXT NOT NULL,
    added_at BIGINT NOT NULL
);
