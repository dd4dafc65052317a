//! Everything that can go wrong in a request, and the problem the client gets for it; and what can
//! go wrong after one.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use marquee_common::{contract::FieldError, error::ApiError, postgres};

use crate::{password::PasswordError, refresh_token::RandomnessError, store::InsertAccountError};

/// When to come back if too many are signing in.
const BUSY_RETRY: Duration = Duration::from_secs(5);

/// What can go wrong in a request.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Unknown user, wrong password or disabled account: which of them is nobody's business.
    #[error("wrong login or password")]
    InvalidCredentials,
    /// A signed-in user who did not prove to know the password.
    #[error("wrong password")]
    WrongPassword,
    /// The password was wrong too often; not to be tried for this long.
    #[error("locked out")]
    Locked(Duration),
    /// The account of a valid access token is gone or disabled.
    #[error("the account is gone or disabled")]
    AccountGone,
    /// Unknown, expired or revoked refresh token.
    #[error("the refresh token is not valid")]
    RefreshTokenInvalid,
    /// A refresh token that was exchanged before; its session is now over.
    #[error("the refresh token was used before")]
    RefreshTokenReused,
    /// A refresh token, or its session, was exchanged too often; not again for this long.
    #[error("too many refreshes")]
    TooManyRefreshes(Duration),
    /// No user of that id.
    #[error("no such user")]
    NoSuchUser,
    /// The user has no such session, or it is over.
    #[error("no such session")]
    NoSuchSession,
    /// An admin about to lose their own powers.
    #[error("an admin's own account")]
    OwnAccount,
    /// Fields or parameters are at fault.
    #[error("fields are at fault")]
    Invalid(Vec<FieldError>),
    /// The account could not be made.
    #[error(transparent)]
    InsertAccount(#[from] InsertAccountError),
    /// The password could not be hashed or compared.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// No random bytes for a token.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// What the common crate has already made a problem of.
    #[error("refused")]
    Api(ApiError),
}

/// Why ended sessions were not announced.
#[derive(Debug, thiserror::Error)]
pub enum RevocationError {
    /// Redis is away, or takes nothing.
    #[error("Redis cannot be told of ended sessions")]
    Redis(#[from] redis::RedisError),
    /// They are announced, and will be once more.
    #[error("auth_db cannot tell which ended sessions are to be announced")]
    Database(#[from] sqlx::Error),
}

impl From<ApiError> for AuthError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let unauthorized = |code, detail| ApiError::new(StatusCode::UNAUTHORIZED, code, detail);
        match error {
            AuthError::InvalidCredentials => {
                unauthorized("invalid_credentials", "The login or the password is wrong.")
            }
            AuthError::WrongPassword => ApiError::new(
                StatusCode::FORBIDDEN,
                "wrong_password",
                "The password is wrong.",
            ),
            AuthError::Locked(wait) => ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "locked",
                "The password was wrong too often. Wait as long as `Retry-After` says, then try \
                 again.",
            )
            .retry_after(wait),
            AuthError::AccountGone => ApiError::unauthenticated(),
            AuthError::RefreshTokenInvalid => unauthorized(
                "refresh_token_invalid",
                "The refresh token is unknown, expired or revoked. Sign in again.",
            ),
            AuthError::RefreshTokenReused => unauthorized(
                "refresh_token_reused",
                "The refresh token was used before, so its session has been ended. Sign in again.",
            ),
            AuthError::TooManyRefreshes(wait) => ApiError::rate_limited(
                wait,
                "Too many refreshes with this token or of this session. Use the newest token.",
            ),
            AuthError::NoSuchUser | AuthError::NoSuchSession => ApiError::not_found(),
            AuthError::OwnAccount => ApiError::conflict(
                "own_account",
                "An admin cannot close their own account or give up their own role. Have another \
                 admin take the role first.",
            ),
            AuthError::Invalid(fields) => ApiError::validation(fields),
            AuthError::InsertAccount(InsertAccountError::UsernameTaken) => {
                ApiError::conflict("username_taken", "This username is taken. Choose another.")
            }
            AuthError::InsertAccount(InsertAccountError::EmailTaken) => ApiError::conflict(
                "email_taken",
                "There is an account with this e-mail address. Sign in to it.",
            ),
            AuthError::InsertAccount(InsertAccountError::Database(error))
            | AuthError::Database(error) => database_problem(error),
            AuthError::Password(error @ PasswordError::Busy) => {
                ApiError::unavailable("Too many are signing in. Try again in a moment.")
                    .retry_after(BUSY_RETRY)
                    .with_source(error)
            }
            AuthError::Password(error) => ApiError::internal(error),
            AuthError::Randomness(error) => ApiError::internal(error),
            AuthError::Api(error) => error,
        }
    }
}

/// A database that is away comes back; anything else is a mistake of ours.
fn database_problem(error: sqlx::Error) -> ApiError {
    if postgres::is_passing(&error) {
        ApiError::unavailable("Accounts cannot be reached now. Try again in a moment.")
            .with_source(error)
    } else {
        ApiError::internal(error)
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        ApiError::from(self).into_response()
    }
}
