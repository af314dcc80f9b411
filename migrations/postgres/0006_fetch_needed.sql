-- Whether the provider must be asked for what the signature of an event leaves uncovered.
ALTER TABLE countersign.events ADD COLUMN fetch_needed boolean NOT NULL DEFAULT false;

-- A batch in which some events are marked so: commit_1, and then the mark on those of its rows that are new. Few providers
-- sign a mere reference, so the other batches, and receivers that know no mark, go on with commit_1 alone.
--
-- Only rows that this transaction has just inserted are written, one by one and each by its key, so nobody is waited for.
CREATE FUNCTION countersign.commit_marked_1(
    arrival int4[], lead bool[], tenant_id text[], key bytea[], other_key bytea[], received_at int8[], occurred_at int8[],
    copies int8[], verdict int2[], producer text[], event_id text[], kind text[], body_sha256 bytea[], secret text[],
    leaf_sha256 bytea[], payment_key bytea[], payment_id text[], recency text[], status text[], amount_minor int8[],
    amount_refunded_minor int8[], currency text[], headers text[], body bytea[], marked bool[],
    OUT answered bigint, OUT known bigint[], OUT conflicting bigint[])
LANGUAGE plpgsql
AS $commit$
DECLARE
    place bigint;
BEGIN
    SELECT c.answered, c.known, c.conflicting INTO answered, known, conflicting
    FROM countersign.commit_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
        $21, $22, $23, $24) AS c;
    FOR place IN SELECT m.i FROM unnest($25) WITH ORDINALITY AS m (is_marked, i) WHERE m.is_marked LOOP
        CONTINUE WHEN place = ANY (known);
        UPDATE countersign.events AS e SET fetch_needed = true
        WHERE e.tenant_id = ($3)[place]
            AND e.key = CASE WHEN place = ANY (conflicting) THEN ($5)[place] ELSE ($4)[place] END;
    END LOOP;
END
$commit$;
