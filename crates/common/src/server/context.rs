//! The identity of a request, `x-request-id` and `traceparent` (W3C Trace Context), carried to
//! whatever the request makes: problems, log lines, calls of other services.

use std::{fmt::Write as _, sync::Arc};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// Header of the request's id.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Header of the trace the request belongs to.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Longest request id that is taken over from a caller.
const MAX_ID_BYTES: usize = 64;

tokio::task_local! {
    static CURRENT: RequestContext;
}

/// The ids of the request being served.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Ids>);

#[derive(Debug)]
struct Ids {
    request_id: String,
    traceparent: String,
}

impl RequestContext {
    /// The context of the request this task serves; `None` outside one and in tasks it spawned.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// The id in `x-request-id`, in problems and in the access log.
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The whole `traceparent` header. This platform records no spans, so it is passed on as it
    /// came (W3C Trace Context section 4.3 lets a participant do so).
    pub fn traceparent(&self) -> &str {
        &self.0.traceparent
    }

    /// The trace id within [`Self::traceparent`], 32 hex digits.
    pub fn trace_id(&self) -> &str {
        // Checked or made in `from_headers`: version, trace id, parent id, flags.
        self.0.traceparent.split('-').nth(1).unwrap_or_default()
    }

    /// The id that a caller sent, if it is one that can be taken over.
    pub fn request_id_of(headers: &HeaderMap) -> Option<&HeaderValue> {
        let value = headers.get(X_REQUEST_ID)?;
        value.to_str().is_ok_and(is_sane_id).then_some(value)
    }

    /// Write both headers for the next hop.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in [
            (X_REQUEST_ID, self.request_id()),
            (TRACEPARENT, self.traceparent()),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }

    /// Take over what the caller sent where it is sane, make the rest.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let request_id = text(&X_REQUEST_ID)
            .filter(|id| is_sane_id(id))
            .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let traceparent = text(&TRACEPARENT)
            .filter(|value| is_traceparent(value))
            .map_or_else(new_traceparent, str::to_owned);
        Self(Arc::new(Ids {
            request_id,
            traceparent,
        }))
    }

    /// Run `work` as this request.
    pub(crate) async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}

/// Short, and of characters that break no log line and no header.
fn is_sane_id(id: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// `00-<32 hex>-<16 hex>-<2 hex>` with neither id all zero.
fn is_traceparent(value: &str) -> bool {
    let is_hex = |part: &str, len: usize| {
        part.len() == len
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
    };
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    let mut parts = value.split('-');
    let (Some(version), Some(trace), Some(parent), Some(flags), None) = (
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    version == "00"
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(parent, 16)
        && !is_zero(parent)
        && is_hex(flags, 2)
}

fn new_traceparent() -> String {
    let trace: u128 = rand::random::<u128>().max(1);
    let parent: u64 = rand::random::<u64>().max(1);
    let mut value = String::with_capacity(55);
    // Writing to a String cannot fail.
    let _ = write!(value, "00-{trace:032x}-{parent:016x}-00");
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn headers(id: &str, traceparent: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, id.parse().unwrap());
        headers.insert(TRACEPARENT, traceparent.parse().unwrap());
        headers
    }

    const TRACEPARENT_OF_CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn sane_ids_of_the_caller_are_kept_and_passed_on() {
        let context = RequestContext::from_headers(&headers("abc-1.2_3", TRACEPARENT_OF_CALLER));
        assert_eq!(context.request_id(), "abc-1.2_3");
        assert_eq!(context.trace_id(), "0af7651916cd43dd8448eb211c80319c");

        let mut onward = HeaderMap::new();
        context.write_headers(&mut onward);
        assert_eq!(onward, headers("abc-1.2_3", TRACEPARENT_OF_CALLER));
    }

    #[test]
    fn insane_ids_are_replaced() {
        let too_long = "x".repeat(65);
        for id in ["", "two words", "a=b", too_long.as_str()] {
            let context = RequestContext::from_headers(&headers(id, "nonsense"));
            assert_ne!(context.request_id(), id);
            assert!(is_sane_id(context.request_id()));
            assert!(is_traceparent(context.traceparent()));
        }
    }

    #[test]
    fn a_traceparent_with_a_zero_or_short_part_is_replaced() {
        for value in [
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert!(!is_traceparent(value), "{value}");
        }
    }
}
