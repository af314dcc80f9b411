-- Batches of any length: what these do grows with the events of a batch, where commit_1, commit_plain_1 and commit_marked_1
-- look through all of it for each event of a payment that has several, and for each that is known already. Receivers of older
-- versions go on with those. Locks are taken in the same order, and the answers are the same.

-- Any batch; `marked` tells of which events more is to be fetched.
CREATE FUNCTION countersign.commit_2(
    arrival int4[], lead bool[], tenant_id text[], key bytea[], other_key bytea[], received_at int8[], occurred_at int8[],
    copies int8[], verdict int2[], producer text[], event_id text[], kind text[], body_sha256 bytea[], secret text[],
    leaf_sha256 bytea[], payment_key bytea[], payment_id text[], recency text[], status text[], amount_minor int8[],
    amount_refunded_minor int8[], currency text[], headers text[], body bytea[], marked bool[],
    OUT answered bigint, OUT known bigint[], OUT conflicting bigint[])
LANGUAGE plpgsql
SET enable_nestloop = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $commit$
#variable_conflict use_column
DECLARE
    -- How often each body came that does not lead, by its key and itself: found by halves, not by looking through.
    others jsonb;
BEGIN
IF false = ANY (lead) THEN
    SELECT jsonb_object_agg(encode(o.key || o.body_sha256, 'hex'), o.copies) INTO others
    FROM unnest($2, $4, $13, $8) AS o (lead, key, body_sha256, copies) WHERE NOT o.lead;
END IF;

WITH kept AS (
    -- A new row has the duplicates of its own batch, an old one at least one more: that tells them apart below.
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        named_payment_id, beside, fetch_needed)
    SELECT tenant_id, key, received_at, occurred_at, copies - 1, verdict, producer, event_id, kind, body_sha256, secret,
        leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        CASE WHEN payment_key IS NULL THEN payment_id END, CASE WHEN verdict = 2 THEN other_key END, marked
    FROM unnest($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $19, $20, $21, $22, $25)
        AS row (lead, tenant_id, key, other_key, received_at, occurred_at, copies, verdict, producer, event_id, kind,
            body_sha256, secret, leaf_sha256, payment_key, payment_id, status, amount_minor, amount_refunded_minor, currency,
            marked)
    WHERE lead
    ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + CASE
        WHEN e.body_sha256 = excluded.body_sha256 THEN excluded.duplicates + 1
        -- Another body leads; the one that is known may be in the batch as well.
        ELSE coalesce((others ->> encode(e.key || e.body_sha256, 'hex'))::bigint, 0) END
    RETURNING e.key, e.body_sha256, e.duplicates
), met AS MATERIALIZED (
    SELECT i, m.key, m.other_key, m.copies, m.lead AND m.body_sha256 = k.body_sha256 AND k.duplicates < m.copies AS new,
        m.body_sha256 <> k.body_sha256 AS conflicts
    FROM unnest($2, $4, $5, $13, $8) WITH ORDINALITY AS m (lead, key, other_key, body_sha256, copies, i)
    JOIN kept k USING (key)
), aside AS (
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, named_payment_id, beside, fetch_needed)
    SELECT r.tenant_id, m.other_key, r.received_at, r.occurred_at, m.copies - 1, 1, r.producer, r.event_id, r.kind,
        r.body_sha256, r.secret, r.leaf_sha256, r.payment_id, m.key, r.marked
    FROM met m JOIN unnest($3, $6, $7, $10, $11, $12, $13, $14, $15, $17, $25) WITH ORDINALITY
        AS r (tenant_id, received_at, occurred_at, producer, event_id, kind, body_sha256, secret, leaf_sha256, payment_id,
            marked, i)
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
    FROM (
        SELECT *, max(status) OVER w AS status_before, max(amount_minor) OVER w AS amount_before,
            max(amount_refunded_minor) OVER w AS refunded_before, max(currency) OVER w AS currency_before
        FROM stated
        WINDOW w AS (PARTITION BY payment_key ORDER BY arrival ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) s JOIN ledger l ON l.key = s.payment_key
    WHERE (s.status = l.status) IS NOT TRUE AND (s.amount_minor = l.amount_minor) IS NOT TRUE
        AND (s.amount_refunded_minor = l.amount_refunded_minor) IS NOT TRUE AND (s.currency = l.currency) IS NOT TRUE
        AND (l.previous IS NULL
            OR (s.status > greatest(l.previous[1], s.status_before, '')) IS NOT TRUE
            AND (s.amount_minor > greatest(l.previous[2], s.amount_before, '')) IS NOT TRUE
            AND (s.amount_refunded_minor > greatest(l.previous[3], s.refunded_before, '')) IS NOT TRUE
            AND (s.currency > greatest(l.previous[4], s.currency_before, '')) IS NOT TRUE)
)
SELECT count(*), array_agg(i) FILTER (WHERE NOT new), array_agg(i) FILTER (WHERE conflicts)
INTO answered, known, conflicting FROM outcome;
END
$commit$;

