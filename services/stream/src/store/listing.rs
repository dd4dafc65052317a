//! Reading streams: one, a user's, everybody's, the public list.

use marquee_common::contract::{StreamId, UserId};
use time::OffsetDateTime;

use super::{
    Store,
    rows::{StreamRow, stream_columns},
    usernames::{PageQuery, page_first},
};
use crate::{cursor::PublicPosition, error::Error, stream_key::StreamKey};

/// A page of the public list.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicQuery {
    /// `Some(true)`: running ones only; `Some(false)`: the others only.
    pub live: Option<bool>,
    /// Words to find in title, description and tags.
    pub q: Option<String>,
    /// One category.
    pub category: Option<String>,
    /// One tag.
    pub tag: Option<String>,
    /// Rows wanted.
    pub limit: u32,
    /// Where the page before ended.
    pub after: Option<PublicPosition>,
}

const FIND_BY_ID: PageQuery = page_first!(
    concat!(
        "SELECT ",
        stream_columns!(),
        " FROM streams s WHERE s.id = $1"
    ),
    "id"
);

const FIND_BY_KEY: PageQuery = page_first!(
    concat!(
        "SELECT ",
        stream_columns!(),
        " FROM streams s WHERE s.stream_key = $1"
    ),
    "id"
);

/// One more row than asked for tells whether there is a next page.
const LIST_OWN: PageQuery = page_first!(
    concat!(
        "SELECT ",
        stream_columns!(),
        " FROM streams s \
         WHERE s.user_id = $1 AND ($2::uuid IS NULL OR s.id < $2) ORDER BY s.id DESC LIMIT $3"
    ),
    "id DESC"
);

const LIST_ALL: PageQuery = page_first!(
    concat!(
        "SELECT ",
        stream_columns!(),
        " FROM streams s \
         WHERE ($1::uuid IS NULL OR s.id < $1) ORDER BY s.id DESC LIMIT $2"
    ),
    "id DESC"
);

const LIST_PUBLIC: PageQuery = page_first!(
    concat!(
        "SELECT ",
        stream_columns!(),
        ", \
             (s.status IN ('live', 'reconnecting')) AS running, \
             COALESCE(s.started_at, s.created_at) AS listed_at \
         FROM streams s \
         WHERE s.visibility = 'public' AND s.status <> 'expired' \
           AND ((s.status IN ('live', 'reconnecting')) OR s.expires_at > now()) \
           AND ($1::bool IS NULL OR (s.status IN ('live', 'reconnecting')) = $1) \
           AND ($2::text IS NULL OR s.title ILIKE $2 OR s.description ILIKE $2 \
                OR EXISTS (SELECT FROM unnest(s.tags) tag WHERE tag ILIKE $2)) \
           AND ($3::text IS NULL OR s.category = $3) \
           AND ($4::text IS NULL OR s.tags @> ARRAY[$4]) \
           AND ($5::bool IS NULL OR \
                ((s.status IN ('live', 'reconnecting')), COALESCE(s.started_at, s.created_at), \
                 s.id) < ($5, $6, $7)) \
         ORDER BY (s.status IN ('live', 'reconnecting')) DESC, \
                  COALESCE(s.started_at, s.created_at) DESC, s.id DESC \
         LIMIT $8"
    ),
    "running DESC, listed_at DESC, id DESC"
);

impl Store {
    /// A stream by its id.
    pub async fn find_stream(&self, id: StreamId) -> Result<Option<StreamRow>, Error> {
        let rows = self
            .usernames
            .fetch(&self.pool, &FIND_BY_ID, |sql| {
                sqlx::query_as(sql).bind(id.0)
            })
            .await?;
        Ok(rows.into_iter().next())
    }

    /// The stream a key opens, or opened.
    pub async fn find_stream_by_key(&self, key: &StreamKey) -> Result<Option<StreamRow>, Error> {
        let key = key.expose();
        let rows = self
            .usernames
            .fetch(&self.pool, &FIND_BY_KEY, |sql| {
                sqlx::query_as(sql).bind(key.to_owned())
            })
            .await?;
        Ok(rows.into_iter().next())
    }

    /// Whether a stream exists.
    pub async fn stream_exists(&self, id: StreamId) -> Result<bool, Error> {
        let found = sqlx::query_scalar("SELECT EXISTS (SELECT FROM streams WHERE id = $1)")
            .bind(id.0)
            .fetch_one(&self.pool)
            .await?;
        Ok(found)
    }

    /// A user's streams, newest first, below `after`.
    pub async fn list_own(
        &self,
        owner: UserId,
        after: Option<StreamId>,
        rows: i64,
    ) -> Result<Vec<StreamRow>, Error> {
        let after = after.map(|id| id.0);
        let bind = |sql| sqlx::query_as(sql).bind(owner.0).bind(after).bind(rows);
        self.usernames.fetch(&self.pool, &LIST_OWN, bind).await
    }

    /// Everybody's streams, newest first, below `after`.
    pub async fn list_all(
        &self,
        after: Option<StreamId>,
        rows: i64,
    ) -> Result<Vec<StreamRow>, Error> {
        let after = after.map(|id| id.0);
        let bind = |sql| sqlx::query_as(sql).bind(after).bind(rows);
        self.usernames.fetch(&self.pool, &LIST_ALL, bind).await
    }

    /// A page of the public list, and one row more if there is a next one: running broadcasts
    /// first, then the streams that wait for one, newest first.
    pub async fn list_public(&self, query: &PublicQuery) -> Result<Vec<StreamRow>, Error> {
        let pattern = query.q.as_deref().map(contains_pattern);
        let after = query.after;
        let bind = |sql| {
            sqlx::query_as(sql)
                .bind(query.live)
                .bind(pattern.clone())
                .bind(query.category.clone())
                .bind(query.tag.clone())
                .bind(after.map(|at| at.running))
                .bind(after.map(|at| at.listed_at))
                .bind(after.map(|at| at.id))
                .bind(i64::from(query.limit) + 1)
        };
        self.usernames.fetch(&self.pool, &LIST_PUBLIC, bind).await
    }

    /// What Postgres really did for a page of the public list, for the test that counts the rows
    /// of the foreign scan.
    pub async fn explain_public_list(&self, limit: i64) -> Result<serde_json::Value, Error> {
        let sql = format!("EXPLAIN (ANALYZE, FORMAT JSON) {}", LIST_PUBLIC.with_names);
        let none: Option<String> = None;
        let plan = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(None::<bool>)
            .bind(none.clone())
            .bind(none.clone())
            .bind(none)
            .bind(None::<bool>)
            .bind(None::<OffsetDateTime>)
            .bind(None::<uuid::Uuid>)
            .bind(limit)
            .fetch_one(&self.pool)
            .await?;
        Ok(plan)
    }
}

/// The place of a row in the public list.
pub fn public_position(row: &StreamRow) -> PublicPosition {
    use crate::lifecycle::StreamStatus;
    PublicPosition {
        running: matches!(row.status, StreamStatus::Live | StreamStatus::Reconnecting),
        listed_at: row.started_at.unwrap_or(row.created_at),
        id: row.id.0,
    }
}

/// `%…%` with LIKE's own characters taken literally.
fn contains_pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_for_wildcards_finds_wildcards() {
        assert_eq!(contains_pattern(r"50%_\"), r"%50\%\_\\%");
    }
}
