//! Making an account.

use axum::{extract::State, response::Response};
use http::StatusCode;
use marquee_common::{
    contract::{FieldError, Problem, Role},
    extract::Json,
};
use serde::Deserialize;

use super::{
    client::Client,
    device,
    problems::{BadBody, Unavailable},
    signed_in::{self, SignedIn},
};
use crate::{
    app::AppState,
    credentials::{Complaint, Email, Password, Username},
    error::AuthError,
    lockout::Network,
    store::NewAccount,
};

/// An account to make.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Registration {
    /// 3 to 32 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit; unique in any case.
    #[schema(
        min_length = 3,
        max_length = 32,
        pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{2,31}$"
    )]
    username: String,
    /// Unique in any case.
    #[schema(max_length = 254, format = Email)]
    email: String,
    /// 8 characters to 72 bytes.
    #[schema(min_length = 8, max_length = 72, format = Password)]
    password: String,
}

struct CheckedRegistration {
    username: Username,
    email: Email,
    password: Password,
}

impl Registration {
    // All fields are judged, so that a form can mark all faults at once.
    fn check(self) -> Result<CheckedRegistration, AuthError> {
        let mut faults = Vec::new();
        let username = note(&mut faults, "username", Username::parse(&self.username));
        let email = note(&mut faults, "email", Email::parse(&self.email));
        let password = note(&mut faults, "password", Password::parse_new(self.password));
        match (username, email, password) {
            (Some(username), Some(email), Some(password)) => Ok(CheckedRegistration {
                username,
                email,
                password,
            }),
            _ => Err(AuthError::Invalid(faults)),
        }
    }
}

pub(super) fn note<T>(
    faults: &mut Vec<FieldError>,
    field: &str,
    checked: Result<T, Complaint>,
) -> Option<T> {
    checked
        .map_err(|complaint| {
            faults.push(FieldError {
                field: field.to_owned(),
                message: complaint.to_owned(),
            });
        })
        .ok()
}

/// Make an account and sign in to it.
#[utoipa::path(
    post,
    path = "/api/auth/register",
    tag = "auth",
    request_body = Registration,
    responses(
        (status = 201, description = "The account, signed in; both cookies are set", body = SignedIn),
        (status = 409, description = "`username_taken` or `email_taken`", body = Problem, content_type = "application/problem+json"),
        BadBody,
        Unavailable,
    ),
)]
pub async fn register(
    State(state): State<AppState>,
    client: Client,
    Json(registration): Json<Registration>,
) -> Result<Response, AuthError> {
    let registration = registration.check()?;
    let network = Network::of(client.address);
    let password_hash = state
        .passwords
        .hash(registration.password, &network)
        .await?;
    let user = state
        .store
        .insert_account(NewAccount {
            username: &registration.username,
            email: &registration.email,
            password_hash: &password_hash,
            role: Role::User,
        })
        .await?;
    let created = StatusCode::CREATED;
    let answer = signed_in::open_session(&state, created, user.id, &password_hash, &client)
        .await?
        .ok_or(AuthError::InvalidCredentials)?;
    device::remember(&state, user.id, None, answer).await
}
