//! The access token's claims, written by auth and read by every service.

use serde::{Deserialize, Serialize};

use super::{SessionId, UserId};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Owns streams and videos.
    User,
    /// Runs the platform.
    Admin,
}

/// Claims of an access token (HS256, `kid` in the header; API.md, section auth).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessClaims {
    /// The user.
    pub sub: UserId,
    /// The user's name when the token was issued.
    pub username: String,
    /// The user's role when the token was issued.
    pub role: Role,
    /// The session, by which tokens are revoked.
    pub sid: SessionId,
    /// Always [`AccessClaims::AUDIENCE`].
    pub aud: String,
    /// Issued at, Unix seconds.
    pub iat: i64,
    /// Expires at, Unix seconds.
    pub exp: i64,
    /// This token's own id.
    pub jti: String,
}

impl AccessClaims {
    /// The only accepted `aud`.
    pub const AUDIENCE: &str = "marquee";
}
