//! Where the signed-in user is signed in.

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use marquee_common::{
    auth::User,
    contract::{Page, PageQuery, SessionId},
    extract::{Path, Query},
};
use serde::Serialize;

use crate::{
    app::AppState,
    error::AuthError,
    routes::{
        page,
        problems::{BadQuery, MayNotWrite, NotFound, NotSignedIn, Unavailable},
        sessions::signed_out,
    },
    session::Session,
};

/// A session, and whether it is the one that asks.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct OwnSession {
    /// The session.
    #[serde(flatten)]
    session: Session,
    /// Whether this very request belongs to it.
    current: bool,
}

/// Where one is signed in, newest first.
#[utoipa::path(
    get,
    path = "/api/auth/me/sessions",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    params(PageQuery),
    responses(
        (status = 200, description = "Sessions that are not over", body = Page<OwnSession>),
        BadQuery,
        NotSignedIn,
        Unavailable,
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    User(claims): User,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<OwnSession>>, AuthError> {
    let before = page::position(query.cursor.as_deref())?;
    let limit = query.limit();
    let sessions = state
        .store
        .list_sessions(claims.sub, before, page::fetched(limit))
        .await?;
    let page = page::cut(sessions, limit, |session| session.id);
    Ok(axum::Json(page::map(page, |session| OwnSession {
        current: session.id == claims.sid,
        session,
    })))
}

/// End a session: it gets no new tokens, and its access token is refused from now on.
#[utoipa::path(
    delete,
    path = "/api/auth/me/sessions/{id}",
    tag = "auth",
    security(("bearer" = []), ("cookie" = [])),
    params(("id" = SessionId, Path, description = "The session")),
    responses(
        (status = 204, description = "Over; if it is the session that asks, both cookies are cleared"),
        NotFound,
        MayNotWrite,
        Unavailable,
    ),
)]
pub async fn end(
    State(state): State<AppState>,
    User(claims): User,
    Path(id): Path<SessionId>,
) -> Result<Response, AuthError> {
    let ended = state.store.mark_own_session_revoked(claims.sub, id).await?;
    if !ended {
        return Err(AuthError::NoSuchSession);
    }
    state.revocations.announce(&[id]).await;
    Ok(if id == claims.sid {
        signed_out(&state)
    } else {
        StatusCode::NO_CONTENT.into_response()
    })
}
