//! Admission and renewal, for transcoders.

use axum::extract::State;
use marquee_common::{
    auth::Internal,
    contract::{
        Problem,
        ingest::{
            AuthorizeRequest, Authorized, DisconnectReason, RenewBroadcast, RenewRequest,
            RenewResponse,
        },
    },
    error::ApiError,
    extract::Json,
};
use url::Url;

use crate::{app::AppState, error::Error, store::Admitted, stream_key::StreamKey};

/// Broadcasts a transcoder may hold; far above what a machine can encode.
const BROADCASTS_MAX: usize = 1_000;

/// Longest URL of a transcoder.
const URL_MAX: usize = 2_000;

/// Numbers in playlists: up to where players, whose numbers are doubles, tell them apart.
const NUMBER_MAX: u64 = 1 << 53;

/// May this key publish? Starts a broadcast, or goes on with the running one under the next
/// epoch.
#[utoipa::path(
    post, path = "/internal/ingest/authorize", tag = "internal",
    request_body = AuthorizeRequest,
    security(("internal" = [])),
    responses(
        (status = 200, description = "Admitted", body = Authorized),
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`held`: it was stopped a moment ago", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: no such key", body = Problem, content_type = "application/problem+json"),
        (status = 410, description = "`stream_key_expired`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`key_contended`, with Retry-After", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn authorize(
    State(state): State<AppState>,
    _: Internal,
    Json(request): Json<AuthorizeRequest>,
) -> Result<Json<Authorized>, ApiError> {
    check_url(&request.transcoder_url)?;
    let admission = match request.stream_key.parse::<StreamKey>() {
        Ok(key) => {
            state
                .store
                .authorize(&key, request.protocol, &request.transcoder_url)
                .await
        }
        Err(_) => Err(Error::NotFound),
    };
    let outcome = match &admission {
        Ok(admitted) if admitted.authorized.resumed => "resumed",
        Ok(_) => "started",
        Err(Error::NotFound) => "unknown_key",
        Err(Error::KeyExpired) => "expired",
        Err(Error::Held { .. }) => "held",
        Err(Error::KeyContended { .. }) => "contended",
        Err(_) => "failed",
    };
    metrics::counter!("stream_admissions_total", "outcome" => outcome).increment(1);
    let Admitted {
        authorized,
        replaced,
    } = admission.inspect_err(|_| {
        tracing::warn!(
            outcome,
            remote_addr = request.remote_addr,
            transcoder = request.transcoder_url,
            "publisher refused"
        );
    })?;
    tracing::info!(
        stream_id = %authorized.stream_id,
        broadcast_id = %authorized.broadcast_id,
        epoch = authorized.epoch,
        outcome,
        protocol = ?request.protocol,
        remote_addr = request.remote_addr,
        transcoder = request.transcoder_url,
        "publisher admitted"
    );
    if let Some(holder) = replaced {
        // The newcomer does not wait for the one it replaces.
        let transcoders = state.transcoders.clone();
        state.lifecycle.spawn_job("disconnect", async move {
            transcoders
                .disconnect(&holder, DisconnectReason::Replaced)
                .await;
        });
    }
    Ok(Json(authorized))
}

/// A transcoder lives, and holds these broadcasts.
#[utoipa::path(
    post, path = "/internal/ingest/renew", tag = "internal",
    request_body = RenewRequest,
    security(("internal" = [])),
    responses(
        (status = 200, description = "The authority's word on each, in the order asked", body = RenewResponse),
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn renew(
    State(state): State<AppState>,
    _: Internal,
    Json(request): Json<RenewRequest>,
) -> Result<Json<RenewResponse>, ApiError> {
    check_url(&request.transcoder_url)?;
    if request.broadcasts.len() > BROADCASTS_MAX {
        return Err(Error::field("broadcasts", "must be at most 1000").into());
    }
    let counts = |held: &RenewBroadcast| held.next_msn.max(held.discontinuity_seq) <= NUMBER_MAX;
    if !request.broadcasts.iter().all(counts) {
        let message = "no next_msn or discontinuity_seq may be above 2^53";
        return Err(Error::field("broadcasts", message).into());
    }
    let broadcasts = state.store.renew(&request).await?;
    Ok(Json(RenewResponse { broadcasts }))
}

/// A transcoder is called back at its URL, so it has to be one.
fn check_url(text: &str) -> Result<(), Error> {
    // The parser leaves out or encodes controls; the database keeps the text as it came.
    let callable = text
        .parse::<Url>()
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if callable && text.len() <= URL_MAX && !text.contains(char::is_control) {
        Ok(())
    } else {
        Err(Error::field("transcoder_url", "must be an http URL"))
    }
}
