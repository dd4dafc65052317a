//! Other people's accounts, for admins.

pub mod subscription;

use axum::extract::State;
use marquee_common::{
    auth::Admin,
    contract::{FieldError, Page, PageQuery, Problem, Role, UserId},
    extract::{OptionalJson, Path, Query},
};
use serde::Deserialize;

use super::{
    page,
    problems::{AdminMayNotWrite, BadBody, BadQuery, NotAdmin, NotFound, Unavailable},
};
use crate::{
    app::AppState,
    error::AuthError,
    store::{AccountChange, AccountQuery},
    user::ManagedUser,
};

/// Longest search, in characters.
const SEARCH_MAX: usize = 254;

/// Which accounts to list.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// Those whose username, e-mail address or display name contains this, in any case; at most 254
    /// characters.
    #[serde(default)]
    #[param(max_length = 254)]
    q: Option<String>,
    /// Rows wanted, 1 to 100 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl UserQuery {
    fn search(&self) -> Result<Option<String>, AuthError> {
        let Some(text) = self.q.as_deref().map(str::trim) else {
            return Ok(None);
        };
        // Postgres has no NUL in text.
        if text.chars().count() > SEARCH_MAX || text.contains('\0') {
            return Err(AuthError::Invalid(vec![FieldError {
                field: "q".to_owned(),
                message: "must be at most 254 characters long and hold no NUL".to_owned(),
            }]));
        }
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }
}

/// All accounts, newest first.
#[utoipa::path(
    get,
    path = "/api/auth/users",
    tag = "admin",
    security(("bearer" = []), ("cookie" = [])),
    params(UserQuery),
    responses(
        (status = 200, description = "Accounts", body = Page<ManagedUser>),
        BadQuery,
        NotAdmin,
        Unavailable,
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<UserQuery>,
) -> Result<axum::Json<Page<ManagedUser>>, AuthError> {
    let search = query.search()?;
    let page = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    let limit = page.limit();
    let accounts = AccountQuery {
        search,
        before: page::position(page.cursor.as_deref())?,
        limit: page::fetched(limit),
    };
    let users = state.store.list_accounts(&accounts).await?;
    Ok(axum::Json(page::cut(users, limit, |user| user.user.id)))
}

/// What to change about an account; a field left out stays.
#[derive(Default, Deserialize, utoipa::ToSchema)]
pub struct UserUpdate {
    /// What it may do.
    #[serde(default)]
    role: Option<Role>,
    /// Whether it is closed: its sessions and its broadcast end, and nobody signs in to it.
    #[serde(default)]
    disabled: Option<bool>,
}

/// Change an account's role, close it or open it again.
///
/// Sessions end with closing and with the loss of the admin role. Nobody does this to themself, so
/// that an admin is left.
#[utoipa::path(
    patch,
    path = "/api/auth/users/{id}",
    tag = "admin",
    security(("bearer" = []), ("cookie" = [])),
    params(("id" = UserId, Path, description = "The user")),
    request_body(content = Option<UserUpdate>),
    responses(
        (status = 200, description = "The account as it is now", body = ManagedUser),
        (status = 409, description = "`own_account`", body = Problem, content_type = "application/problem+json"),
        BadBody,
        AdminMayNotWrite,
        NotFound,
        Unavailable,
    ),
)]
pub async fn update(
    State(state): State<AppState>,
    Admin(claims): Admin,
    Path(id): Path<UserId>,
    OptionalJson(update): OptionalJson<UserUpdate>,
) -> Result<axum::Json<ManagedUser>, AuthError> {
    if id == claims.sub && (update.role == Some(Role::User) || update.disabled == Some(true)) {
        return Err(AuthError::OwnAccount);
    }
    let change = AccountChange {
        role: update.role,
        disabled: update.disabled,
    };
    let changed = state.store.update_account(id, change).await?;
    let changed = changed.ok_or(AuthError::NoSuchUser)?;
    state.revocations.announce(&changed.ended).await;
    tracing::info!(user_id = %id, admin_id = %claims.sub, ?change, "an account was changed");
    let user = state.store.find_managed_user(id).await?;
    user.map(axum::Json).ok_or(AuthError::NoSuchUser)
}
