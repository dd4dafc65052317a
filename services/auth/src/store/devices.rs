//! Queries about devices.

use marquee_common::contract::UserId;
use uuid::Uuid;

use super::Store;
use crate::{
    device::{LIFETIME, MOST},
    refresh_token::TokenHash,
};

impl Store {
    /// Whether the user has signed in from this device; nobody has.
    pub async fn knows_device(
        &self,
        user_id: Option<UserId>,
        token: &TokenHash,
    ) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "SELECT EXISTS ( \
               SELECT FROM devices WHERE token_hash = $1 AND user_id = $2 \
                 AND last_used_at > now() - make_interval(secs => $3) \
             )",
        )
        .bind(token.as_slice())
        .bind(user_id.map(Uuid::from))
        .bind(LIFETIME.as_seconds_f64())
        .fetch_one(&self.pool)
        .await
    }

    /// Remembers a device from which the user has signed in, in place of the oldest if there are
    /// many.
    pub async fn upsert_device(
        &self,
        user_id: UserId,
        token: &TokenHash,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "WITH surplus AS ( \
               DELETE FROM devices WHERE token_hash IN ( \
                 SELECT token_hash FROM devices WHERE user_id = $2 AND token_hash <> $1 \
                 ORDER BY last_used_at DESC OFFSET $3 \
               ) \
             ) INSERT INTO devices (token_hash, user_id) \
             SELECT $1, id FROM users WHERE id = $2 \
             ON CONFLICT (token_hash) DO UPDATE SET last_used_at = now() \
             WHERE devices.user_id = EXCLUDED.user_id",
        )
        .bind(token.as_slice())
        .bind(Uuid::from(user_id))
        .bind(i64::from(MOST) - 1)
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Forgets devices that were not used for long. Returns the number of rows.
    pub async fn delete_unused_devices(&self) -> Result<u64, sqlx::Error> {
        let done = sqlx::query(
            "DELETE FROM devices WHERE last_used_at < now() - make_interval(secs => $1)",
        )
        .bind(LIFETIME.as_seconds_f64())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
