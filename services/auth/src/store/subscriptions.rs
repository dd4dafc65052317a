//! Queries about subscriptions.

use marquee_common::contract::UserId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
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

    /// Grants a subscription, in place of the one the user may have.
    pub async fn upsert_subscription(
        &self,
        user_id: UserId,
        plan: &str,
        expires_at: Option<OffsetDateTime>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO subscriptions (user_id, plan, expires_at) VALUES ($1, $2, $3) \
             ON CONFLICT (user_id) DO UPDATE \
             SET plan = EXCLUDED.plan, expires_at = EXCLUDED.expires_at, started_at = now()",
        )
        .bind(Uuid::from(user_id))
        .bind(plan)
        .bind(expires_at)
        .execute(&self.pool)
        .await
        .map(drop)
    }
}
