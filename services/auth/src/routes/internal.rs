//! What other services ask; never reachable through the gateway.

use axum::extract::State;
use marquee_common::{auth::Internal, contract::UserId, extract::Path};
use serde::Serialize;

use super::problems::{NotFound, NotInternal, Unavailable};
use crate::{app::AppState, error::AuthError, user::Subscription};

/// A user's subscription.
#[derive(Serialize, utoipa::ToSchema)]
pub struct UserSubscription {
    /// Whose it is.
    pub user_id: UserId,
    /// The subscription.
    #[serde(flatten)]
    pub subscription: Subscription,
}

/// Has this user paid?
#[utoipa::path(
    get,
    path = "/internal/users/{id}/subscription",
    tag = "internal",
    security(("internal" = [])),
    params(("id" = UserId, Path, description = "The user")),
    responses(
        (status = 200, description = "The subscription; inactive and without a plan if there never was one", body = UserSubscription),
        NotInternal,
        NotFound,
        Unavailable,
    ),
)]
pub async fn subscription(
    _: Internal,
    State(state): State<AppState>,
    Path(user_id): Path<UserId>,
) -> Result<axum::Json<UserSubscription>, AuthError> {
    let subscription = state.store.find_subscription(user_id).await?;
    let subscription = subscription.ok_or(AuthError::NoSuchUser)?;
    Ok(axum::Json(UserSubscription {
        user_id,
        subscription,
    }))
}
