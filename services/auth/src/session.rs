//! A session as its owner sees it.

use marquee_common::contract::SessionId;
use serde::Serialize;
use time::OffsetDateTime;

/// One sign-in that is not over.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Session {
    /// Its id, the `sid` of its access tokens.
    pub id: SessionId,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// The address it was begun from.
    pub address: Option<String>,
    /// When it was begun.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it last got new tokens.
    #[serde(with = "time::serde::rfc3339")]
    pub last_used_at: OffsetDateTime,
    /// When it ends unless it gets new ones.
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
}
