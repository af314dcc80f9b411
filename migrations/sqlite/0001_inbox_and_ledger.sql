-- The inbox, the ledger and the refusals, for the embedded store.
--
-- Names that come with every event (tenant, producer, secret, leaf) are written once and numbered, so that an event's
-- row and its index entries stay narrow. Times are microseconds since 1970-01-01 UTC.

CREATE TABLE tenants (
    tenant INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE producers (
    producer INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

-- The secrets that verified a delivery, by reference.
CREATE TABLE secrets (
    secret INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    producer INTEGER NOT NULL,
    reference TEXT NOT NULL,
    first_used INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    UNIQUE (tenant, producer, reference)
) STRICT;

-- The client certificates that a delivery came with.
CREATE TABLE leaves (
    leaf INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    producer INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    subject TEXT NOT NULL,
    issuer TEXT NOT NULL,
    serial TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    -- The trust anchor that it last chained to.
    anchor_subject TEXT,
    anchor_sha256 BLOB,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    UNIQUE (tenant, producer, sha256)
) STRICT;

CREATE TABLE events (
    event INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    -- 128 bits of SHA-256: of the idempotency key; of that and the body for a conflict or a quarantined event.
    key BLOB NOT NULL,
    producer INTEGER NOT NULL,
    event_id TEXT NOT NULL,
    kind TEXT,
    -- 0 accepted, 1 conflict, 2 quarantined
    verdict INTEGER NOT NULL,
    -- 0 applied, 1 superseded, 2 unmapped; null for what the ledger never saw
    effect INTEGER,
    duplicates INTEGER NOT NULL DEFAULT 0,
    occurred_at INTEGER,
    received_at INTEGER NOT NULL,
    body_sha256 BLOB NOT NULL,
    secret INTEGER,
    leaf INTEGER NOT NULL,
    -- The payment that it was applied to, and what it claimed of it.
    payment INTEGER,
    status TEXT,
    amount_minor INTEGER,
    amount_refunded_minor INTEGER,
    currency TEXT,
    -- The payment that it names without having been applied to it.
    named_payment_id TEXT
) STRICT;

-- Random ids make this index the store's hot spot: each insert lands on another page of it. Hence 16 bytes.
CREATE UNIQUE INDEX events_by_key ON events (tenant, key);
CREATE INDEX events_by_time ON events (tenant, received_at);
CREATE INDEX events_by_payment ON events (tenant, payment) WHERE payment IS NOT NULL;
CREATE INDEX events_aside ON events (tenant, event_id) WHERE verdict <> 0;

-- Apart from `events`, so that reading lists and pruning bodies touch few pages.
CREATE TABLE bodies (
    event INTEGER PRIMARY KEY,
    -- A JSON array of [name, value].
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE payments (
    payment INTEGER PRIMARY KEY,
    tenant INTEGER NOT NULL,
    -- 128 bits of SHA-256 of the payment's id.
    key BLOB NOT NULL,
    payment_id TEXT NOT NULL,
    status TEXT,
    amount_minor INTEGER,
    amount_refunded_minor INTEGER,
    currency TEXT,
    occurred_at INTEGER,
    last_event_id TEXT,
    events INTEGER NOT NULL,
    -- When the last event that changed it was received.
    changed_at INTEGER NOT NULL,
    -- The whole state, which the ledger alone reads.
    state TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX payments_by_key ON payments (tenant, key);
CREATE INDEX payments_by_change ON payments (tenant, changed_at);

CREATE TABLE refusals (
    refusal INTEGER PRIMARY KEY,
    -- 128 bits of SHA-256 of gate, reason, subject and address.
    key BLOB NOT NULL UNIQUE,
    gate TEXT NOT NULL,
    reason TEXT NOT NULL,
    subject TEXT,
    issuer TEXT,
    serial TEXT,
    address TEXT NOT NULL,
    server_name TEXT,
    tenant_id TEXT,
    producer TEXT,
    detail TEXT,
    first_seen INTEGER NOT NULL,
    last_seen INTEGER NOT NULL,
    count INTEGER NOT NULL
) STRICT;

CREATE INDEX refusals_by_time ON refusals (last_seen);
