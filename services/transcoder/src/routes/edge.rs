//! The live edge's answers (RFC 8216bis section 6.2).
//!
//! A playlist or a part that is there, or comes while it is waited for, goes by [`Express`]: each viewer
//! asks for ten of them a second. All the rest, and every error that is known at once, goes by the routes.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use marquee_common::{
    contract::StreamId,
    error::ApiError,
    server::{Express, ExpressAnswer, Service},
};
use marquee_hls::{PartName, Rung, SegmentName};
use metrics::Counter;

use crate::edge::{Edge, LiveStream, NoPart, PlaylistRequest, ReloadError, SegmentPlace, Text};

const PLAYLIST: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const TRANSPORT_STREAM: HeaderValue = HeaderValue::from_static("video/mp2t");
const ANY: HeaderValue = HeaderValue::from_static("*");
/// A playlist that has what its URL names is the same for all; six target durations on it is of no use.
const FINAL: HeaderValue = HeaderValue::from_static("public, max-age=12");
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-cache");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// A redirect leads to the same place for as long as the segment is listed.
const FOR_A_MINUTE: HeaderValue = HeaderValue::from_static("public, max-age=60");
/// Asks the proxy to join equal requests into one.
const COALESCE: HeaderName = HeaderName::from_static("marquee-coalesce");
const YES: HeaderValue = HeaderValue::from_static("1");
/// Media that a viewer is so late with is of no use at the edge, and a part or a segment that is being
/// sent keeps all of its segment's bytes.
const LONGEST_ANSWER: Duration = Duration::from_mins(1);
/// Storage that is away is asked again so much later.
const STORAGE_RETRY: Duration = Duration::from_secs(2);

/// The edge as viewers see it; cheap to clone.
#[derive(Clone)]
pub struct LiveEdge {
    edge: Edge,
    /// Base URL of what left memory.
    storage: Arc<str>,
    longest_answer: Duration,
    /// Answers that have no log line.
    playlists: Counter,
    parts: Counter,
}

impl LiveEdge {
    /// `storage` is the URL under which viewers find the objects of the live bucket.
    pub fn new(edge: Edge, storage: String) -> Self {
        Self {
            edge,
            storage: storage.into(),
            longest_answer: LONGEST_ANSWER,
            playlists: metrics::counter!("transcoder_edge_playlists_total"),
            parts: metrics::counter!("transcoder_edge_parts_total"),
        }
    }

    /// How long a client may take over an answer; a minute if nothing is said.
    #[must_use]
    pub fn longest_answer(mut self, limit: Duration) -> Self {
        self.longest_answer = limit;
        self
    }

    /// Serves it: by its routes, past the layers where it can, and to nobody for too long.
    pub fn add_to(self, service: Service) -> Service {
        let longest_answer = self.longest_answer;
        service
            .raw_routes(self.routes())
            .express(self)
            .longest_answer(longest_answer)
    }

    fn find(&self, stream_id: StreamId) -> Result<Arc<LiveStream>, ApiError> {
        self.edge.find(stream_id).ok_or_else(not_live)
    }
}

