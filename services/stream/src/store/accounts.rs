//! Streams of accounts that auth has deleted or disabled.

use marquee_common::contract::StreamId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store,
    streams::{Published, lock_stream, lock_user},
};
use crate::{
    accounts::{ClosedAccount, Closure},
    error::Error,
    ownership::Caller,
};

impl Store {
    /// Ends what an account has on the air, and deletes its streams or ends their keys' time.
    /// Returns whose publishers are to be sent away; nothing when the event was applied before.
    pub async fn close_account(&self, account: &ClosedAccount) -> Result<Vec<Published>, Error> {
        let mut tx = self.pool.begin().await?;
        // Nothing of theirs is made meanwhile; what is made later finds the event.
        lock_user(&mut tx, account.user_id).await?;
        if !insert_account_event(&mut tx, account).await? {
            return Ok(Vec::new());
        }
        let mut ended = Vec::new();
        for id in list_concerned(&mut tx, account).await? {
            let Some(stream) = lock_stream(&mut tx, id).await? else {
                continue;
            };
            let (reason, name) = (
                account.closure.disconnect_reason(),
                account.closure.end_reason(),
            );
            ended.extend(self.end_running(&mut tx, &stream, reason, name).await?);
            let sql = match account.closure {
                Closure::Deleted => "DELETE FROM streams WHERE id = $1",
                Closure::Disabled => {
                    "UPDATE streams SET status = 'expired', owner_disabled_at = $2, \
                         expires_at = LEAST(expires_at, now()) \
                     WHERE id = $1"
                }
            };
            sqlx::query(sql)
                .bind(id.0)
                .bind(account.at)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(ended)
    }
}

/// `false` if it was there already.
async fn insert_account_event(
    tx: &mut PgConnection,
    account: &ClosedAccount,
) -> Result<bool, Error> {
    let inserted = sqlx::query(
        "INSERT INTO account_events (event_id, user_id, at) VALUES ($1, $2, $3) \
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(account.event_id.0)
    .bind(account.user_id.0)
    .bind(account.at)
    .execute(tx)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// The streams an event is about, in the order in which `live.ended` is enqueued for several
/// (`marquee_common::outbox`). However late a disabling comes, it is about the keys that were made
/// by tokens issued before it, and not about those that its owner, enabled again, has made by a
/// token of a later sign-in. Auth's clock dates both.
async fn list_concerned(
    tx: &mut PgConnection,
    account: &ClosedAccount,
) -> Result<Vec<StreamId>, Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT id FROM streams WHERE user_id = $1 AND ($2 OR key_token_iat <= $3) ORDER BY id",
    )
    .bind(account.user_id.0)
    .bind(account.closure == Closure::Deleted)
    .bind(account.at)
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(StreamId).collect())
}

/// Refuses a token that was issued before its account was closed, also while the list of revoked
/// sessions is away: what it would make outlives it by far. The user is locked before.
pub(super) async fn check_account(tx: &mut PgConnection, caller: &Caller) -> Result<(), Error> {
    let closed: bool = sqlx::query_scalar(
        "SELECT EXISTS ( \
             SELECT FROM account_events WHERE user_id = $1 AND at >= to_timestamp($2))",
    )
    .bind(caller.user.0)
    .bind(caller.token_issued_at)
    .fetch_one(tx)
    .await?;
    if closed {
        return Err(Error::AccountClosed(caller.user));
    }
    Ok(())
}
