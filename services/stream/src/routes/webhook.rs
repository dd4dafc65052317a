//! The transcoders' webhook.

use axum::extract::State;
use marquee_common::{
    auth::Internal,
    contract::{
        Problem, StreamId,
        ingest::{EndData, EventReceipt, TranscoderEvent, TranscoderEventKind},
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
        (status = 400, description = "`bad_json`", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "`unauthenticated`", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: the id is none", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "`body_too_large`", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "`unsupported_media_type`", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn receive(
    State(state): State<AppState>,
    _: Internal,
    Path(id): Path<StreamId>,
    Json(mut event): Json<TranscoderEvent>,
) -> Result<Json<EventReceipt>, ApiError> {
    let name = match &mut event.kind {
        TranscoderEventKind::Live(data) => {
            check_qualities(&data.available_qualities)?;
            remove_nul(&mut data.codec);
            "live"
        }
        TranscoderEventKind::Health(_) => "health",
        TranscoderEventKind::Interrupted(data) => {
            clean(data);
            "interrupted"
        }
        TranscoderEventKind::Ended(data) => {
            clean(data);
            "ended"
        }
    };
    metrics::counter!("stream_events_total", "type" => name).increment(1);
    Ok(Json(state.store.apply_event(id, &event).await?))
}

/// ffmpeg's last words may hold anything, and an end must not be refused for them.
fn clean(data: &mut EndData) {
    remove_nul(&mut data.reason);
    data.log.iter_mut().for_each(remove_nul);
}

/// Postgres' texts and JSON have no NUL.
fn remove_nul(text: &mut String) {
    text.retain(|character| character != '\0');
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
