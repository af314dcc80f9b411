-- The batch that nearly always comes: each event once, and no two of one payment. Then nothing of it need be folded or
-- joined, which is half of what commit_1 does. Other batches go on with commit_1, and so do receivers of older versions;
-- both take their locks in the same order: keys of events ascending, as they come; those of conflicts ascending; those of
-- payments ascending.
--
-- What is known already is found by what the insert returns, in the order in which it was given: where the bodies are the
-- batch's own and nothing was counted, all is new. Only otherwise is it looked at row by row.
--
-- The answer is that of commit_1.
CREATE FUNCTION countersign.commit_plain_1(
    tenant_id text[], key bytea[], other_key bytea[], received_at int8[], occurred_at int8[], verdict int2[], producer text[],
    event_id text[], kind text[], body_sha256 bytea[], secret text[], leaf_sha256 bytea[], payment_key bytea[],
    payment_id text[], recency text[], status text[], amount_minor int8[], amount_refunded_minor int8[], currency text[],
    headers text[], body bytea[],
    OUT answered bigint, OUT known bigint[], OUT conflicting bigint[])
LANGUAGE plpgsql
SET enable_nestloop = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $commit$
#variable_conflict use_column
DECLARE
    found_keys bytea[];
    found_bodies bytea[];
    found_duplicates bigint[];
    counted bigint;
    doubtful bytea[];
    statuses text[];
    amounts text[];
    refunds text[];
    currencies text[];
BEGIN
WITH kept AS (
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        named_payment_id, beside)
    SELECT tenant_id, key, received_at, occurred_at, 0, verdict, producer, event_id, kind, body_sha256, secret,
        leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        CASE WHEN payment_key IS NULL THEN payment_id END, CASE WHEN verdict = 2 THEN other_key END
    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $16, $17, $18, $19)
        AS row (tenant_id, key, other_key, received_at, occurred_at, verdict, producer, event_id, kind, body_sha256, secret,
            leaf_sha256, payment_key, payment_id, status, amount_minor, amount_refunded_minor, currency)
    ON CONFLICT (tenant_id, key) DO UPDATE
        SET duplicates = e.duplicates + CASE WHEN e.body_sha256 = excluded.body_sha256 THEN 1 ELSE 0 END
    RETURNING e.key, e.body_sha256, e.duplicates
)
SELECT count(*), array_agg(key), array_agg(body_sha256), array_agg(duplicates), max(duplicates)
INTO answered, found_keys, found_bodies, found_duplicates, counted FROM kept;

IF found_bodies IS DISTINCT FROM body_sha256 OR counted > 0 THEN
    WITH met AS MATERIALIZED (
        SELECT i, m.key, m.other_key, m.body_sha256 = k.body_sha256 AND k.duplicates > 0 AS known,
            m.body_sha256 <> k.body_sha256 AS conflicts
        FROM unnest($2, $3, $10) WITH ORDINALITY AS m (key, other_key, body_sha256, i)
        JOIN unnest(found_keys, found_bodies, found_duplicates) AS k (key, body_sha256, duplicates) USING (key)
    ), aside AS (
        INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer,
            event_id, kind, body_sha256, secret, leaf_sha256, named_payment_id, beside)
        SELECT r.tenant_id, m.other_key, r.received_at, r.occurred_at, 0, 1, r.producer, r.event_id, r.kind, r.body_sha256,
            r.secret, r.leaf_sha256, r.payment_id, m.key
        FROM met m JOIN unnest($1, $4, $5, $7, $8, $9, $10, $11, $12, $14) WITH ORDINALITY
            AS r (tenant_id, received_at, occurred_at, producer, event_id, kind, body_sha256, secret, leaf_sha256,
                payment_id, i)
            USING (i)
        WHERE m.conflicts
        ORDER BY r.tenant_id COLLATE "C", m.other_key
        ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + 1
        RETURNING e.key, e.duplicates
    )
    SELECT array_agg(m.i) FILTER (WHERE m.known OR m.conflicts AND a.duplicates > 0), array_agg(m.i) FILTER (WHERE m.conflicts)
    INTO known, conflicting FROM met m LEFT JOIN aside a ON a.key = m.other_key;
