-- Where forwards may go: what officers list for a VM instance. Closed: what is not here is refused.
-- spot: tcp:HOST:PORT[-PORT], unix:/PATH or listen:PORT, in its one spelling.
CREATE TABLE destinations (
    instance    TEXT NOT NULL,
    name        TEXT NOT NULL,
    spot        TEXT NOT NULL,
    level       TEXT NOT NULL CHECK (level IN ('troubleshoot', 'data')),
    description TEXT NOT NULL,
    PRIMARY KEY (instance, name),
    UNIQUE (instance, spot)
) STRICT;

-- The listed name that a forward goes to: taking the item away ends these leases.
ALTER TABLE leases ADD COLUMN destination TEXT;
