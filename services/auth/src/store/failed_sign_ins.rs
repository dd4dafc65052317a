//! Queries about wrong passwords. They are in Postgres, without which nobody signs in anyway, so
//! that a Redis that is away is no invitation to guess.

use std::time::Duration;

use sqlx::FromRow;
use uuid::Uuid;

use super::Store;
use crate::{
    lockout::{Attempt, Network, Policy, Standing, Tally, Target},
    user::User,
};

/// Stands for all places that were not familiar to the account.
const STRANGERS: &str = "";

#[derive(FromRow)]
struct StandingRow {
    familiar: bool,
    here_failures: Option<i32>,
    here_age_s: Option<f64>,
    strangers_failures: Option<i32>,
    strangers_age_s: Option<f64>,
}

impl Store {
    /// What is known before a password is tried. Failures that are older than the policy's memory are
    /// as good as none.
    pub async fn find_standing(
        &self,
        attempt: &Attempt,
        policy: &Policy,
    ) -> Result<Standing, sqlx::Error> {
        let row: StandingRow = sqlx::query_as(
            "SELECT $7::inet IS NULL OR EXISTS ( \
                      SELECT FROM sessions WHERE user_id = $3 \
                        AND (address <<= $7::inet OR last_address <<= $7::inet) \
                    ) AS familiar, \
                    h.failures AS here_failures, \
                    extract(epoch FROM now() - h.last_at)::float8 AS here_age_s, \
                    s.failures AS strangers_failures, \
                    extract(epoch FROM now() - s.last_at)::float8 AS strangers_age_s \
             FROM (SELECT 1) AS one \
             LEFT JOIN failed_sign_ins h ON h.target = $1 AND h.network = $2 \
               AND h.last_at > now() - make_interval(secs => $5) \
             LEFT JOIN failed_sign_ins s ON s.target = $8 AND s.network = $4 \
               AND s.last_at > now() - make_interval(secs => $6)",
        )
        .bind(attempt.login.as_bytes())
        .bind(attempt.place.key())
        .bind(attempt.user_id.map(Uuid::from))
        .bind(STRANGERS)
        .bind(policy.memory().as_secs_f64())
        .bind(policy.strangers_memory().as_secs_f64())
        // A device or session of the account's own is familiar wherever it sits.
        .bind(attempt.place.network().map(Network::as_str))
        .bind(attempt.account.as_bytes())
        .fetch_one(&self.pool)
        .await?;
        Ok(Standing {
            familiar: row.familiar,
            here: tally(row.here_failures, row.here_age_s),
            strangers: tally(row.strangers_failures, row.strangers_age_s),
        })
    }

    /// Counts a wrong password: from the place, and unless that is familiar, from all strangers.
    /// Returns how many there were from the place.
    pub async fn count_failed_sign_in(
        &self,
        attempt: &Attempt,
        familiar: bool,
        policy: &Policy,
    ) -> Result<u32, sqlx::Error> {
        // In one order always, so that two of these never wait for each other.
        let failures: i32 = sqlx::query_scalar(
            "WITH counted AS ( \
               INSERT INTO failed_sign_ins AS f (target, network, failures, last_at) \
               SELECT c.target, c.network, 1, now() \
               FROM (VALUES ($7, $3, NOT $4), ($1, $2, true)) AS c (target, network, counts) \
               WHERE c.counts \
               ON CONFLICT (target, network) DO UPDATE SET \
                 failures = CASE \
                   WHEN f.last_at > now() - make_interval( \
                     secs => CASE WHEN f.network = $3 THEN $6 ELSE $5 END) \
                   THEN least(f.failures, 1000000) + 1 ELSE 1 END, \
                 last_at = now() \
               RETURNING network, failures \
             ) SELECT failures FROM counted WHERE network = $2",
        )
        .bind(attempt.login.as_bytes())
        .bind(attempt.place.key())
        .bind(STRANGERS)
        .bind(familiar)
        .bind(policy.memory().as_secs_f64())
        .bind(policy.strangers_memory().as_secs_f64())
        .bind(attempt.account.as_bytes())
        .fetch_one(&self.pool)
        .await?;
        Ok(failures.unsigned_abs())
    }

    /// Forgets the failures from a place, whose user knew the password after all.
    pub async fn delete_failed_sign_ins_from(&self, attempt: &Attempt) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM failed_sign_ins WHERE target = $1 AND network = $2")
            .bind(attempt.login.as_bytes())
            .bind(attempt.place.key())
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// Forgets all failures for an account, by any of its names.
    pub async fn delete_failed_sign_ins(&self, user: &User) -> Result<(), sqlx::Error> {
        let targets = Target::all_of(user).map(|target| target.as_bytes().to_vec());
        sqlx::query("DELETE FROM failed_sign_ins WHERE target = ANY($1)")
            .bind(targets.to_vec())
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// Deletes what no policy remembers. Returns the number of rows.
    pub async fn delete_forgotten_sign_ins(&self, policy: &Policy) -> Result<u64, sqlx::Error> {
        let longest = policy.memory().max(policy.strangers_memory());
        let done = sqlx::query(
            "DELETE FROM failed_sign_ins WHERE last_at < now() - make_interval(secs => $1)",
        )
        .bind(longest.as_secs_f64())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }
}

fn tally(failures: Option<i32>, age_s: Option<f64>) -> Option<Tally> {
    Some(Tally {
        failures: failures?.unsigned_abs(),
        // Negative for a moment if a clock is set back.
        since_last: Duration::try_from_secs_f64(age_s?).unwrap_or_default(),
    })
}
