//! The two shapes of a line: what other services log, and what log readers know from nginx.

use std::{borrow::Cow, io::Write as _};

use clap::ValueEnum;
use http::{HeaderValue, Version};
use marquee_common::server::redact;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::Line;

/// The shape of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON object a line, with the fields of the other services' access logs
    #[default]
    Json,
    /// nginx' and Apache's combined format
    Combined,
    /// Nothing
    Off,
}

const COMBINED_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
const JSON_SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// The present second as text, made once a second.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: i64,
    text: String,
}

impl Clock {
    fn second(&mut self, now: OffsetDateTime, shape: &[BorrowedFormatItem<'_>]) -> &str {
        if self.second != now.unix_timestamp() || self.text.is_empty() {
            self.second = now.unix_timestamp();
            self.text = now.format(shape).unwrap_or_default();
        }
        &self.text
    }
}

impl Format {
    /// Whether lines tell of `Referer` and `User-Agent`.
    pub(super) fn names_agents(self) -> bool {
        self == Self::Combined
    }

    /// Appends a line. (Writing to a `Vec` does not fail.)
    pub(super) fn write(self, text: &mut Vec<u8>, clock: &mut Clock, line: &Line) {
        let now = OffsetDateTime::now_utc();
        match self {
            Self::Json => write_json(text, clock, now, line),
            Self::Combined => write_combined(text, clock, now, line),
            Self::Off => {}
        }
    }
}

fn write_json(text: &mut Vec<u8>, clock: &mut Clock, now: OffsetDateTime, line: &Line) {
    let request = &line.request;
    let second = clock.second(now, JSON_SECOND);
    let level = if line.status >= 500 { "ERROR" } else { "INFO" };
    let _ = write!(
        text,
        r#"{{"timestamp":"{second}.{:03}Z","level":"{level}","message":"request","method":"#,
        now.millisecond(),
    );
    json(text, request.method.as_str());
    text.extend_from_slice(br#","path":"#);
    json(text, &redact::path(request.target.path()));
    if let Some(query) = request.target.query() {
        text.extend_from_slice(br#","query":"#);
        json(text, &redact::query(query));
    }
    let _ = write!(
        text,
        r#","route":"/stream/{{stream_id}}","status":{},"head_ms":{},"duration_ms":{},"bytes":{},"complete":{},"peer":"{}""#,
        line.status,
        line.head_ms,
        request.began.elapsed().as_millis(),
        line.bytes,
        line.is_complete,
        request.client,
    );
    if let Some(route) = &line.route {
        let _ = write!(text, r#","upstream":"{}""#, route.upstream);
    }
    if let Some(id) = line.request_id() {
        text.extend_from_slice(br#","request_id":"#);
        json(text, id);
    }
    if let Some(cause) = &line.cause {
        text.extend_from_slice(br#","cause":"#);
        json(text, cause);
    }
    text.extend_from_slice(b",\"target\":\"access\"}\n");
}

fn json(text: &mut Vec<u8>, value: &str) {
    let _ = serde_json::to_writer(text, value);
}

/// `client - - [time] "request line" status bytes "referer" "user agent"`
fn write_combined(text: &mut Vec<u8>, clock: &mut Clock, now: OffsetDateTime, line: &Line) {
    let request = &line.request;
    let second = clock.second(now, COMBINED_TIME);
    let _ = write!(text, "{} - - [{second}] \"", request.client);
    escape(text, request.method.as_str());
    text.push(b' ');
    escape(text, &redact_target(request.target.as_str()));
    let version = match request.version {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let _ = write!(text, " HTTP/{version}\" {} {} \"", line.status, line.bytes);
    escape(text, &redact_target(&told(request.referer.as_ref())));
    text.extend_from_slice(b"\" \"");
    escape(text, &told(request.user_agent.as_ref()));
    text.extend_from_slice(b"\"\n");
}

fn told(value: Option<&HeaderValue>) -> Cow<'_, str> {
    value.map_or(Cow::Borrowed("-"), |value| {
        String::from_utf8_lossy(value.as_bytes())
    })
}

/// A path with its query, or a whole URL, without what must not be in a log.
fn redact_target(target: &str) -> Cow<'_, str> {
    match target.split_once('?') {
        None => redact::path(target),
        Some((path, query)) => format!("{}?{}", redact::path(path), redact::query(query)).into(),
    }
}

/// As nginx does: nothing in a value can end it, or the line.
fn escape(text: &mut Vec<u8>, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f..=0xff => {
                let _ = write!(text, "\\x{byte:02X}");
            }
            _ => text.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::time::Duration;

    use http::Request;
    use serde_json::Value;

    use super::{
        super::{AccessLog, LogWriter},
        Clock, Format,
    };
    use crate::measurements::Measurements;

    const KEY: &str = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

    fn line(format: Format, target: &str, agent: &str) -> String {
        let log = AccessLog::new(format, &LogWriter::start().unwrap(), Measurements::new());
        let request = Request::get(target)
            .header("user-agent", agent)
            .header("referer", "http://x/live?token=abc")
            .body(())
            .unwrap();
        let mut line = log.begin(&request, "192.0.2.7".parse().unwrap());
        line.head_is_out(200);
        line.count(12);
        line.complete();
        let mut text = Vec::new();
        format.write(&mut text, &mut Clock::default(), &line);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_combined_format_is_the_one_that_log_readers_know() {
        let text = line(Format::Combined, "/stream/a/b?x=1", "curl/8 \"x\"");
        let (before, rest) = text.split_once('[').unwrap();
        let (time, rest) = rest.split_once(']').unwrap();
        assert_eq!(before, "192.0.2.7 - - ");
        assert_eq!(
            rest,
            " \"GET /stream/a/b?x=1 HTTP/1.1\" 200 12 \"http://x/live?token=***\" \"curl/8 \\x22x\\x22\"\n"
        );
        assert_eq!(time.len(), "25/Nov/2026:09:30:35 +0000".len());
        assert!(time.ends_with(" +0000") && time.contains('/'));
    }

    #[test]
    fn a_json_line_has_the_fields_of_the_other_services() {
        let text = line(Format::Json, "/stream/a/b?token=secret&x=1", "x");
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["target"], "access");
        assert_eq!(value["path"], "/stream/a/b");
        assert_eq!(value["query"], "token=***&x=1");
        assert_eq!(value["status"], 200);
        assert_eq!(value["bytes"], 12);
        assert_eq!(value["complete"], true);
        assert_eq!(value["peer"], "192.0.2.7");
        assert_eq!(value["level"], "INFO");
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1);
    }

    #[test]
    fn no_stream_key_is_logged() {
        for format in [Format::Json, Format::Combined] {
            let text = line(format, &format!("/stream/{KEY}/x?k={KEY}"), "x");
            assert!(!text.contains(KEY) && text.contains("***"), "{text}");
        }
    }

    #[test]
    fn the_second_is_made_anew_when_it_is_over() {
        let mut clock = Clock::default();
        let now = time::OffsetDateTime::UNIX_EPOCH;
        assert_eq!(clock.second(now, super::JSON_SECOND), "1970-01-01T00:00:00");
        let later = now + Duration::from_millis(999);
        assert_eq!(
            clock.second(later, super::JSON_SECOND),
            "1970-01-01T00:00:00"
        );
        let later = now + Duration::from_secs(61);
        assert_eq!(
            clock.second(later, super::JSON_SECOND),
            "1970-01-01T00:01:01"
        );
    }
}
