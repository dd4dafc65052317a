//! The signed-in user's password.

use axum::extract::State;
use http::StatusCode;
use marquee_common::{auth::User, extract::Json};
use serde::Deserialize;

use super::{own_account, prove_own};
use crate::{
    app::AppState,
    credentials::Password,
    error::AuthError,
    lockout::Network,
    routes::{
        client::Client,
        problems::{BadBody, MayNotWriteWithPassword, Unavailable},
        registration::note,
    },
};

/// A password in place of another.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct PasswordChange {
    /// The one so far.
    #[schema(format = Password)]
    current_password: String,
    /// The one from now on: 8 characters to 72 bytes.
    #[schema(min_length = 8, max_length = 72, format = Password)]
    new_password: String,
}

/// Change the password. All other sessions end; the one that asks goes on.
#[utoipa::path(
    put,
    path = "/api/auth/me/password",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    request_body = PasswordChange,
    responses(
        (status = 204, description = "Changed; all other sessions are over"),
        BadBody,
        MayNotWriteWithPassword,
        Unavailable,
    ),
)]
pub async fn change(
    State(state): State<AppState>,
    User(claims): User,
    client: Client,
    Json(change): Json<PasswordChange>,
) -> Result<StatusCode, AuthError> {
    let mut faults = Vec::new();
    let parsed = Password::parse_new(change.new_password);
    let Some(new) = note(&mut faults, "new_password", parsed) else {
        return Err(AuthError::Invalid(faults));
    };
    let account = own_account(&state, &claims).await?;
    let asker = (claims.sid, &client);
    prove_own(&state, &account, change.current_password, asker).await?;
    let network = Network::of(client.address);
    let hash = state.passwords.hash(new, &network).await?;
    let ended = state
        .store
        .change_password(claims.sub, &account.password_hash, &hash, claims.sid)
        .await?
        // Changed by another request while this one compared.
        .ok_or(AuthError::WrongPassword)?;
    state.revocations.announce(&ended).await;
    // What was guessed at is no more.
    state.store.delete_failed_sign_ins(&account.user).await?;
    Ok(StatusCode::NO_CONTENT)
}
