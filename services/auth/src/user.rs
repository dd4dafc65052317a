//! The account as the service knows it, and its subscription.

use marquee_common::contract::{Role, UserId};
use serde::Serialize;
use time::OffsetDateTime;

/// An account, as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct User {
    /// The user's id, for life.
    pub id: UserId,
    /// Unique in any case.
    pub username: String,
    /// Unique in any case; only the owner and admins see it.
    pub email: String,
    /// A name to show instead of the username.
    pub display_name: Option<String>,
    /// A text about themself.
    pub bio: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// When the account was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// An account with what a sign-in has to check.
#[derive(Clone, Debug)]
pub struct Account {
    /// The account.
    pub user: User,
    /// bcrypt, in modular crypt format.
    pub password_hash: String,
    /// Whether an admin has closed the account.
    pub disabled: bool,
}

/// An account as admins see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ManagedUser {
    /// The account.
    #[serde(flatten)]
    pub user: User,
    /// Whether it is closed.
    pub disabled: bool,
    /// What it has paid for.
    pub subscription: Subscription,
}

/// Whether a user has paid, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Subscription {
    /// Whether it counts now.
    pub active: bool,
    /// The plan; `null` for a user who never had one.
    pub plan: Option<String>,
    /// When it ends, or ended; `null` when it does not end by itself.
    #[serde(with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

impl Subscription {
    /// What a user has who never subscribed.
    pub const NONE: Self = Self {
        active: false,
        plan: None,
        expires_at: None,
    };

    /// A subscription as it stands at `now`.
    pub fn at(now: OffsetDateTime, plan: String, expires_at: Option<OffsetDateTime>) -> Self {
        Self {
            active: expires_at.is_none_or(|end| now < end),
            plan: Some(plan),
            expires_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::{Duration, OffsetDateTime};

    use super::Subscription;

    #[test]
    fn a_subscription_counts_until_the_moment_it_expires() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let at = |expires_at| Subscription::at(now, "monthly".into(), expires_at).active;
        assert!(at(None));
        assert!(at(Some(now + Duration::SECOND)));
        assert!(!at(Some(now)));
        assert!(!at(Some(now - Duration::SECOND)));
    }
}
