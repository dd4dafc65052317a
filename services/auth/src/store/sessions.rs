//! Queries about sessions and their refresh tokens.

use std::net::IpAddr;

use marquee_common::contract::{SessionId, UserId};
use sqlx::{FromRow, PgConnection};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    Store,
    accounts::{AccountRow, account_columns},
    revocations::insert_revocation,
};
use crate::{
    refresh_token::{Presented, TokenHash, Verdict},
    session::Session,
    user::{Account, User},
};

/// A sign-in to record.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// The `sid` of its access tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// bcrypt of the password that was proved.
    pub password_hash: &'a str,
    /// What the client called itself.
    pub user_agent: Option<&'a str>,
    /// Where the client sat.
    pub address: IpAddr,
    /// Its first refresh token.
    pub token: &'a TokenHash,
    /// How long a refresh token lives.
    pub token_ttl: Duration,
    /// How many sessions the user may have, this one among them.
    pub max_sessions: u32,
}

/// What came of presenting a refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The new token is stored: give it out.
    Exchanged {
        /// The session it belongs to.
        session_id: SessionId,
        /// The session's user.
        user_id: UserId,
    },
    /// A token that somebody else has too: its session is revoked.
    Reused {
        /// The session that is over.
        session_id: SessionId,
    },
    /// The token, or its session, was exchanged often enough; not again for this long.
    TooOften(std::time::Duration),
    /// Unknown, expired, or of a session that is over.
    Invalid,
}

#[derive(FromRow)]
struct SessionRow {
    id: Uuid,
    user_agent: Option<String>,
    address: Option<String>,
    created_at: OffsetDateTime,
    last_used_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.into(),
            user_agent: row.user_agent,
            address: row.address,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
        }
    }
}

#[derive(FromRow)]
struct PresentedRow {
    token_id: Uuid,
    user_id: Uuid,
    now: OffsetDateTime,
    expires_at: OffsetDateTime,
    used_at: Option<OffsetDateTime>,
    exchanges: i32,
    refreshes: i32,
    refreshes_since: OffsetDateTime,
    session_over: bool,
}

