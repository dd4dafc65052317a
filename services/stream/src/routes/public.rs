//! What is on: the list for everyone.

use axum::{
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use marquee_common::{
    contract::{Page, Problem, StreamId},
    error::ApiError,
    extract::Query,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    streams::{cut, page_limit},
    view::PublicStream,
};
use crate::{
    app::AppState,
    cursor,
    error::Error,
    recent_copies::NoCopy,
    store::{PublicQuery, public_position},
};

/// Longest search text, in characters.
const Q_MAX: usize = 100;

/// Which streams.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PublicListQuery {
    /// `true`: only those on the air; `false`: only the others.
    live: Option<bool>,
    /// Text to find in title, description or tags.
    q: Option<String>,
    /// A category.
    category: Option<String>,
    /// A tag.
    tag: Option<String>,
    /// Rows wanted, 1 to 100 (default 50).
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PublicListQuery {
    /// The page that is meant: equal questions in other words share their copy.
    fn normalized(self) -> Result<PublicQuery, Error> {
        let text = |field: &str, text: Option<String>| match text {
            Some(text) if text.chars().count() > Q_MAX || text.contains('\0') => Err(Error::field(
                field,
                "must have at most 100 characters, none of them NUL",
            )),
            text => Ok(text
                .map(|text| text.trim().to_lowercase())
                .filter(|text| !text.is_empty())),
        };
        Ok(PublicQuery {
            live: self.live,
            q: text("q", self.q)?,
            category: text("category", self.category)?,
            tag: text("tag", self.tag)?,
            limit: page_limit(self.limit),
            after: self.cursor.as_deref().map(cursor::decode).transpose()?,
        })
    }
}

/// Public streams: those on the air first, then those that wait for a publisher, newest first.
/// About a second old at the most. Never a key.
#[utoipa::path(
    get, path = "/api/streams/public", tag = "streams",
    security(()),
    responses(
        (status = 200, description = "A page of streams", body = Page<PublicStream>),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn list(
    State(state): State<AppState>,
    Query(query): Query<PublicListQuery>,
) -> Result<Response, ApiError> {
    let query = query.normalized()?;
    let page = find_page(&state, &query).await?;
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        ),
    ];
    Ok((headers, page).into_response())
}

/// A first page is everybody's; one further down is nearly everybody's own, and is not kept.
async fn find_page(state: &AppState, query: &PublicQuery) -> Result<Bytes, Error> {
    if query.after.is_some() {
        return read(state, query).await;
    }
    state
        .public_list
        .get(query, read(state, query))
        .await
        .map_err(|error| match error {
            NoCopy::Error(error) => error,
            NoCopy::FailedLately => Error::ListAway,
        })
}

async fn read(state: &AppState, query: &PublicQuery) -> Result<Bytes, Error> {
    let mut rows = state.store.list_public(query).await?;
    let next_cursor = cut(&mut rows, query.limit, |row| {
        cursor::encode(&public_position(row))
    });
    let ids: Vec<StreamId> = rows.iter().map(|row| row.id).collect();
    let counts = state.viewers.counts(&ids).await;
    let items: Vec<PublicStream> = rows
        .into_iter()
        .zip(counts)
        .map(|(row, viewers)| PublicStream::of(state, row, viewers))
        .collect();
    let page = Page { items, next_cursor };
    serde_json::to_vec(&page)
        // Without what the vector has to spare: it may be kept.
        .map(|page| Bytes::from(page.into_boxed_slice()))
        .map_err(Error::Serialize)
}
