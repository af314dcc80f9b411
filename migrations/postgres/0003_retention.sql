-- Events that are forgotten. Nothing of the form changes, so receivers that do not know of it go on beside those that do;
-- in their lists such rows come last, and empty. This step tells of it whoever looks at the table, and keeps versions apart.

COMMENT ON COLUMN countersign.events.verdict IS
    '0 accepted, 1 conflict, 2 quarantined; 3 forgotten: key and body_sha256 recognise it if it comes again, the rest is gone';
COMMENT ON COLUMN countersign.events.received_at IS
    'Microseconds since 1970-01-01 UTC; of a forgotten event ~received_at, so that the index by time has it apart';
COMMENT ON TABLE countersign.bodies IS
    'A partition for each day; one goes whole once nobody keeps anything in it. An event without a row here lost its body to its age';
