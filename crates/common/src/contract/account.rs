//! What other services must know of an account's life: Kafka topics of the auth service, each keyed
//! by `user_id`, so that what happened to one account arrives in its order.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{EventId, UserId};

/// Topic of [`UserDeleted`].
pub const USER_DELETED_TOPIC: &str = "user.deleted";
/// Topic of [`UserDisabled`].
pub const USER_DISABLED_TOPIC: &str = "user.disabled";
/// Topic of [`SubscriptionChanged`].
pub const SUBSCRIPTION_CHANGED_TOPIC: &str = "subscription.changed";

/// An account is gone for good: what it owned goes too. Delivered at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDeleted {
    /// Unique per event.
    pub event_id: EventId,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
    /// Whose account.
    pub user_id: UserId,
}

/// An account was disabled: its sessions are revoked, and its broadcast ends. Delivered at least
/// once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserDisabled {
    /// Unique per event.
    pub event_id: EventId,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
    /// Whose account.
    pub user_id: UserId,
}

/// A subscription was granted, prolonged or revoked; what was cached of it is out of date.
/// Delivered at least once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscriptionChanged {
    /// Unique per event.
    pub event_id: EventId,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
    /// Whose subscription.
    pub user_id: UserId,
    /// Whether it is in force at that time.
    pub active: bool,
    /// Name of the plan; `None` without a subscription.
    pub plan: Option<String>,
    /// When it ends by itself; `None` without an end.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub expires_at: Option<OffsetDateTime>,
}
