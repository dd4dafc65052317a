//! Subscriptions, granted and revoked by admins.

use axum::extract::State;
use http::StatusCode;
use marquee_common::{
    auth::Admin,
    contract::UserId,
    extract::{Json, Path},
};
use serde::Deserialize;
use time::OffsetDateTime;

use crate::{
    app::AppState,
    error::AuthError,
    routes::{
        internal::UserSubscription,
        problems::{AdminMayNotWrite, BadBody, NotFound, Unavailable},
        registration::note,
    },
    subscription::{check_expiry, check_plan},
};

/// A subscription to grant.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Grant {
    /// 1 to 64 characters in one line.
    #[schema(min_length = 1, max_length = 64)]
    plan: String,
    /// When it ends, in the future; it does not end by itself if this is left out or `null`.
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

/// Grant a subscription, in place of the one there may be.
#[utoipa::path(
    put,
    path = "/api/auth/users/{id}/subscription",
    tag = "admin",
    security(("bearer" = []), ("cookie" = [])),
    params(("id" = UserId, Path, description = "The user")),
    request_body = Grant,
    responses(
        (status = 200, description = "The subscription", body = UserSubscription),
        BadBody,
        AdminMayNotWrite,
        NotFound,
        Unavailable,
    ),
)]
pub async fn grant(
    State(state): State<AppState>,
    Admin(claims): Admin,
    Path(user_id): Path<UserId>,
    Json(grant): Json<Grant>,
) -> Result<axum::Json<UserSubscription>, AuthError> {
    let mut faults = Vec::new();
    let plan = note(&mut faults, "plan", check_plan(&grant.plan));
    let now = OffsetDateTime::now_utc();
    let expiry = check_expiry(grant.expires_at, now);
    let expires_at = note(&mut faults, "expires_at", expiry);
    let (Some(plan), Some(expires_at)) = (plan, expires_at) else {
        return Err(AuthError::Invalid(faults));
    };
    let granted = state
        .store
        .upsert_subscription(user_id, plan, expires_at)
        .await?;
    let subscription = granted.ok_or(AuthError::NoSuchUser)?;
    tracing::info!(%user_id, admin_id = %claims.sub, plan, "a subscription was granted");
    Ok(axum::Json(UserSubscription {
        user_id,
        subscription,
    }))
}

/// Revoke a subscription; a user without one is as well.
#[utoipa::path(
    delete,
    path = "/api/auth/users/{id}/subscription",
    tag = "admin",
    security(("bearer" = []), ("cookie" = [])),
    params(("id" = UserId, Path, description = "The user")),
    responses(
        (status = 204, description = "The user has no subscription"),
        AdminMayNotWrite,
        NotFound,
        Unavailable,
    ),
)]
pub async fn revoke(
    State(state): State<AppState>,
    Admin(claims): Admin,
    Path(user_id): Path<UserId>,
) -> Result<StatusCode, AuthError> {
    if state.store.delete_subscription(user_id).await? {
        tracing::info!(%user_id, admin_id = %claims.sub, "a subscription was revoked");
    } else if state.store.find_account(user_id).await?.is_none() {
        return Err(AuthError::NoSuchUser);
    }
    Ok(StatusCode::NO_CONTENT)
}
