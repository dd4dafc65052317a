//! What becomes of an account's streams when auth deletes or disables it.
//!
//! Deleted: its streams go. Disabled: its keys' time is over. There is no event of an account that
//! is enabled again, and none is needed: its owner signs in anew and rotates the key, which revives
//! the stream. Either way what is on the air ends and its publisher is disconnected.

use futures::future::join_all;
use marquee_common::{
    contract::{
        EventId, UserId,
        account::{USER_DELETED_TOPIC, USER_DISABLED_TOPIC, UserDeleted, UserDisabled},
        ingest::DisconnectReason,
    },
    kafka::{KafkaConfig, Received, consume},
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::{error::Error, store::Store, transcoders::Transcoders};

/// An account that may not publish any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedAccount {
    /// Unique per event; it is applied once.
    pub event_id: EventId,
    /// Whose account.
    pub user_id: UserId,
    /// When it was closed, by auth's clock.
    pub at: OffsetDateTime,
    /// How.
    pub closure: Closure,
}

/// How an account is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closure {
    /// For good.
    Deleted,
    /// Until an admin enables it again.
    Disabled,
}

impl Closure {
    /// Why its broadcasts ended, for their history.
    pub const fn end_reason(self) -> &'static str {
        match self {
            Self::Deleted => "account_deleted",
            Self::Disabled => "account_disabled",
        }
    }

    /// What its publishers' transcoders are told.
    pub const fn disconnect_reason(self) -> DisconnectReason {
        match self {
            Self::Deleted => DisconnectReason::Deleted,
            Self::Disabled => DisconnectReason::Stopped,
        }
    }
}

/// Applies the events of accounts until `stop`. All instances share `group`.
pub async fn follow(
    kafka: KafkaConfig,
    group: String,
    store: Store,
    transcoders: Transcoders,
    stop: CancellationToken,
) {
    let topics = &[USER_DELETED_TOPIC, USER_DISABLED_TOPIC];
    consume(kafka, group, topics, stop, move |message| {
        let (store, transcoders) = (store.clone(), transcoders.clone());
        async move { apply(&store, &transcoders, &message).await }
    })
    .await;
}

async fn apply(store: &Store, transcoders: &Transcoders, message: &Received) -> Result<(), Error> {
    let account = match closed_account(message) {
        Ok(account) => account,
        Err(error) => {
            // No retry makes it readable, and those behind it must not wait.
            let Received {
                topic,
                partition,
                offset,
                ..
            } = message;
            tracing::error!(topic, partition, offset, %error, "an event of an account is not readable");
            return Ok(());
        }
    };
    let ended = store.close_account(&account).await?;
    tracing::info!(
        user_id = %account.user_id,
        closure = ?account.closure,
        ended = ended.len(),
        "account closed"
    );
    // Whoever is not reached learns it from the next renewal, so this is not part of the work that
    // is tried again.
    join_all(
        ended
            .iter()
            .map(|published| transcoders.disconnect(&published.holder, published.reason)),
    )
    .await;
    Ok(())
}

fn closed_account(message: &Received) -> Result<ClosedAccount, serde_json::Error> {
    Ok(if message.topic == USER_DELETED_TOPIC {
        let event: UserDeleted = message.json()?;
        ClosedAccount {
            event_id: event.event_id,
            user_id: event.user_id,
            at: event.timestamp,
            closure: Closure::Deleted,
        }
    } else {
        let event: UserDisabled = message.json()?;
        ClosedAccount {
            event_id: event.event_id,
            user_id: event.user_id,
            at: event.timestamp,
            closure: Closure::Disabled,
        }
    })
}
