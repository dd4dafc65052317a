//! Queries about wrong passwords. They are in Postgres, without which nobody signs in anyway, so
//! that a Redis that is away is no invitation to guess.

use std::time::Duration;

use marquee_common::contract::UserId;
use sqlx::FromRow;
use uuid::Uuid;

use super::Store;
use crate::lockout::{Network, Policy, Standing, Tally, Target};

/// Stands for all networks that were not familiar to the account.
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
    /// What is known of a target and a network. Failures that are older than the policy's memory are
    /// as good as none.
    pub async fn find_standing(
        &self,
        target: &Target,
        user_id: Option<UserId>,
        network: &Network,
        policy: &Policy,
    ) -> Result<Standing, sqlx::Error> {
        let row: StandingRow = sqlx::query_as(
            "SELECT EXISTS ( \
                      SELECT FROM sessions WHERE user_id = $3 AND address <<= $2::inet \
                    ) AS familiar, \
                    h.failures AS here_failures, \
                    extract(epoch FROM now() - h.last_at)::float8 AS here_age_s, \
                    s.failures AS strangers_failures, \
                    extract(epoch FROM now() - s.last_at)::float8 AS strangers_age_s \
             FROM (SELECT 1) AS one \
             LEFT JOIN failed_sign_ins h ON h.target = $1 AND h.network = $2 \
               AND h.last_at > now() - make_interval(secs => $5) \
             LEFT JOIN failed_sign_ins s ON s.target = $1 AND s.network = $4 \
               AND s.last_at > now() - make_interval(secs => $6)",
        )
        .bind(target.as_bytes())
        .bind(network.as_str())
        .bind(user_id.map(Uuid::from))
        .bind(STRANGERS)
        .bind(policy.memory().as_secs_f64())
        .bind(policy.strangers_memory().as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(Standing {
            familiar: row.familiar,
            here: tally(row.here_failures, row.here_age_s),
            strangers: tally(row.strangers_failures, row.strangers_age_s),
        })
    }

    /// Counts a wrong password: from the network, and unless that is familiar, from all strangers.
    /// Returns how many there were from the network.
    pub async fn count_failed_sign_in(
        &self,
        target: &Target,
        network: &Network,
        familiar: bool,
        policy: &Policy,
    ) -> Result<u32, sqlx::Error> {
        // In one order always, so that two of these never wait for each other.
        let failures: i32 = sqlx::query_scalar(
            "WITH counted AS ( \
               INSERT INTO failed_sign_ins AS f (target, network, failures, last_at) \
               SELECT $1, c.network, 1, now() \
               FROM (VALUES ($3, NOT $4), ($2, true)) AS c (network, counts) \
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
        .bind(target.as_bytes())
        .bind(network.as_str())
        .bind(STRANGERS)
        .bind(familiar)
        .bind(policy.memory().as_secs_f64())
        .bind(policy.strangers_memory().as_secs_f64())
        .fetch_one(&self.pool)
        .await?;
        Ok(failures.unsigned_abs())
    }

    /// Forgets the failures from a network, whose user knew the password after all.
    pub async fn delete_failed_sign_ins_from(
        &self,
        target: &Target,
        network: &Network,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM failed_sign_ins WHERE target = $1 AND network = $2")
            .bind(target.as_bytes())
            .bind(network.as_str())
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// Forgets all failures for a target.
    pub async fn delete_failed_sign_ins(&self, target: &Target) -> Result<(), sqlx::Error> {
        sqlx::query("DELETE FROM failed_sign_ins WHERE target = $1")
            .bind(target.as_bytes())
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
