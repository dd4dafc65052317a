-- Where a session was last refreshed: that network is as familiar as the one it was begun from.
ALTER TABLE sessions ADD COLUMN last_address inet;

-- Browsers from which a user has signed in, known by a cookie that outlasts the session. Guesses made
-- elsewhere do not hold them up.
CREATE TABLE devices (
    -- SHA-256 of the cookie; the cookie itself is stored nowhere.
    token_hash   bytea       PRIMARY KEY,
    user_id      uuid        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    last_used_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX devices_user_id_idx ON devices (user_id);
CREATE INDEX devices_last_used_at_idx ON devices (last_used_at);
