//! Changes after which sessions end: a new password, another role, disabling, deletion.
//!
//! Each is one transaction that begins with the user's row, so that a sign-in either comes before it
//! and its session ends too, or comes after it and sees it.

use marquee_common::contract::{Role, SessionId, UserId};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    Store,
    accounts::{AccountRow, account_columns, role_to_column},
    events,
};
use crate::user::Account;

/// What an admin changes about an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountChange {
    /// What it may do from now on.
    pub role: Option<Role>,
    /// Whether it is closed from now on.
    pub disabled: Option<bool>,
}

/// An account after a change.
#[derive(Debug)]
pub struct Changed {
    /// As it is now.
    pub account: Account,
    /// Sessions that the change ended, and whose access tokens may not have expired.
    pub ended: Vec<SessionId>,
}

impl Store {
    /// Changes role and state; `None` if there is no such account.
    ///
    /// Sessions end with disabling, and with the loss of a role: the access tokens of both claim
    /// what is no longer so.
    pub async fn update_account(
        &self,
        id: UserId,
        change: AccountChange,
    ) -> Result<Option<Changed>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let Some(before) = lock_account(&mut tx, id).await? else {
            return Ok(None);
        };
        let role = change.role.unwrap_or(before.user.role);
        let disabled = change.disabled.unwrap_or(before.disabled);
        let row: AccountRow = sqlx::query_as(concat!(
            "UPDATE users SET role = $2, disabled_at = \
               CASE WHEN $3 THEN COALESCE(disabled_at, now()) END \
             WHERE id = $1 RETURNING ",
            account_columns!(),
        ))
        .bind(Uuid::from(id))
        .bind(role_to_column(role))
        .bind(disabled)
        .fetch_one(&mut *tx)
        .await?;
        let is_closed = disabled && !before.disabled;
        let is_demoted = before.user.role == Role::Admin && role != Role::Admin;
        let ended = if is_closed || is_demoted {
            end_sessions(&mut tx, id, None).await?
        } else {
            Vec::new()
        };
        if is_closed {
            events::user_disabled(&mut tx, id).await?;
        }
        tx.commit().await?;
        Ok(Some(Changed {
            account: row.into(),
            ended,
        }))
    }

    /// Deletes an account with all that is its own here; the events tell the others to do so too.
    /// `None` if there is no such account, or it has another password by now than the given one.
    pub async fn delete_account(
        &self,
        id: UserId,
        password_hash: Option<&str>,
    ) -> Result<Option<Vec<SessionId>>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let Some(account) = lock_account(&mut tx, id).await? else {
            return Ok(None);
        };
        if password_hash.is_some_and(|hash| hash != account.password_hash) {
            return Ok(None);
        }
        let ended = end_sessions(&mut tx, id, None).await?;
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(Uuid::from(id))
            .execute(&mut *tx)
            .await?;
        events::user_deleted(&mut tx, id).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// Sets a password in place of `current_hash` and ends every session of the account but one.
    /// `None` if that is no longer its password, or the account is gone or disabled.
    pub async fn change_password(
        &self,
        id: UserId,
        current_hash: &str,
        new_hash: &str,
        keep: SessionId,
    ) -> Result<Option<Vec<SessionId>>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let done = sqlx::query(
            "UPDATE users SET password_hash = $3 \
             WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL",
        )
        .bind(Uuid::from(id))
        .bind(current_hash)
        .bind(new_hash)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(None);
        }
        forget_devices(&mut tx, id).await?;
        let ended = end_sessions(&mut tx, id, Some(keep)).await?;
        tx.commit().await?;
        Ok(Some(ended))
    }

    /// Sets a password, whatever it was, and ends every session of the account: nobody who knew the
    /// old one stays signed in.
    pub async fn reset_password(
        &self,
        id: UserId,
        password_hash: &str,
    ) -> Result<Vec<SessionId>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1")
            .bind(Uuid::from(id))
            .bind(password_hash)
            .execute(&mut *tx)
            .await?;
        forget_devices(&mut tx, id).await?;
        let ended = end_sessions(&mut tx, id, None).await?;
        tx.commit().await?;
        Ok(ended)
    }
}

async fn lock_account(
    connection: &mut PgConnection,
    id: UserId,
) -> Result<Option<Account>, sqlx::Error> {
    let row: Option<AccountRow> = sqlx::query_as(concat!(
        "SELECT ",
        account_columns!(),
        " FROM users WHERE id = $1 FOR UPDATE",
    ))
    .bind(Uuid::from(id))
    .fetch_optional(connection)
    .await?;
    Ok(row.map(Account::from))
}

/// Whoever knew the old password may have signed in from some of them.
async fn forget_devices(connection: &mut PgConnection, user_id: UserId) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM devices WHERE user_id = $1")
        .bind(Uuid::from(user_id))
        .execute(connection)
        .await
        .map(drop)
}

/// Ends the sessions of a user, and writes down that Redis is to be told of them: of those used within a day, which no access token outlives
/// (`ACCESS_TOKEN_TTL_S`).
async fn end_sessions(
    connection: &mut PgConnection,
    user_id: UserId,
    keep: Option<SessionId>,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let ended: Vec<Uuid> = sqlx::query_scalar(
        "WITH ended AS ( \
           UPDATE sessions SET revoked_at = now() \
           WHERE user_id = $1 AND revoked_at IS NULL AND id IS DISTINCT FROM $2 \
           RETURNING id, last_used_at \
         ), told AS ( \
           SELECT id FROM ended WHERE last_used_at > now() - interval '1 day' \
         ), written AS ( \
           INSERT INTO revocations (session_id) SELECT id FROM told ON CONFLICT DO NOTHING \
         ) SELECT id FROM told",
    )
    .bind(Uuid::from(user_id))
    .bind(keep.map(Uuid::from))
    .fetch_all(connection)
    .await?;
    Ok(ended.into_iter().map(SessionId::from).collect())
}
