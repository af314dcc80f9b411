-- One batch of events: one call, and so one statement, one transaction and one round trip.
--
-- As a function its plan is kept for each session of the server, also behind a pooler that gives each transaction another
-- session. It is never changed: a version that needs another one makes commit_2, while receivers of this one go on.
--
-- Rows come sorted by tenant and key, one for each key and body; `lead` marks the first body of a key, and `copies` says
-- how often that body came. Keys of events and payments are hashes that begin with the tenant, so a key alone tells which
-- row is meant. The answer names, by their places in the arrays, the rows that are not new, and those that conflict.
--
-- Locks are taken in one order whatever the batch: keys of events ascending, as they come; then those of conflicts
-- ascending; then those of payments ascending. Each step reads the one before it to its end. So no two batches can wait for
-- each other.
--
-- Each step unnests the arrays that it needs, for a batch in one piece would be copied from step to step. The planner knows
-- nothing of their lengths: nested loops over them would be quadratic, and its guesses at their cost would call for JIT,
-- which takes longer than the batch.
CREATE FUNCTION countersign.commit_1(
    arrival int4[], lead bool[], tenant_id text[], key bytea[], other_key bytea[], received_at int8[], occurred_at int8[],
    copies int8[], verdict int2[], producer text[], event_id text[], kind text[], body_sha256 bytea[], secret text[],
    leaf_sha256 bytea[], payment_key bytea[], payment_id text[], recency text[], status text[], amount_minor int8[],
    amount_refunded_minor int8[], currency text[], headers text[], body bytea[],
    OUT answered bigint, OUT known bigint[], OUT conflicting bigint[])
