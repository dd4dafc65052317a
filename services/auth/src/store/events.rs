//! What other services are told of an account, in the transaction that makes it so.

use marquee_common::{
    contract::{
        EventId, UserId,
        account::{
            SUBSCRIPTION_CHANGED_TOPIC, SubscriptionChanged, USER_DELETED_TOPIC,
            USER_DISABLED_TOPIC, UserDeleted, UserDisabled,
        },
    },
    outbox::enqueue,
};
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::user::Subscription;

pub async fn user_deleted(
    connection: &mut PgConnection,
    user_id: UserId,
) -> Result<(), sqlx::Error> {
    let event = UserDeleted {
        event_id: EventId::new(),
        timestamp: OffsetDateTime::now_utc(),
        user_id,
    };
    enqueue(connection, USER_DELETED_TOPIC, &user_id.to_string(), &event).await
}

pub async fn user_disabled(
    connection: &mut PgConnection,
    user_id: UserId,
) -> Result<(), sqlx::Error> {
    let event = UserDisabled {
        event_id: EventId::new(),
        timestamp: OffsetDateTime::now_utc(),
        user_id,
    };
    enqueue(
        connection,
        USER_DISABLED_TOPIC,
        &user_id.to_string(),
        &event,
    )
    .await
}

pub async fn subscription_changed(
    connection: &mut PgConnection,
    user_id: UserId,
    subscription: &Subscription,
) -> Result<(), sqlx::Error> {
    let event = SubscriptionChanged {
        event_id: EventId::new(),
        timestamp: OffsetDateTime::now_utc(),
        user_id,
        active: subscription.active,
        plan: subscription.plan.clone(),
        expires_at: subscription.expires_at,
    };
    let key = user_id.to_string();
    enqueue(connection, SUBSCRIPTION_CHANGED_TOPIC, &key, &event).await
}
