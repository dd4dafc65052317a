//! The signed-in user's own account.

pub mod password;
pub mod sessions;

use axum::{extract::State, response::Response};
use marquee_common::{
    auth,
    contract::{AccessClaims, Problem, Role, SessionId},
    extract::{Json, OptionalJson},
};
use serde::{Deserialize, Deserializer};

use super::{
    client::Client,
    problems::{BadBody, MayNotWrite, MayNotWriteWithPassword, NotSignedIn, Unavailable},
    proof::{Prover, prove},
    registration::note,
    sessions::signed_out,
};
use crate::{
    app::AppState,
    credentials::Complaint,
    error::AuthError,
    lockout::Place,
    profile::{self, Edit},
    store::ProfileChange,
    user::{Account, Subscription, User},
};

/// The signed-in user.
#[utoipa::path(
    get,
    path = "/api/auth/me",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The account", body = User),
        NotSignedIn,
        Unavailable,
    ),
)]
pub async fn show(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
) -> Result<axum::Json<User>, AuthError> {
    let account = own_account(&state, &claims).await?;
    Ok(axum::Json(account.user))
}

/// The account of an access token.
async fn own_account(state: &AppState, claims: &AccessClaims) -> Result<Account, AuthError> {
    let account = state.store.find_account(claims.sub).await?;
    account
        .filter(|account| !account.disabled)
        .ok_or(AuthError::AccountGone)
}

/// What to change; a field left out stays, `null` empties it.
#[derive(Default, Deserialize, utoipa::ToSchema)]
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
    request_body(content = Option<ProfileUpdate>),
    responses(
        (status = 200, description = "The account as it is now", body = User),
        BadBody,
        MayNotWrite,
        Unavailable,
    ),
)]
pub async fn update(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
    OptionalJson(update): OptionalJson<ProfileUpdate>,
) -> Result<axum::Json<User>, AuthError> {
    let change = update.check()?;
    let user = state.store.update_profile(claims.sub, change).await?;
    user.map(axum::Json).ok_or(AuthError::AccountGone)
}

/// What proves that it is the user who asks.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Deletion {
    /// The account's password.
    #[schema(format = Password)]
    password: String,
}

/// Delete the account for good: streams, recordings and videos go too. An admin's role is taken by
/// another admin first.
#[utoipa::path(
    delete,
    path = "/api/auth/me",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    request_body = Deletion,
    responses(
        (status = 204, description = "Gone; all sessions are over, both cookies are cleared"),
        (status = 409, description = "`own_account`: an admin does not close their own account, so that an admin is left", body = Problem, content_type = "application/problem+json"),
        BadBody,
        MayNotWriteWithPassword,
        Unavailable,
    ),
)]
pub async fn remove(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
    client: Client,
    Json(deletion): Json<Deletion>,
) -> Result<Response, AuthError> {
    let account = own_account(&state, &claims).await?;
    if account.user.role == Role::Admin {
        return Err(AuthError::OwnAccount);
    }
    prove_own(&state, &account, deletion.password, (claims.sid, &client)).await?;
    let hash = Some(account.password_hash.as_str());
    let ended = state.store.delete_account(claims.sub, hash).await?;
    let ended = ended.ok_or(AuthError::WrongPassword)?;
    state.revocations.announce(&ended).await;
    tracing::info!(user_id = %claims.sub, "an account was deleted by its user");
    Ok(signed_out(&state))
}

/// Has a signed-in user prove to know the password, as whoever has found their browser may not. What
/// is wrong is counted for the session, wherever it moves, and strangers' guesses are not its own.
async fn prove_own(
    state: &AppState,
    account: &Account,
    password: String,
    (session, client): (SessionId, &Client),
) -> Result<(), AuthError> {
    let prover = Prover {
        login: &account.user.username,
        account: Some(account),
        address: client.address,
        own_place: Some(Place::Session(session)),
    };
    let proof = prove(state, prover, password).await?;
    proof.map(drop).ok_or(AuthError::WrongPassword)
}

/// The signed-in user's subscription.
#[utoipa::path(
    get,
    path = "/api/auth/me/subscription",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The subscription; inactive and without a plan if there never was one", body = Subscription),
        NotSignedIn,
        Unavailable,
    ),
)]
pub async fn subscription(
    State(state): State<AppState>,
    auth::User(claims): auth::User,
) -> Result<axum::Json<Subscription>, AuthError> {
    let subscription = state.store.find_subscription(claims.sub).await?;
    subscription.map(axum::Json).ok_or(AuthError::AccountGone)
}
