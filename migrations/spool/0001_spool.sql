-- Events that were made durable here while the database was away, until the database has them. Times are microseconds since
-- 1970-01-01 UTC.

CREATE TABLE waiting (
    -- The order of arrival. Never given out twice by one file.
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    -- 16 random bytes for each opening of the file. The database remembers how far it has moved a run: a file that was put
    -- back from a copy gives out its positions again, but in another run.
    run BLOB NOT NULL,
    tenant_id TEXT NOT NULL,
    spooled_at INTEGER NOT NULL,
    -- Set if the database was asked to keep it and did not answer: until then it may still do so.
    settles_at INTEGER,
    -- How the next two are written (src/store/spool/form.rs).
    form INTEGER NOT NULL,
    event TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

-- What the database refused for its own sake, or cannot be read here. Tried again at each start, and never dropped.
CREATE TABLE aside (
    aside INTEGER PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    spooled_at INTEGER NOT NULL,
    settles_at INTEGER,
    form INTEGER NOT NULL,
    event TEXT NOT NULL,
    body BLOB NOT NULL,
    refused_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
