-- Whether a disabling is about a stream is judged by auth's clock alone: by the time the token was
-- issued that made the stream's key, against the time of the disabling.
ALTER TABLE streams
    -- `iat` of the token by which the owner made the key. An instance of the release before writes
    -- none; its own time is never earlier.
    ADD COLUMN key_token_iat     timestamptz NOT NULL DEFAULT now(),
    -- When the owner's account was disabled, until the owner makes a key again.
    ADD COLUMN owner_disabled_at timestamptz;

-- Their tokens are forgotten; the keys' own times are the nearest to them.
UPDATE streams SET key_token_iat = COALESCE(key_rotated_at, created_at);
