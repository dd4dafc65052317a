//! Owners' names, from `auth_db` through `postgres_fdw`.
//!
//! A plain join with `users_foreign` fetches every user there is before it limits. So each list
//! is read page first: the page is materialized, and only its users are asked for (DESIGN.md
//! section 9). `auth_db` away costs the names, never the list, and never more than a few of the
//! pool's connections: transcoders renew by the same pool.

use std::time::Duration;

use marquee_common::{
    breaker::{Attempt, Breaker},
    error_chain,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgPool, Postgres, postgres::PgArguments,
    query::QueryAs,
};
use tokio::{sync::Semaphore, time::timeout};

use super::rows::StreamRow;
use crate::error::Error;

/// Longest wait for a page with names.
const DEADLINE: Duration = Duration::from_secs(2);
/// After a failure lists do without names for this long, so that not each waits anew.
const PAUSE: Duration = Duration::from_secs(5);
/// Connections that may wait for `auth_db` at a time, of the ten a pool has.
const PLACES: usize = 2;
/// Longest wait for one of them; who gets none does without names.
const PLACE_DEADLINE: Duration = Duration::from_secs(1);

/// Where `auth_db` is, for the foreign server.
#[derive(Clone, Debug)]
pub struct AuthDatabase {
    /// Host, as the Postgres server sees it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// The read-only role.
    pub user: String,
    /// Its password.
    pub password: String,
}

/// A page's query, with names and without.
pub(super) struct PageQuery {
    pub with_names: &'static str,
    pub without: &'static str,
}

/// A [`PageQuery`] from the query of the page (columns of a [`StreamRow`] and those it is ordered
/// by) and its order. The order is said twice, because a join keeps none.
macro_rules! page_first {
    ($page:expr, $order:literal) => {
        $crate::store::usernames::PageQuery {
            with_names: concat!(
                "WITH page AS MATERIALIZED (",
                $page,
                ") \
                 SELECT page.*, u.username FROM page \
                 LEFT JOIN users_foreign u \
                 ON u.id = ANY(ARRAY(SELECT user_id FROM page)) AND u.id = page.user_id \
                 ORDER BY ",
                $order
            ),
            without: concat!("SELECT page.* FROM (", $page, ") page ORDER BY ", $order),
        }
    };
}
pub(super) use page_first;

/// The names, and whether they can be had.
#[derive(Debug)]
pub struct Usernames {
    configured: bool,
    breaker: Breaker,
    places: Semaphore,
}

type Bound = QueryAs<'static, Postgres, StreamRow, PgArguments>;

impl Usernames {
    /// No `auth_db` is configured: every name is `None`.
    pub const fn none() -> Self {
        Self::new(false)
    }

    const fn new(configured: bool) -> Self {
        Self {
            configured,
            breaker: Breaker::new(PAUSE),
            places: Semaphore::const_new(PLACES),
        }
    }

    /// Sets up the foreign server, the mapping and the table, and drops those of another
    /// address. It does not connect: `auth_db` may be away.
    pub async fn set_up(pool: &PgPool, auth: &AuthDatabase) -> Result<Self, sqlx::Error> {
        // A connection of its own that logs no statements: one of them holds the password.
        let options = pool
            .connect_options()
            .as_ref()
            .clone()
            .disable_statement_logging();
        let mut connection = sqlx::postgres::PgConnection::connect_with(&options).await?;
        let mut tx = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('marquee:auth_fdw', 0))")
            .execute(&mut *tx)
            .await?;
        // Postgres itself quotes what stands in the statements: DDL takes no parameters.
        let statements: Vec<String> = sqlx::query_scalar(SET_UP)
            .bind(&auth.host)
            .bind(auth.port.to_string())
            .bind(&auth.database)
            .bind(&auth.user)
            .bind(&auth.password)
            .fetch_one(&mut *tx)
            .await?;
        for statement in statements {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        connection.close().await?;
        Ok(Self::new(true))
    }

