//! Making and changing streams.

use std::time::Duration;

use marquee_common::contract::{StreamId, UserId, ingest::DisconnectReason};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{
    Store,
    accounts::check_account,
    broadcasts::{end_broadcast, lock_running},
    ingest::Holder,
    interval,
    rows::LockedStream,
};
use crate::{
    error::Error,
    metadata::{Metadata, MetadataChange},
    ownership::Caller,
    stream_key::StreamKey,
};

/// A change that ended a broadcast: whom to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The transcoder that held it.
    pub holder: Holder,
    /// What to tell it.
    pub reason: DisconnectReason,
}

impl Store {
    /// Makes a stream with a new key, unless the user has as many as one may have.
    pub async fn insert_stream(
        &self,
        owner: &Caller,
        metadata: &Metadata,
    ) -> Result<StreamId, Error> {
        let key = StreamKey::generate().map_err(Error::Random)?;
        let id = StreamId::new();
        let mut tx = self.pool.begin().await?;
        lock_user(&mut tx, owner.user).await?;
        check_account(&mut tx, owner).await?;
        self.check_room(&mut tx, owner.user, None).await?;
        sqlx::query(
            "INSERT INTO streams (id, user_id, stream_key, title, description, category, tags, \
                                  visibility, expires_at, key_token_iat) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + $9, to_timestamp($10))",
        )
        .bind(id.0)
        .bind(owner.user.0)
        .bind(key.expose())
        .bind(&metadata.title)
        .bind(&metadata.description)
        .bind(&metadata.category)
        .bind(&metadata.tags)
        .bind(metadata.visibility.name())
        .bind(interval(self.rules.key_ttl))
        .bind(owner.token_issued_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Changes what an owner tells about a stream; its running broadcast follows.
    pub async fn update_metadata(
        &self,
        id: StreamId,
        caller: &Caller,
        change: &MetadataChange,
    ) -> Result<(), Error> {
        let mut tx = self.pool.begin().await?;
        lock_for(&mut tx, id, caller).await?;
        sqlx::query(
            "UPDATE streams SET title = COALESCE($2, title), \
                 description = CASE WHEN $3 THEN $4 ELSE description END, \
                 category = CASE WHEN $5 THEN $6 ELSE category END, \
                 tags = COALESCE($7, tags), visibility = COALESCE($8, visibility), \
                 updated_at = now() \
             WHERE id = $1",
        )
        .bind(id.0)
        .bind(&change.title)
        .bind(change.description.is_some())
        .bind(change.description.clone().flatten())
        .bind(change.category.is_some())
        .bind(change.category.clone().flatten())
        .bind(&change.tags)
        .bind(
            change
                .visibility
                .map(super::super::metadata::Visibility::name),
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE broadcasts SET title = COALESCE($2, title), \
                                   visibility = COALESCE($3, visibility) \
             WHERE stream_id = $1 AND ended_at IS NULL",
        )
        .bind(id.0)
        .bind(&change.title)
        .bind(
            change
                .visibility
                .map(super::super::metadata::Visibility::name),
        )
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Deletes a stream and ends its broadcast. Past broadcasts stay: recordings refer to them.
    pub async fn delete_stream(
        &self,
        id: StreamId,
        caller: &Caller,
    ) -> Result<Option<Published>, Error> {
        let mut tx = self.pool.begin().await?;
        let stream = lock_for(&mut tx, id, caller).await?;
        let ended = self
            .end_running(&mut tx, &stream, DisconnectReason::Deleted, "deleted")
            .await?;
        sqlx::query("DELETE FROM streams WHERE id = $1")
            .bind(id.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Gives a stream a new key and a new life; the old key's publisher goes. After the owner's
    /// account was disabled only the owner does so, who has been enabled to sign in anew: nobody
    /// else tells when that is.
    pub async fn rotate_key(
        &self,
        id: StreamId,
        caller: &Caller,
    ) -> Result<Option<Published>, Error> {
        let key = StreamKey::generate().map_err(Error::Random)?;
        let mut tx = self.pool.begin().await?;
        let owner = find_owner(&mut tx, id).await?;
        lock_user(&mut tx, owner).await?;
        check_account(&mut tx, caller).await?;
        let stream = lock_for(&mut tx, id, caller).await?;
        let by_owner = caller.owns(owner);
        if stream.owner_disabled_at.is_some() && !by_owner {
            return Err(Error::OwnerDisabled);
        }
        if let Some(retry_after) = self.cooldown_left(&stream) {
            return Err(Error::KeyCooldown { retry_after });
        }
        let ended = self
            .end_running(
                &mut tx,
                &stream,
                DisconnectReason::KeyRotated,
                "key_rotated",
            )
            .await?;
        self.check_room(&mut tx, owner, Some(id)).await?;
        sqlx::query(
            "UPDATE streams SET stream_key = $2, status = 'active', key_rotated_at = $3, \
                 expires_at = $3 + $4, held_until = NULL, contended_until = NULL, \
                 takeovers = '{}', updated_at = $3, owner_disabled_at = NULL, \
                 key_token_iat = COALESCE(to_timestamp($5), key_token_iat) \
             WHERE id = $1",
        )
        .bind(id.0)
        .bind(key.expose())
        .bind(stream.now)
        .bind(interval(self.rules.key_ttl))
        // An admin's token says nothing of the owner's account.
        .bind(by_owner.then_some(caller.token_issued_at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends the running broadcast and holds the key for a while, so that an encoder that
    /// reconnects by itself does not undo it.
    pub async fn stop_stream(&self, id: StreamId, caller: &Caller) -> Result<Published, Error> {
        let mut tx = self.pool.begin().await?;
        let stream = lock_for(&mut tx, id, caller).await?;
        let ended = self
            .end_running(&mut tx, &stream, DisconnectReason::Stopped, "stopped")
            .await?
            .ok_or(Error::NotLive)?;
        sqlx::query("UPDATE streams SET held_until = $2 + $3 WHERE id = $1")
            .bind(id.0)
            .bind(stream.now)
            .bind(interval(self.rules.stop_hold))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Marks streams whose key's time is over, but those on the air. Returns how many.
    pub async fn expire_keys(&self) -> Result<u64, Error> {
        let mut tx = self.pool.begin().await?;
        let due: Vec<uuid::Uuid> = sqlx::query_scalar(
            "SELECT id FROM streams WHERE status = 'active' AND expires_at <= now() \
             ORDER BY expires_at LIMIT 500 FOR UPDATE SKIP LOCKED",
        )
        .fetch_all(&mut *tx)
        .await?;
        // A statement of its own sees broadcasts that were authorised before the rows were locked.
        let done = sqlx::query(
            "UPDATE streams s SET status = 'expired' WHERE s.id = ANY($1) AND NOT EXISTS ( \
                 SELECT FROM broadcasts b WHERE b.stream_id = s.id AND b.ended_at IS NULL)",
        )
        .bind(due)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }

    /// Ends what runs on a stream, if something does, for a `reason` and its `name` in the history.
    pub(super) async fn end_running(
        &self,
        tx: &mut PgConnection,
        stream: &LockedStream,
        reason: DisconnectReason,
        name: &str,
    ) -> Result<Option<Published>, Error> {
        let Some(running) = lock_running(tx, stream.id).await? else {
            return Ok(None);
        };
        end_broadcast(tx, Some(stream), &running, name, stream.now).await?;
        Ok(Some(Published {
            holder: Holder::of(&running),
            reason,
        }))
    }

    fn cooldown_left(&self, stream: &LockedStream) -> Option<Duration> {
        let since = Duration::try_from(stream.now - stream.key_rotated_at?).unwrap_or_default();
        self.rules
            .key_cooldown
            .checked_sub(since)
            .filter(|left| !left.is_zero())
    }

    /// Refuses when the user, who is locked before, has as many active streams as allowed, not
    /// counting `beside`.
    async fn check_room(
        &self,
        tx: &mut PgConnection,
        owner: UserId,
        beside: Option<StreamId>,
    ) -> Result<(), Error> {
        if self.rules.max_active_streams == 0 {
            return Ok(());
        }
        let active: Vec<uuid::Uuid> = sqlx::query_scalar(
            "SELECT s.id FROM streams s \
             WHERE s.user_id = $1 AND s.id IS DISTINCT FROM $2 AND s.status <> 'expired' \
               AND (s.expires_at > now() OR EXISTS ( \
                    SELECT FROM broadcasts b WHERE b.stream_id = s.id AND b.ended_at IS NULL)) \
             ORDER BY s.id DESC LIMIT $3",
        )
        .bind(owner.0)
        .bind(beside.map(|id| id.0))
        .bind(i64::from(self.rules.max_active_streams))
        .fetch_all(&mut *tx)
        .await?;
        match active.first() {
            Some(newest) if active.len() >= self.rules.max_active_streams as usize => {
                Err(Error::ActiveStreamExists {
                    stream_id: StreamId(*newest),
                })
            }
            _ => Ok(()),
        }
    }
}

/// Orders everything that counts a user's streams: two requests at once cannot both find room.
pub(super) async fn lock_user(tx: &mut PgConnection, user: UserId) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('marquee:user:' || $1, 0))")
        .bind(user.to_string())
        .execute(tx)
        .await?;
    Ok(())
}

async fn find_owner(tx: &mut PgConnection, id: StreamId) -> Result<UserId, Error> {
    sqlx::query_scalar("SELECT user_id FROM streams WHERE id = $1")
        .bind(id.0)
        .fetch_optional(tx)
        .await?
        .map(UserId)
        .ok_or(Error::NotFound)
}

/// The columns of a [`LockedStream`].
macro_rules! locked_columns {
    () => {
        "id, user_id, status, title, visibility, expires_at, key_rotated_at, \
         owner_disabled_at, held_until, contended_until, takeovers, clock_timestamp() AS now"
    };
}

/// Locks a stream's row, if there is one.
pub(super) async fn lock_stream(
    tx: &mut PgConnection,
    id: StreamId,
) -> Result<Option<LockedStream>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        locked_columns!(),
        " FROM streams WHERE id = $1 FOR UPDATE"
    );
    Ok(sqlx::query_as(SQL).bind(id.0).fetch_optional(tx).await?)
}

/// Locks the row of the stream a key opens, or opened.
pub(super) async fn lock_stream_by_key(
    tx: &mut PgConnection,
    key: &StreamKey,
) -> Result<Option<LockedStream>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        locked_columns!(),
        " FROM streams WHERE stream_key = $1 FOR UPDATE"
    );
    Ok(sqlx::query_as(SQL)
        .bind(key.expose())
        .fetch_optional(tx)
        .await?)
}

/// Locks a stream's row unless somebody holds it just now: for the sweeper, which comes again.
pub(super) async fn lock_stream_if_free(
    tx: &mut PgConnection,
    id: StreamId,
) -> Result<Option<LockedStream>, Error> {
    const SQL: &str = concat!(
        "SELECT ",
        locked_columns!(),
        " FROM streams WHERE id = $1 FOR UPDATE SKIP LOCKED"
    );
    Ok(sqlx::query_as(SQL).bind(id.0).fetch_optional(tx).await?)
}

async fn lock_for(
    tx: &mut PgConnection,
    id: StreamId,
    caller: &Caller,
) -> Result<LockedStream, Error> {
    let stream = lock_stream(tx, id).await?.ok_or(Error::NotFound)?;
    caller.may_change(stream.user_id, stream.visibility)?;
    Ok(stream)
}

/// Whether the key's time was over at `now`.
pub(super) fn key_expired(stream: &LockedStream, now: OffsetDateTime) -> bool {
    stream.expires_at <= now
}
