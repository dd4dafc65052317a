//! What those who follow streams' events are told, for many streams at once.

use marquee_common::contract::{StreamId, UserId, ingest::HealthData};
use sqlx::{FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{HealthSample, Store, rows::shown_status};
use crate::{error::Error, lifecycle::StreamStatus, metadata::Visibility};

/// A stream as its followers see it.
#[derive(Clone, Debug, FromRow)]
pub struct FollowedRow {
    /// Its id.
    #[sqlx(try_from = "Uuid")]
    pub id: StreamId,
    /// Its owner.
    #[sqlx(try_from = "Uuid")]
    pub user_id: UserId,
    /// Who finds it.
    #[sqlx(try_from = "String")]
    pub visibility: Visibility,
    /// Its title.
    pub title: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub status: StreamStatus,
    /// When the running broadcast went live.
    pub started_at: Option<OffsetDateTime>,
    /// The running broadcast's rungs.
    pub available_qualities: Vec<String>,
    health_at: Option<OffsetDateTime>,
    health: Option<Json<HealthData>>,
}

impl FollowedRow {
    /// The running broadcast's newest sample.
    pub fn health(&self) -> Option<HealthSample> {
        Some(HealthSample {
            at: self.health_at?,
            data: self.health.clone()?,
        })
    }
}

impl Store {
    /// The streams of `ids` that exist, in any order.
    pub async fn list_followed(&self, ids: &[StreamId]) -> Result<Vec<FollowedRow>, Error> {
        const SQL: &str = concat!(
            "SELECT s.id, s.user_id, s.visibility, s.title, ",
            shown_status!(),
            ", s.started_at, s.available_qualities, h.at AS health_at, h.data AS health \
             FROM streams s \
             LEFT JOIN broadcasts b ON b.stream_id = s.id AND b.ended_at IS NULL \
             LEFT JOIN LATERAL ( \
                 SELECT e.at, e.data FROM broadcast_events e \
                 WHERE e.stream_id = s.id AND e.type = 'health' AND e.broadcast_id = b.id \
                 ORDER BY e.epoch DESC, e.seq DESC LIMIT 1) h ON true \
             WHERE s.id = ANY($1)"
        );
        let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
        Ok(sqlx::query_as(SQL).bind(ids).fetch_all(&self.pool).await?)
    }
}
