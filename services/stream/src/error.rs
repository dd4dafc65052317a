//! Everything that can go wrong here, and the problem each becomes.

use std::time::Duration;

use axum::http::{StatusCode, header};
use marquee_common::{
    contract::{FieldError, StreamId, UserId},
    error::ApiError,
    postgres,
};

use crate::{admission::Refusal, cursor::BadCursor, ownership::Denied};

/// When a place may be free again.
const FOLLOW_AGAIN: Duration = Duration::from_secs(10);

/// An error of this service. Its `Display` is for the log; the client gets the problem.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 404 `not_found`.
    #[error("no such thing")]
    NotFound,
    /// 403 `forbidden`: somebody else's stream.
    #[error("not the owner")]
    Forbidden,
    /// 401 `unauthenticated`: the account was deleted or disabled after the token was issued.
    #[error("the account of user {0} is closed")]
    AccountClosed(UserId),
    /// 409 `owner_disabled`: the owner's account was disabled, and they have made no key since.
    #[error("the owner's account was disabled")]
    OwnerDisabled,
    /// 422 `validation_failed`.
    #[error("{} fields are not as they should be", .0.len())]
    Invalid(Vec<FieldError>),
    /// 409 `active_stream_exists`: the user has as many streams as one may have.
    #[error("the user has an active stream")]
    ActiveStreamExists {
        /// The newest of them.
        stream_id: StreamId,
    },
    /// 409 `not_live`: there is nothing to stop.
    #[error("nothing is on the air")]
    NotLive,
    /// 410 `stream_key_expired`.
    #[error("the key's time is over")]
    KeyExpired,
    /// 403 `held`: the stream was stopped a moment ago.
    #[error("the stream is held after a stop")]
    Held {
        /// How long still.
        retry_after: Duration,
    },
    /// 429 `key_contended`: publishers take the stream from each other.
    #[error("publishers fight for the key")]
    KeyContended {
        /// How long still.
        retry_after: Duration,
    },
    /// 429 `key_cooldown`: the key was rotated a moment ago.
    #[error("the key was rotated a moment ago")]
    KeyCooldown {
        /// How long still.
        retry_after: Duration,
    },
    /// 503: Postgres is away, or refused what it will not refuse in a moment.
    #[error("the database cannot be reached")]
    DatabaseAway(#[source] sqlx::Error),
    /// 500: Postgres refused a statement.
    #[error("the database refused a statement")]
    Database(#[source] sqlx::Error),
    /// 429 `rate_limited`: a viewer's session beats faster than it may.
    #[error("a session beats too fast")]
    BeatsTooFast {
        /// How long still.
        retry_after: Duration,
    },
    /// 500: the system has no random bytes.
    #[error("no random bytes")]
    Random(#[source] rand::rand_core::OsError),
    /// 500: a document of ours does not serialize.
    #[error("an answer does not serialize")]
    Serialize(#[source] serde_json::Error),
    /// 503: as many as this instance takes follow streams' events.
    #[error("no more followers are taken")]
    TooManyFollowers,
    /// 503: a followed stream could not be read in time; the cause was logged then.
    #[error("the stream could not be read")]
    UpdatesAway,
    /// The public list's copy could not be refreshed a moment ago; the cause was logged then.
    #[error("the public list could not be read")]
    ListAway,
}

impl Error {
    /// 422 for one field.
    pub fn field(field: &str, message: &str) -> Self {
        Self::Invalid(vec![FieldError {
            field: field.to_owned(),
            message: message.to_owned(),
        }])
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if postgres::is_passing(&error) {
            Self::DatabaseAway(error)
        } else {
            Self::Database(error)
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Forbidden => Self::Forbidden,
            Denied::Hidden => Self::NotFound,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::KeyExpired => Self::KeyExpired,
            Refusal::Held { retry_after } => Self::Held { retry_after },
            Refusal::Contended { retry_after, .. } => Self::KeyContended { retry_after },
        }
    }
}

impl From<BadCursor> for Error {
    fn from(_: BadCursor) -> Self {
        Self::field("cursor", "must be the next_cursor of a page of this list")
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(),
            Error::AccountClosed(_) => Self::unauthenticated().with_source(error),
            Error::Forbidden => Self::forbidden("This stream belongs to somebody else."),
            Error::Invalid(fields) => Self::validation(fields),
            Error::ActiveStreamExists { stream_id } => Self::conflict(
                "active_stream_exists",
                format!(
                    "You have an active stream already ({stream_id}): use its key, rotate it, \
                     or delete the stream."
                ),
            )
            .with_field("stream_id", stream_id.to_string())
            .header(header::LOCATION, format!("/api/streams/{stream_id}")),
            Error::OwnerDisabled => Self::conflict(
                "owner_disabled",
                "The account of this stream's owner was disabled: once it is enabled again and \
                 they have signed in, they rotate the key themselves.",
            ),
            Error::NotLive => Self::conflict("not_live", "Nothing is on the air to be stopped."),
            Error::KeyExpired => Self::new(
                StatusCode::GONE,
                "stream_key_expired",
                "The time of this stream key is over: rotate it to go on.",
            ),
            Error::Held { retry_after } => Self::new(
                StatusCode::FORBIDDEN,
                "held",
                "The stream was stopped a moment ago: publish again later.",
            )
            .retry_after(retry_after),
            Error::KeyContended { retry_after } => too_many(
                "key_contended",
                "Several publishers take this stream from each other: leave it to one of them.",
                retry_after,
            ),
            Error::KeyCooldown { retry_after } => too_many(
                "key_cooldown",
                "The key was rotated a moment ago: wait before you rotate it again.",
                retry_after,
            ),
            Error::DatabaseAway(_) | Error::ListAway | Error::UpdatesAway => {
                Self::unavailable("The list of streams cannot be reached: try again in a moment.")
                    .with_source(error)
            }
            Error::TooManyFollowers => {
                Self::unavailable("Too many follow events here right now: ask again in a moment.")
                    .retry_after(FOLLOW_AGAIN)
                    .with_source(error)
            }
            Error::BeatsTooFast { retry_after } => {
                Self::rate_limited(retry_after, "Send a heartbeat every 10 s.")
            }
            Error::Database(_) | Error::Random(_) | Error::Serialize(_) => Self::internal(error),
        }
    }
}

fn too_many(code: &'static str, detail: &str, retry_after: Duration) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, code, detail).retry_after(retry_after)
}
