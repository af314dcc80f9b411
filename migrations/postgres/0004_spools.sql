-- How far each receiver's spool was moved here, for each tenant. It is written in the transaction that moves a batch, so a
-- receiver that was killed before it heard of the commit finds out, and moves nothing twice.
CREATE TABLE countersign.spools (
    tenant_id text COLLATE "C" NOT NULL,
    -- The run of the spool's file: 16 random bytes for each opening.
    spool_id bytea NOT NULL,
    -- The position of the last event that is here, or was set aside there.
    moved bigint NOT NULL,
    moved_at bigint NOT NULL,
    PRIMARY KEY (tenant_id, spool_id)
);