    /// A page of streams, with names if they can be had.
    pub(super) async fn fetch(
        &self,
        pool: &PgPool,
        query: &PageQuery,
        bind: impl Fn(&'static str) -> Bound,
    ) -> Result<Vec<StreamRow>, Error> {
        let named = if self.configured {
            self.fetch_named(pool, bind(query.with_names)).await?
        } else {
            None
        };
        match named {
            Some(rows) => Ok(rows),
            None => Ok(bind(query.without).fetch_all(pool).await?),
        }
    }

    /// A page with names; `None` if there are none to be had just now.
    async fn fetch_named(
        &self,
        pool: &PgPool,
        page: Bound,
    ) -> Result<Option<Vec<StreamRow>>, Error> {
        if self.breaker.is_open() {
            return Ok(None);
        }
        let Ok(Ok(_place)) = timeout(PLACE_DEADLINE, self.places.acquire()).await else {
            return Ok(None);
        };
        let mut connection = pool.acquire().await?;
        // Only now, for what those before have found out meanwhile counts.
        let Some(attempt) = self.breaker.attempt() else {
            return Ok(None);
        };
        match timeout(DEADLINE, page.fetch_all(&mut *connection)).await {
            Ok(Ok(rows)) => {
                // For an empty page nobody asks auth_db.
                if !rows.is_empty() && attempt.succeeded() {
                    tracing::info!("usernames are read from auth_db again");
                }
                Ok(Some(rows))
            }
            Ok(Err(sqlx::Error::Database(error))) => {
                if error.code().is_some_and(|code| means_away(&code)) {
                    went_away(attempt, &error_chain(&error));
                } else {
                    // This one statement's trouble, on either side: no reason to go without
                    // names everywhere. If it is on ours, the page without
                    // names shows it again.
                    let error = error_chain(&error);
                    tracing::warn!(error, "a page could not be read with usernames");
                }
                Ok(None)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                // It still waits for auth_db; nobody else shall wait behind it.
                connection.close_on_drop();
                went_away(attempt, "no answer in time");
                Ok(None)
            }
        }
    }
}

fn went_away(attempt: Attempt<'_>, error: &str) {
    if attempt.failed() {
        tracing::warn!(
            error,
            "usernames cannot be read from auth_db; lists go without"
        );
    }
}

/// Whether a SQLSTATE says that `auth_db` cannot be reached: classes HV (foreign data), 08
/// (connection) and 57 (operator's intervention).
fn means_away(code: &str) -> bool {
    ["HV", "08", "57"]
        .iter()
        .any(|class| code.starts_with(class))
}

/// The statements that bring the foreign table to the wanted address; none when it is there.
/// `connect_timeout` and the TCP timeouts bound what a dead `auth_db` can cost a backend.
const SET_UP: &str = r"
WITH wanted AS (
    SELECT ARRAY['host=' || $1, 'port=' || $2, 'dbname=' || $3, 'connect_timeout=2',
                 'keepalives_idle=5', 'keepalives_interval=2', 'keepalives_count=2',
                 'tcp_user_timeout=3000', 'updatable=false', 'truncatable=false'] AS server,
           ARRAY['user=' || $4, 'password=' || $5] AS mapping
), present AS (
    SELECT EXISTS (SELECT FROM pg_foreign_server, wanted
                   WHERE srvname = 'auth_db' AND srvoptions = wanted.server)
       AND EXISTS (SELECT FROM pg_user_mappings, wanted
                   WHERE srvname = 'auth_db' AND usename = current_user
                     AND umoptions = wanted.mapping)
       AND to_regclass('users_foreign') IS NOT NULL AS already
)
SELECT CASE WHEN already THEN ARRAY[]::text[] ELSE ARRAY[
    'DROP SERVER IF EXISTS auth_db CASCADE',
    'CREATE SERVER auth_db FOREIGN DATA WRAPPER postgres_fdw OPTIONS ('
        || (SELECT string_agg(format('%I %L', split_part(o, '=', 1),
                                     substr(o, strpos(o, '=') + 1)), ', ' ORDER BY n)
            FROM unnest(server) WITH ORDINALITY AS t(o, n)) || ')',
    format('CREATE USER MAPPING FOR CURRENT_USER SERVER auth_db OPTIONS (user %L, password %L)',
           $4, $5),
    'CREATE FOREIGN TABLE users_foreign (id uuid NOT NULL, username text NOT NULL) '
        || 'SERVER auth_db OPTIONS (schema_name ''public'', table_name ''users_public'')'
] END
FROM wanted, present";
