-- Whether the provider must be asked for what the signature of an event leaves uncovered: 1 if so.
ALTER TABLE events ADD COLUMN fetch_needed INTEGER NOT NULL DEFAULT 0;
