//! Queries about subscriptions.

use marquee_common::contract::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Store, events};
use crate::user::Subscription;

impl Store {
    /// The user's subscription as it stands now; `None` if there is no such user.
    pub async fn find_subscription(
        &self,
        user_id: UserId,
    ) -> Result<Option<Subscription>, sqlx::Error> {
        let row: Option<(OffsetDateTime, Option<String>, Option<OffsetDateTime>)> = sqlx::query_as(
            "SELECT now(), s.plan, s.expires_at \
             FROM users u LEFT JOIN subscriptions s ON s.user_id = u.id WHERE u.id = $1",
        )
        .bind(Uuid::from(user_id))
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(now, plan, expires_at)| match plan {
            Some(plan) => Subscription::at(now, plan, expires_at),
            None => Subscription::NONE,
        }))
    }

    /// Grants a subscription, in place of the one the user may have; `None` if there is no such
    /// user.
    pub async fn upsert_subscription(
        &self,
        user_id: UserId,
        plan: &str,
        expires_at: Option<OffsetDateTime>,
    ) -> Result<Option<Subscription>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let row: Option<(OffsetDateTime, String, Option<OffsetDateTime>)> = sqlx::query_as(
            "WITH holder AS (SELECT id FROM users WHERE id = $1 FOR KEY SHARE) \
             INSERT INTO subscriptions (user_id, plan, expires_at) \
             SELECT id, $2, $3 FROM holder \
             ON CONFLICT (user_id) DO UPDATE \
             SET plan = EXCLUDED.plan, expires_at = EXCLUDED.expires_at, started_at = now() \
             RETURNING now(), plan, expires_at",
        )
        .bind(Uuid::from(user_id))
        .bind(plan)
        .bind(expires_at)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((now, plan, expires_at)) = row else {
            return Ok(None);
        };
        let subscription = Subscription::at(now, plan, expires_at);
        events::subscription_changed(&mut tx, user_id, &subscription).await?;
        tx.commit().await?;
        Ok(Some(subscription))
    }

    /// Revokes the user's subscription; false if there was none.
    pub async fn delete_subscription(&self, user_id: UserId) -> Result<bool, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let done = sqlx::query("DELETE FROM subscriptions WHERE user_id = $1")
            .bind(Uuid::from(user_id))
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        events::subscription_changed(&mut tx, user_id, &Subscription::NONE).await?;
        tx.commit().await?;
        Ok(true)
    }
}
