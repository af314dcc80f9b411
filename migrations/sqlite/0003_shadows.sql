-- What marks with `shadow = true` would have decided, by mark and by the subject that met it.
CREATE TABLE shadows (
    shadow INTEGER PRIMARY KEY,
    -- 128 bits of SHA-256 of mark, what, tenant, producer and subject.
    key BLOB NOT NULL UNIQUE,
    -- client_ca, producer, pin or secret.
    mark TEXT NOT NULL,
    -- Which one: a CA's SHA-256, a producer's name, a pin, a secret's reference.
    what TEXT NOT NULL,
    -- Empty where the subject names nobody.
    tenant_id TEXT NOT NULL,
    producer TEXT NOT NULL,
    subject TEXT NOT NULL,
    address TEXT NOT NULL,
    -- How often it would have accepted what was refused, accepted what was accepted, refused.
    accept INTEGER NOT NULL,
    agree INTEGER NOT NULL,
    refuse INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL
) STRICT;

CREATE INDEX shadows_by_time ON shadows (last_seen);
