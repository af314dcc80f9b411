-- What marks with `shadow = true` would have decided, by mark and by the subject that met it.
CREATE TABLE countersign.shadows (
    -- Empty where the subject names nobody, as is the producer then.
    tenant_id text COLLATE "C" NOT NULL,
    -- 128 bits of SHA-256 of mark, what, tenant, producer and subject.
    key bytea NOT NULL,
    -- client_ca, producer, pin or secret.
    mark text NOT NULL,
    -- Which one: a CA's SHA-256, a producer's name, a pin, a secret's reference.
    what text NOT NULL,
    producer text NOT NULL,
    subject text NOT NULL,
    address text NOT NULL,
    -- How often it would have accepted what was refused, accepted what was accepted, refused.
    accept bigint NOT NULL,
    agree bigint NOT NULL,
    refuse bigint NOT NULL,
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