-- A batch in which each event stands once, no two speak of one payment, and none is marked.
CREATE FUNCTION countersign.commit_plain_2(
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
    -- Of each row, in its place, whether it was there already, and whether it stands beside another body. Where nothing was known
    -- there are no such arrays, and unnest has NULL for each row.
    were_there bool[];
    stand_aside bool[];
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
    ), told AS (
        SELECT m.i, m.known OR m.conflicts AND a.duplicates > 0 AS known, m.conflicts
        FROM met m LEFT JOIN aside a ON a.key = m.other_key
    )
    SELECT array_agg(i) FILTER (WHERE known), array_agg(i) FILTER (WHERE conflicts), array_agg(known ORDER BY i),
        array_agg(conflicts ORDER BY i)
    INTO known, conflicting, were_there, stand_aside FROM told;
END IF;

INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
SELECT tenant_id, received_at, CASE WHEN aside THEN other_key ELSE key END, headers, body
FROM unnest($1, $2, $3, $4, $20, $21, were_there, stand_aside)
    AS b (tenant_id, key, other_key, received_at, headers, body, was_there, aside)
WHERE was_there IS NOT TRUE;

WITH ledger AS (
    INSERT INTO countersign.payments AS p (tenant_id, key, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, history)
    SELECT tenant_id, payment_key, received_at, 1, payment_id, recency, recency || E'\x01' || status,
        recency || E'\x01' || amount_minor, recency || E'\x01' || amount_refunded_minor, recency || E'\x01' || currency,
        ARRAY[key]
    FROM unnest($1, $2, $4, $13, $14, $15, $16, $17, $18, $19, were_there, stand_aside)
        AS s (tenant_id, key, received_at, payment_key, payment_id, recency, status, amount_minor, amount_refunded_minor,
            currency, was_there, aside)
    WHERE payment_key IS NOT NULL AND was_there IS NOT TRUE AND aside IS NOT TRUE
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
    FROM unnest($1, $2, $13, $15, $16, $17, $18, $19, were_there, stand_aside)
        AS s (tenant_id, key, payment_key, recency, status, amount_minor, amount_refunded_minor, currency, was_there, aside)
    JOIN unnest(doubtful, statuses, amounts, refunds, currencies)
        AS l (payment_key, status, amount_minor, amount_refunded_minor, currency) USING (payment_key)
    WHERE was_there IS NOT TRUE AND aside IS NOT TRUE
        AND (s.recency || E'\x01' || s.status = l.status) IS NOT TRUE
        AND (s.recency || E'\x01' || s.amount_minor = l.amount_minor) IS NOT TRUE
        AND (s.recency || E'\x01' || s.amount_refunded_minor = l.amount_refunded_minor) IS NOT TRUE
        AND (s.recency || E'\x01' || s.currency = l.currency) IS NOT TRUE;
END IF;
END
$commit$;