END IF;

INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
SELECT tenant_id, received_at, CASE WHEN i = ANY (conflicting) THEN other_key ELSE key END, headers, body
FROM unnest($1, $2, $3, $4, $20, $21) WITH ORDINALITY AS b (tenant_id, key, other_key, received_at, headers, body, i)
WHERE known IS NULL OR i <> ALL (known);

WITH ledger AS (
    INSERT INTO countersign.payments AS p (tenant_id, key, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, history)
    SELECT tenant_id, payment_key, received_at, 1, payment_id, recency, recency || E'\x01' || status,
        recency || E'\x01' || amount_minor, recency || E'\x01' || amount_refunded_minor, recency || E'\x01' || currency,
        ARRAY[key]
    FROM unnest($1, $2, $4, $13, $14, $15, $16, $17, $18, $19) WITH ORDINALITY
        AS s (tenant_id, key, received_at, payment_key, payment_id, recency, status, amount_minor, amount_refunded_minor,
            currency, i)
    WHERE payment_key IS NOT NULL AND (known IS NULL OR i <> ALL (known)) AND (conflicting IS NULL OR i <> ALL (conflicting))
    ORDER BY tenant_id COLLATE "C", payment_key
    ON CONFLICT (tenant_id, key) DO UPDATE SET events = p.events + 1, last = greatest(p.last, excluded.last),
        changed_at = CASE WHEN excluded.status > coalesce(p.status, '')
                OR excluded.amount_minor > coalesce(p.amount_minor, '')
                OR excluded.amount_refunded_minor > coalesce(p.amount_refunded_minor, '')
                OR excluded.currency > coalesce(p.currency, '')
            THEN greatest(p.changed_at, excluded.changed_at) ELSE p.changed_at END,
        status = greatest(p.status, excluded.status), amount_minor = greatest(p.amount_minor, excluded.amount_minor),
        amount_refunded_minor = greatest(p.amount_refunded_minor, excluded.amount_refunded_minor),
        currency = greatest(p.currency, excluded.currency), history = (excluded.history || p.history)[:1000], previous = NULL
    RETURNING p.key, p.status, p.amount_minor, p.amount_refunded_minor, p.currency,
        p.events > 1 OR coalesce(p.status, p.amount_minor, p.amount_refunded_minor, p.currency) IS NULL AS doubtful
)
SELECT array_agg(key), array_agg(status), array_agg(amount_minor), array_agg(amount_refunded_minor), array_agg(currency)
INTO doubtful, statuses, amounts, refunds, currencies FROM ledger WHERE doubtful;

-- An event was applied if a word of it stands. Of a payment's first event all that it states does.
IF doubtful IS NOT NULL THEN
    INSERT INTO countersign.superseded (tenant_id, key)
    SELECT s.tenant_id, s.key
    FROM unnest($1, $2, $13, $15, $16, $17, $18, $19) WITH ORDINALITY
        AS s (tenant_id, key, payment_key, recency, status, amount_minor, amount_refunded_minor, currency, i)
    JOIN unnest(doubtful, statuses, amounts, refunds, currencies)
        AS l (payment_key, status, amount_minor, amount_refunded_minor, currency) USING (payment_key)
    WHERE (known IS NULL OR i <> ALL (known)) AND (conflicting IS NULL OR i <> ALL (conflicting))
        AND (s.recency || E'\x01' || s.status = l.status) IS NOT TRUE
        AND (s.recency || E'\x01' || s.amount_minor = l.amount_minor) IS NOT TRUE
        AND (s.recency || E'\x01' || s.amount_refunded_minor = l.amount_refunded_minor) IS NOT TRUE
        AND (s.recency || E'\x01' || s.currency = l.currency) IS NOT TRUE;
END IF;
END
$commit$;
