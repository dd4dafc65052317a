-- Slow enough for a second migrator to arrive while it runs.
SELECT pg_sleep(0.5);
CREATE TABLE things (id bigint PRIMARY KEY);
