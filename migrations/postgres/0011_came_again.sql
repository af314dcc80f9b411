-- When an event came again, the last 32 times, by the times of receipt: a receiver that lost the answer to a COMMIT looks here whether what
-- it has in its spool was counted already. New rows have none, so new events pay nothing; more of them would make rows that are rewritten
-- with each duplicate large.
ALTER TABLE countersign.events ADD COLUMN came_again bigint[];

-- What commit_3 and commit_plain_3 do, and these times as well. Receivers of older versions go on with those. Locks are taken in the same
-- order, and the answers are the same.
--
-- Of a payment with several events in a batch, `changed_at` is now when the last of them came that changed it, not when the last came.

-- Any batch; `marked` tells of which events more is to be fetched. Of an event that stands in it several times, `again_at` has the times of
-- all but the first, from `again_from` on.
CREATE FUNCTION countersign.commit_4(
    arrival int4[], lead bool[], tenant_id text[], key bytea[], other_key bytea[], received_at int8[], occurred_at int8[],
    copies int8[], verdict int2[], producer text[], event_id text[], kind text[], body_sha256 bytea[], secret text[],
    leaf_sha256 bytea[], payment_key bytea[], payment_id text[], recency text[], status text[], amount_minor int8[],
    amount_refunded_minor int8[], currency text[], headers text[], body bytea[], marked bool[], again_at int8[],
    again_from int4[],
    OUT answered bigint, OUT known bigint[], OUT conflicting bigint[])
LANGUAGE plpgsql
SET enable_nestloop = off
SET plan_cache_mode = force_generic_plan
SET jit = off
AS $commit$
#variable_conflict use_column
DECLARE
    -- When each body came that does not lead, by its key and itself: found by halves, not by looking through.
    others jsonb;
BEGIN
IF false = ANY (lead) THEN
    SELECT jsonb_object_agg(encode(key[i] || body_sha256[i], 'hex'),
        to_jsonb(received_at[i] || again_at[again_from[i] : again_from[i] + copies[i]::int - 2])) INTO others
    FROM generate_series(1, cardinality(key)) AS i WHERE NOT lead[i];
END IF;

