-- Since when somebody has been root on an instance: it is `touched` until it is rebuilt.
ALTER TABLE instances ADD COLUMN touched_at INTEGER;
