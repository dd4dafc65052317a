-- Sessions that were ended and that Redis has not been told of. A row is written in the transaction
-- that ends the session, and goes when Redis has it, or when no access token can be good any more.
CREATE TABLE revocations (
    -- No reference: a deleted account's sessions are gone, and their tokens are not.
    session_id uuid PRIMARY KEY,
    ended_at   timestamptz NOT NULL DEFAULT now()
);
