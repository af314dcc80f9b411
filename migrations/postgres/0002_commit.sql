-- One batch of events: one call, and so one statement, one transaction and one round trip.
--
-- As a function its plan is kept for each session of the server, also behind a pooler that gives each transaction another
-- session. It is never changed: a version that needs another one makes commit_2, while receivers of this one go on.
--
-- Rows come sorted by tenant and key, one for each key and body; `lead` marks the first body of a key, and `copies` says
-- how often that body came. Keys of events and payments are hashes that begin with the tenant, so a key alone tells which
-- row is meant.
--
-- Locks are taken in one order whatever the batch: keys of events ascending, then those of conflicts ascending, then those
-- of payments ascending; each step reads the one before it to its end. So no two batches can wait for each other.
--
-- The planner knows nothing of the arrays' lengths: nested loops over them would be quadratic, and its guesses at their
-- cost would call for JIT, which takes longer than the batch.
CREATE FUNCTION countersign.commit_1(int4[], bool[], text[], bytea[], bytea[], int8[], int8[], int8[], int2[], text[],
    text[], text[], bytea[], text[], bytea[], bytea[], text[], text[], text[], int8[], int8[], text[], text[], bytea[])
RETURNS TABLE (i bigint, new boolean, conflicts boolean)
LANGUAGE plpgsql
SET enable_nestloop = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $commit$
#variable_conflict use_column
BEGIN
RETURN QUERY
WITH input AS MATERIALIZED (
    SELECT * FROM unnest($1::int4[], $2::bool[], $3::text[], $4::bytea[], $5::bytea[], $6::int8[], $7::int8[], $8::int8[],
        $9::int2[], $10::text[], $11::text[], $12::text[], $13::bytea[], $14::text[], $15::bytea[], $16::bytea[],
        $17::text[], $18::text[], $19::text[], $20::int8[], $21::int8[], $22::text[])
        WITH ORDINALITY
        AS row (arrival, lead, tenant_id, key, conflict_key, received_at, occurred_at, copies, verdict, producer, event_id,
            kind, body_sha256, secret, leaf_sha256, payment_key, payment_id, recency, status, amount_minor,
            amount_refunded_minor, currency, i)
), kept AS (
    -- A new row has the duplicates of its own batch, an old one at least one more: that tells them apart below.
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id, kind,
        body_sha256, secret, leaf_sha256, payment_key, named_payment_id, beside)
    SELECT tenant_id, key, received_at, occurred_at, copies - 1, verdict, producer, event_id, kind, body_sha256, secret,
        leaf_sha256, CASE WHEN recency IS NOT NULL THEN payment_key END,
        CASE WHEN recency IS NULL THEN payment_id END, CASE WHEN verdict = 2 THEN conflict_key END
    FROM input WHERE lead ORDER BY tenant_id COLLATE "C", key
    ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + CASE
        WHEN e.body_sha256 = excluded.body_sha256 THEN excluded.duplicates + 1
        ELSE coalesce((SELECT copies FROM input WHERE NOT lead AND input.key = e.key
            AND input.body_sha256 = e.body_sha256), 0)
        END
    RETURNING e.key, e.body_sha256, e.duplicates
), met AS MATERIALIZED (
    SELECT i.*, i.lead AND i.body_sha256 = k.body_sha256 AND k.duplicates < i.copies AS new,
        i.body_sha256 <> k.body_sha256 AS conflicts
    FROM input i JOIN kept k USING (key)
), aside AS (
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id, kind,
        body_sha256, secret, leaf_sha256, named_payment_id, beside)
    SELECT tenant_id, conflict_key, received_at, occurred_at, copies - 1, 1, producer, event_id, kind, body_sha256, secret,
        leaf_sha256, payment_id, key
    FROM met WHERE conflicts ORDER BY tenant_id COLLATE "C", conflict_key
    ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + excluded.duplicates + 1
    RETURNING e.key, e.duplicates
), outcome AS MATERIALIZED (
    SELECT m.i, m.tenant_id, m.received_at, m.new OR m.conflicts AND a.duplicates < m.copies AS new, m.conflicts,
        CASE WHEN m.conflicts THEN m.conflict_key ELSE m.key END AS key
    FROM met m LEFT JOIN aside a ON a.key = m.conflict_key
), came AS (
    INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
    SELECT o.tenant_id, o.received_at, o.key, b.headers, b.body
    FROM unnest($23::text[], $24::bytea[]) WITH ORDINALITY AS b (headers, body, i) JOIN outcome o USING (i) WHERE o.new
), stated AS MATERIALIZED (
    SELECT *, (recency || E'\x01' || status) COLLATE "C" AS status_word,
        (recency || E'\x01' || amount_minor) COLLATE "C" AS amount_word,
        (recency || E'\x01' || amount_refunded_minor) COLLATE "C" AS refunded_word,
        (recency || E'\x01' || currency) COLLATE "C" AS currency_word
    FROM met WHERE new AND recency IS NOT NULL AND (SELECT count(*) FROM outcome) > 0
), folded AS (
    SELECT tenant_id, payment_key, min(payment_id) AS payment_id, min(received_at) AS since, max(received_at) AS changed_at,
        count(*) AS events, max(recency COLLATE "C") AS last, max(status_word) AS status, max(amount_word) AS amount_minor,
        max(refunded_word) AS amount_refunded_minor, max(currency_word) AS currency
    FROM stated GROUP BY tenant_id, payment_key
), ledger AS (
    INSERT INTO countersign.payments AS p (tenant_id, key, since, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, previous)
    SELECT tenant_id, payment_key, since, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, CASE WHEN events > 1 THEN '{}'::text[] END
    FROM folded ORDER BY tenant_id COLLATE "C", payment_key
    ON CONFLICT (tenant_id, key) DO UPDATE SET events = p.events + excluded.events, last = greatest(p.last, excluded.last),
        changed_at = CASE WHEN excluded.status > coalesce(p.status, '')
                OR excluded.amount_minor > coalesce(p.amount_minor, '')
                OR excluded.amount_refunded_minor > coalesce(p.amount_refunded_minor, '')
                OR excluded.currency > coalesce(p.currency, '')
            THEN greatest(p.changed_at, excluded.changed_at) ELSE p.changed_at END,
        status = greatest(p.status, excluded.status), amount_minor = greatest(p.amount_minor, excluded.amount_minor),
        amount_refunded_minor = greatest(p.amount_refunded_minor, excluded.amount_refunded_minor),
        currency = greatest(p.currency, excluded.currency),
        previous = CASE WHEN excluded.previous IS NOT NULL
            THEN ARRAY[p.status, p.amount_minor, p.amount_refunded_minor, p.currency] END
    RETURNING p.key, p.since, p.status, p.amount_minor, p.amount_refunded_minor, p.currency, p.previous
), history AS (
    -- An event was applied if a word of it stands, or, of several in this batch, stood when its turn came.
    INSERT INTO countersign.claims (tenant_id, since, payment_key, event_key, applied, status, amount_minor, amount_refunded_minor,
        currency)
    SELECT s.tenant_id, l.since, s.payment_key, s.key, coalesce(s.status_word = l.status, false)
            OR coalesce(s.amount_word = l.amount_minor, false)
            OR coalesce(s.refunded_word = l.amount_refunded_minor, false)
            OR coalesce(s.currency_word = l.currency, false)
            OR l.previous IS NOT NULL AND (
                coalesce(s.status_word > greatest(l.previous[1], before.status, ''), false)
                OR coalesce(s.amount_word > greatest(l.previous[2], before.amount_minor, ''), false)
                OR coalesce(s.refunded_word > greatest(l.previous[3], before.amount_refunded_minor, ''), false)
                OR coalesce(s.currency_word > greatest(l.previous[4], before.currency, ''), false)),
        s.status, s.amount_minor, s.amount_refunded_minor, s.currency
    FROM stated s JOIN ledger l ON l.key = s.payment_key
    LEFT JOIN LATERAL (
        SELECT max(status_word) AS status, max(amount_word) AS amount_minor, max(refunded_word) AS amount_refunded_minor,
            max(currency_word) AS currency
        FROM stated b
        WHERE l.previous IS NOT NULL AND b.payment_key = s.payment_key AND b.arrival < s.arrival
    ) before ON true
)
SELECT outcome.i, outcome.new, outcome.conflicts FROM outcome;
END
$commit$;

-- Makes the partitions of the bodies of today and of the days after it, by the server's clock and in UTC. Whoever comes
-- while another receiver does so leaves it to that one; and what would have to wait for long is left for the next time.
CREATE FUNCTION countersign.make_partitions_1(days int) RETURNS int
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $make$
DECLARE
    day bigint := 86400000000;
    today bigint := floor(extract(epoch FROM now()) / 86400);
    number bigint;
    name text;
    made int := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('countersign partitions')) THEN
        RETURN 0;
    END IF;
    FOR number IN today .. today + days LOOP
        name := 'bodies_' || to_char(to_timestamp(number * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD');
        CONTINUE WHEN to_regclass('countersign.' || name) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE TABLE countersign.%I PARTITION OF countersign.bodies FOR VALUES FROM (%s) TO (%s)',
                name, number * day, (number + 1) * day);
            made := made + 1;
        EXCEPTION WHEN lock_not_available OR check_violation THEN
            -- Rows of that day are in the default partition already, or a long reader is at work: both do without.
            NULL;
        END;
    END LOOP;
    RETURN made;
END
$make$;
