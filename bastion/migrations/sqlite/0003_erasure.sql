-- What the commitments of an entry open to, each sealed under the key of the person that it belongs
-- to (`key` names it); the keys stand in a store of their own. The one part of the log that may be
-- erased. Openings that stood here in clear are not taken over: no release wrote any.
DROP TABLE openings;
CREATE TABLE openings (
    seq    INTEGER NOT NULL,
    field  TEXT NOT NULL,
    key    INTEGER NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (seq, field)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER openings_no_update BEFORE UPDATE ON openings
BEGIN SELECT RAISE(ABORT, 'openings are written once'); END;

-- Whom an erasure concerned, and which keys it destroyed: a start that finds one of them finishes
-- what a crash cut off.
CREATE TABLE erasures (
    seq       INTEGER PRIMARY KEY,
    subject   TEXT NOT NULL,
    keys_json TEXT NOT NULL,
    erased_at INTEGER NOT NULL
) STRICT;

-- What must not be erased now: everything of a person, or of a customer, or (both null) all.
CREATE TABLE holds (
    id       TEXT PRIMARY KEY,
    subject  TEXT,
    customer TEXT,
    officer  TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;
