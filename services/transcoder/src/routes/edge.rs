//! The live edge's answers (RFC 8216bis section 6.2).

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use marquee_common::{contract::StreamId, error::ApiError};
use marquee_hls::{PartName, Rung, SegmentName};

use crate::{
    app::AppState,
    edge::{LiveStream, PlaylistRequest, ReloadError, SegmentPlace, Text},
};

const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const TRANSPORT_STREAM: HeaderValue = HeaderValue::from_static("video/mp2t");
/// A playlist that names a part is the same for all who ask; six target durations on it is of no use.
const FINAL: HeaderValue = HeaderValue::from_static("public, max-age=12");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-cache");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A redirect leads to the same place for as long as the segment is listed.
const FOR_A_MINUTE: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// Asks the proxy to join equal requests into one.
const COALESCE: &str = "marquee-coalesce";

/// `GET /stream/{stream_id}/master.m3u8`
pub async fn master(
    State(state): State<AppState>,
    Path(stream_id): Path<StreamId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stream = find(&state, stream_id)?;
    let text = stream.master().ok_or_else(not_live)?;
    Ok(playlist(&text, NOT_KEPT, &headers))
}

/// `GET /stream/{stream_id}/{rung}/{file}`: a playlist, a part or a segment.
pub async fn media(
    State(state): State<AppState>,
    Path((stream_id, rung, file)): Path<(StreamId, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stream = find(&state, stream_id)?;
    let rung: Rung = rung.parse().map_err(|_| ApiError::not_found())?;
    if file == "playlist.m3u8" {
        let request = directives(query.as_deref().unwrap_or_default())?;
        let reloaded = stream.playlist(rung, request).await;
        let reloaded = reloaded.ok_or_else(ApiError::not_found)?.map_err(refused)?;
        let keep = if reloaded.is_final { FINAL } else { NOT_KEPT };
        return Ok(playlist(&reloaded.text, keep, &headers));
    }
    if let Ok(name) = PartName::from_uri(rung, &file) {
        let bytes = stream.part(&name).await.ok_or_else(ApiError::not_found)?;
        return Ok(transport_stream(bytes));
    }
    let name = SegmentName::from_uri(rung, &file).map_err(|_| ApiError::not_found())?;
    match stream.segment(&name) {
        SegmentPlace::Memory(bytes) => Ok(transport_stream(bytes)),
        SegmentPlace::Storage => {
            let url = state.storage_urls.of(&format!("{stream_id}/{name}"));
            let location = HeaderValue::try_from(url).map_err(ApiError::internal)?;
            let headers = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, FOR_A_MINUTE),
            ];
            Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response())
        }
        SegmentPlace::OnDisk => Err(ApiError::unavailable(
            "This segment waits for storage, which is away. Try again soon.",
        )
        .retry_after(std::time::Duration::from_secs(2))),
        SegmentPlace::Unknown => Err(ApiError::not_found()),
    }
}

/// `OPTIONS` of both: anybody's page may read them.
pub async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Range, If-None-Match, If-Modified-Since",
        ),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// As nginx does for what is in storage.
pub async fn allow_all_origins(mut response: Response) -> Response {
    let any = HeaderValue::from_static("*");
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Content-Length, Date"),
    );
    response
}

fn find(state: &AppState, stream_id: StreamId) -> Result<std::sync::Arc<LiveStream>, ApiError> {
    state.edge.find(stream_id).ok_or_else(not_live)
}

fn not_live() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_live",
        "This stream is not live here. Play its `hls_url`, and try again in some seconds.",
    )
}

fn refused(error: ReloadError) -> ApiError {
    match error {
        ReloadError::NothingListed => not_live(),
        ReloadError::TooFar => bad_request(
            "`_HLS_msn` is more than 2 segments, or `_HLS_part` more than 3 s, ahead of the playlist. \
             Ask for what follows its end.",
        ),
    }
}

fn bad_request(detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_request", detail)
}

/// Delivery directives (section 6.2.5). Other parameters are the client's own business.
fn directives(query: &str) -> Result<PlaylistRequest, ApiError> {
    let (mut msn, mut part, mut skip) = (None, None, false);
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "_HLS_msn" => msn = Some(number(value)?),
            "_HLS_part" => part = Some(number(value)?),
            "_HLS_skip" => skip = matches!(value, "YES" | "v2"),
            _ => {}
        }
    }
    let wait_for = match (msn, part) {
        (None, Some(_)) => return Err(bad_request("`_HLS_part` needs `_HLS_msn` beside it.")),
        (None, None) => None,
        // No playlist of ours comes near; a number above is too far ahead all the same.
        (Some(msn), part) => Some((
            msn,
            part.map(|part| u32::try_from(part).unwrap_or(u32::MAX)),
        )),
    };
    Ok(PlaylistRequest { wait_for, skip })
}

fn number(text: &str) -> Result<u64, ApiError> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal
        .then(|| text.parse().unwrap_or(u64::MAX))
        .ok_or_else(|| bad_request("`_HLS_msn` and `_HLS_part` are decimal numbers."))
}

fn playlist(text: &Text, keep: HeaderValue, request: &HeaderMap) -> Response {
    let gzip = accepts_gzip(request);
    let body = if gzip { text.gzip() } else { text.plain() };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PLAYLIST);
    headers.insert(header::CACHE_CONTROL, keep);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(COALESCE, HeaderValue::from_static("1"));
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn transport_stream(bytes: Bytes) -> Response {
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, TRANSPORT_STREAM);
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    headers.insert(COALESCE, HeaderValue::from_static("1"));
    response
}

/// Whether `gzip` is among the encodings, and not as one that is refused.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(header::ACCEPT_ENCODING).iter();
    lists
        .filter_map(|list| list.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|one| {
            let (coding, weight) = one.split_once(';').unwrap_or((one, ""));
            let weight = weight.trim().trim_start_matches("q=").trim();
            let is_refused = matches!(weight, "0" | "0.0" | "0.00" | "0.000");
            matches!(coding.trim(), "gzip" | "*") && !is_refused
        })
}