LANGUAGE plpgsql
SET enable_nestloop = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $commit$
#variable_conflict use_column
BEGIN
WITH kept AS (
    -- A new row has the duplicates of its own batch, an old one at least one more: that tells them apart below.
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        named_payment_id, beside)
    SELECT tenant_id, key, received_at, occurred_at, copies - 1, verdict, producer, event_id, kind, body_sha256, secret,
        leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        CASE WHEN payment_key IS NULL THEN payment_id END, CASE WHEN verdict = 2 THEN other_key END
    FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $19, $20, $21, $22)
        AS row (lead, tenant_id, key, other_key, received_at, occurred_at, copies, verdict, producer, event_id, kind,
            body_sha256, secret, leaf_sha256, payment_key, payment_id, status, amount_minor, amount_refunded_minor, currency)
    WHERE lead
    ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + CASE
        WHEN e.body_sha256 = excluded.body_sha256 THEN excluded.duplicates + 1
        -- Another body leads; the one that is known may be in the batch as well.
        ELSE coalesce((
            SELECT copies FROM unnest($2, $4, $13, $8) AS other (lead, key, body_sha256, copies)
            WHERE NOT lead AND other.key = e.key AND other.body_sha256 = e.body_sha256
        ), 0) END
    RETURNING e.key, e.body_sha256, e.duplicates
), met AS MATERIALIZED (
    SELECT i, m.key, m.other_key, m.copies, m.lead AND m.body_sha256 = k.body_sha256 AND k.duplicates < m.copies AS new,
        m.body_sha256 <> k.body_sha256 AS conflicts
    FROM unnest($2, $4, $5, $13, $8) WITH ORDINALITY AS m (lead, key, other_key, body_sha256, copies, i)
    JOIN kept k USING (key)
), aside AS (
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, named_payment_id, beside)
    SELECT r.tenant_id, m.other_key, r.received_at, r.occurred_at, m.copies - 1, 1, r.producer, r.event_id, r.kind,
        r.body_sha256, r.secret, r.leaf_sha256, r.payment_id, m.key
    FROM met m JOIN unnest($3, $6, $7, $10, $11, $12, $13, $14, $15, $17) WITH ORDINALITY
        AS r (tenant_id, received_at, occurred_at, producer, event_id, kind, body_sha256, secret, leaf_sha256, payment_id, i)
        USING (i)
    WHERE m.conflicts AND (SELECT bool_or(conflicts) FROM met)
    ORDER BY r.tenant_id COLLATE "C", m.other_key
    ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + excluded.duplicates + 1
    RETURNING e.key, e.duplicates
), outcome AS MATERIALIZED (
    SELECT m.i, m.new OR m.conflicts AND a.duplicates < m.copies AS new, m.conflicts,
        CASE WHEN m.conflicts THEN m.other_key ELSE m.key END AS key
    FROM met m LEFT JOIN aside a ON a.key = m.other_key
), came AS (
    INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
    SELECT b.tenant_id, b.received_at, o.key, b.headers, b.body
    FROM unnest($3, $6, $23, $24) WITH ORDINALITY AS b (tenant_id, received_at, headers, body, i)
    JOIN outcome o USING (i) WHERE o.new
), stated AS MATERIALIZED (
    SELECT o.key, s.arrival, s.tenant_id, s.payment_key, s.payment_id, s.received_at, s.recency,
        (s.recency || E'\x01' || s.status) COLLATE "C" AS status,
        (s.recency || E'\x01' || s.amount_minor) COLLATE "C" AS amount_minor,
        (s.recency || E'\x01' || s.amount_refunded_minor) COLLATE "C" AS amount_refunded_minor,
        (s.recency || E'\x01' || s.currency) COLLATE "C" AS currency
    FROM unnest($1, $3, $16, $17, $6, $18, $19, $20, $21, $22) WITH ORDINALITY
        AS s (arrival, tenant_id, payment_key, payment_id, received_at, recency, status, amount_minor, amount_refunded_minor,
            currency, i)
    JOIN outcome o USING (i)
    WHERE o.new AND NOT o.conflicts AND s.payment_key IS NOT NULL
), folded AS (
    SELECT tenant_id, payment_key, min(payment_id) AS payment_id, max(received_at) AS changed_at, count(*) AS events,
        max(recency COLLATE "C") AS last, max(status) AS status, max(amount_minor) AS amount_minor,
        max(amount_refunded_minor) AS amount_refunded_minor, max(currency) AS currency, array_agg(key) AS history
    FROM stated GROUP BY tenant_id, payment_key
), ledger AS (
    INSERT INTO countersign.payments AS p (tenant_id, key, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, history, previous)
    SELECT tenant_id, payment_key, changed_at, events, payment_id, last, status, amount_minor, amount_refunded_minor,
        currency, history[:1000], CASE WHEN events > 1 THEN '{}'::text[] END
    FROM folded ORDER BY tenant_id COLLATE "C", payment_key
    ON CONFLICT (tenant_id, key) DO UPDATE SET events = p.events + excluded.events, last = greatest(p.last, excluded.last),
        changed_at = CASE WHEN excluded.status > coalesce(p.status, '')
                OR excluded.amount_minor > coalesce(p.amount_minor, '')
                OR excluded.amount_refunded_minor > coalesce(p.amount_refunded_minor, '')
                OR excluded.currency > coalesce(p.currency, '')
            THEN greatest(p.changed_at, excluded.changed_at) ELSE p.changed_at END,
        status = greatest(p.status, excluded.status), amount_minor = greatest(p.amount_minor, excluded.amount_minor),
        amount_refunded_minor = greatest(p.amount_refunded_minor, excluded.amount_refunded_minor),
        currency = greatest(p.currency, excluded.currency), history = (excluded.history || p.history)[:1000],
        previous = CASE WHEN excluded.previous IS NOT NULL
            THEN ARRAY[p.status, p.amount_minor, p.amount_refunded_minor, p.currency] END
    RETURNING p.key, p.status, p.amount_minor, p.amount_refunded_minor, p.currency, p.previous
), late AS (
    -- An event was applied if a word of it stands, or, of several in this batch, stood when its turn came.
    INSERT INTO countersign.superseded (tenant_id, key)
    SELECT s.tenant_id, s.key
    FROM stated s JOIN ledger l ON l.key = s.payment_key
    LEFT JOIN LATERAL (
        SELECT max(status) AS status, max(amount_minor) AS amount_minor,
            max(amount_refunded_minor) AS amount_refunded_minor, max(currency) AS currency
        FROM stated b
        WHERE l.previous IS NOT NULL AND b.payment_key = s.payment_key AND b.arrival < s.arrival
    ) before ON l.previous IS NOT NULL
    WHERE (s.status = l.status) IS NOT TRUE AND (s.amount_minor = l.amount_minor) IS NOT TRUE
        AND (s.amount_refunded_minor = l.amount_refunded_minor) IS NOT TRUE AND (s.currency = l.currency) IS NOT TRUE
        AND (l.previous IS NULL
            OR (s.status > greatest(l.previous[1], before.status, '')) IS NOT TRUE
            AND (s.amount_minor > greatest(l.previous[2], before.amount_minor, '')) IS NOT TRUE
            AND (s.amount_refunded_minor > greatest(l.previous[3], before.amount_refunded_minor, '')) IS NOT TRUE
            AND (s.currency > greatest(l.previous[4], before.currency, '')) IS NOT TRUE)
)
SELECT count(*), array_agg(i) FILTER (WHERE NOT new), array_agg(i) FILTER (WHERE conflicts)
INTO answered, known, conflicting FROM outcome;
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
