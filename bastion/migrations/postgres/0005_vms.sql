-- One-time tokens by which a VM gets its host certificate. token: SHA-256 of it.
CREATE TABLE vm_tokens (
    token      TEXT PRIMARY KEY,
    instance   TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('open', 'used', 'void'))
);

-- Keys of the deployment that count no more, wherever they stand: what KRLs name. digest: SHA-256
-- of the key's blob.
CREATE TABLE revoked_keys (
    digest     TEXT PRIMARY KEY,
    what       TEXT NOT NULL,
    revoked_at BIGINT NOT NULL
);
