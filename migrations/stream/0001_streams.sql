-- The seeds' table of streams (ids as UUID, times with zone), with what the live path adds.
CREATE TABLE streams (
    id                  uuid PRIMARY KEY,
    -- A user of auth_db; no foreign key can cross databases.
    user_id             uuid NOT NULL,
    -- A secret: only its owner and ingest ever see it.
    stream_key          varchar(255) NOT NULL UNIQUE,
    status              varchar(50) NOT NULL DEFAULT 'active'
                        CHECK (status IN ('active', 'live', 'reconnecting', 'expired')),
    title               text NOT NULL,
    description         text,
    category            text,
    tags                text[] NOT NULL DEFAULT '{}',
    visibility          text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'unlisted')),
    -- Of the running broadcast; null and empty while there is none.
    started_at          timestamptz,
    available_qualities text[] NOT NULL DEFAULT '{}',
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    -- When the key's time is over.
    expires_at          timestamptz NOT NULL,
    key_rotated_at      timestamptz,
    -- After `stop` the key is refused until then.
    held_until          timestamptz,
    -- Too many publishers took the stream from each other: the next is refused until then.
    contended_until     timestamptz,
    -- When the stream was taken over lately.
    takeovers           timestamptz[] NOT NULL DEFAULT '{}'
);

CREATE INDEX streams_by_owner ON streams (user_id, id DESC);

-- The public list in its order: running ones first, then the newest.
CREATE INDEX streams_public ON streams (
    (status IN ('live', 'reconnecting')) DESC, (COALESCE(started_at, created_at)) DESC, id DESC
) WHERE visibility = 'public' AND status <> 'expired';

-- What the sweeper looks for.
CREATE INDEX streams_to_expire ON streams (expires_at) WHERE status = 'active';
