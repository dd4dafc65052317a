-- Where a session was begun: shown to its owner, and how a familiar network is known. Gone with the
-- session, at the latest a refresh token's life after its last use.
ALTER TABLE sessions ADD COLUMN address inet;

-- Wrong passwords in a row, by what they were for and whence they came.
CREATE TABLE failed_sign_ins (
    -- SHA-256 of the account's id, or of a login that nobody has: nothing that was typed is kept.
    target   bytea       NOT NULL,
    -- An address or an IPv6 /64; '' counts all networks that were not familiar to the account.
    network  text        NOT NULL,
    failures integer     NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (target, network)
);

CREATE INDEX failed_sign_ins_last_at_idx ON failed_sign_ins (last_at);
