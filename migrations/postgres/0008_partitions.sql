-- Makes the partitions of the bodies of today and of the days after it, as make_partitions_1 does, with which receivers of
-- older versions go on.
--
-- A new partition locks its parent, and behind whoever waits for that lock all deliveries wait. So nothing is asked for where
-- nothing is missing; what a reader holds up is given up at once, and so is the rest: it would fare no better. The default
-- partition takes what has no other, and there are days until then.
CREATE FUNCTION countersign.make_partitions_2(days int) RETURNS int
LANGUAGE plpgsql
SET lock_timeout = '50ms'
AS $make$
DECLARE
    day bigint := 86400000000;
    today bigint := floor(extract(epoch FROM now()) / 86400);
    missing bigint[];
    number bigint;
    made int := 0;
BEGIN
    SELECT array_agg(n ORDER BY n) INTO missing FROM generate_series(today, today + days) n
    WHERE to_regclass('countersign.bodies_' || to_char(to_timestamp(n * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD')) IS NULL;
    IF missing IS NULL OR NOT pg_try_advisory_xact_lock(hashtext('countersign partitions')) THEN
        RETURN 0;
    END IF;
    FOREACH number IN ARRAY missing LOOP
        BEGIN
            EXECUTE format('CREATE TABLE countersign.%I PARTITION OF countersign.bodies FOR VALUES FROM (%s) TO (%s)',
                'bodies_' || to_char(to_timestamp(number * 86400) AT TIME ZONE 'UTC', 'YYYYMMDD'),
                number * day, (number + 1) * day);
            made := made + 1;
        EXCEPTION
            WHEN lock_not_available THEN
                RETURN made;
            WHEN check_violation OR duplicate_table THEN
                -- Rows of that day are in the default partition already, or another receiver was quicker.
                NULL;
        END;
    END LOOP;
    RETURN made;
END
$make$;
