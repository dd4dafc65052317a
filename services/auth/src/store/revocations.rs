//! Queries about ended sessions that Redis is to be told of.

use std::time::Duration;

use marquee_common::contract::SessionId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Store;

/// Writes down that a session was ended, in the transaction that ends it.
pub(super) async fn insert_revocation(
    connection: &mut PgConnection,
    session_id: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO revocations (session_id) VALUES ($1) ON CONFLICT DO NOTHING")
        .bind(session_id)
        .execute(connection)
        .await
        .map(drop)
}

impl Store {
    /// Sessions ended within `lifetime` that Redis has not been told of, oldest first.
    pub async fn list_revocations(
        &self,
        lifetime: Duration,
        limit: usize,
    ) -> Result<Vec<SessionId>, sqlx::Error> {
        let ids: Vec<Uuid> = sqlx::query_scalar(
            "SELECT session_id FROM revocations \
             WHERE ended_at > now() - make_interval(secs => $1) ORDER BY ended_at LIMIT $2",
        )
        .bind(lifetime.as_secs_f64())
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(SessionId::from).collect())
    }

    /// Forgets sessions that Redis has been told of.
    pub async fn delete_revocations(&self, sessions: &[SessionId]) -> Result<(), sqlx::Error> {
        let ids: Vec<Uuid> = sessions.iter().copied().map(Uuid::from).collect();
        sqlx::query("DELETE FROM revocations WHERE session_id = ANY($1)")
            .bind(ids)
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// Forgets sessions that were ended longer than `lifetime` ago. Returns the number of rows.
    pub async fn delete_stale_revocations(&self, lifetime: Duration) -> Result<u64, sqlx::Error> {
        let done = sqlx::query(
            "DELETE FROM revocations WHERE ended_at < now() - make_interval(secs => $1)",
        )
        .bind(lifetime.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}
