-- How often a token was exchanged (more than once only within the grace), and how often a session was
-- refreshed in its present hour: each exchange leaves a row that stays as long as a token lives.
ALTER TABLE refresh_tokens ADD COLUMN exchanges integer NOT NULL DEFAULT 0;
ALTER TABLE sessions
    ADD COLUMN refreshes       integer     NOT NULL DEFAULT 0,
    ADD COLUMN refreshes_since timestamptz NOT NULL DEFAULT now();
