//! The signed-in user's own account.

use axum::extract::State;
use marquee_common::{auth, contract::Problem, extract::Json};
use serde::{Deserialize, Deserializer};

use super::registration::note;
use crate::{
    app::AppState,
    credentials::Complaint,
    error::AuthError,
    profile::{self, Edit},
    store::ProfileChange,
    user::{Subscription, User},
};

/// The signed-in user.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The account", body = User),
        (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The service cannot answer now", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn show(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
) -> Result<axum::Json<User>, AuthError> {
    let account = state.store.find_account(claims.sub).await?;
    match account {
        Some(account) if !account.disabled => Ok(axum::Json(account.user)),
        _ => Err(AuthError::AccountGone),
    }
}

/// What to change; a field left out stays, `null` empties it.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct ProfileUpdate {
    /// 1 to 64 characters in one line.
    #[serde(default, deserialize_with = "edit")]
    #[schema(value_type = Option<String>, max_length = 64)]
    display_name: Edit,
    /// At most 500 characters.
    #[serde(default, deserialize_with = "edit")]
    #[schema(value_type = Option<String>, max_length = 500)]
    bio: Edit,
}

// Called only for a field that is there, so that null is told from absence.
fn edit<'de, D: Deserializer<'de>>(field: D) -> Result<Edit, D::Error> {
    let value = Option::deserialize(field)?;
    Ok(value.map_or(Edit::Clear, Edit::Set))
}

impl ProfileUpdate {
    fn check(self) -> Result<ProfileChange, AuthError> {
        let mut faults = Vec::new();
        let mut check = |field, edit, rule: fn(&str) -> Result<String, Complaint>| match edit {
            Edit::Set(value) => {
                note(&mut faults, field, rule(&value)).map_or(Edit::Keep, Edit::Set)
            }
            unset => unset,
        };
        let change = ProfileChange {
            display_name: check("display_name", self.display_name, profile::display_name),
            bio: check("bio", self.bio, profile::bio),
        };
        if faults.is_empty() {
            Ok(change)
        } else {
            Err(AuthError::Invalid(faults))
        }
    }
}

/// Change the profile.
#[utoipa::path(
    patch,
    path = "/api/auth/me",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    request_body = ProfileUpdate,
    responses(
        (status = 200, description = "The account as it is now", body = User),
        (status = 400, description = "Not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`csrf_failed`: by cookie, and from a page that is not listed", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not declared as JSON", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields are at fault", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The service cannot answer now", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn update(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
    Json(update): Json<ProfileUpdate>,
) -> Result<axum::Json<User>, AuthError> {
    let change = update.check()?;
    let user = state.store.update_profile(claims.sub, change).await?;
    user.map(axum::Json).ok_or(AuthError::AccountGone)
}

/// The signed-in user's subscription.
#[utoipa::path(
    get,
    path = "/api/auth/me/subscription",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The subscription; inactive and without a plan if there never was one", body = Subscription),
        (status = 401, description = "Not signed in", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The service cannot answer now", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn subscription(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
) -> Result<axum::Json<Subscription>, AuthError> {
    let subscription = state.store.find_subscription(claims.sub).await?;
    subscription.map(axum::Json).ok_or(AuthError::AccountGone)
}
