-- Events that are forgotten: verdict 3. Such a row has its key and the hash of its body, by which it is recognised if it
-- comes again, and nothing else that came. Its received_at stands below zero (~received_at, in SQL too), so that
-- events_by_time has the forgotten apart from the kept: no list meets them, and the oldest of both are found at once.
--
-- A payment with fewer rows in events than its count says has events that were forgotten.

DROP INDEX events_aside;
CREATE INDEX events_aside ON events (tenant, event_id) WHERE verdict IN (1, 2);
