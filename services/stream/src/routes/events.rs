//! The transcoders' webhook.

use axum::extract::State;
use marquee_common::{
    auth::Internal,
    contract::{
        Problem, StreamId,
        ingest::{EventReceipt, TranscoderEvent, TranscoderEventKind},
    },
    error::ApiError,
    extract::{Json, Path},
};

use crate::{app::AppState, error::Error};

/// What a broadcast's renditions can be called.
const QUALITIES: [&str; 5] = ["1080p", "720p", "480p", "360p", "audio"];

/// Something happened to a broadcast. Applied once, and only if it is the present holder's and
/// newer than the last one; the answer is the authority's word on the broadcast either way. A
/// broadcast nobody knows is answered as ended.
#[utoipa::path(
    post, path = "/internal/streams/{id}/events", tag = "internal",
    params(("id" = StreamId, Path, description = "The stream")),
    request_body = TranscoderEvent,
    security(("internal" = [])),
    responses(
        (status = 200, description = "Received", body = EventReceipt),
        (status = 400, description = "`bad_json`", body = Problem),
        (status = 401, description = "`unauthenticated`", body = Problem),
        (status = 404, description = "`not_found`: the id is none", body = Problem),
        (status = 413, description = "`body_too_large`", body = Problem),
        (status = 415, description = "`unsupported_media_type`", body = Problem),
        (status = 422, description = "`validation_failed`", body = Problem),
        (status = 503, description = "`unavailable`", body = Problem),
    )
)]
pub async fn receive(
    State(state): State<AppState>,
    _: Internal,
    Path(id): Path<StreamId>,
    Json(event): Json<TranscoderEvent>,
) -> Result<Json<EventReceipt>, ApiError> {
    if let TranscoderEventKind::Live(data) = &event.kind {
        check_qualities(&data.available_qualities)?;
    }
    let name = match event.kind {
        TranscoderEventKind::Live(_) => "live",
        TranscoderEventKind::Health(_) => "health",
        TranscoderEventKind::Interrupted(_) => "interrupted",
        TranscoderEventKind::Ended(_) => "ended",
    };
    metrics::counter!("stream_events_total", "type" => name).increment(1);
    Ok(Json(state.store.apply_event(id, &event).await?))
}

/// They name objects and become part of URLs.
fn check_qualities(names: &[String]) -> Result<(), Error> {
    let known = |name: &String| QUALITIES.contains(&name.as_str());
    if names.is_empty() || names.len() > QUALITIES.len() || !names.iter().all(known) {
        let message = "must be some of 1080p, 720p, 480p, 360p, or audio";
        return Err(Error::field("data.available_qualities", message));
    }
    Ok(())
}
