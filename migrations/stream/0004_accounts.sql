-- Events of accounts that were applied (Kafka `user.deleted`, `user.disabled`): each is applied
-- once, and a token issued before one makes no key after it.
CREATE TABLE account_events (
    event_id    uuid PRIMARY KEY,
    user_id     uuid NOT NULL,
    -- By auth's clock, the one that dates tokens too.
    at          timestamptz NOT NULL,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX account_events_by_user ON account_events (user_id, at DESC);
CREATE INDEX account_events_age ON account_events (received_at);

-- Who looks for a stream by a tag.
CREATE INDEX streams_by_tag ON streams USING gin (tags);