impl Express for LiveEdge {
    fn answer(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<ExpressAnswer> {
        if method != Method::GET {
            return None;
        }
        let mut path = uri.path().strip_prefix("/stream/")?.split('/');
        let (stream_id, rung, file) = (path.next()?, path.next()?, path.next()?);
        let stream = self.edge.find(stream_id.parse().ok()?)?;
        let rung: Rung = rung.parse().ok()?;
        if path.next().is_some() {
            return None;
        }
        if file == "playlist.m3u8" {
            let request = directives(uri.query().unwrap_or_default()).ok()?;
            let (gzip, answered) = (accepts_gzip(headers), self.playlists.clone());
            return Some(Box::pin(async move {
                let reloaded = stream.playlist(rung, request).await?.ok()?;
                answered.increment(1);
                Some(playlist(&reloaded.text, kept(reloaded.is_final), gzip))
            }));
        }
        let name = PartName::from_uri(rung, file).ok()?;
        let answered = self.parts.clone();
        Some(Box::pin(async move {
            match stream.part(&name).await {
                Ok(bytes) => {
                    answered.increment(1);
                    Some(transport_stream(bytes))
                }
                Err(NoPart::Unknown) => None,
                // The routes would wait for it as long again.
                Err(NoPart::Late) => Some(allow_all_origins(missing().into_response()).await),
            }
        }))
    }
}

/// `GET /stream/{stream_id}/master.m3u8`
pub async fn master(
    State(edge): State<LiveEdge>,
    Path(stream_id): Path<StreamId>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let text = edge.find(stream_id)?.master().ok_or_else(not_live)?;
    Ok(playlist(&text, NOT_KEPT, accepts_gzip(&headers)))
}

/// `GET /stream/{stream_id}/{rung}/{file}`: a playlist, a part or a segment.
pub async fn media(
    State(edge): State<LiveEdge>,
    Path((stream_id, rung, file)): Path<(StreamId, String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let stream = edge.find(stream_id)?;
    let rung: Rung = rung.parse().map_err(|_| ApiError::not_found())?;
    if file == "playlist.m3u8" {
        let request = directives(query.as_deref().unwrap_or_default())?;
        let reloaded = stream.playlist(rung, request).await;
        let reloaded = reloaded.ok_or_else(ApiError::not_found)?.map_err(refused)?;
        let gzip = accepts_gzip(&headers);
        return Ok(playlist(&reloaded.text, kept(reloaded.is_final), gzip));
    }
    if let Ok(name) = PartName::from_uri(rung, &file) {
        let bytes = stream.part(&name).await;
        return Ok(transport_stream(bytes.map_err(|_| missing())?));
    }
    let name = SegmentName::from_uri(rung, &file).map_err(|_| ApiError::not_found())?;
    match stream.segment(&name) {
        SegmentPlace::Memory(bytes) => Ok(transport_stream(bytes)),
        SegmentPlace::Storage => {
            let url = format!("{}/{stream_id}/{name}", edge.storage);
            let location = HeaderValue::try_from(url).map_err(ApiError::internal)?;
            let headers = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, FOR_A_MINUTE),
                (COALESCE, YES),
            ];
            Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response())
        }
        SegmentPlace::OnDisk => {
            let detail = "This segment waits for storage, which is away. Try again soon.";
            let away = ApiError::unavailable(detail).retry_after(STORAGE_RETRY);
            Err(away.header(COALESCE, YES))
        }
        SegmentPlace::Unknown => Err(missing()),
    }
}

/// `OPTIONS` of both: anybody's page may read them.
pub async fn preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let asked_for = "Range, If-None-Match, If-Modified-Since";
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD, OPTIONS"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, asked_for),
        (header::ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// As nginx does for what is in storage; errors too, so that a page can tell them apart.
pub async fn allow_all_origins(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Content-Length, Date, Retry-After"),
    );
    response
}

/// Media that is not here, for anybody: who waited for it together is told so together, and does not
/// come again one by one.
fn missing() -> ApiError {
    ApiError::not_found().header(COALESCE, YES)
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
        // What does not fit is too far ahead all the same.
        (Some(msn), part) => {
            let part = part.map(|part| u32::try_from(part).unwrap_or(u32::MAX));
            Some((msn, part))
        }
    };
    Ok(PlaylistRequest { wait_for, skip })
}

fn number(text: &str) -> Result<u64, ApiError> {
    let is_decimal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal
        .then(|| text.parse().unwrap_or(u64::MAX))
        .ok_or_else(|| bad_request("`_HLS_msn` and `_HLS_part` are decimal numbers."))
}

fn kept(is_final: bool) -> HeaderValue {
    if is_final { FINAL } else { NOT_KEPT }
}

fn playlist(text: &Text, keep: HeaderValue, gzip: bool) -> Response {
    let body = if gzip { text.gzip() } else { text.plain() };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PLAYLIST);
    headers.insert(header::CACHE_CONTROL, keep);
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(COALESCE, YES);
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
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(COALESCE, YES);
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
