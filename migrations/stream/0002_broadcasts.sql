-- Each time a stream goes live. The row is the only authority on who may write a broadcast: its
-- epoch rises with each admitted publisher.
CREATE TABLE broadcasts (
    id                      uuid PRIMARY KEY,
    -- No foreign key: a broadcast outlives its stream, because its recording and its ENDLIST do.
    stream_id               uuid NOT NULL,
    user_id                 uuid NOT NULL,
    -- As the stream's were while it ran.
    title                   text NOT NULL,
    visibility              text NOT NULL,
    phase                   text NOT NULL DEFAULT 'starting'
                            CHECK (phase IN ('starting', 'live', 'interrupted', 'ended')),
    -- Rises over all broadcasts of a stream, so that an order meant for an older publisher can
    -- never hit a newer one.
    epoch                   bigint NOT NULL CHECK (epoch > 0),
    -- The highest `seq` of a webhook event applied under this epoch.
    applied_seq             bigint NOT NULL DEFAULT -1,
    transcoder_url          text NOT NULL,
    protocol                text NOT NULL,
    next_msn                bigint NOT NULL,
    discontinuity_seq       bigint NOT NULL,
    discontinuity_seq_first bigint NOT NULL,
    -- {rungs, audio}; fixed by the first `live` event.
    ladder                  jsonb,
    created_at              timestamptz NOT NULL,
    started_at              timestamptz,
    -- Since when the publisher is away, if it is.
    interrupted_at          timestamptz,
    -- When its present transcoder was last heard.
    heard_at                timestamptz NOT NULL,
    ended_at                timestamptz,
    end_reason              text,
    -- When the playlists' ENDLIST was confirmed; until then it is asked for, not before
    -- `finalize_at`.
    finalized_at            timestamptz,
    finalize_at             timestamptz,
    finalize_attempts       integer NOT NULL DEFAULT 0,
    CHECK ((phase = 'ended') = (ended_at IS NOT NULL))
)
-- Renewals rewrite a running row every 2 s; none of what they change is indexed, so that they stay
-- within the row's page.
WITH (fillfactor = 70);

CREATE UNIQUE INDEX broadcasts_by_stream ON broadcasts (stream_id, epoch DESC);
CREATE UNIQUE INDEX broadcasts_one_running ON broadcasts (stream_id) WHERE ended_at IS NULL;
CREATE INDEX broadcasts_to_finalize ON broadcasts (finalize_at)
    WHERE ended_at IS NOT NULL AND finalized_at IS NULL;

-- Webhook events that were applied, for an hour: a repeated `event_id` is recognised by it, and
-- the health samples of the studio are read from it.
CREATE TABLE broadcast_events (
    event_id     uuid PRIMARY KEY,
    stream_id    uuid NOT NULL,
    broadcast_id uuid NOT NULL,
    epoch        bigint NOT NULL,
    seq          bigint NOT NULL,
    type         text NOT NULL,
    at           timestamptz NOT NULL,
    data         jsonb NOT NULL,
    received_at  timestamptz NOT NULL
);

CREATE INDEX broadcast_events_health ON broadcast_events (stream_id, at DESC) WHERE type = 'health';
CREATE INDEX broadcast_events_age ON broadcast_events (received_at);

-- Transcoders that renew, also with nothing on the air: who may be asked to finalize.
CREATE TABLE transcoders (
    url      text PRIMARY KEY,
    heard_at timestamptz NOT NULL
);