impl Store {
    /// Records a sign-in with its first refresh token, and returns the user as they are now; `None`
    /// if the password is no longer theirs, or the account is gone or disabled.
    ///
    /// Comparing a password takes a while. The user's row is locked, so that a change either comes
    /// first and is seen here, or comes later and ends this session too: tokens are signed for what
    /// this returns, never for what was read before.
    ///
    /// Of more sessions than the user may have, those that were not used for longest end.
    pub async fn insert_session(&self, new: NewSession<'_>) -> Result<Option<User>, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let row: Option<AccountRow> = sqlx::query_as(concat!(
            "WITH owner AS ( \
               SELECT ",
            account_columns!(),
            "  FROM users \
               WHERE id = $2 AND password_hash = $7 AND disabled_at IS NULL FOR SHARE \
             ), session AS ( \
               INSERT INTO sessions (id, user_id, user_agent, address, expires_at) \
               SELECT $1, id, $3, $8::inet, now() + make_interval(secs => $6) FROM owner \
               RETURNING id, expires_at \
             ), token AS ( \
               INSERT INTO refresh_tokens (id, session_id, token_hash, expires_at) \
               SELECT $4, id, $5, expires_at FROM session \
             ) SELECT * FROM owner",
        ))
        .bind(Uuid::from(new.id))
        .bind(Uuid::from(new.user_id))
        .bind(new.user_agent)
        .bind(Uuid::now_v7())
        .bind(new.token.as_slice())
        .bind(new.token_ttl.as_seconds_f64())
        .bind(new.password_hash)
        .bind(new.address.to_string())
        .fetch_optional(&mut *tx)
        .await?;
        if row.is_some() {
            end_surplus_sessions(&mut tx, new.user_id, new.max_sessions).await?;
        }
        tx.commit().await?;
        Ok(row.map(|row| Account::from(row).user))
    }

    /// Exchanges a refresh token for `successor`, or says why not; `address` is where the client sits.
    ///
    /// The session's row is locked first: of two requests with one token the second sees what the
    /// first did. Times are the database's, so that instances need not agree on a clock.
    pub async fn rotate_refresh_token(
        &self,
        presented: &TokenHash,
        successor: &TokenHash,
        address: IpAddr,
        (token_ttl, grace): (Duration, Duration),
    ) -> Result<Rotation, sqlx::Error> {
        let mut tx = self.pool.begin().await?;
        let session_id: Option<Uuid> = sqlx::query_scalar(
            "SELECT s.id FROM sessions s JOIN refresh_tokens t ON t.session_id = s.id \
             WHERE t.token_hash = $1 FOR UPDATE OF s",
        )
        .bind(presented.as_slice())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(session_id) = session_id else {
            return Ok(Rotation::Invalid);
        };
        // A second statement: only it is sure to see what was committed while the lock was awaited.
        let row: Option<PresentedRow> = sqlx::query_as(
            "SELECT t.id AS token_id, s.user_id, clock_timestamp() AS now, t.expires_at, \
                    t.used_at, t.exchanges, s.refreshes, s.refreshes_since, \
                    (s.revoked_at IS NOT NULL OR u.disabled_at IS NOT NULL) AS session_over \
             FROM refresh_tokens t \
             JOIN sessions s ON s.id = t.session_id \
             JOIN users u ON u.id = s.user_id \
             WHERE t.token_hash = $1",
        )
        .bind(presented.as_slice())
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            return Ok(Rotation::Invalid);
        };
        let presented = Presented {
            now: row.now,
            expires_at: row.expires_at,
            used_at: row.used_at,
            exchanges: row.exchanges.unsigned_abs(),
            refreshes: row.refreshes.unsigned_abs(),
            refreshes_since: row.refreshes_since,
            session_over: row.session_over,
        };
        let rotation = match presented.verdict(grace) {
            Verdict::Invalid => Rotation::Invalid,
            Verdict::TooOften(wait) => Rotation::TooOften(wait),
            Verdict::Reused => {
                sqlx::query("UPDATE sessions SET revoked_at = now() WHERE id = $1")
                    .bind(session_id)
                    .execute(&mut *tx)
                    .await?;
                insert_revocation(&mut tx, session_id).await?;
                Rotation::Reused {
                    session_id: session_id.into(),
                }
            }
            Verdict::Exchange | Verdict::ExchangeAgain => {
                sqlx::query(
                    "WITH used AS ( \
                       UPDATE refresh_tokens SET used_at = COALESCE(used_at, clock_timestamp()), \
                              exchanges = exchanges + 1 \
                       WHERE id = $1 \
                     ), session AS ( \
                       UPDATE sessions SET last_used_at = now(), last_address = $7::inet, \
                              refreshes = CASE WHEN $6 THEN 1 ELSE refreshes + 1 END, \
                              refreshes_since = CASE WHEN $6 THEN now() ELSE refreshes_since END, \
                              expires_at = now() + make_interval(secs => $5) \
                       WHERE id = $2 RETURNING id, expires_at \
                     ) \
                     INSERT INTO refresh_tokens (id, session_id, token_hash, expires_at) \
                     SELECT $3, id, $4, expires_at FROM session",
                )
                .bind(row.token_id)
                .bind(session_id)
                .bind(Uuid::now_v7())
                .bind(successor.as_slice())
                .bind(token_ttl.as_seconds_f64())
                .bind(presented.begins_an_hour())
                .bind(address.to_string())
                .execute(&mut *tx)
                .await?;
                Rotation::Exchanged {
                    session_id: session_id.into(),
                    user_id: row.user_id.into(),
                }
            }
        };
        tx.commit().await?;
        Ok(rotation)
    }

    /// Ends a session; nothing happens to one that is over or unknown.
    pub async fn mark_session_revoked(&self, id: SessionId) -> Result<(), sqlx::Error> {
        sqlx::query(
            "WITH ended AS ( \
               UPDATE sessions SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL \
               RETURNING id \
             ) INSERT INTO revocations (session_id) SELECT id FROM ended ON CONFLICT DO NOTHING",
        )
        .bind(Uuid::from(id))
        .execute(&self.pool)
        .await
        .map(drop)
    }

    /// Ends a session of a user; false if they have no such one, or it is over.
    pub async fn mark_own_session_revoked(
        &self,
        user_id: UserId,
        id: SessionId,
    ) -> Result<bool, sqlx::Error> {
        let ended: Option<Uuid> = sqlx::query_scalar(
            "WITH ended AS ( \
               UPDATE sessions SET revoked_at = now() \
               WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL AND expires_at > now() \
               RETURNING id \
             ), told AS ( \
               INSERT INTO revocations (session_id) SELECT id FROM ended ON CONFLICT DO NOTHING \
             ) SELECT id FROM ended",
        )
        .bind(Uuid::from(id))
        .bind(Uuid::from(user_id))
        .fetch_optional(&self.pool)
        .await?;
        Ok(ended.is_some())
    }

    /// A user's sessions that are not over, newest first: those begun before `before`, at most
    /// `limit`.
    pub async fn list_sessions(
        &self,
        user_id: UserId,
        before: Option<SessionId>,
        limit: u32,
    ) -> Result<Vec<Session>, sqlx::Error> {
        let rows: Vec<SessionRow> = sqlx::query_as(
            "SELECT id, user_agent, host(address) AS address, created_at, last_used_at, expires_at \
             FROM sessions \
             WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() \
               AND ($2::uuid IS NULL OR id < $2) \
             ORDER BY id DESC LIMIT $3",
        )
        .bind(Uuid::from(user_id))
        .bind(before.map(Uuid::from))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(Session::from).collect())
    }

    /// Deletes what can no longer be told from never having been: expired sessions with their
    /// tokens, and expired tokens of sessions that go on. Returns the number of rows.
    pub async fn delete_expired_sessions(&self) -> Result<u64, sqlx::Error> {
        let sessions = sqlx::query("DELETE FROM sessions WHERE expires_at < now()")
            .execute(&self.pool)
            .await?;
        let tokens = sqlx::query("DELETE FROM refresh_tokens WHERE expires_at < now()")
            .execute(&self.pool)
            .await?;
        Ok(sessions.rows_affected() + tokens.rows_affected())
    }
}

async fn end_surplus_sessions(
    connection: &mut PgConnection,
    user_id: UserId,
    most: u32,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "WITH ended AS ( \
           UPDATE sessions SET revoked_at = now() WHERE revoked_at IS NULL AND id IN ( \
             SELECT id FROM sessions \
             WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() \
             ORDER BY last_used_at DESC, id DESC OFFSET $2 \
           ) RETURNING id \
         ) INSERT INTO revocations (session_id) SELECT id FROM ended ON CONFLICT DO NOTHING",
    )
    .bind(Uuid::from(user_id))
    .bind(i64::from(most))
    .execute(connection)
    .await
    .map(drop)
}
