//! A stream's events, for a page that stays open: server-sent events (WHATWG HTML, section 9.2).

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, stream};
use marquee_common::{
    auth::{AuthContext, OptionalUser},
    contract::{AccessClaims, Problem, StreamId},
    error::ApiError,
    extract::Path,
};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{
    broadcasts::HealthView,
    view::{caller, thumbnail_url},
};
use crate::{
    addresses::Addresses,
    app::AppState,
    followers::{Follower, Update},
    lifecycle::StreamStatus,
};

/// Time between two comments that keep the connection open: far below what the gateway (60 s) and
/// proxies on the way bear in silence.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How soon it is noticed that the owner's session was ended.
const AUTH_INTERVAL: Duration = Duration::from_secs(15);
/// When a client that lost the connection comes again, in milliseconds: spread, so that those of an
/// instance that ends do not come to the next one all at once.
const RETRY_MS: std::ops::Range<u64> = 1_000..4_000;

/// `X-Accel-Buffering: no` tells nginx to pass each event on at once.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `data` of the event `status`.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub struct StatusEvent {
    /// The stream.
    id: StreamId,
    /// Whether it can be watched.
    status: StreamStatus,
    /// Its title.
    title: String,
    /// When the running broadcast went live.
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    /// The running broadcast's rungs, highest first; `audio` alone without a picture.
    available_qualities: Vec<String>,
    /// A picture of what is on; `null` while there is none.
    thumbnail_url: Option<String>,
    /// Where it plays (HLS).
    hls_url: String,
    /// Where it plays with low latency (LL-HLS) while it is live; `hls_url` plays whenever this does
    /// not.
    ll_hls_url: String,
}

/// `data` of the event `viewers`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ViewersEvent {
    /// How many watch; `null` while that cannot be counted.
    viewer_count: Option<u64>,
}

/// What happens on a stream, as server-sent events: `status` (a `StatusEvent`), `viewers` (a
/// `ViewersEvent`), and `health` (a `HealthView`) for the owner and admins. Each is sent at the beginning
/// and whenever it has changed, within about a second; between them the newest counts, so there is
/// nothing to resume. A comment comes every 15 s. The stream ends when it is deleted (the next
/// request is answered 404), when the token it began with holds no longer, and when this instance
/// ends.
#[utoipa::path(
    get, path = "/api/streams/{id}/events", tag = "streams",
    params(("id" = StreamId, Path, description = "The stream")),
    security((), ("bearer" = []), ("cookie" = [])),
    responses(
        (status = 200, description = "The events, without end", body = String, content_type = "text/event-stream"),
        (status = 401, description = "`unauthenticated`: a bearer token that is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "`unavailable`; with Retry-After when too many follow", body = Problem, content_type = "application/problem+json"),
    )
)]
pub async fn follow(
    State(state): State<AppState>,
    OptionalUser(claims): OptionalUser,
    Path(id): Path<StreamId>,
) -> Result<Response, ApiError> {
    let (update, follower) = state.followers.follow(id).await?;
    let privileged = claims.filter(|claims| {
        let caller = caller(claims);
        caller.may_change(update.owner, update.visibility).is_ok()
    });
    let telling = Telling {
        id,
        addresses: state.addresses.clone(),
        with_health: privileged.is_some(),
        last: None,
        pending: VecDeque::from([Event::default().retry(retry())]),
    };
    let open = OpenStream {
        follower,
        telling: telling.with(&update),
        token: privileged.map(|claims| OpenToken::new(state.auth.clone(), claims)),
        draining: state.lifecycle.token(),
    };
    let headers = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    let events = Sse::new(open.events()).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok((headers, events).into_response())
}

fn retry() -> Duration {
    Duration::from_millis(rand::random_range(RETRY_MS))
}

/// One client's connection.
struct OpenStream {
    follower: Follower,
    telling: Telling,
    token: Option<OpenToken>,
    draining: CancellationToken,
}

impl OpenStream {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut open| async move {
            let event = open.next().await?;
            Some((Ok(event), open))
        })
    }

    /// The next event; `None` at the end. Asked for only when the client has taken the last one,
    /// so a client that lags costs no more than its newest update.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.telling.pending.pop_front() {
                return Some(event);
            }
            tokio::select! {
                update = self.follower.next() => self.telling.tell(&update?),
                () = OpenToken::holds_no_longer(self.token.as_mut()) => return None,
                () = self.draining.cancelled() => return None,
            }
        }
    }
}

/// The token of who is told more than everybody.
struct OpenToken {
    auth: AuthContext,
    claims: AccessClaims,
    check_at: Instant,
}

impl OpenToken {
    fn new(auth: AuthContext, claims: AccessClaims) -> Self {
        let mut token = Self {
            auth,
            claims,
            check_at: Instant::now(),
        };
        token.check_later();
        token
    }

    /// At the latest when the token expires.
    fn check_later(&mut self) {
        // A token holds to the end of the second that it names.
        let left_s = self.claims.exp + 1 - OffsetDateTime::now_utc().unix_timestamp();
        let left = Duration::from_secs(u64::try_from(left_s).unwrap_or(0));
        self.check_at = Instant::now() + left.min(AUTH_INTERVAL);
    }

    /// Waits until the token has expired or its session was ended; for ever without one.
    async fn holds_no_longer(token: Option<&mut Self>) {
        let Some(token) = token else {
            return std::future::pending().await;
        };
        loop {
            sleep_until(token.check_at).await;
            if !token.auth.still_holds(&token.claims).await {
                return;
            }
            token.check_later();
        }
    }
}

/// Turns updates into the events that tell what has changed.
struct Telling {
    id: StreamId,
    addresses: Addresses,
    with_health: bool,
    last: Option<Arc<Update>>,
    /// The events of one update at most.
    pending: VecDeque<Event>,
}

impl Telling {
    fn with(mut self, update: &Arc<Update>) -> Self {
        self.tell(update);
        self
    }

    fn tell(&mut self, update: &Arc<Update>) {
        let last = self.last.replace(Arc::clone(update));
        let last = last.as_deref();
        let status = self.status(update);
        if last.is_none_or(|last| self.status(last) != status) {
            self.push("status", &status);
        }
        if last.is_none_or(|last| last.viewer_count != update.viewer_count) {
            let viewer_count = update.viewer_count;
            self.push("viewers", &ViewersEvent { viewer_count });
        }
        let Some(health) = update.health.as_ref().filter(|_| self.with_health) else {
            return;
        };
        if last.is_none_or(|last| last.health.as_ref() != Some(health)) {
            self.push("health", &HealthView::from(health.clone()));
        }
    }

    fn status(&self, update: &Update) -> StatusEvent {
        StatusEvent {
            id: self.id,
            status: update.status,
            title: update.title.clone(),
            started_at: update.started_at,
            available_qualities: update.available_qualities.clone(),
            thumbnail_url: thumbnail_url(
                &self.addresses,
                self.id,
                update.status,
                &update.available_qualities,
            ),
            hls_url: self.addresses.hls(self.id),
            ll_hls_url: self.addresses.ll_hls(self.id),
        }
    }

    fn push(&mut self, name: &str, data: &impl Serialize) {
        match Event::default().event(name).json_data(data) {
            Ok(event) => self.pending.push_back(event),
            // Strings, numbers and times of this millennium: it does not happen.
            Err(error) => tracing::error!(name, %error, "an event does not serialize"),
        }
    }
}
