-- An officer asked for the end of this session; its gateway looks for that, and ends it.
ALTER TABLE sessions ADD COLUMN end_asked_at BIGINT;
CREATE INDEX sessions_ending ON sessions (gateway)
    WHERE end_asked_at IS NOT NULL AND closed_at IS NULL;
