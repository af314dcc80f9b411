-- The inbox, the ledger and the refusals, for several receivers on one PostgreSQL. All of it is in the schema
-- "countersign", so it can live in a database that others use, and depends on no search_path.
--
-- Every key and every index begins with tenant_id, and no sequence is drawn from, so that a distributed engine can shard
-- all of it by tenant. Times are microseconds since 1970-01-01 UTC. Keys of 16 bytes are halves of SHA-256: random ones
-- land on a page of their own with each insert, so there are only two indexes of such, and they are narrow; every other
-- index grows at its end. A text that PostgreSQL cannot hold (U+0000) is written with U+FFFF as the escape character.

CREATE TABLE countersign.tenants (
    tenant_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id)
);

CREATE TABLE countersign.producers (
    tenant_id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant_id, name)
);

-- The secrets that verified a delivery, by reference.
CREATE TABLE countersign.secrets (
    tenant_id text COLLATE "C" NOT NULL,
    producer text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    first_used bigint NOT NULL,
    last_used bigint NOT NULL,
    PRIMARY KEY (tenant_id, producer, reference)
);

-- The client certificates that a delivery came with.
CREATE TABLE countersign.leaves (
    tenant_id text COLLATE "C" NOT NULL,
    producer text COLLATE "C" NOT NULL,
    sha256 bytea NOT NULL,
    subject text NOT NULL,
    issuer text NOT NULL,
    serial text NOT NULL,
    spki_sha256 bytea NOT NULL,
    not_before bigint NOT NULL,
    not_after bigint NOT NULL,
    -- The trust anchor that it last chained to.
    anchor_subject text,
    anchor_sha256 bytea,
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL,
    PRIMARY KEY (tenant_id, producer, sha256)
);

CREATE TABLE countersign.events (
    tenant_id text COLLATE "C" NOT NULL,
    -- Of the idempotency key; of that and the body for a conflict or a quarantined event.
    key bytea NOT NULL,
    received_at bigint NOT NULL,
    occurred_at bigint,
    duplicates bigint NOT NULL,
    -- 0 accepted, 1 conflict, 2 quarantined
    verdict smallint NOT NULL,
    producer text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C",
    body_sha256 bytea NOT NULL,
    secret text COLLATE "C",
    leaf_sha256 bytea NOT NULL,
    -- The payment that it speaks of, if the ledger took it, and what it states.
    payment_key bytea,
    status text COLLATE "C",
    amount_minor bigint,
    amount_refunded_minor bigint,
    currency text COLLATE "C",
    -- The payment that it names without having been applied to it.
    named_payment_id text COLLATE "C",
    -- The key of the event beside which it is kept, for a conflict or a quarantined event.
    beside bytea,
    PRIMARY KEY (tenant_id, key)
);

CREATE INDEX events_by_time ON countersign.events (tenant_id, received_at);
CREATE INDEX events_aside ON countersign.events (tenant_id, beside) WHERE beside IS NOT NULL;

-- What came with an event. A partition for each day of `received_at`, made ahead, and dropped when its time has come;
-- `events` goes on knowing what was received. The default partition is for a clock that jumps.
CREATE TABLE countersign.bodies (
    tenant_id text COLLATE "C" NOT NULL,
    received_at bigint NOT NULL,
    key bytea NOT NULL,
    -- A JSON array of [name, value].
    headers text NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (tenant_id, received_at, key)
) PARTITION BY RANGE (received_at);

CREATE TABLE countersign.bodies_default PARTITION OF countersign.bodies DEFAULT;

-- The ledger. Each field is a register: the recency of the event that states it, U+0001, and the value. Recencies are
-- written so that their byte order is their order (time, rank of status, event id, producer), so the later of two words
-- is GREATEST of them, and the ledger is the same whatever the order of arrival. Read it through the view below.
CREATE TABLE countersign.payments (
    tenant_id text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    -- When the last event that changed it was received.
    changed_at bigint NOT NULL,
    events bigint NOT NULL,
    payment_id text COLLATE "C" NOT NULL,
    last text COLLATE "C" NOT NULL,
    status text COLLATE "C",
    amount_minor text COLLATE "C",
    amount_refunded_minor text COLLATE "C",
    currency text COLLATE "C",
    -- The keys of its events, the latest received first, a thousand at most.
    history bytea[] NOT NULL,
    -- The registers as the last batch with several of its events found them: the batch itself reads them.
    previous text[] COLLATE "C",
    PRIMARY KEY (tenant_id, key)
);

CREATE INDEX payments_by_change ON countersign.payments (tenant_id, changed_at);

CREATE VIEW countersign.ledger AS
SELECT tenant_id, payment_id, events, changed_at, key,
    split_part(status, E'\x01', 3) AS status,
    split_part(amount_minor, E'\x01', 3)::bigint AS amount_minor,
    split_part(amount_refunded_minor, E'\x01', 3)::bigint AS amount_refunded_minor,
    split_part(currency, E'\x01', 3) AS currency,
    last, history
FROM countersign.payments;

-- The accepted events of which no word stood when they came: few, so that nobody else pays for knowing it.
CREATE TABLE countersign.superseded (
    tenant_id text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

-- What was turned away. A stranger's refusal has no tenant: then tenant_id is empty.
CREATE TABLE countersign.refusals (
    tenant_id text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    gate text NOT NULL,
    reason text NOT NULL,
    subject text,
    issuer text,
    serial text,
    address text NOT NULL,
    server_name text,
    producer text,
    detail text,
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);

-- A row that is written to find out whether anything can be.
CREATE TABLE countersign.probes (
    tenant_id text COLLATE "C" NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (tenant_id)
);
