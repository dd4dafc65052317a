//! Typed UUIDv7 ids, so that a user's id can never be passed where a stream's is wanted.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[schema(value_type = Uuid)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id (UUIDv7: sorts by the time it was made, and cannot be guessed).
            #[expect(clippy::new_without_default, reason = "a default id would be a new one each time")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(s: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(s).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

id! {
    /// A user of the platform (`auth_db.users.id`).
    UserId
}
id! {
    /// A stream: the place with a key, a title and URLs, reused by many broadcasts.
    StreamId
}
id! {
    /// One time a stream is live, from the first segment to `#EXT-X-ENDLIST`.
    BroadcastId
}
id! {
    /// A signed-in session (`sid` of the access token).
    SessionId
}
id! {
    /// An event in Kafka or a webhook: consumers use it to apply each event once.
    EventId
}