WITH kept AS (
    -- A new row has the duplicates of its own batch, an old one at least one more: that tells them apart below.
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, payment_key, status, amount_minor, amount_refunded_minor, currency,
        named_payment_id, beside, fetch_needed, came_again)
    SELECT tenant_id[i], key[i], received_at[i], occurred_at[i], copies[i] - 1, verdict[i], producer[i], event_id[i], kind[i],
        body_sha256[i], secret[i], leaf_sha256[i], payment_key[i], status[i], amount_minor[i], amount_refunded_minor[i],
        currency[i], CASE WHEN payment_key[i] IS NULL THEN payment_id[i] END, CASE WHEN verdict[i] = 2 THEN other_key[i] END,
        marked[i], CASE WHEN copies[i] > 1 THEN again_at[again_from[i] : again_from[i] + least(copies[i], 33)::int - 2] END
    FROM generate_series(1, cardinality(key)) AS i
    WHERE lead[i]
    ON CONFLICT (tenant_id, key) DO UPDATE SET (duplicates, came_again) = (
        SELECT e.duplicates + CASE WHEN same THEN excluded.duplicates + 1 ELSE cardinality(times) END, (CASE
            WHEN same THEN excluded.received_at || excluded.came_again ELSE times END || e.came_again)[:32]
        FROM (SELECT e.body_sha256 = excluded.body_sha256,
            -- Another body leads; the one that is known may be in the batch as well.
            ARRAY(SELECT jsonb_array_elements_text(others -> encode(e.key || e.body_sha256, 'hex'))::bigint)) AS found (same, times))
    RETURNING e.key AS kept_key, e.body_sha256 AS kept_body, e.duplicates
), met AS MATERIALIZED (
    SELECT i, lead[i] AND body_sha256[i] = kept_body AND duplicates < copies[i] AS new, body_sha256[i] <> kept_body AS conflicts
    FROM generate_series(1, cardinality(key)) AS i JOIN kept ON kept_key = key[i]
), aside AS (
    INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer, event_id,
        kind, body_sha256, secret, leaf_sha256, named_payment_id, beside, fetch_needed, came_again)
    SELECT tenant_id[i], other_key[i], received_at[i], occurred_at[i], copies[i] - 1, 1, producer[i], event_id[i], kind[i],
        body_sha256[i], secret[i], leaf_sha256[i], payment_id[i], key[i], marked[i],
        CASE WHEN copies[i] > 1 THEN again_at[again_from[i] : again_from[i] + least(copies[i], 33)::int - 2] END
    FROM met WHERE conflicts
    ORDER BY tenant_id[i] COLLATE "C", other_key[i]
    ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + excluded.duplicates + 1,
        came_again = (excluded.received_at || excluded.came_again || e.came_again)[:32]
    RETURNING e.key AS aside_key, e.duplicates
), outcome AS MATERIALIZED (
    SELECT i, new OR conflicts AND duplicates < copies[i] AS new, conflicts
    FROM met LEFT JOIN aside ON aside_key = other_key[i]
), came AS (
    INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
    SELECT tenant_id[i], received_at[i], CASE WHEN conflicts THEN other_key[i] ELSE key[i] END, headers[i], body[i]
    FROM outcome WHERE new
), stated AS MATERIALIZED (
    SELECT i, arrival[i] AS arrived, payment_key[i] AS payment,
        (recency[i] || E'\x01' || status[i]) COLLATE "C" AS status,
        (recency[i] || E'\x01' || amount_minor[i]) COLLATE "C" AS amount_minor,
        (recency[i] || E'\x01' || amount_refunded_minor[i]) COLLATE "C" AS amount_refunded_minor,
        (recency[i] || E'\x01' || currency[i]) COLLATE "C" AS currency
    FROM outcome WHERE new AND NOT conflicts AND payment_key[i] IS NOT NULL
), folded AS (
    SELECT tenant_id[i] AS tenant, payment, min(payment_id[i]) AS payment_id, min(received_at[i]) AS began_at,
        count(*) AS events, max(recency[i] COLLATE "C") AS last, max(status) AS status, max(amount_minor) AS amount_minor,
        max(amount_refunded_minor) AS amount_refunded_minor, max(currency) AS currency, array_agg(key[i]) AS history,
        -- When the word came that stands: it is the same that is greatest without its time.
        substring(max(status || E'\x02' || received_at[i]) FROM '[0-9]+$')::bigint AS status_at,
        substring(max(amount_minor || E'\x02' || received_at[i]) FROM '[0-9]+$')::bigint AS amount_at,
        substring(max(amount_refunded_minor || E'\x02' || received_at[i]) FROM '[0-9]+$')::bigint AS refunded_at,
        substring(max(currency || E'\x02' || received_at[i]) FROM '[0-9]+$')::bigint AS currency_at
    FROM stated GROUP BY 1, 2
), ledger AS (
    INSERT INTO countersign.payments AS p (tenant_id, key, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, history, previous)
    SELECT tenant, payment, coalesce(greatest(status_at, amount_at, refunded_at, currency_at), began_at), events, f.payment_id, last,
        status, amount_minor, amount_refunded_minor, currency, history[:1000],
        -- What the registers were, and when their new words came, which no column takes along.
        CASE WHEN events > 1 THEN ARRAY[NULL, NULL, NULL, NULL, status_at::text, amount_at::text, refunded_at::text, currency_at::text] END
    FROM folded f ORDER BY tenant COLLATE "C", payment
    ON CONFLICT (tenant_id, key) DO UPDATE SET events = p.events + excluded.events, last = greatest(p.last, excluded.last),
        changed_at = greatest(p.changed_at,
            CASE WHEN excluded.status > coalesce(p.status, '')
                THEN coalesce(excluded.previous[5]::bigint, excluded.changed_at) END,
            CASE WHEN excluded.amount_minor > coalesce(p.amount_minor, '')
                THEN coalesce(excluded.previous[6]::bigint, excluded.changed_at) END,
            CASE WHEN excluded.amount_refunded_minor > coalesce(p.amount_refunded_minor, '')
                THEN coalesce(excluded.previous[7]::bigint, excluded.changed_at) END,
            CASE WHEN excluded.currency > coalesce(p.currency, '')
                THEN coalesce(excluded.previous[8]::bigint, excluded.changed_at) END),
        status = greatest(p.status, excluded.status), amount_minor = greatest(p.amount_minor, excluded.amount_minor),
        amount_refunded_minor = greatest(p.amount_refunded_minor, excluded.amount_refunded_minor),
        currency = greatest(p.currency, excluded.currency), history = (excluded.history || p.history)[:1000],
        previous = CASE WHEN excluded.previous IS NOT NULL
            THEN ARRAY[p.status, p.amount_minor, p.amount_refunded_minor, p.currency] END
    RETURNING p.key, p.status, p.amount_minor, p.amount_refunded_minor, p.currency, p.previous
), late AS (
    -- An event was applied if a word of it stands, or, of several in this batch, stood when its turn came.
    INSERT INTO countersign.superseded (tenant_id, key)
    SELECT tenant_id[s.i], commit_4.key[s.i]
    FROM (
        SELECT *, max(status) OVER w AS status_before, max(amount_minor) OVER w AS amount_before,
            max(amount_refunded_minor) OVER w AS refunded_before, max(currency) OVER w AS currency_before
        FROM stated
        WINDOW w AS (PARTITION BY payment ORDER BY arrived ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    ) s JOIN ledger l ON l.key = s.payment
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

-- A batch in which each event stands once, no two speak of one payment, and none is marked. `by_payment` has the places of those that
-- speak of one, in the order of the payments' tenants and keys.
CREATE FUNCTION countersign.commit_plain_4(
    tenant_id text[], key bytea[], other_key bytea[], received_at int8[], occurred_at int8[], verdict int2[], producer text[],
    event_id text[], kind text[], body_sha256 bytea[], secret text[], leaf_sha256 bytea[], payment_key bytea[],
    payment_id text[], recency text[], status text[], amount_minor int8[], amount_refunded_minor int8[], currency text[],
    headers text[], body bytea[], by_payment int4[],
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
    -- there are no such arrays, and NULL stands in each place.
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
    SELECT tenant_id[i], key[i], received_at[i], occurred_at[i], 0, verdict[i], producer[i], event_id[i], kind[i],
        body_sha256[i], secret[i], leaf_sha256[i], payment_key[i], status[i], amount_minor[i], amount_refunded_minor[i],
        currency[i], CASE WHEN payment_key[i] IS NULL THEN payment_id[i] END, CASE WHEN verdict[i] = 2 THEN other_key[i] END
    FROM generate_series(1, cardinality(key)) AS i
    ON CONFLICT (tenant_id, key) DO UPDATE
        SET duplicates = e.duplicates + CASE WHEN e.body_sha256 = excluded.body_sha256 THEN 1 ELSE 0 END,
            came_again = CASE WHEN e.body_sha256 = excluded.body_sha256 THEN (excluded.received_at || e.came_again)[:32]
                ELSE e.came_again END
    RETURNING e.key, e.body_sha256, e.duplicates
)
SELECT count(*), array_agg(key), array_agg(body_sha256), array_agg(duplicates), max(duplicates)
INTO answered, found_keys, found_bodies, found_duplicates, counted FROM kept;

IF found_bodies IS DISTINCT FROM body_sha256 OR counted > 0 THEN
    WITH met AS MATERIALIZED (
        SELECT i, body_sha256[i] = kept_body AND duplicates > 0 AS known, body_sha256[i] <> kept_body AS conflicts
        FROM generate_series(1, cardinality(key)) AS i
        JOIN unnest(found_keys, found_bodies, found_duplicates) AS kept (kept_key, kept_body, duplicates) ON kept_key = key[i]
    ), aside AS (
        INSERT INTO countersign.events AS e (tenant_id, key, received_at, occurred_at, duplicates, verdict, producer,
            event_id, kind, body_sha256, secret, leaf_sha256, named_payment_id, beside)
        SELECT tenant_id[i], other_key[i], received_at[i], occurred_at[i], 0, 1, producer[i], event_id[i], kind[i],
            body_sha256[i], secret[i], leaf_sha256[i], payment_id[i], key[i]
        FROM met WHERE conflicts
        ORDER BY tenant_id[i] COLLATE "C", other_key[i]
        ON CONFLICT (tenant_id, key) DO UPDATE SET duplicates = e.duplicates + 1,
            came_again = (excluded.received_at || e.came_again)[:32]
        RETURNING e.key AS aside_key, e.duplicates
    ), told AS (
        SELECT i, met.known OR conflicts AND duplicates > 0 AS known, conflicts
        FROM met LEFT JOIN aside ON aside_key = other_key[i]
    )
    SELECT array_agg(i) FILTER (WHERE told.known), array_agg(i) FILTER (WHERE conflicts), array_agg(told.known ORDER BY i),
        array_agg(conflicts ORDER BY i)
    INTO known, conflicting, were_there, stand_aside FROM told;
END IF;

INSERT INTO countersign.bodies (tenant_id, received_at, key, headers, body)
SELECT tenant_id[i], received_at[i], CASE WHEN stand_aside[i] THEN other_key[i] ELSE key[i] END, headers[i], body[i]
FROM generate_series(1, cardinality(key)) AS i
WHERE were_there[i] IS NOT TRUE;

WITH ledger AS (
    INSERT INTO countersign.payments AS p (tenant_id, key, changed_at, events, payment_id, last, status, amount_minor,
        amount_refunded_minor, currency, history)
    SELECT tenant_id[i], payment_key[i], received_at[i], 1, payment_id[i], recency[i], recency[i] || E'\x01' || status[i],
        recency[i] || E'\x01' || amount_minor[i], recency[i] || E'\x01' || amount_refunded_minor[i],
        recency[i] || E'\x01' || currency[i], ARRAY[key[i]]
    FROM unnest(by_payment) AS i
    WHERE were_there[i] IS NOT TRUE AND stand_aside[i] IS NOT TRUE
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
    SELECT tenant_id[i], key[i]
    FROM unnest(by_payment) AS i
    JOIN unnest(doubtful, statuses, amounts, refunds, currencies) AS l (payment, its_status, its_amount, its_refunds, its_currency)
        ON payment = payment_key[i]
    WHERE were_there[i] IS NOT TRUE AND stand_aside[i] IS NOT TRUE
        AND (recency[i] || E'\x01' || status[i] = its_status) IS NOT TRUE
        AND (recency[i] || E'\x01' || amount_minor[i] = its_amount) IS NOT TRUE
        AND (recency[i] || E'\x01' || amount_refunded_minor[i] = its_refunds) IS NOT TRUE
        AND (recency[i] || E'\x01' || currency[i] = its_currency) IS NOT TRUE;
END IF;
END
$commit$;
